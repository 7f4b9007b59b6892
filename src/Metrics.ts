/**
 * What the engine counts. Handles are made once, at load; hot code updates them through plain functions, once a batch
 * and never per item. Gauges mirror state, so they are set only when somebody looks: see `makeObserver`.
 *
 * The handles live in Effect's own registry and are shared by all engines of a process: counters add up, and of
 * gauges the engine that was observed last is seen.
 */
import { Metric, MetricBoundaries, MetricKey } from "effect"
import { bootStages, type LifecycleSnapshot, phases, type StartupLabel } from "./Lifecycle.js"
import { type BackpressureLevel, backpressureLevels } from "./shared/Backpressure.js"

/** Begins the name of every metric. */
export const prefix = "sync_engine_"

/** Sets a gauge, or adds to a counter or a histogram. */
type Update = (value: number) => void

/** No labels at an update: the handle then finds its value without a look-up. */
const noTags: ReadonlyArray<never> = []

type Key =
  | MetricKey.MetricKey.Counter<number>
  | MetricKey.MetricKey.Gauge<number>
  | MetricKey.MetricKey.Histogram

/** Registered at once, so that a counter which never moved is seen as 0 instead of missing. */
const updateOf = (key: Key, ...tag: readonly [] | readonly [label: string, value: string]): Update => {
  // All of them take numbers.
  const bare = key as MetricKey.MetricKey.Gauge<number>
  const handle = Metric.fromMetricKey(
    tag.length === 0 ? bare : MetricKey.tagged(bare, tag[0], tag[1])
  ).register()
  return (value) => handle.unsafeUpdate(value, noTags)
}

/** One for each value of a label. `Metric.tagged` would look its value up again at every update. */
const updatesOf = <Value extends string>(key: Key, label: string, values: ReadonlyArray<Value>) =>
  new Map(values.map((value) => [value, updateOf(key, label, value)]))

/** Made when a value is first told of: 0 would claim that it had been there. */
const lazily = (key: Key, label: string) => {
  const known = new Map<string, Update>()
  return (value: string, by: number): void => {
    const update = known.get(value) ?? updateOf(key, label, value)
    known.set(value, update)
    update(by)
  }
}

const counterKey = (name: string, description: string) =>
  MetricKey.counter(prefix + name, { description, incremental: true })

const gaugeKey = (name: string, description: string) => MetricKey.gauge(prefix + name, { description })

const counter = (name: string, description: string): Update => updateOf(counterKey(name, description))

const counters = <Value extends string>(
  name: string,
  description: string,
  label: string,
  values: ReadonlyArray<Value>
) => {
  const updates = updatesOf(counterKey(name, description), label, values)
  return (value: Value, by: number): void => updates.get(value)!(by)
}

const latencies = MetricBoundaries.fromIterable([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
])

/** Of durations, 1 ms to 30 s. */
const durations = (name: string, description: string) => {
  const update = updateOf(MetricKey.histogram(prefix + name, latencies, description))
  return (durationMs: number): void => update(durationMs / 1000)
}

export const acknowledged = counters(
  "acknowledged_writes_total",
  "Writes acknowledged, by the durability they had reached",
  "durability",
  ["memory", "wal", "archive"]
)
export const rejected = counters("rejected_writes_total", "Writes refused, by error", "error", [
  "InvalidRequest",
  "InvalidItem",
  "PayloadTooLarge",
  "VersionConflict",
  "VersionMismatch",
  "GateClosed",
  "ClockOutOfRange",
  "ReadOnly",
  "Backpressure",
  "LogFull",
  "LogUnavailable",
  "TierUnavailable",
  "ItemRejected",
  "NotSupported"
])
export const superseded = counter("superseded_items_total", "Log entries the archive had a newer version of")
export const lost = counter("lost_writes_total", 'Writes acknowledged at "memory" that the log did not take')
export const deadLettered = counter("dead_letters_total", "Writes the archive refused for good")
export const cacheFailed = counter("cache_errors_total", "Calls to the cache that failed")
export const changesPublished = counter("change_stream_entries_total", "Entries added to the change stream")
export const archiveCommitted = durations(
  "archive_commit_duration_seconds",
  "Time of one transaction at the archive"
)

/** `filter`: proven absent without I/O; `absent`: the deciding tier had nothing. */
export const read = counters("reads_total", "Items read, by the tier that answered", "tier", [
  "memory",
  "log",
  "cache",
  "archive",
  "filter",
  "absent"
])

const flushFailures = counter("flush_failures_total", "Batches that failed and stay in the log")
export const flushFailed = (): void => flushFailures(1)

const watchdogAlerts = counter("watchdog_alerts_total", "Times that pending writes did not move")
export const watchdogAlert = (): void => watchdogAlerts(1)

const restarts = lazily(
  counterKey("fiber_restarts_total", "Rounds of the run loop that failed, by duty"),
  "duty"
)
/** A duty's round failed and is started again. Duties are few and named in code. */
export const dutyFailed = (duty: string): void => restarts(duty, 1)

const groupCommits = counter("log_commits_total", "Group commits of the log, one fsync each")
const groupCommitItems = counter("log_committed_items_total", "Writes the log committed")
/** One group commit of the log. */
export const groupCommitted = (items: number): void => {
  groupCommits(1)
  groupCommitItems(items)
}

const flushBatches = counters(
  "flushed_batches_total",
  "Batches carried to the archive, by reason",
  "reason",
  ["count", "bytes", "age", "forced", "recovery", "shutdown"]
)
const flushItems = counter("flushed_items_total", "Log entries carried to the archive")
const flushTimes = durations("flush_duration_seconds", "Time from a batch's start to its last commit")
/** One batch was carried to the archive. */
export const flushed = (
  reason: Parameters<typeof flushBatches>[0],
  items: number,
  durationMs: number
): void => {
  flushBatches(reason, 1)
  flushItems(items)
  flushTimes(durationMs)
}

const components = ["archive", "cache", "filter", "log", "flush", "changes"] as const

/** What is looked at of the engine's `health` and `stats`. */
interface Observed {
  readonly health: {
    readonly lifecycle: LifecycleSnapshot
    readonly readOnly: boolean
    readonly degraded: ReadonlyArray<{ readonly component: (typeof components)[number] }>
    readonly cache: Readonly<Record<"configured" | "available" | "trusted", boolean>>
    readonly filter: { readonly trusted: boolean; readonly entries: number }
    readonly backpressure: { readonly level: BackpressureLevel; readonly pressure: number }
  }
  readonly stats: {
    readonly log: Readonly<Record<"items" | "bytes" | "maxItems" | "maxBytes", number>>
    readonly memory: Readonly<
      Record<"items" | "bytes" | "maxBytes" | "hits" | "misses" | "evictions", number>
    >
    readonly uptimeMs: number
    readonly pending: number
    readonly deadLetters: number
    readonly startupTimings: ReadonlyArray<readonly [string, number]>
  }
}

/** Sets something to what is to be seen of the engine. */
type Observe = (observed: Observed) => void

const gauge = (
  name: string,
  description: string,
  valueOf: (observed: Observed) => number | boolean
): Observe => {
  const set = updateOf(gaugeKey(name, description))
  return (observed) => set(Number(valueOf(observed)))
}

/** 1 for the current label values, 0 for all others. */
const gauges = <Value extends string>(
  name: string,
  description: string,
  label: string,
  values: ReadonlyArray<Value>,
  current: (observed: Observed) => ReadonlyArray<NoInfer<Value>>
): Observe => {
  const updates = updatesOf(gaugeKey(name, description), label, values)
  return (observed) => {
    const now = current(observed)
    for (const [value, set] of updates) set(Number(now.includes(value)))
  }
}

const startupLabels: ReadonlyArray<string> = [
  "wal_init",
  "sql_connect",
  "wal_drain",
  "sql_root",
  "cf_restore",
  "redis_connect",
  "redis_sync",
  "warm_up"
] satisfies ReadonlyArray<StartupLabel>
const startupSeconds = lazily(
  gaugeKey("startup_phase_duration_seconds", "Time a phase of the start took"),
  "phase"
)

const observers: ReadonlyArray<Observe> = [
  gauge("log_items", "Entries the log holds", ({ stats }) => stats.log.items),
  gauge("log_bytes", "Bytes of the entries the log holds", ({ stats }) => stats.log.bytes),
  gauge("log_max_items", "Entries the log holds at most", ({ stats }) => stats.log.maxItems),
  gauge("log_max_bytes", "Bytes the log holds at most", ({ stats }) => stats.log.maxBytes),
  gauge("pending_items", "Acknowledged writes that are not archived yet", ({ stats }) => stats.pending),
  gauge("dead_letters", "Dead letters that wait for somebody", ({ stats }) => stats.deadLetters),
  gauge("memory_items", "Items in memory", ({ stats }) => stats.memory.items),
  gauge("memory_bytes", "Bytes of the items in memory", ({ stats }) => stats.memory.bytes),
  gauge("memory_max_bytes", "Bytes the memory holds at most", ({ stats }) => stats.memory.maxBytes),
  gauges(
    "cache_state",
    "1 for how the cache is connected now",
    "state",
    ["none", "connected", "reconnecting"],
    ({ health: { cache } }) => [cache.configured ? (cache.available ? "connected" : "reconnecting") : "none"]
  ),
  gauge(
    "cache_trusted",
    "1 when the cache's root is proven equal to the archive's",
    ({ health }) => health.cache.trusted
  ),
  gauge("filter_trusted", "1 when the existence filter may deny", ({ health }) => health.filter.trusted),
  gauge("filter_entries", "Keys in the existence filter", ({ health }) => health.filter.entries),
  gauges("backpressure_level", "1 for the level now", "level", backpressureLevels, ({ health }) => [
    health.backpressure.level
  ]),
  gauge(
    "backpressure_pressure_ratio",
    "How full the fullest bound is, 0 to 1",
    ({ health }) => health.backpressure.pressure
  ),
  gauges("lifecycle_phase", "1 for the phase now", "phase", phases, ({ health }) => [health.lifecycle.phase]),
  gauges("boot_stage", "1 for the boot stage now", "stage", bootStages, ({ health }) => [
    health.lifecycle.bootStage
  ]),
  gauges(
    "degraded",
    "1 for a component that does not work as configured",
    "component",
    components,
    ({ health }) => health.degraded.map(({ component }) => component)
  ),
  gauge("read_only", "1 while an operator has set the engine read-only", ({ health }) => health.readOnly),
  gauge("uptime_seconds", "Time since the start", ({ stats }) => stats.uptimeMs / 1000),
  ({ stats }) => {
    for (const [label, ms] of stats.startupTimings) {
      if (startupLabels.includes(label)) startupSeconds(label, ms / 1000)
    }
  }
]

/** The engine's own counters. */
const totals: ReadonlyArray<readonly [add: Update, counted: "hits" | "misses" | "evictions"]> = [
  [counter("memory_hits_total", "Look-ups in memory that found the item"), "hits"],
  [(by) => read("memory", by), "hits"],
  [counter("memory_misses_total", "Look-ups in memory that did not"), "misses"],
  [counter("memory_evictions_total", "Items that left memory to make room"), "evictions"]
]

/**
 * Makes a function that sets the gauges from the engine's state, to be called when somebody looks (at a scrape). One
 * for each engine: it remembers what the engine's own counters read last, and adds what they have grown by.
 */
export const makeObserver = (): Observe => {
  let seen = { hits: 0, misses: 0, evictions: 0 }
  return (observed) => {
    for (const observe of observers) observe(observed)
    const { memory } = observed.stats
    for (const [add, counted] of totals) add(Math.max(0, memory[counted] - seen[counted]))
    const { evictions, hits, misses } = memory
    seen = { evictions, hits, misses }
  }
}
