// Packs the package, installs it into a foreign project, type-checks that project and runs it.
import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const work = mkdtempSync(join(tmpdir(), "sync-engine-package-"))
const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" })

try {
  const packed = JSON.parse(run("npm", ["pack", "--json", "--silent", "--pack-destination", work], root))
  // npm 11 answers with an array, newer ones with an object by package name.
  const { filename, files } = Array.isArray(packed) ? packed[0] : Object.values(packed)[0]
  const strays = files.filter(
    ({ path }) => !/^(dist|docs)\/|^(README\.md|CHANGELOG\.md|LICENSE|package\.json)$/.test(path)
  )
  if (strays.length > 0) throw new Error(`the package holds what it should not: ${strays[0].path}`)

  const application = join(work, "orders")
  cpSync(join(root, "examples", "orders"), application, { recursive: true })
  const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const manifest = JSON.parse(readFileSync(join(application, "package.json"), "utf8"))
  manifest.dependencies = {
    "effect-sync-engine": `file:${join(work, filename)}`,
    ...Object.fromEntries(Object.keys(own.peerDependencies).map((name) => [name, own.devDependencies[name]]))
  }
  manifest.devDependencies = {
    typescript: own.devDependencies.typescript,
    "@types/node": own.devDependencies["@types/node"]
  }
  manifest.allowScripts = own.allowScripts
  writeFileSync(join(application, "package.json"), JSON.stringify(manifest, null, 2))
  run("npm", ["install", "--no-progress", "--no-audit", "--no-fund"], application)
  process.stdout.write(run("npm", ["run", "--silent", "start"], application))
  const version = run("npx", ["--no-install", "sync-engine", "--version"], application).trim()
  if (!version.includes(own.version)) throw new Error(`sync-engine --version says ${version}`)
  console.log(
    `packed ${filename} (${files.length} files): installed, type-checked and run in a foreign project`
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
