// Packs the package, installs it into a foreign project by README's own line, type-checks that project and runs it.
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
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

  // As a reader of README would: its own line, in an empty folder, with the packed package in the name's place.
  const line = /^npm install effect-sync-engine .*$/m.exec(readFileSync(join(root, "README.md"), "utf8"))?.[0]
  if (line === undefined) throw new Error("README has no line that installs the package")
  const [, install, name, ...peers] = line.split(" ")
  const application = join(work, "orders")
  mkdirSync(application)
  const npm = (...args) => run("npm", [...args, "--no-progress", "--no-audit", "--no-fund"], application)
  npm(install, join(work, filename), ...peers)
  const installed = (name) =>
    JSON.parse(readFileSync(join(application, "node_modules", name, "package.json"), "utf8"))
  const tree = JSON.parse(run("npm", ["ls", "effect", "--all", "--json"], application))
  if (tree.problems?.length > 0) throw new Error(tree.problems.join("\n"))
  for (const [peer, range] of Object.entries(installed(name).peerDependencies)) {
    console.log(`${peer}: ${range} is asked for, ${installed(peer).version} was installed`)
  }

  const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const development = ["typescript", "@types/node"].map((tool) => `${tool}@${own.devDependencies[tool]}`)
  npm("install", "--save-dev", ...development)
  npm("pkg", "set", "type=module")
  cpSync(join(root, "examples", "orders"), application, { recursive: true })
  run(
    "npx",
    ["--no-install", "tsc", "-p", "tsconfig.json", "--noEmit", "false", "--outDir", "build"],
    application
  )
  process.stdout.write(run("node", ["build/main.js"], application))
  // Over the application's own SqlClient: with a server of its own, which has to be there (or `MYSQL_URL`).
  const shared = join(application, "shared-sql")
  cpSync(join(root, "examples", "shared-sql"), shared, { recursive: true })
  run("npx", ["--no-install", "tsc", "-p", "tsconfig.json", "--noEmit", "false", "--outDir", "build"], shared)
  const withMysql = ["--no-install", "tsx", "test/support/withMysql.ts"]
  process.stdout.write(run("npx", [...withMysql, "node", join(shared, "build", "main.js")], root))
  writeFileSync(join(application, "items.ndjson"), '{"id":"a.b","content":[1, 2]}\n')

  // An application's tests, on an engine in memory.
  const tested = join(application, "testing")
  const runners = ["vitest", "@effect/vitest"].map((tool) => `${tool}@${own.devDependencies[tool]}`)
  npm("install", "--save-dev", ...runners)
  cpSync(join(root, "examples", "testing"), tested, { recursive: true })
  run("npx", ["--no-install", "tsc", "-p", join("testing", "tsconfig.json")], application)
  process.stdout.write(run("npx", ["--no-install", "vitest", "run", "testing"], application))

  const version = run("npx", ["--no-install", "sync-engine", "--version"], application).trim()
  if (!version.includes(own.version)) throw new Error(`sync-engine --version says ${version}`)
  // With a log and an archive: their threads run files of the package, beside the bundled command.
  const place = ["--data-dir", "command-data"]
  run("npx", ["--no-install", "sync-engine", "ingest", "items.ndjson", ...place], application)
  const item = run("npx", ["--no-install", "sync-engine", "get", "a.b", "--offline", ...place], application)
  if (item !== "[1, 2]") throw new Error(`sync-engine get says ${item}`)
  console.log(
    `packed ${filename} (${files.length} files): installed, type-checked and run in a foreign project`
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
