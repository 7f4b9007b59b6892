/**
 * Volatile items (`sql: false`): they live in the cache alone, for as long as their time to live. No log, no archive,
 * no tree; whoever needs them back after the cache has gone must not submit them so.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CacheError } from "../cache/Cache.js"
import type { WriteError } from "../EngineError.js"
import { InvalidRequest, NotSupported, TierUnavailable } from "../EngineError.js"
import type { ItemRecord } from "../SyncItem.js"
import { contentHashOf, emptyContent } from "../SyncItem.js"
import type { CacheTier } from "./CacheTier.js"
import { cacheFailed } from "./CacheWrites.js"
import type { EngineCore } from "./EngineCore.js"
import type { SubmitOptions } from "./EngineService.js"

/** An id that no caller can use: it says that this cache holds, or held, volatile items. */
const markerId = "\u0000volatile"
const markerTtlMs = 10 * 365 * 24 * 3_600_000

const unavailable = (operation: string) => (error: CacheError) =>
  new TierUnavailable({ tier: "cache", operation, problem: error.problem, retryAfterMs: error.retryAfterMs })

/** What is wrong with the routing of a submission, if anything. @since 0.1.0 @category validation */
export const routingProblem = (
  core: EngineCore,
  options: SubmitOptions | undefined
): InvalidRequest | NotSupported | undefined => {
  if (options?.sql !== false) {
    return options?.ttl === undefined
      ? undefined
      : new InvalidRequest({
          argument: "ttl",
          problem: "is for volatile items (sql: false) only; durable items are deleted"
        })
  }
  if (core.cache === undefined) {
    return new NotSupported({
      operation: "submit with sql: false",
      problem: "volatile items live in the cache, and no cache is configured (REDIS_URL)"
    })
  }
  if (options.ttl === undefined) {
    return new InvalidRequest({
      argument: "ttl",
      problem: "is missing; a volatile item (sql: false) needs a time to live"
    })
  }
  const ttlMs = Option.map(Duration.decodeUnknown(options.ttl), Duration.toMillis)
  if (Option.isNone(ttlMs) || ttlMs.value < 1 || ttlMs.value > markerTtlMs) {
    return new InvalidRequest({ argument: "ttl", problem: "must be from 1 ms to 10 years" })
  }
  return options.durability === undefined && options.expectedVersion === undefined
    ? undefined
    : new InvalidRequest({
        argument: options.durability === undefined ? "expectedVersion" : "durability",
        problem: "does not go with a volatile item (sql: false)"
      })
}

/** Writes records to the cache alone. @since 0.1.0 @category functions */
export const put = (
  core: EngineCore,
  records: ReadonlyArray<ItemRecord>,
  ttl: Duration.DurationInput
): Effect.Effect<void, WriteError> =>
  Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined || records.length === 0) return Effect.void
    const write = cache.service.put(records, { ttlMs: Duration.toMillis(ttl) })
    return Effect.zipRight(mark(core, cache), write).pipe(
      Effect.tapError((error) => cacheFailed(core, cache, error.message)),
      Effect.mapError(unavailable("submit")),
      Effect.asVoid
    )
  })

/** Leaves a sign, before the first volatile item, that absence from the archive does not mean absence. */
const mark = (core: EngineCore, cache: CacheTier): Effect.Effect<void, CacheError> =>
  Effect.suspend(() => {
    if (cache.mayHoldVolatile) return Effect.void
    const record: ItemRecord = {
      id: markerId,
      version: core.clock.next() ?? 1,
      updatedAt: core.nowMs(),
      contentType: "binary",
      contentHash: contentHashOf(emptyContent),
      state: undefined,
      content: emptyContent,
      traceparent: undefined,
      deleted: false
    }
    return Effect.map(cache.service.put([record], { ttlMs: markerTtlMs }), () => {
      cache.mayHoldVolatile = true
    })
  })

/** Looks for the sign that earlier runs or other nodes left. @since 0.1.0 @category functions */
export const lookForMark = (cache: CacheTier): Effect.Effect<void, CacheError> =>
  cache.mayHoldVolatile
    ? Effect.void
    : Effect.map(cache.service.get(markerId), (found) => {
        cache.mayHoldVolatile = Option.isSome(found)
      })
