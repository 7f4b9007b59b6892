import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = fileURLToPath(new URL("../..", import.meta.url))

/**
 * Compiles `src` to `dist`, file by file and without type checks (`npm run check` does those), and bundles the command:
 * worker threads and child processes run what stands in `dist`.
 */
export default async function compile(): Promise<void> {
  const sources = readdirSync(`${root}/src`, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.startsWith("cli/")
  )
  await build({
    absWorkingDir: root,
    entryPoints: sources.map((file) => `src/${file}`),
    outdir: "dist",
    outbase: "src",
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: true,
    logLevel: "error"
  })
  execFileSync(process.execPath, [`${root}scripts/bundle.mjs`], { stdio: "inherit" })
}
