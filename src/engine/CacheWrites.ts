/**
 * Carrying what the archive has committed on to the cache. Never fails: a cache that misses a write is no longer
 * trusted, and mended when it is back.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Metrics from "../Metrics.js"
import type { ItemRecord } from "../SyncItem.js"
import type { LogEntry } from "../wal/WriteAheadLog.js"
import type { CacheTier } from "./CacheTier.js"
import type { EngineCore } from "./EngineCore.js"
import type { SplitResult } from "./PoisonSplit.js"

/** The cache could not be used: says so once, and takes its trust away. @since 0.1.0 @category functions */
export const cacheFailed = (core: EngineCore, cache: CacheTier, problem: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    cache.distrust(problem)
    Metrics.cacheFailed(1)
    return core.degrade("cache", problem)
      ? Effect.logWarning(`the cache is not used: ${problem}`)
      : Effect.void
  })

/**
 * Writes a committed batch to the cache, before readers stop being served from memory and log.
 *
 * @since 0.1.0
 * @category functions
 */
export const carryToCache = (
  core: EngineCore,
  batch: ReadonlyArray<LogEntry>,
  result: SplitResult
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined) return Effect.void
    if (!cache.connected) {
      // What it misses now is found by comparing roots when it is back.
      return cacheFailed(core, cache, `${cache.reason ?? "away"}; it misses writes until it is back`)
    }
    const left = new Set(result.newer.map(({ id }) => id))
    for (const { entry } of result.culprits) left.add(entry.record.id)
    const records = batch.flatMap(({ record }) => (left.has(record.id) ? [] : [record]))
    // Older versions that went in for refused ones, and rows that others wrote, are for the next comparison.
    if (left.size > 0 && result.culprits.length > 0)
      cache.distrust("the archive took other versions than were sent")
    if (records.length === 0) return Effect.void
    return Effect.matchCauseEffect(cache.service.put(records), {
      onFailure: (cause) =>
        cacheFailed(core, cache, cause._tag === "Fail" ? cause.error.message : "it failed unexpectedly"),
      onSuccess: () => Effect.void
    })
  })

/**
 * Gives the cache what a read found in the archive, in the background of the read: a cache that is away, or a
 * failure, costs the reader nothing.
 *
 * @since 0.1.0
 * @category functions
 */
export const fillCache = (core: EngineCore, records: ReadonlyArray<ItemRecord>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined || !cache.connected) return Effect.void
    const live = records.filter((record) => !record.deleted)
    if (live.length === 0) return Effect.void
    return cache.service.fill(live).pipe(
      Effect.matchEffect({
        onFailure: (error) => cacheFailed(core, cache, error.message),
        onSuccess: () => Effect.void
      }),
      Effect.forkDaemon
    )
  })
