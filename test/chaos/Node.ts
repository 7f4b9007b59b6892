/** The daemon, started again whenever it is gone, as a supervisor would. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { command, reportsOf } from "../process/support.js"
import { now, sleep } from "./Common.js"
import type { HistoryRecord } from "./History.js"

export interface NodeOptions {
  readonly number: number
  readonly port: number
  readonly logFile: string
  /** Of each of its lives. */
  readonly args: () => ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly note: (record: HistoryRecord) => void
  /** It ended by itself. `served` says whether it had got so far. */
  readonly onFall: (served: boolean, log: string) => void
}

export interface Stopped {
  readonly code: number | null
  readonly report: Readonly<Record<string, unknown>> | undefined
  readonly log: string
}

export class Node {
  readonly url: string
  readonly logFile: string
  lives = 0
  private child: ChildProcess | undefined
  private gone: Promise<void> = Promise.resolve()
  private wanted = false
  private logFrom = 0

  constructor(private readonly options: NodeOptions) {
    this.logFile = options.logFile
    this.url = `http://127.0.0.1:${options.port}`
  }

  get pid(): number | undefined {
    return this.child?.pid
  }

  /** What it has logged in this life. */
  get log(): string {
    return readFileSync(this.options.logFile).subarray(this.logFrom).toString()
  }

  start(): void {
    const { args, env, logFile, onFall, port } = this.options
    this.wanted = true
    this.lives++
    const log = openSync(logFile, "a")
    this.logFrom = readFileSync(logFile).length
    const child = spawn(process.execPath, [command, "run", "--http-port", String(port), ...args()], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", log, log]
    })
    closeSync(log)
    this.child = child
    const orphaned = () => child.kill("SIGKILL")
    process.once("exit", orphaned)
    this.gone = new Promise((resolve) =>
      child.once("exit", () => {
        process.removeListener("exit", orphaned)
        this.child = undefined
        resolve()
        if (!this.wanted) return
        const text = this.log
        onFall(text.includes('"message":"ready"'), text)
        setTimeout(() => this.wanted && this.child === undefined && this.start(), 200)
      })
    )
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.wanted = false
    this.child?.kill("SIGKILL")
    await this.gone
    this.options.note({ kind: "death", node: this.options.number, at: now() })
  }

  /** SIGTERM, to its end. */
  async stop(): Promise<Stopped> {
    this.wanted = false
    const { child } = this
    if (child === undefined) return { code: null, report: undefined, log: "" }
    const timer = setTimeout(() => child.kill("SIGKILL"), 60_000)
    child.kill("SIGTERM")
    await this.gone
    clearTimeout(timer)
    const log = this.log
    this.options.note({ kind: "death", node: this.options.number, at: now() })
    return { code: child.exitCode, report: reportsOf(log)[0], log }
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name)
  }

  /** Calls the daemon; undefined without an answer. */
  async ask(
    method: string,
    path: string,
    body?: unknown
  ): Promise<{ readonly status: number; readonly text: string; readonly version: number } | undefined> {
    try {
      const response = await fetch(this.url + path, {
        method,
        signal: AbortSignal.timeout(120_000),
        ...(body === undefined
          ? {}
          : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
      })
      const version = Number(response.headers.get("etag")?.replaceAll('"', "") ?? 0)
      return { status: response.status, text: await response.text(), version }
    } catch {
      return undefined
    }
  }

  /** Waits until its start is over, or the bound is. */
  async started(boundMs: number): Promise<boolean> {
    for (const end = now() + boundMs; now() < end; await sleep(50)) {
      if ((await this.ask("GET", "/health/startup"))?.status === 200) return true
    }
    return false
  }

  /** Waits until everything is archived and the cache is trusted; returns what is missing after the bound. */
  async rest(boundMs: number): Promise<string | undefined> {
    const end = now() + boundMs
    for (;;) {
      const answer = await this.ask("GET", "/admin/status")
      const status = answer?.status === 200 ? (JSON.parse(answer.text) as Status) : undefined
      if (
        status?.stats.pending === 0 &&
        status.health.cache.trusted &&
        status.health.accepts_writes &&
        status.health.accepts_queries &&
        status.health.degraded.length === 0
      ) {
        return undefined
      }
      if (now() > end) return answer?.text ?? "it does not answer"
      await sleep(100)
    }
  }
}

interface Status {
  readonly health: {
    readonly accepts_writes: boolean
    readonly accepts_queries: boolean
    readonly cache: { readonly trusted: boolean }
    readonly degraded: ReadonlyArray<unknown>
  }
  readonly stats: { readonly pending: number; readonly dead_letters: number }
}
