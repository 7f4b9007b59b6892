// Bundles the command: `dist/cli/main.js` and the parts it loads when a command wants them. Loading a few hundred
// modules one by one is most of what a short command costs. The library is published unbundled, as tsc compiles it.
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = fileURLToPath(new URL("..", import.meta.url))
const outdir = join(root, "dist", "cli")

/** `import { Effect } from "effect"` keeps whole modules; by their own names they lose what nobody calls. */
const effectByModule = {
  name: "effect by module",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => ({
      loader: "ts",
      contents: readFileSync(path, "utf8").replace(/^import \{([^}]*)\} from "effect"/gm, (_, names) =>
        names
          .split(",")
          .map((name) => /^\s*(type )?(\w+)(?: as (\w+))?\s*$/.exec(name))
          .map(([, type = "", name, local = name]) =>
            /^[A-Z]/.test(name)
              ? `import ${type}* as ${local} from "effect/${name}";`
              : `import { ${name} as ${local} } from "effect/Function";`
          )
          .join(" ")
      )
    }))
  }
}

/** What is installed beside the package stays there: native code, and CommonJS that loads its own files. */
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const external = Object.keys(dependencies).filter((name) => !name.startsWith("@effect/"))

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ["src/cli/main.ts"],
  outdir,
  chunkNames: "chunks/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  external,
  // For CommonJS that is bundled in and asks for Node's own modules.
  banner: {
    js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);'
  },
  plugins: [effectByModule],
  metafile: true,
  logLevel: "warning"
})
chmodSync(join(outdir, "main.js"), 0o755)

/** The licences of what has been bundled in. */
const folders = Object.keys(metafile.inputs).flatMap(
  (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []
)
const licences = [...new Set(folders)].sort().map((folder) => {
  const names = readdirSync(join(root, folder)).filter((name) => /^licen[cs]e/i.test(name))
  const texts = names.map((name) => readFileSync(join(root, folder, name), "utf8").trim())
  return [folder.replace(/^.*node_modules\//, ""), ...texts].join("\n\n")
})
writeFileSync(join(outdir, "LICENSES.txt"), `${licences.join(`\n\n${"-".repeat(80)}\n\n`)}\n`)

// What an earlier build has left; chunks are named by what they hold.
const written = new Set(Object.keys(metafile.outputs).map((file) => basename(file)))
for (const name of readdirSync(outdir)) {
  if (!["main.js", "LICENSES.txt", "chunks"].includes(name)) rmSync(join(outdir, name), { recursive: true })
}
for (const name of readdirSync(join(outdir, "chunks"))) {
  if (!written.has(name)) rmSync(join(outdir, "chunks", name))
}
