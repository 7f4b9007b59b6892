/**
 * Volatile items (`sql: false`): they live in the cache alone, for as long as their time to live. No log, no archive,
 * no tree; whoever needs them back after the cache has gone must not submit them so.
 */
import { Duration, Effect, Option } from "effect"
import type { CacheError } from "../../cache/Cache.js"
import type { InvalidItem, WriteError } from "../../EngineError.js"
import { InvalidRequest, NotSupported, TierUnavailable, VersionConflict } from "../../EngineError.js"
import type { SubmitItem, SubmitOptions, SubmitResult } from "../../SyncEngineModels.js"
import type { ItemRecord } from "../../SyncItem.js"
import { compareVersions, contentHashOf, emptyContent, sameVersion } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import { cacheFailed } from "../cache/CacheWriter.js"
import type { CacheTrust } from "../state/CacheTrust.js"
import type { EngineState } from "../state/EngineState.js"
import type { Prepared } from "../state/InFlightWrites.js"
import { receiptOf } from "./LogAppend.js"
import { prepare } from "./WriteValidation.js"

/** An id that no caller can use: it says that this cache holds, or held, volatile items. */
const markerId = "\u0000volatile"
const markerTtlMs = 10 * 365 * 24 * 3_600_000

const unavailable = (operation: string) => (error: CacheError) =>
  new TierUnavailable({ tier: "cache", operation, problem: error.problem, retryAfterMs: error.retryAfterMs })

/** What is wrong with the routing of a submission, if anything. */
export const routingProblem = (
  core: EngineState,
  options: SubmitOptions | undefined
): InvalidRequest | NotSupported | undefined => {
  const invalid = (argument: string, problem: string) => new InvalidRequest({ argument, problem })
  if (options?.sql !== false) {
    return options?.ttl === undefined
      ? undefined
      : invalid("ttl", "is for volatile items (sql: false) only; durable items are deleted")
  }
  if (core.cache === undefined) {
    const problem = "volatile items live in the cache, and no cache is configured (REDIS_URL)"
    return new NotSupported({ operation: "submit with sql: false", problem })
  }
  const { durability, expectedVersion, ttl } = options
  if (ttl === undefined) {
    return invalid("ttl", "is missing; a volatile item (sql: false) needs a time to live")
  }
  const ttlMs = Option.map(Duration.decodeUnknown(ttl), Duration.toMillis)
  if (Option.isNone(ttlMs) || ttlMs.value < 1 || ttlMs.value > markerTtlMs) {
    return invalid("ttl", "must be from 1 ms to 10 years")
  }
  if (durability === undefined && expectedVersion === undefined) return undefined
  const argument = durability === undefined ? "expectedVersion" : "durability"
  return invalid(argument, "does not go with a volatile item (sql: false)")
}

/** A volatile item of a batch. */
interface Write {
  readonly index: number
  readonly item: SubmitItem
  readonly prepared: Prepared
}

/** Writes items to the cache alone, in turns as bounded as those of other batches. */
class Writing {
  readonly results: Array<SubmitResult>

  constructor(
    private readonly core: EngineState,
    private readonly cache: CacheTrust,
    private readonly count: number,
    private readonly itemAt: (index: number) => SubmitItem | InvalidItem,
    private readonly ttl: Duration.DurationInput
  ) {
    this.results = new Array<SubmitResult>(count)
  }

  turns(start: number): Effect.Effect<void, CacheError> {
    return Effect.suspend(() => {
      const { core, count, itemAt, results } = this
      const writes: Array<Write> = []
      let bytes = 0
      let index = start
      for (; index < count && index - start < core.turnItems && bytes < core.limits.bytesPerTurn; index++) {
        const item = itemAt(index)
        const prepared = prepare(core, item)
        if ("_tag" in item || prepared._tag !== "Prepared") {
          const error = "_tag" in item ? item : (prepared as WriteError)
          results[index] = { _tag: "Rejected", id: "_tag" in item ? item.id : nameOf(item.id), error }
          continue
        }
        bytes += prepared.record.content.byteLength
        writes.push({ index, item, prepared })
      }
      const rest = index < count ? Effect.zipRight(yieldToEventLoop, this.turns(index)) : Effect.void
      return writes.length === 0 ? rest : Effect.zipRight(this.store(writes, maxAgain), rest)
    })
  }

  /** What the cache has something newer for is tried again with a newer version, unless the caller chose it. */
  private store(writes: ReadonlyArray<Write>, again: number): Effect.Effect<void, CacheError> {
    const { cache, core, results, ttl } = this
    // One write of an id is enough, and the cache takes no more of one id at once.
    const newest = new Map<string, Write>()
    for (const write of writes) {
      const { record } = write.prepared
      const known = newest.get(record.id)
      if (known === undefined || compareVersions(record, known.prepared.record) > 0) {
        newest.set(record.id, write)
      }
    }
    const records = [...newest.values()].map(({ prepared }) => prepared.record)
    return Effect.flatMap(cache.service.put(records, { ttl }), ({ newer }) => {
      const stored = new Map(newer.map((head) => [head.id, head]))
      const later: Array<Write> = []
      for (const write of writes) {
        const { index, item, prepared } = write
        const { record } = newest.get(prepared.record.id)!.prepared
        const other = record.version === prepared.record.version && !sameVersion(record, prepared.record)
        const head = stored.get(record.id) ?? (other ? record : undefined)
        if (head !== undefined) core.clock.observe(head.version)
        const next = head === undefined || item.version !== undefined ? prepared : prepare(core, item)
        if (head === undefined) {
          results[index] = { _tag: "Acknowledged", receipt: receiptOf(prepared, "memory") }
        } else if (again > 0 && next !== prepared && next._tag === "Prepared") {
          later.push({ index, item, prepared: next })
        } else {
          const { id, version } = prepared.record
          const error = new VersionConflict({ id, submitted: version, current: head.version })
          results[index] = { _tag: "Rejected", id, error }
        }
      }
      return later.length === 0 ? Effect.void : this.store(later, again - 1)
    })
  }
}

/** @param itemAt what the caller gave, read once */
export const submit = (
  core: EngineState,
  cache: CacheTrust,
  count: number,
  itemAt: (index: number) => SubmitItem | InvalidItem,
  ttl: Duration.DurationInput
): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> =>
  Effect.suspend(() => {
    if (count === 0) return Effect.succeed([])
    const writing = new Writing(core, cache, count, itemAt, ttl)
    return Effect.zipRight(mark(core, cache), writing.turns(0)).pipe(
      Effect.tapError((error) => cacheFailed(core, cache, error.message)),
      Effect.mapError(unavailable("submit")),
      Effect.as(writing.results)
    )
  })

const maxAgain = 2

/** Leaves a sign, before the first volatile item, that absence from the archive does not mean absence. */
const mark = (core: EngineState, cache: CacheTrust): Effect.Effect<void, CacheError> =>
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
    return Effect.map(cache.service.put([record], { ttl: markerTtlMs }), () => {
      cache.mayHoldVolatile = true
    })
  })

/** Looks for the sign that earlier runs or other nodes left. */
export const lookForMark = (core: EngineState, cache: CacheTrust): Effect.Effect<void, CacheError> =>
  Effect.suspend(() => {
    if (cache.mayHoldVolatile) return Effect.void
    const { generation } = cache.service.status()
    const lease = core.filter?.lease()
    return Effect.map(cache.service.get(markerId), (found) => {
      if (Option.isSome(found)) cache.mayHoldVolatile = true
      else cache.foundNoVolatile(lease, generation)
    })
  })

/** Looks for it when that has not been done under the present lease: another node may have left it before. */
export const lookForMarkOnce = (core: EngineState): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined || !cache.usable || cache.mayHoldVolatile) return Effect.void
    if (cache.holdsNoVolatile(core.filter?.lease())) return Effect.void
    return Effect.catchAll(lookForMark(core, cache), (error) => cacheFailed(core, cache, error.message))
  })
