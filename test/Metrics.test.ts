import { describe, expect, it } from "@effect/vitest"
import { Metric } from "effect"
import { encodeMetrics } from "../src/http/handlers/MetricsHandlers.js"
import { bootStages, phases } from "../src/Lifecycle.js"
import * as Metrics from "../src/Metrics.js"
import type { EngineHealth, EngineStats } from "../src/SyncEngine.js"
import { parseExposition } from "./support/Exposition.js"

const scrape = () => parseExposition(encodeMetrics(Metric.unsafeSnapshot()))

/** The value of one series; the name without the prefix, labels as `label=value`. */
const value = (name: string, ...labels: ReadonlyArray<string>): number | undefined => {
  for (const { samples } of scrape().values()) {
    for (const sample of samples) {
      const found = Object.entries(sample.labels).map(([label, text]) => `${label}=${text}`)
      if (sample.name === Metrics.prefix + name && found.join() === labels.join()) return sample.value
    }
  }
  return undefined
}

const health: EngineHealth = {
  lifecycle: { phase: "ready", bootStage: "Running", reason: undefined, drainRequested: false },
  acceptsWrites: true,
  acceptsQueries: true,
  readOnly: false,
  degraded: [],
  archive: { dialect: "sqlite", target: "sqlite:", available: true },
  cache: { configured: true, available: true, trusted: true },
  filter: { trusted: true, entries: 12, reason: undefined },
  backpressure: { level: "Warn", pressure: 0.75 }
}

const stats: EngineStats = {
  startedAtMs: 0,
  uptimeMs: 2_500,
  log: {
    items: 1,
    bytes: 2,
    letters: 0,
    letterBytes: 0,
    maxItems: 3,
    maxBytes: 4,
    committed: 5,
    released: 4
  },
  memory: { items: 6, bytes: 7, maxBytes: 8, hits: 10, misses: 20, evictions: 30 },
  pending: 9,
  acknowledged: 0,
  archived: 0,
  superseded: 0,
  deadLetters: 11,
  flushes: { count: 0, bytes: 0, age: 0, forced: 0, recovery: 0, shutdown: 0 },
  flushFailures: 0,
  startupTimings: [
    ["wal_init", 250],
    ["something else", 1]
  ]
}

describe("updates", () => {
  it.each<readonly [string, () => void, string, ReadonlyArray<string>, number]>([
    [
      "acknowledged",
      () => Metrics.acknowledged("wal", 7),
      "acknowledged_writes_total",
      ["durability=wal"],
      7
    ],
    ["rejected", () => Metrics.rejected("LogFull", 3), "rejected_writes_total", ["error=LogFull"], 3],
    ["groupCommitted", () => Metrics.groupCommitted(5), "log_commits_total", [], 1],
    ["groupCommitted", () => Metrics.groupCommitted(5), "log_committed_items_total", [], 5],
    ["flushed", () => Metrics.flushed("bytes", 4, 20), "flushed_batches_total", ["reason=bytes"], 1],
    ["flushed", () => Metrics.flushed("age", 4, 20), "flushed_items_total", [], 4],
    ["flushed", () => Metrics.flushed("age", 4, 20), "flush_duration_seconds_sum", [], 0.02],
    ["flushed", () => Metrics.flushed("age", 4, 20), "flush_duration_seconds_bucket", ["le=0.025"], 1],
    ["flushed", () => Metrics.flushed("age", 4, 20), "flush_duration_seconds_bucket", ["le=0.01"], 0],
    ["flushFailed", () => Metrics.flushFailed(), "flush_failures_total", [], 1],
    [
      "archiveCommitted",
      () => Metrics.archiveCommitted(90_000),
      "archive_commit_duration_seconds_count",
      [],
      1
    ],
    [
      "archiveCommitted",
      () => Metrics.archiveCommitted(90_000),
      "archive_commit_duration_seconds_bucket",
      ["le=30"],
      0
    ],
    [
      "archiveCommitted",
      () => Metrics.archiveCommitted(90_000),
      "archive_commit_duration_seconds_bucket",
      ["le=+Inf"],
      1
    ],
    ["lost", () => Metrics.lost(3), "lost_writes_total", [], 3],
    ["superseded", () => Metrics.superseded(2), "superseded_items_total", [], 2],
    ["deadLettered", () => Metrics.deadLettered(2), "dead_letters_total", [], 2],
    ["read", () => Metrics.read("filter", 6), "reads_total", ["tier=filter"], 6],
    ["cacheFailed", () => Metrics.cacheFailed(2), "cache_errors_total", [], 2],
    ["watchdogAlert", () => Metrics.watchdogAlert(), "watchdog_alerts_total", [], 1],
    ["changesPublished", () => Metrics.changesPublished(8), "change_stream_entries_total", [], 8]
  ])("%s adds to %s", (_, update, name, labels, by) => {
    const before = value(name, ...labels)
    expect(before).toBeDefined()
    update()
    expect(value(name, ...labels)! - before!).toBeCloseTo(by, 10)
  })

  it("dutyFailed makes a counter for each duty", () => {
    expect(value("fiber_restarts_total", "duty=log drain")).toBeUndefined()
    Metrics.dutyFailed("log drain")
    Metrics.dutyFailed("log drain")
    Metrics.dutyFailed("flush")
    expect(value("fiber_restarts_total", "duty=log drain")).toBe(2)
    expect(value("fiber_restarts_total", "duty=flush")).toBe(1)
  })
})

describe("names", () => {
  it("units and totals stand at the end; counters end in _total, nothing else does", () => {
    const families = scrape()
    expect(families.size).toBeGreaterThan(30)
    for (const [name, { help, type }] of families) {
      expect(name.startsWith(Metrics.prefix)).toBe(true)
      expect(help, name).toBeDefined()
      expect(name.endsWith("_total"), name).toBe(type === "counter")
      if (type === "histogram") expect(name).toMatch(/_seconds$/)
    }
  })
})

describe("makeObserver", () => {
  it("sets every gauge from health and stats", () => {
    Metrics.makeObserver()({ health, stats })
    const expected: ReadonlyArray<readonly [number, string, ...ReadonlyArray<string>]> = [
      [1, "log_items"],
      [2, "log_bytes"],
      [3, "log_max_items"],
      [4, "log_max_bytes"],
      [9, "pending_items"],
      [11, "dead_letters"],
      [6, "memory_items"],
      [7, "memory_bytes"],
      [8, "memory_max_bytes"],
      [1, "cache_state", "state=connected"],
      [0, "cache_state", "state=none"],
      [1, "cache_trusted"],
      [1, "filter_trusted"],
      [12, "filter_entries"],
      [1, "backpressure_level", "level=Warn"],
      [0, "backpressure_level", "level=Normal"],
      [0.75, "backpressure_pressure_ratio"],
      [0.25, "startup_phase_duration_seconds", "phase=wal_init"],
      [0, "degraded", "component=archive"],
      [0, "read_only"],
      [2.5, "uptime_seconds"]
    ]
    for (const [want, name, ...labels] of expected)
      expect(value(name, ...labels), `${name} ${labels}`).toBe(want)
    // A phase that has not run has no duration, and nobody else's label becomes a series.
    expect(value("startup_phase_duration_seconds", "phase=warm_up")).toBeUndefined()
    expect(value("startup_phase_duration_seconds", "phase=something else")).toBeUndefined()
  })

  it("has one 1 among phases, stages, levels and states, whatever they were before", () => {
    const observe = Metrics.makeObserver()
    for (const phase of phases) {
      for (const bootStage of bootStages) {
        observe({ health: { ...health, lifecycle: { ...health.lifecycle, phase, bootStage } }, stats })
        const families = scrape()
        for (const [name, label, current] of [
          ["lifecycle_phase", "phase", phase],
          ["boot_stage", "stage", bootStage]
        ] as const) {
          const ones = families.get(Metrics.prefix + name)!.samples.filter((sample) => sample.value === 1)
          expect(ones.map(({ labels }) => labels[label])).toEqual([current])
        }
      }
    }
    const cacheOf = (cache: EngineHealth["cache"]) => {
      observe({ health: { ...health, cache }, stats })
      return scrape()
        .get(`${Metrics.prefix}cache_state`)!
        .samples.filter((sample) => sample.value === 1)
        .map(({ labels }) => labels.state)
    }
    expect(cacheOf({ configured: false, available: false, trusted: false })).toEqual(["none"])
    expect(cacheOf({ configured: true, available: false, trusted: false })).toEqual(["reconnecting"])
    expect(cacheOf({ configured: true, available: true, trusted: false })).toEqual(["connected"])
  })

  it("shows all degraded components, and read-only", () => {
    const observe = Metrics.makeObserver()
    const since = { reason: "down", since: 0 }
    observe({
      health: {
        ...health,
        readOnly: true,
        degraded: [
          { component: "archive", ...since },
          { component: "cache", ...since }
        ]
      },
      stats
    })
    const degraded = scrape().get(`${Metrics.prefix}degraded`)!.samples
    expect(degraded.filter((sample) => sample.value === 1).map(({ labels }) => labels.component)).toEqual([
      "archive",
      "cache"
    ])
    expect(value("read_only")).toBe(1)
    observe({ health, stats })
    expect(
      scrape()
        .get(`${Metrics.prefix}degraded`)!
        .samples.every((sample) => sample.value === 0)
    ).toBe(true)
  })

  it("adds what an engine's own counters have grown by, once, for each engine", () => {
    const hits = () => value("memory_hits_total")!
    const before = hits()
    const seen = (observe: ReturnType<typeof Metrics.makeObserver>, count: number) =>
      observe({ health, stats: { ...stats, memory: { ...stats.memory, hits: count } } })
    const first = Metrics.makeObserver()
    seen(first, 10)
    seen(first, 10)
    expect(hits() - before).toBe(10)
    seen(first, 15)
    expect(hits() - before).toBe(15)
    const second = Metrics.makeObserver()
    seen(second, 4)
    expect(hits() - before).toBe(19)
  })
})
