import { execFileSync } from "node:child_process"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"

/** Compiles `src` to `dist` without type checks (`npm run check` does those). */
export default function compile(): void {
  const require = createRequire(import.meta.url)
  execFileSync(
    process.execPath,
    [
      require.resolve("typescript/bin/tsc"),
      "-p",
      "tsconfig.build.json",
      "--noCheck",
      "--incremental",
      "false"
    ],
    { cwd: fileURLToPath(new URL("../..", import.meta.url)), stdio: "inherit" }
  )
}
