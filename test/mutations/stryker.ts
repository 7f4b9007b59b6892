/**
 * StrykerJS on the pure rooms: `npm run stryker -- merkle` (or `filter`, `memory`, `engine/write`). It makes every small
 * change it can think of and prints those that no test of the room notices, with a score. Most that survive change
 * nothing that can be seen; somebody has to look.
 *
 * Its 140 packages are installed into a temporary copy of the project, not among the project's own.
 */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
// The last that runs on Node 20.
const packages = ["@stryker-mutator/core@9.5.1", "@stryker-mutator/vitest-runner@9.5.1"]

/** The rooms, and the tests that judge them. */
const rooms: Readonly<Record<string, ReadonlyArray<string>>> = {
  merkle: ["test/merkle"],
  filter: ["test/filter"],
  memory: ["test/memory"],
  "engine/write": ["test/engine/write"]
}

const [room = "", ...named] = process.argv.slice(2)
const files = named.filter((name) => !name.startsWith("test/"))
const tests = named.length > files.length ? named.filter((name) => name.startsWith("test/")) : rooms[room]
if (tests === undefined) {
  console.error(
    `name a room: ${Object.keys(rooms).join(", ")}; and files of it, or tests, to look at them alone`
  )
  process.exit(2)
}

const copy = mkdtempSync(join(tmpdir(), "stryker-"))

const run = (command: string, ...args: ReadonlyArray<string>): number =>
  spawnSync(command, args, { cwd: copy, stdio: "inherit" }).status ?? 1

/** The project's packages beside those just installed: its own vitest runs the tests. */
const link = (scope = ""): void => {
  const from = join(root, "node_modules", scope)
  for (const name of readdirSync(from)) {
    const to = join(copy, "node_modules", scope, name)
    if (scope === "" && name.startsWith("@")) {
      mkdirSync(to, { recursive: true })
      link(name)
    } else if (!existsSync(to)) symlinkSync(join(from, name), to)
  }
}

const configuration = {
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner"],
  vitest: { configFile: "vitest.stryker.config.ts" },
  coverageAnalysis: "perTest",
  // What runs when a module is loaded breaks every test file, and vitest counts no test then.
  ignoreStatic: true,
  concurrency: 1,
  mutate: files.length > 0 ? files.map((file) => `src/${room}/${file}`) : [`src/${room}/**/*.ts`],
  // Words of messages are for people.
  mutator: { excludedMutations: ["StringLiteral"] },
  reporters: ["clear-text", "progress-append-only"],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  allowConsoleColors: false,
  checkers: [],
  disableTypeChecks: false,
  timeoutMS: 20_000
}

const vitestConfiguration = `export default {
  test: { include: ${JSON.stringify(tests.map((test) => (test.endsWith(".ts") ? test : `${test}/**/*.test.ts`)))}, testTimeout: 60000, globalSetup: ["test/support/compile.ts"] }
}
`

try {
  for (const name of ["src", "test", "docs", "scripts", "tsconfig.json"]) {
    cpSync(join(root, name), join(copy, name), { recursive: true })
  }
  // Peers are left out: the project has them.
  writeFileSync(join(copy, "package.json"), JSON.stringify({ private: true, type: "module" }))
  const installed = run("npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", ...packages)
  if (installed !== 0) throw new Error("Stryker could not be installed")
  link()
  cpSync(join(root, "package.json"), join(copy, "package.json"))
  writeFileSync(join(copy, "vitest.stryker.config.ts"), vitestConfiguration)
  writeFileSync(join(copy, "stryker.config.json"), JSON.stringify(configuration))
  process.exitCode = run("npx", "stryker", "run")
} finally {
  rmSync(copy, { recursive: true, force: true })
}
