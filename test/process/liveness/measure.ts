/**
 * How soon the daemon answers while clients write as fast as they can. By hand, after `npm run build`:
 * `npx tsx test/process/liveness/measure.ts '{"seconds":300,"writers":16,"large":8}' [daemon flags…]`
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import http from "node:http"
import { loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { killAll, startDaemon } from "../support.js"

export interface Load {
  readonly seconds: number
  readonly writers?: number
  readonly lines?: number
  readonly bytes?: number
  readonly large?: number
  readonly largeBytes?: number
}

export interface Latency {
  readonly count: number
  readonly failures: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export interface Turns {
  readonly turns: number
  readonly busyMs: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** How much of the busy time is spent in longer turns. */
  readonly shareAbove25: number
  readonly shareAbove50: number
}

export interface Measured {
  readonly health: Latency
  /** `GET /items?limit=1` */
  readonly page: Latency
  /** `GET /merkle/root` */
  readonly root: Latency
  readonly written: number
  readonly statuses: Readonly<Record<string, number>>
  /** Of the daemon's event loop, in milliseconds of processor time. */
  readonly turns: Turns
  readonly memoryMiB: number
  readonly pending: number
  readonly loadAverage: number
}

const get = (agent: http.Agent, url: string): Promise<{ readonly status: number; readonly body: string }> =>
  new Promise((resolve) => {
    const request = http.get(url, { agent, timeout: 30_000 }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text
      })
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }))
    })
    request.on("timeout", () => request.destroy(new Error("timeout")))
    request.on("error", () => resolve({ status: 0, body: "" }))
  })

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN) * 10) / 10

/** Asks again and again until the end; a new question `everyMs` after the last answer. */
const probe = async (url: string, everyMs: number, end: number): Promise<Latency> => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const times: Array<number> = []
  let failures = 0
  while (performance.now() < end) {
    const from = performance.now()
    const { status } = await get(agent, url)
    times.push(performance.now() - from)
    if (status !== 200) failures++
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
  agent.destroy()
  times.sort((a, b) => a - b)
  return {
    count: times.length,
    failures,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    max: percentile(times, 1)
  }
}

export const measure = async (load: Load, flags: ReadonlyArray<string> = []): Promise<Measured> => {
  const directory = mkdtempSync(join(tmpdir(), "liveness-"))
  const turns = join(directory, "turns.json")
  const preload = new URL("turns.mjs", import.meta.url).href
  const daemon = await startDaemon(
    ["--data-dir", join(directory, "data"), "--log-format", "json", ...flags],
    {
      env: { NODE_OPTIONS: `--import=${preload}`, LIVENESS_TURNS: turns }
    }
  )
  const clients = spawn(
    process.execPath,
    [
      fileURLToPath(new URL("clients.mjs", import.meta.url)),
      daemon.url,
      JSON.stringify({ largeBytes: 14 * 1024 * 1024, ...load })
    ],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  let said = ""
  clients.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text
  })
  const gone = new Promise<void>((resolve) => clients.once("close", () => resolve()))
  try {
    const end = performance.now() + load.seconds * 1000
    const [health, page, root] = await Promise.all([
      probe(`${daemon.url}/health/live`, 20, end),
      probe(`${daemon.url}/items?limit=1`, 200, end),
      probe(`${daemon.url}/merkle/root`, 1000, end)
    ])
    const memory = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.child.pid}/status`, "utf8"))?.[1]
    const status = await get(new http.Agent(), `${daemon.url}/admin/status`)
    clients.kill("SIGTERM")
    await gone
    const { statuses, written } = JSON.parse(said) as Pick<Measured, "statuses" | "written">
    return {
      health,
      page,
      root,
      written,
      statuses,
      turns: JSON.parse(readFileSync(turns, "utf8")) as Turns,
      memoryMiB: Math.round(Number(memory) / 1024),
      pending: Number(/"pending":(\d+)/.exec(status.body)?.[1]),
      loadAverage: loadavg()[0]!
    }
  } finally {
    clients.kill("SIGKILL")
    await killAll()
    rmSync(directory, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [load = '{"seconds":20}', ...flags] = process.argv.slice(2)
  console.log(JSON.stringify(await measure(JSON.parse(load) as Load, flags), undefined, 2))
}
