/** The command as processes of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

export const root: string = fileURLToPath(new URL("../..", import.meta.url))
export const command: string = `${root}dist/cli/main.js`

export interface Result {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface Running {
  readonly child: ChildProcess
  readonly out: () => string
  readonly err: () => string
  readonly ended: Promise<Result>
}

const running = new Set<ChildProcess>()

/** Variables of whoever runs the tests must not reach the command. */
const environment = (extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SYNC_ENGINE_"))),
  ...extra
})

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
  /** What it reads on standard input; nothing unless given. */
  readonly input?: string
  readonly cwd?: string
}

/** Starts `sync-engine` with these arguments. */
export const start = (args: ReadonlyArray<string>, options: StartOptions = {}): Running => {
  const child = spawn(process.execPath, [command, ...args], {
    cwd: options.cwd ?? root,
    env: environment(options.env ?? {}),
    stdio: ["pipe", "pipe", "pipe"]
  })
  running.add(child)
  let out = ""
  let err = ""
  child.stdout.setEncoding("utf8").on("data", (data) => {
    out += String(data)
  })
  child.stderr.setEncoding("utf8").on("data", (data) => {
    err += String(data)
  })
  child.stdin.on("error", () => {})
  child.stdin.end(options.input ?? "")
  const ended = new Promise<Result>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code, signal) => {
      running.delete(child)
      resolve({ code, signal, out, err })
    })
  })
  return { child, out: () => out, err: () => err, ended }
}

/** Runs `sync-engine` to its end. */
export const cli = (args: ReadonlyArray<string>, options?: StartOptions): Promise<Result> =>
  start(args, options).ended

/** Ends whatever a failed test has left running. */
export const killAll = async (): Promise<void> => {
  const left = [...running]
  const gone = left.map((child) => new Promise<void>((resolve) => child.once("close", () => resolve())))
  for (const child of left) child.kill("SIGKILL")
  await Promise.all(gone)
}

/** Waits until the condition holds; fails when it does not within the bound. */
export const until = async (
  what: string,
  holds: () => boolean,
  within: { readonly ms?: number; readonly shown?: () => string } = {}
): Promise<void> => {
  const end = performance.now() + (within.ms ?? 60_000)
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what} did not come:\n${within.shown?.() ?? ""}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

export interface Daemon extends Running {
  readonly url: string
}

/** Starts `sync-engine run` on a free port and waits until it listens, or until it logs `awaited`. */
export const startDaemon = async (
  args: ReadonlyArray<string>,
  { awaited = '"message":"ready"', ...options }: StartOptions & { readonly awaited?: string } = {}
): Promise<Daemon> => {
  const daemon = start(["run", "--http-port", "0", ...args], options)
  await until(awaited, () => daemon.err().includes(awaited) || daemon.child.exitCode !== null, {
    shown: daemon.err
  })
  const url = /listening on (http:[^\s"]+)/.exec(daemon.err())?.[1]
  if (url === undefined) throw new Error(`it does not listen:\n${daemon.err()}`)
  return { ...daemon, url }
}

export interface LogLine {
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
}

export const logLines = (err: string): ReadonlyArray<LogLine> =>
  err
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as LogLine)

/** The shutdown reports among the log lines. */
export const reportsOf = (err: string): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  logLines(err)
    .filter(({ annotations }) => "items_left_in_log" in annotations)
    .map(({ annotations }) => annotations)

export interface ScannedItem {
  readonly id: string
  readonly version: number
  readonly state?: string
  readonly content?: unknown
  readonly contentBase64?: string
}

/** All items of a directory that nobody has open, after its root has been recomputed. */
export const inspect = async (dataDir: string): Promise<ReadonlyMap<string, ScannedItem>> => {
  const verified = await cli(["verify", "--offline", "--json", "--data-dir", dataDir])
  if (verified.code !== 0) throw new Error(`verify ended with ${verified.code}:\n${verified.err}`)
  const scanned = await cli(["scan", "--offline", "--json", "--data-dir", dataDir])
  if (scanned.code !== 0) throw new Error(`scan ended with ${scanned.code}:\n${scanned.err}`)
  const lines = scanned.out.split("\n").filter((line) => line !== "")
  return new Map(lines.map((line) => JSON.parse(line) as ScannedItem).map((item) => [item.id, item]))
}
