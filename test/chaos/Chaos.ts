/** One run: the world, its load, its faults, and what is to be said about it. */
import { type ChildProcess, spawn } from "node:child_process"
import { createReadStream, existsSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Chance } from "../process/durability/Chance.js"
import { now } from "./Common.js"
import { endState } from "./EndState.js"
import { faultsOf } from "./Faults.js"
import { type HistoryRecord, Judge, type Judgement, type Violation } from "./History.js"
import type { LoadOptions } from "./Load.js"
import { play, type Stood } from "./Schedule.js"
import { openWorld, type World } from "./World.js"

export interface ChaosOptions {
  readonly seed: number
  readonly seconds: number
  /** A Redis Cluster in place of one Redis. */
  readonly cluster?: boolean
  /** A Galera cluster in place of one MariaDB. */
  readonly galera?: boolean
  readonly loads: number
  readonly clients: number
  readonly say: (line: string) => void
}

export interface ChaosResult {
  readonly judgement: Judgement
  /** What is wrong besides the history's violations. */
  readonly problems: ReadonlyArray<string>
  readonly faults: ReadonlyArray<Stood>
  readonly perKind: ReadonlyMap<string, number>
  /** By what the calls ended with. */
  readonly outcomes: ReadonlyMap<string, number>
  readonly lives: number
  readonly leftOut: ReadonlyArray<string>
}

const loadFile = fileURLToPath(new URL("Load.ts", import.meta.url))

export const startLoads = (world: World, options: Pick<ChaosOptions, "seed" | "loads" | "clients">) => {
  const files: Array<string> = []
  const children: Array<ChildProcess> = []
  for (let n = 0; n < options.loads; n++) {
    const out = join(world.directory, `load${n}.ndjson`)
    const load: LoadOptions = {
      ...{ name: `p${n}`, urls: [world.node.url], out, seed: options.seed + n, clients: options.clients }
    }
    const child = spawn(process.execPath, ["--import", "tsx", loadFile, JSON.stringify(load)], {
      stdio: ["ignore", "inherit", "inherit"]
    })
    process.once("exit", () => child.kill("SIGKILL"))
    files.push(out)
    children.push(child)
  }
  const stop = () =>
    Promise.all(
      children.map((child) => {
        if (child.exitCode !== null) return child.exitCode
        const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)))
        child.kill("SIGTERM")
        return ended
      })
    )
  return { files, stop }
}

type Line = HistoryRecord | { readonly kind: "refused read"; readonly status: string; readonly end: number }

/** Reads what has been put down, and counts. */
export const judgeFiles = async (files: ReadonlyArray<string>, notes: ReadonlyArray<HistoryRecord>) => {
  const judge = new Judge()
  for (const record of notes) judge.take(record)
  const outcomes = new Map<string, number>()
  const internal: Array<string> = []
  const count = (name: string) => outcomes.set(name, (outcomes.get(name) ?? 0) + 1)
  for (const file of files.filter((one) => existsSync(one))) {
    for await (const text of createInterface({ input: createReadStream(file) })) {
      const line = JSON.parse(text) as Line
      if (line.kind === "refused read") {
        count(`read ${line.status}`)
        if (line.status.startsWith("500")) internal.push(text)
        continue
      }
      judge.take(line)
      if (line.kind === "read") count("read")
      if (line.kind !== "write") continue
      count(`write ${line.outcome}${line.status === undefined ? "" : ` ${line.status}`}`)
      if (line.status?.startsWith("500") === true) internal.push(text)
    }
  }
  const problems = internal.slice(0, 5).map((text) => `an internal error was answered: ${text}`)
  return { judgement: judge.result(), outcomes, problems }
}

/** A violation with the calls and the faults around it. */
export const describeViolation = (
  { lines, what, why }: Violation,
  { faults }: Pick<ChaosResult, "faults">
): string => {
  const times = lines.flatMap((line) => ("start" in line ? [line.start, line.end] : []))
  const from = Math.min(...times) - 5_000
  const around = faults.filter((fault) => fault.from <= Math.max(...times) && fault.to >= from)
  return [`${what}: ${why}`, ...[...lines, ...around].map((line) => `  ${JSON.stringify(line)}`)].join("\n")
}

export const chaos = async (options: ChaosOptions): Promise<ChaosResult> => {
  const { say, seconds, seed } = options
  const problems: Array<string> = []
  const faults: Array<Stood> = []
  const perKind = new Map<string, number>()
  const notes: Array<HistoryRecord> = []
  const note = (record: HistoryRecord) => notes.push(record)
  const onFall = (served: boolean, log: string) => {
    // A start may fail while SQL is gone. Who serves does not end by itself.
    if (served) problems.push(`the daemon ended by itself:\n${log.slice(-3_000)}`)
    else perKind.set("(starts that failed)", (perKind.get("(starts that failed)") ?? 0) + 1)
  }
  const opened = now()
  const world = await openWorld({
    seed,
    cluster: options.cluster === true,
    galera: options.galera === true,
    note,
    onFall
  })
  say(`MariaDB and Redis stand after ${Math.round(now() - opened)} ms`)
  const leftOut = [
    ...(world.setClock === undefined ? ["clock steps (no libfaketime here: apt-get install faketime)"] : []),
    ...(world.bounded ? [] : ["a full disk (no tmpfs can be mounted)"])
  ]
  try {
    world.node.start()
    const first = await world.node.rest(60_000)
    if (first !== undefined) throw new Error(`it does not start: ${first}\n${world.node.log}`)
    const load = startLoads(world, options)
    const all = faultsOf(world)
    for (const { kind } of all) perKind.set(kind, 0)
    const begun = now()
    const onStood = (stood: Stood) => {
      faults.push(stood)
      perKind.set(stood.kind, perKind.get(stood.kind)! + 1)
      if (/^disk|^log/.test(stood.kind))
        note({ kind: "trouble", node: 0, from: stood.from - 200, to: stood.to + 3_000 })
    }
    const rest = async () => {
      const from = now()
      // While clients write there is always something pending: it may not grow old.
      if (!(await world.node.started(60_000))) problems.push("it does not serve a minute after the faults")
      say(
        `${Math.round((now() - begun) / 1_000)} s: ${faults.length} faults, rested for ${Math.round(now() - from)} ms`
      )
    }
    try {
      await play({ chance: new Chance(seed), faults: all, seconds, onStood, rest })
    } catch (error) {
      problems.push(String(error))
    }
    say("faults over")
    const codes = await load.stop()
    if (codes.some((code) => code !== 0)) problems.push(`the load ended with ${codes.join()}`)
    problems.push(...(await endState(world, note, say)))
    const judged = await judgeFiles(load.files, notes)
    return {
      judgement: judged.judgement,
      problems: [...problems, ...judged.problems],
      outcomes: judged.outcomes,
      ...{ faults, perKind, leftOut, lives: world.node.lives }
    }
  } finally {
    await world.close()
  }
}
