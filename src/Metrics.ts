/**
 * What the engine counts. Handles are made once, at load; hot code updates them through plain functions, once a batch
 * and never per item. Gauges mirror state, so they are set only when somebody looks: see `makeObserver`.
 *
 * The handles live in Effect's own registry and are shared by all engines of a process: counters add up, and of
 * gauges the engine that was observed last is seen.
 *
 * @since 0.1.0
 */
import { Metric, MetricKey } from "effect"
import type { WriteError } from "./EngineError.js"
import {
  type BootStage,
  bootStages,
  type LifecycleSnapshot,
  type Phase,
  phases,
  type StartupLabel
} from "./Lifecycle.js"
import type { BackpressureLevel } from "./shared/Backpressure.js"
import {
  type Counter,
  counter,
  counterKey,
  counters,
  type Gauge,
  gauge,
  gaugeKey,
  gauges,
  histogram,
  noTags,
  set,
  setOnly
} from "./shared/MetricHandles.js"

export {
  /**
   * Begins the name of every metric.
   *
   * @since 0.1.0
   * @category constants
   */
  prefix
} from "./shared/MetricHandles.js"

/**
 * Where a read was answered; `filter`: proven absent without I/O, `absent`: the deciding tier had nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type ReadTier = "memory" | "log" | "cache" | "archive" | "filter" | "absent"

/**
 * How the cache is connected, `none` without one.
 *
 * @since 0.1.0
 * @category models
 */
export type CacheState = "none" | "connected" | "reconnecting"

type Durability = "memory" | "wal" | "archive"
type FlushReason = "count" | "bytes" | "age" | "forced" | "recovery" | "shutdown"
type Component = "archive" | "cache" | "filter" | "log" | "flush" | "changes"

/** The words of an exhaustive record, so that a new member of a union cannot be forgotten here. */
const wordsOf = <Word extends string>(words: Readonly<Record<Word, true>>): ReadonlyArray<Word> =>
  Object.keys(words) as Array<Word>

const durabilities = wordsOf<Durability>({ memory: true, wal: true, archive: true })
const flushReasons = wordsOf<FlushReason>({
  count: true,
  bytes: true,
  age: true,
  forced: true,
  recovery: true,
  shutdown: true
})
const readTiers = wordsOf<ReadTier>({
  memory: true,
  log: true,
  cache: true,
  archive: true,
  filter: true,
  absent: true
})
const rejections = wordsOf<WriteError["_tag"]>({
  InvalidRequest: true,
  InvalidItem: true,
  PayloadTooLarge: true,
  VersionConflict: true,
  VersionMismatch: true,
  GateClosed: true,
  ClockOutOfRange: true,
  ReadOnly: true,
  Backpressure: true,
  LogFull: true,
  LogUnavailable: true,
  TierUnavailable: true,
  ItemRejected: true,
  NotSupported: true
})
const backpressureLevels = wordsOf<BackpressureLevel>({
  Normal: true,
  Warn: true,
  Throttle: true,
  Critical: true,
  Emergency: true,
  Shutdown: true
})
const cacheStates = wordsOf<CacheState>({
  none: true,
  connected: true,
  reconnecting: true
})
const components = wordsOf<Component>({
  archive: true,
  cache: true,
  filter: true,
  log: true,
  flush: true,
  changes: true
})
const startupLabels = wordsOf<StartupLabel>({
  wal_init: true,
  sql_connect: true,
  wal_drain: true,
  sql_root: true,
  cf_restore: true,
  redis_connect: true,
  redis_sync: true,
  warm_up: true
})

const acknowledgedWrites = counters(
  "acknowledged_writes_total",
  "Writes acknowledged, by the durability they had reached",
  "durability",
  durabilities
)
const rejectedWrites = counters("rejected_writes_total", "Writes refused, by error", "error", rejections)
const groupCommits = counter("log_commits_total", "Group commits of the log, one fsync each")
const groupCommitItems = counter("log_committed_items_total", "Writes the log committed")
const flushBatches = counters(
  "flushed_batches_total",
  "Batches carried to the archive, by reason",
  "reason",
  flushReasons
)
const flushItems = counter("flushed_items_total", "Log entries carried to the archive")
const flushFailures = counter("flush_failures_total", "Batches that failed and stay in the log")
const flushSeconds = histogram("flush_duration_seconds", "Time from a batch's start to its last commit")
const archiveSeconds = histogram("archive_commit_duration_seconds", "Time of one transaction at the archive")
const supersededItems = counter("superseded_items_total", "Log entries the archive had a newer version of")
const lostItems = counter("lost_writes_total", 'Writes acknowledged at "memory" that the log did not take')
const deadLetterItems = counter("dead_letters_total", "Writes the archive refused for good")
const reads = counters("reads_total", "Items read, by the tier that answered", "tier", readTiers)
const cacheErrors = counter("cache_errors_total", "Calls to the cache that failed")
const watchdogAlerts = counter("watchdog_alerts_total", "Times that pending writes did not move")
const changeEntries = counter("change_stream_entries_total", "Entries added to the change stream")

/**
 * Items acknowledged at this durability.
 *
 * @since 0.1.0
 * @category functions
 */
export const acknowledged = (durability: Durability, items: number): void =>
  acknowledgedWrites[durability].unsafeUpdate(items, noTags)

/**
 * Items refused with this error.
 *
 * @since 0.1.0
 * @category functions
 */
export const rejected = (error: WriteError["_tag"], items: number): void =>
  rejectedWrites[error].unsafeUpdate(items, noTags)

/**
 * One group commit of the log.
 *
 * @since 0.1.0
 * @category functions
 */
export const groupCommitted = (items: number): void => {
  groupCommits.unsafeUpdate(1, noTags)
  groupCommitItems.unsafeUpdate(items, noTags)
}

/**
 * One batch was carried to the archive.
 *
 * @since 0.1.0
 * @category functions
 */
export const flushed = (reason: FlushReason, items: number, durationMs: number): void => {
  flushBatches[reason].unsafeUpdate(1, noTags)
  flushItems.unsafeUpdate(items, noTags)
  flushSeconds.unsafeUpdate(durationMs / 1000, noTags)
}

/**
 * A batch failed and stays in the log.
 *
 * @since 0.1.0
 * @category functions
 */
export const flushFailed = (): void => flushFailures.unsafeUpdate(1, noTags)

/**
 * One transaction at the archive.
 *
 * @since 0.1.0
 * @category functions
 */
export const archiveCommitted = (durationMs: number): void =>
  archiveSeconds.unsafeUpdate(durationMs / 1000, noTags)

/**
 * Entries the archive had a newer version of.
 *
 * @since 0.1.0
 * @category functions
 */
export const superseded = (items: number): void => supersededItems.unsafeUpdate(items, noTags)

/**
 * Writes acknowledged at `memory` that the log did not take.
 *
 * @since 0.1.0
 * @category functions
 */
export const lost = (items: number): void => lostItems.unsafeUpdate(items, noTags)

/**
 * Entries that went to the dead letters.
 *
 * @since 0.1.0
 * @category functions
 */
export const deadLettered = (items: number): void => deadLetterItems.unsafeUpdate(items, noTags)

/**
 * Items read from this tier.
 *
 * @since 0.1.0
 * @category functions
 */
export const read = (tier: ReadTier, items: number): void => reads[tier].unsafeUpdate(items, noTags)

/**
 * Calls to the cache that failed.
 *
 * @since 0.1.0
 * @category functions
 */
export const cacheFailed = (calls: number): void => cacheErrors.unsafeUpdate(calls, noTags)

/**
 * Pending writes did not move.
 *
 * @since 0.1.0
 * @category functions
 */
export const watchdogAlert = (): void => watchdogAlerts.unsafeUpdate(1, noTags)

/**
 * Entries that were added to the change stream.
 *
 * @since 0.1.0
 * @category functions
 */
export const changesPublished = (entries: number): void => changeEntries.unsafeUpdate(entries, noTags)

const restartKey = counterKey("fiber_restarts_total", "Rounds of the run loop that failed, by duty")
const restarts = new Map<string, Counter>()

/**
 * A duty's round failed and is started again. Duties are few and named in code.
 *
 * @since 0.1.0
 * @category functions
 */
export const dutyFailed = (duty: string): void => {
  let handle = restarts.get(duty)
  if (handle === undefined) {
    handle = Metric.fromMetricKey(MetricKey.tagged(restartKey, "duty", duty))
    restarts.set(duty, handle)
  }
  handle.unsafeUpdate(1, noTags)
}

const logItems = gauge("log_items", "Entries the log holds")
const logBytes = gauge("log_bytes", "Bytes of the entries the log holds")
const logMaxItems = gauge("log_max_items", "Entries the log holds at most")
const logMaxBytes = gauge("log_max_bytes", "Bytes the log holds at most")
const pendingItems = gauge("pending_items", "Acknowledged writes that are not archived yet")
const deadLettersHeld = gauge("dead_letters", "Dead letters that wait for somebody")
const memoryItems = gauge("memory_items", "Items in memory")
const memoryBytes = gauge("memory_bytes", "Bytes of the items in memory")
const memoryMaxBytes = gauge("memory_max_bytes", "Bytes the memory holds at most")
const memoryHits = counter("memory_hits_total", "Look-ups in memory that found the item")
const memoryMisses = counter("memory_misses_total", "Look-ups in memory that did not")
const memoryEvictions = counter("memory_evictions_total", "Items that left memory to make room")
const cacheState = gauges("cache_state", "1 for how the cache is connected now", "state", cacheStates)
const cacheTrusted = gauge("cache_trusted", "1 when the cache's root is proven equal to the archive's")
const filterTrusted = gauge("filter_trusted", "1 when the existence filter may deny")
const filterEntries = gauge("filter_entries", "Keys in the existence filter")
const backpressure = gauges("backpressure_level", "1 for the level now", "level", backpressureLevels)
const pressure = gauge("backpressure_pressure_ratio", "How full the fullest bound is, 0 to 1")
const lifecyclePhase = gauges<Phase>("lifecycle_phase", "1 for the phase now", "phase", phases)
const bootStage = gauges<BootStage>("boot_stage", "1 for the boot stage now", "stage", bootStages)
const startupKey = gaugeKey("startup_phase_duration_seconds", "Time a phase of the start took")
const degraded = gauges(
  "degraded",
  "1 for a component that does not work as configured",
  "component",
  components
)
const readOnly = gauge("read_only", "1 while an operator has set the engine read-only")
const uptime = gauge("uptime_seconds", "Time since the start")

// Made when a phase has ended: 0 would claim that it had taken no time.
const startupSeconds = new Map<string, Gauge>()

const startupGauge = (label: string): Gauge | undefined => {
  const known = startupSeconds.get(label)
  if (known !== undefined || !startupLabels.some((other) => other === label)) return known
  const handle = Metric.fromMetricKey(MetricKey.tagged(startupKey, "phase", label))
  startupSeconds.set(label, handle)
  return handle
}

/**
 * What is looked at: exactly what the engine's `health` and `stats` answer with.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observed {
  readonly health: {
    readonly lifecycle: LifecycleSnapshot
    readonly readOnly: boolean
    readonly degraded: ReadonlyArray<{ readonly component: Component }>
    readonly cache: { readonly configured: boolean; readonly available: boolean; readonly trusted: boolean }
    readonly filter: { readonly trusted: boolean; readonly entries: number }
    readonly backpressure: { readonly level: BackpressureLevel; readonly pressure: number }
  }
  readonly stats: {
    readonly uptimeMs: number
    readonly log: {
      readonly items: number
      readonly bytes: number
      readonly maxItems: number
      readonly maxBytes: number
    }
    readonly memory: {
      readonly items: number
      readonly bytes: number
      readonly maxBytes: number
      readonly hits: number
      readonly misses: number
      readonly evictions: number
    }
    readonly pending: number
    readonly deadLetters: number
    readonly startupTimings: ReadonlyArray<readonly [string, number]>
  }
}

/**
 * Makes a function that sets the gauges from the engine's state, to be called when somebody looks (at a scrape). One
 * for each engine: it remembers what the engine's own counters read last, and adds what they have grown by.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeObserver = (): ((observed: Observed) => void) => {
  const seen = new Map<Counter, number>()
  const advance = (handle: Counter, total: number) => {
    handle.unsafeUpdate(Math.max(0, total - (seen.get(handle) ?? 0)), noTags)
    seen.set(handle, total)
  }
  return ({ health, stats }) => {
    set(logItems, stats.log.items)
    set(logBytes, stats.log.bytes)
    set(logMaxItems, stats.log.maxItems)
    set(logMaxBytes, stats.log.maxBytes)
    set(pendingItems, stats.pending)
    set(deadLettersHeld, stats.deadLetters)
    set(memoryItems, stats.memory.items)
    set(memoryBytes, stats.memory.bytes)
    set(memoryMaxBytes, stats.memory.maxBytes)
    advance(memoryHits, stats.memory.hits)
    advance(reads.memory, stats.memory.hits)
    advance(memoryMisses, stats.memory.misses)
    advance(memoryEvictions, stats.memory.evictions)
    const { available, configured, trusted } = health.cache
    setOnly(cacheState, [configured ? (available ? "connected" : "reconnecting") : "none"])
    set(cacheTrusted, trusted ? 1 : 0)
    set(filterTrusted, health.filter.trusted ? 1 : 0)
    set(filterEntries, health.filter.entries)
    setOnly(backpressure, [health.backpressure.level])
    set(pressure, health.backpressure.pressure)
    setOnly(lifecyclePhase, [health.lifecycle.phase])
    setOnly(bootStage, [health.lifecycle.bootStage])
    for (const [label, ms] of stats.startupTimings) {
      const handle = startupGauge(label)
      if (handle !== undefined) set(handle, ms / 1000)
    }
    setOnly(
      degraded,
      health.degraded.map(({ component }) => component)
    )
    set(readOnly, health.readOnly ? 1 : 0)
    set(uptime, stats.uptimeMs / 1000)
  }
}
