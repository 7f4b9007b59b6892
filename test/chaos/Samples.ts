/** What a long run measures of the daemon, how it is drawn, and what of it grows that must not. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { now } from "./Common.js"
import type { World } from "./World.js"

/** One point in time; undefined where there was no daemon, or no answer. */
export interface Sample {
  readonly at: number
  /** The daemon's life, counted from 1. */
  readonly life: number
  readonly values: Readonly<Record<Quantity, number | undefined>>
}

export type Quantity = keyof typeof quantities

/** What is measured, its unit, and how much more its last quarter of a life may be than its second. */
export const quantities = {
  memory: { unit: "MiB", factor: 1.3, more: 30 },
  descriptors: { unit: "open", factor: 1, more: 12 },
  log: { unit: "MiB", factor: 1.5, more: 8 },
  pending: { unit: "items", factor: 2, more: 2_000 },
  "put p50": { unit: "ms", factor: 2, more: 10 },
  "put p99": { unit: "ms", factor: 2, more: 100 },
  "get p50": { unit: "ms", factor: 2, more: 10 },
  "get p99": { unit: "ms", factor: 2, more: 100 }
} as const

const mebibyte = 1024 ** 2

/** Undefined when the process is gone meanwhile. */
const ofProcess = (read: () => number): number | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

const logBytes = (dataDir: string): number =>
  readdirSync(dataDir)
    .filter((name) => name.startsWith("wal"))
    .reduce((sum, name) => sum + statSync(join(dataDir, name)).size, 0)

export const quantile = (values: ReadonlyArray<number>, share: number): number | undefined => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

/** Asks as a client would, again and again, and remembers how long the answers took since the last look. */
export class Probe {
  private puts: Array<number> = []
  private gets: Array<number> = []

  constructor(private readonly world: World) {}

  async once(): Promise<void> {
    const put = await this.timed("PUT", { probe: Math.round(now()) })
    if (put !== undefined) this.puts.push(put)
    const get = await this.timed("GET")
    if (get !== undefined) this.gets.push(get)
  }

  private async timed(method: string, body?: unknown): Promise<number | undefined> {
    const start = now()
    const answer = await this.world.node.ask(method, "/items/probe", body)
    return answer !== undefined && answer.status < 300 ? now() - start : undefined
  }

  async sample(since: number): Promise<Sample> {
    const { dataDir, node } = this.world
    const { gets, puts } = this
    this.puts = []
    this.gets = []
    const { lives, pid } = node
    const status = await node.ask("GET", "/admin/status")
    const pending = status?.status === 200 ? Number(JSON.parse(status.text).stats.pending) : undefined
    const values = {
      memory: ofProcess(
        () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024
      ),
      descriptors: ofProcess(() => readdirSync(`/proc/${pid}/fd`).length),
      log: ofProcess(() => logBytes(dataDir) / mebibyte),
      pending,
      "put p50": quantile(puts, 0.5),
      "put p99": quantile(puts, 0.99),
      "get p50": quantile(gets, 0.5),
      "get p99": quantile(gets, 0.99)
    }
    return { at: now() - since, life: lives, values }
  }
}

const known = (samples: ReadonlyArray<Sample>, name: Quantity): ReadonlyArray<number> =>
  samples.flatMap(({ values }) => values[name] ?? [])

/**
 * What grew in the longest life: the median of its last quarter against that of its second; the first is for warming up.
 * Medians, so that an outage does not count.
 */
export const growth = (samples: ReadonlyArray<Sample>): ReadonlyArray<string> => {
  const lives = new Map<number, Array<Sample>>()
  for (const sample of samples) lives.set(sample.life, [...(lives.get(sample.life) ?? []), sample])
  const longest = [...lives.values()].reduce((a, b) => (b.length > a.length ? b : a), [])
  const quarter = Math.floor(longest.length / 4)
  if (quarter < 3) return [`no life is long enough to be judged: ${longest.length} samples`]
  return (Object.keys(quantities) as Array<Quantity>).flatMap((name) => {
    const { factor, more, unit } = quantities[name]
    const [before, after] = [longest.slice(quarter, 2 * quarter), longest.slice(-quarter)].map((part) =>
      quantile(known(part, name), 0.5)
    )
    if (before === undefined || after === undefined) return [`${name}: not measured`]
    return after <= before * factor + more
      ? []
      : [`${name} grew from ${before.toFixed(1)} to ${after.toFixed(1)} ${unit} in one life`]
  })
}

const blocks = "▁▂▃▄▅▆▇█"

/** One line for a quantity: its highest values over time between nothing and its maximum. */
const line = (values: ReadonlyArray<number | undefined>, width: number): string => {
  const highest = Math.max(...values.map((value) => value ?? 0), Number.MIN_VALUE)
  return Array.from({ length: Math.min(width, values.length) }, (_, column) => {
    const columns = Math.min(width, values.length)
    const part = values
      .slice(
        Math.floor((column * values.length) / columns),
        Math.floor(((column + 1) * values.length) / columns)
      )
      .filter((value) => value !== undefined)
    if (part.length === 0) return " "
    return blocks[Math.min(blocks.length - 1, Math.floor((Math.max(...part) / highest) * blocks.length))]
  }).join("")
}

/** All quantities over time, and below them where something happened. */
export const plot = (
  samples: ReadonlyArray<Sample>,
  events: ReadonlyArray<{ readonly at: number; readonly sign: string }>,
  width = 90
): string => {
  const rows = (Object.keys(quantities) as Array<Quantity>).map((name) => {
    const values = known(samples, name)
    const text = [quantile(values, 0), quantile(values, 0.5), quantile(values, 1)]
      .map((value) => value?.toFixed(value < 10 ? 1 : 0) ?? "-")
      .join(" / ")
    const drawn = line(
      samples.map((sample) => sample.values[name]),
      width
    )
    return `${name.padEnd(12)} ${drawn}  ${text} ${quantities[name].unit}`
  })
  const last = samples.at(-1)?.at ?? 1
  const signs = Array.from({ length: Math.min(width, samples.length) }, () => " ")
  for (const { at, sign } of events) {
    signs[Math.min(signs.length - 1, Math.floor((at / last) * signs.length))] = sign
  }
  return [...rows, `${"events".padEnd(12)} ${signs.join("")}  (right: least / median / most)`].join("\n")
}
