/**
 * Single-item reads: memory, then the log, then the archive. Concurrent reads of the same or different ids share
 * archive round trips; what is read fills memory unless a newer write became visible meanwhile.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ArchiveError } from "../archive/Archive.js"
import type { CacheError } from "../cache/Cache.js"
import type { LogUnavailable, ReadError } from "../EngineError.js"
import { InvalidItem, InvalidRequest, TierUnavailable } from "../EngineError.js"
import * as Metrics from "../Metrics.js"
import type { ItemRecord, SyncItem } from "../SyncItem.js"
import { compareVersions, idProblem } from "../SyncItem.js"
import { cacheFailed, fillCache } from "./CacheWrites.js"
import type { EngineCore, Watch } from "./EngineCore.js"

/** The tier errors of a read. @since 0.1.0 @category models */
export type TierError = TierUnavailable | LogUnavailable

/** @since 0.1.0 @category models */
export interface Reads {
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError>
  /** The newest records of valid ids, tombstones included, without looking at the gate; fills memory. */
  readonly fetch: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, ItemRecord>, TierError>
}

/** How long to wait before asking an unavailable archive again. @since 0.1.0 @category constants */
export const archiveRetryAfterMs = 1000

/** An archive's failure as its readers see it. @since 0.1.0 @category functions */
export const archiveUnavailable = (operation: string) => (error: ArchiveError) =>
  new TierUnavailable({
    tier: "archive",
    operation,
    problem: error.problem,
    retryAfterMs: archiveRetryAfterMs
  })

const newer = (a: ItemRecord | undefined, b: ItemRecord | undefined): ItemRecord | undefined =>
  a === undefined ? b : b === undefined ? a : compareVersions(a, b) >= 0 ? a : b

/** One batch of reads that missed memory, by the tier that answered. */
const count = (asked: number, log: number, cache: number, cacheAndArchive: number): void => {
  const archive = Math.max(0, cacheAndArchive - cache)
  if (log > 0) Metrics.read("log", log)
  if (cache > 0) Metrics.read("cache", cache)
  if (archive > 0) Metrics.read("archive", archive)
  const absent = asked - log - cache - archive
  if (absent > 0) Metrics.read("absent", absent)
}

type Answer = Effect.Effect<Option.Option<SyncItem>, ReadError>

interface Waiting {
  readonly id: string
  readonly resume: (answer: Answer) => void
}

/** @since 0.1.0 @category constructors */
export const make = (core: EngineCore, scope: Scope.Scope): Reads => {
  /** Pending records that memory has evicted, or that were never compared with the archive, from the log. */
  const fromLog = (
    ids: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyMap<string, ItemRecord>, LogUnavailable> =>
    Effect.suspend(() => {
      const found = new Map<string, ItemRecord>()
      const sequences: Array<number> = []
      for (const id of ids) {
        const entry = core.pending.get(id)
        if (entry === undefined) continue
        if (entry.record !== undefined) found.set(id, entry.record)
        else sequences.push(entry.sequence)
      }
      if (sequences.length === 0) return Effect.succeed(found)
      return Effect.map(core.log.readAt(sequences), (entries) => {
        for (const { record } of entries) found.set(record.id, record)
        return found
      })
    })

  const fromArchive = (
    ids: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<ItemRecord>, TierUnavailable> =>
    Effect.suspend(() => {
      const archive = core.tiers?.archive
      if (archive === undefined) {
        return Effect.fail(
          new TierUnavailable({
            tier: "archive",
            operation: "get",
            problem: "no archive is configured or connected, so absence cannot be proven",
            retryAfterMs: archiveRetryAfterMs
          })
        )
      }
      const { idsPerQuery } = core.limits
      if (ids.length <= idsPerQuery) {
        return Effect.mapError(archive.getMany(ids), archiveUnavailable("get"))
      }
      const chunks: Array<ReadonlyArray<string>> = []
      for (let start = 0; start < ids.length; start += idsPerQuery)
        chunks.push(ids.slice(start, start + idsPerQuery))
      return Effect.map(
        Effect.forEach(chunks, (chunk) => Effect.mapError(archive.getMany(chunk), archiveUnavailable("get"))),
        (parts) => parts.flat()
      )
    })

  /** What a trusted cache holds. Only live items count: absence is for the archive to say. */
  const fromCache = (ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ItemRecord>> =>
    Effect.suspend(() => {
      const { cache } = core
      if (cache === undefined || ids.length === 0 || !cache.trusted) return Effect.succeed([])
      const [only] = ids
      const asked: Effect.Effect<ReadonlyArray<ItemRecord>, CacheError> = ids.length === 1 &&
      only !== undefined
        ? Effect.map(cache.service.get(only), Option.toArray)
        : cache.service.getMany(ids)
      return Effect.matchEffect(asked, {
        onFailure: (error) => Effect.as(cacheFailed(core, cache, error.message), []),
        // Trust may have gone while it answered.
        onSuccess: (records) =>
          Effect.succeed(cache.trusted ? records.filter((record) => !record.deleted) : [])
      })
    })

  /** One attempt for ids that memory does not hold; answers what it found and which ids changed meanwhile. */
  const attempt = (
    ids: ReadonlyArray<string>
  ): Effect.Effect<
    { readonly found: Map<string, ItemRecord>; readonly again: ReadonlyArray<string> },
    TierError
  > =>
    Effect.suspend(() => {
      const watches = new Map<string, Watch>()
      for (const id of ids) watches.set(id, core.watch(id))
      return Effect.gen(function* () {
        const logged = yield* fromLog(ids)
        // Released between index and read: the archive has them. Unchecked: the archive may have something newer.
        const ask = ids.filter(
          (id) => (!logged.has(id) && !provenAbsent(id)) || core.pending.get(id)?.unchecked === true
        )
        const archived = new Map<string, ItemRecord>()
        const cached = yield* fromCache(ask)
        for (const record of cached) archived.set(record.id, record)
        // A volatile item expires in the cache, and would not do so in memory.
        const mayExpire = new Set(core.cache?.mayHoldVolatile === true ? cached.map(({ id }) => id) : [])
        const rest = cached.length === 0 ? ask : ask.filter((id) => !archived.has(id))
        if (rest.length > 0) {
          const answer = yield* Effect.exit(fromArchive(rest))
          if (Exit.isFailure(answer)) {
            // Without the archive, a logged value is still a value; absence is not.
            if (rest.some((id) => !logged.has(id))) return yield* Effect.failCause(answer.cause)
          } else {
            for (const record of answer.value) archived.set(record.id, record)
            for (const id of rest) core.pending.markChecked(id)
            yield* fillCache(core, answer.value)
          }
        }
        count(ids.length, logged.size, cached.length, archived.size)
        const found = new Map<string, ItemRecord>()
        const again: Array<string> = []
        for (const id of ids) {
          if (watches.get(id)!.dirty) {
            again.push(id)
            continue
          }
          const record = newer(logged.get(id), archived.get(id))
          if (record === undefined) continue
          core.clock.observe(record.version)
          found.set(id, record)
          // Tombstones stay in memory only while they are pending: another node may bring the id back.
          if (!record.deleted && !mayExpire.has(id)) core.memory.put(record)
        }
        return { found, again }
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            for (const [id, watch] of watches) core.unwatch(id, watch)
          })
        )
      )
    })

  const fetch: Reads["fetch"] = (ids) =>
    Effect.gen(function* () {
      const found = new Map<string, ItemRecord>()
      let open: ReadonlyArray<string> = ids
      while (open.length > 0) {
        const missing: Array<string> = []
        for (const id of open) {
          const held = core.memory.peek(id)
          if (held === undefined) missing.push(id)
          else found.set(id, held)
        }
        if (missing.length === 0) break
        const result = yield* attempt(missing)
        for (const [id, record] of result.found) found.set(id, record)
        open = result.again
      }
      return found
    })

  // Reads that missed memory in one turn wait here and share one fetch.
  let waiting: Array<Waiting> = []
  const answerWaiting = Effect.suspend(() => {
    const batch = waiting
    waiting = []
    return Effect.onExit(Effect.interruptible(fetch([...new Set(batch.map(({ id }) => id))])), (exit) =>
      Effect.sync(() => {
        for (const { id, resume } of batch) {
          if (Exit.isSuccess(exit)) resume(Effect.succeed(visible(exit.value.get(id))))
          else if (Exit.isInterrupted(exit)) resume(Effect.fail(core.closedGate("query")))
          else resume(Effect.failCause(exit.cause))
        }
      })
    )
  })
  // The yield lets the other readers of this turn join. Nobody waits for this fiber's exit: its readers have it.
  const startAnswering = Effect.yieldNow().pipe(
    Effect.zipRight(answerWaiting),
    Effect.ignore,
    Effect.uninterruptible,
    Effect.forkIn(scope)
  )

  /** A trusted filter knows of every put, also of those on their way; it does not know what lives in the cache alone. */
  const provenAbsent = (id: string): boolean =>
    core.filter?.definitelyMissing(id) === true && core.cache?.mayHoldVolatile !== true

  const miss = (id: string): Effect.Effect<Option.Option<SyncItem>, ReadError> => {
    const problem = idProblem(id)
    if (problem !== undefined) return Effect.fail(new InvalidItem({ id: String(id), field: "id", problem }))
    if (provenAbsent(id)) {
      Metrics.read("filter", 1)
      return Effect.succeed(Option.none())
    }
    // One synchronous step joins the batch and decides who answers it; an interruption must not come before the answering
    // fiber has been started, because everybody after this reader counts on it.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        let answer: Answer | undefined
        let wake: ((answer: Answer) => void) | undefined
        waiting.push({
          id,
          resume: (effect) => {
            answer = effect
            wake?.(effect)
          }
        })
        const answered: Answer = Effect.async((resume) => {
          if (answer === undefined) wake = resume
          else resume(answer)
        })
        return waiting.length === 1 ? Effect.zipRight(startAnswering, restore(answered)) : restore(answered)
      })
    )
  }

  const get: Reads["get"] = (id) =>
    Effect.suspend(() => {
      if (!core.lifecycle.acceptsQueries()) return Effect.fail(core.closedGate("query"))
      const held = core.memory.get(id)
      return held === undefined ? miss(id) : Effect.succeed(visible(held))
    })

  const getMany: Reads["getMany"] = (ids) =>
    Effect.suspend((): Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError> => {
      const gate = core.queryGate()
      if (gate !== undefined) return Effect.fail(gate)
      const { maxBatchItems } = core.config()
      if (ids.length > maxBatchItems) {
        return Effect.fail(
          new InvalidRequest({
            argument: "ids",
            problem: `has ${ids.length} entries; at most ${maxBatchItems} are allowed`
          })
        )
      }
      for (const id of ids) {
        const problem = idProblem(id)
        if (problem !== undefined)
          return Effect.fail(new InvalidItem({ id: String(id), field: "id", problem }))
      }
      const items = new Map<string, SyncItem>()
      const missing = new Set<string>()
      for (const id of ids) {
        const held = core.memory.get(id)
        if (held === undefined) missing.add(id)
        else if (!held.deleted) items.set(id, held)
      }
      if (missing.size === 0) return Effect.succeed(items)
      return Effect.map(fetch([...missing]), (records) => {
        for (const [id, record] of records) if (!record.deleted) items.set(id, record)
        return items
      })
    })

  return { get, getMany, fetch }
}

const visible = (record: ItemRecord | undefined): Option.Option<SyncItem> =>
  record === undefined || record.deleted ? Option.none() : Option.some(record)
