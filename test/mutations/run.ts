/**
 * Puts deliberate defects into a copy of the project, one after the other, and runs the tests that should notice.
 * A defect that no test notices fails the run, as does one whose place in the source cannot be found any more.
 *
 * `npm run mutations` runs those that unit tests notice; `npm run mutations -- --all` adds those that need servers or
 * processes; `npm run mutations -- clock release` runs those whose names hold one of the words; `-- --check` only looks
 * whether every defect has its place and its tests.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { stripVTControlCharacters } from "node:util"
import { invented } from "./invented.js"
import { type Mutation, mutations } from "./mutations.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const copied = [
  "src",
  "test",
  "docs",
  "scripts",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "vitest.config.ts"
]

/** Why a defect cannot be put in, or could not be noticed. */
const misplaced = ({ file, find, name, replace, tests }: Mutation): ReadonlyArray<string> => {
  const places = existsSync(join(root, file))
    ? readFileSync(join(root, file), "utf8").split(find).length - 1
    : 0
  return [
    ...(places === 1 ? [] : [`${name}: its place stands ${places} times in ${file}`]),
    ...(find === replace ? [`${name}: changes nothing`] : []),
    ...(tests.length === 0 ? [`${name}: has no tests`] : []),
    ...tests.filter((test) => !existsSync(join(root, test))).map((test) => `${name}: there is no ${test}`)
  ]
}

const stop = (problem: string): never => {
  console.error(problem)
  process.exit(2)
}

const words = process.argv.slice(2).filter((word) => !word.startsWith("--"))
const switches = process.argv.slice(2).filter((word) => word.startsWith("--"))
const unknown = switches.find((word) => word !== "--all" && word !== "--check")
if (unknown !== undefined) stop(`${unknown} is not known`)
const known = [...mutations, ...invented]
const named = known.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
if (named.length === 0) stop(`no defect's name holds ${words.join(" or ")}`)
const wrong = named.flatMap(misplaced)
if (wrong.length > 0) stop(wrong.join("\n"))
if (switches.includes("--check")) {
  console.log(`${named.length} defects have their place and their tests`)
  process.exit(0)
}

const copy = mkdtempSync(join(tmpdir(), "mutations-"))
for (const name of copied) cpSync(join(root, name), join(copy, name), { recursive: true })
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))

interface Outcome {
  readonly passed: number
  readonly failed: ReadonlyArray<string>
  /** How long each file took, by its path in the project. */
  readonly seconds: ReadonlyMap<string, number>
}

interface Report {
  readonly numPassedTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly startTime: number
    readonly endTime: number
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

/**
 * Runs test files in the copy. Fails when vitest itself could not run, which is no verdict on a defect; a run that does
 * not end in time, or fails outside of the tests, has failed.
 */
const runTests = (files: ReadonlyArray<string>, seconds: number, bail: boolean): Outcome => {
  const output = join(copy, "results.json")
  rmSync(output, { force: true })
  const vitest = [
    "npx",
    "vitest",
    "run",
    "--retry=0",
    "--reporter=json",
    "--reporter=dot",
    `--outputFile=${output}`
  ]
  // Ends the workers and servers as well, which a test that hangs would leave behind.
  const bounded = ["--signal=KILL", String(Math.ceil(seconds)), ...vitest, ...(bail ? ["--bail=1"] : [])]
  const run = spawnSync("timeout", [...bounded, ...files], {
    cwd: copy,
    encoding: "utf8",
    // Whoever logs much is no failure.
    maxBuffer: 1e9
  })
  if (run.signal === "SIGKILL") {
    return { passed: 0, failed: [`no end within ${Math.ceil(seconds)} s`], seconds: new Map() }
  }
  let report: Report
  try {
    report = JSON.parse(readFileSync(output, "utf8")) as Report
  } catch {
    throw new Error(`vitest did not run:\n${run.stdout}\n${run.stderr}`)
  }
  const all = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const failed = all.filter(({ status }) => status === "failed").map(({ fullName }) => fullName)
  if (failed.length === 0 && run.status !== 0) {
    // Only the reporter for readers shows it.
    failed.push(
      /^\S*Error: .*$/m.exec(stripVTControlCharacters(run.stderr))?.[0] ?? "an error outside of the tests"
    )
  }
  return {
    passed: report.numPassedTests,
    failed,
    seconds: new Map(
      report.testResults.map(({ endTime, name, startTime }) => [
        relative(copy, name),
        (endTime - startTime) / 1_000
      ])
    )
  }
}

const isSlow = (test: string): boolean => /^test\/(integration|process)\//.test(test)

const problemOf = (mutation: Mutation, usual: Outcome["seconds"]): string | undefined => {
  const seconds = mutation.tests.reduce((sum, test) => sum + 10 * (usual.get(test) ?? 0), 120)
  const path = join(copy, mutation.file)
  const source = readFileSync(path, "utf8")
  // A function, because a replacement text must not be read as a pattern.
  writeFileSync(
    path,
    source.replace(mutation.find, () => mutation.replace)
  )
  try {
    const { failed, passed } = runTests(mutation.tests, seconds, true)
    if (failed.length === 0) return `survived ${passed} tests of ${mutation.tests.join(", ")}`
    console.log(`caught    ${mutation.name}: ${failed[0]}`)
    return undefined
  } finally {
    writeFileSync(path, source)
  }
}

try {
  const all = words.length > 0 || switches.includes("--all")
  const chosen = named.filter(({ tests }) => all || !tests.some(isSlow))
  if (chosen.length < named.length) {
    console.log(
      `left out  ${named.length - chosen.length} that need servers or processes; --all runs them too`
    )
  }
  if (chosen.length === 0) throw new Error("all of them need servers or processes: add --all")
  const sound = runTests([...new Set(chosen.flatMap(({ tests }) => tests))], 3_600, false)
  if (sound.passed === 0 || sound.failed.length > 0) {
    throw new Error(`nothing can be said: without any defect ${sound.failed.join(", ") || "no test"} ran`)
  }
  const problems: Array<string> = []
  for (const mutation of chosen) {
    const problem = problemOf(mutation, sound.seconds)
    if (problem === undefined) continue
    problems.push(problem)
    console.log(`SURVIVED  ${mutation.name}: ${problem}`)
  }
  console.log(`${chosen.length - problems.length} of ${chosen.length} defects caught`)
  process.exitCode = problems.length === 0 ? 0 : 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
