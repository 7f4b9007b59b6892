/**
 * Single-item reads: memory, then the log, then the archive. Concurrent reads of the same or different ids share
 * archive round trips; what is read fills memory unless a newer write became visible meanwhile.
 */
import { Array as Arr, Effect, Either, Exit, Option, type Scope } from "effect"
import type { CachedRecord, CacheError } from "../../cache/Cache.js"
import type { LogUnavailable, ReadError } from "../../EngineError.js"
import { InvalidItem, InvalidRequest, TierUnavailable } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import { compareVersions, idProblem } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import { cacheFailed, fillCache } from "../cache/CacheWriter.js"
import { archiveUnavailable, noArchive } from "../state/ArchiveUnavailable.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import { touchedMeanwhile } from "../state/Watching.js"

/** The tier errors of a read. */
export type TierError = TierUnavailable | LogUnavailable

export interface PointReads {
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError>
  /** The newest records of valid ids, tombstones included, without looking at the gate; fills memory. */
  readonly fetch: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, ItemRecord>, TierError>
  /** As `fetch`, for pages beside the archive's rows: fails where a pending write cannot be compared with the archive. */
  readonly fetchCompared: PointReads["fetch"]
  /**
   * As `fetch`, for decisions: while others may write the archive, from log and archive alone. Fails where the archive
   * would have to be asked and cannot be.
   */
  readonly fetchProven: PointReads["fetch"]
  /** As `fetchProven`, past memory and cache in any case. */
  readonly fetchStored: PointReads["fetch"]
}

/** How a read looks for items. */
interface Depth {
  /** The archive's failure is the answer, also where the log holds something. */
  readonly proven: boolean
  /** Neither memory nor the cache is believed. */
  readonly past: (core: EngineState) => boolean
}

const readers: Depth = { proven: false, past: () => false }
const pages: Depth = { proven: true, past: () => false }
const decisions: Depth = { proven: true, past: (core) => !core.writer.isCertain() }
const stored: Depth = { proven: true, past: () => true }

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

/** Wakes one reader. */
type Waiting = (answer: Answer) => void

/** Told what the tiers hold of an id; `undefined` for proven absence. */
type Found = (id: string, record: ItemRecord | undefined) => void

const nothing: ReadonlyMap<string, ItemRecord> = new Map()

export const make = (core: EngineState, scope: Scope.Scope): PointReads => {
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
      if (archive === undefined) return Effect.fail(noArchive("get", ", so absence cannot be proven"))
      const found = Effect.forEach(Arr.chunksOf(ids, core.limits.idsPerQuery), (chunk) =>
        archive.getMany(chunk)
      )
      return Effect.mapBoth(found, {
        onFailure: archiveUnavailable("get"),
        onSuccess: (parts) => parts.flat()
      })
    })

  /** What a trusted cache holds. Only live items count: absence is for the archive to say. */
  const fromCache = (ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<CachedRecord>> =>
    Effect.suspend(() => {
      const { cache } = core
      if (cache === undefined || ids.length === 0 || !cache.trusted) return Effect.succeed([])
      const [only] = ids
      const asked: Effect.Effect<ReadonlyArray<CachedRecord>, CacheError> = ids.length === 1 &&
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

  /**
   * Volatile items live in the cache alone. Nobody else has them, so they are believed without trust, and an id that
   * the archive does not hold is not absent while the cache cannot be asked.
   */
  const volatileOnes = (
    ids: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<CachedRecord>, TierUnavailable> =>
    Effect.suspend(() => {
      const { cache } = core
      if (cache === undefined || ids.length === 0 || !cache.mayHoldVolatile || cache.owner === "another's") {
        return Effect.succeed([])
      }
      return cache.service.getMany(ids).pipe(
        Effect.map((records) => records.filter(({ deleted, volatile }) => volatile === true && !deleted)),
        Effect.tapError((error) => cacheFailed(core, cache, error.message)),
        Effect.mapError(
          ({ problem, retryAfterMs }) =>
            new TierUnavailable({ tier: "cache", operation: "get", problem, retryAfterMs })
        )
      )
    })

  /** One attempt for ids that memory does not hold; returns which ids changed meanwhile, and which cannot be answered. */
  const attempt = (
    ids: ReadonlyArray<string>,
    found: Found,
    proven: boolean,
    past: boolean
  ): Effect.Effect<{
    readonly again: ReadonlyArray<string>
    readonly failed: ReadonlyMap<string, TierError>
  }> =>
    touchedMeanwhile(core, ids, (watches) =>
      Effect.gen(function* () {
        const failed = new Map<string, TierError>()
        const inLog = ids.filter((id) => core.pending.get(id) !== undefined)
        // Asked now: when the log has answered, such an entry may have been superseded and be no longer pending.
        const others = past && !core.writer.isCertain()
        const inDoubt = (id: string) => core.letters.isInDoubt(id)
        const unchecked = new Set(
          inLog.filter((id) => others || core.pending.get(id)?.unchecked === true || inDoubt(id))
        )
        const answered = yield* Effect.either(fromLog(inLog))
        if (Either.isLeft(answered)) for (const id of inLog) failed.set(id, answered.left)
        const logged = Either.isRight(answered) ? answered.right : nothing
        // Released between index and read: the archive has them. Unchecked: the archive may have something newer.
        const ask = ids.filter(
          (id) => !failed.has(id) && ((!logged.has(id) && !core.provenAbsent(id)) || unchecked.has(id))
        )
        const archived = new Map<string, ItemRecord>()
        const believed = core.cache?.trusted === true
        let cached = past ? [] : yield* fromCache(ask.filter((id) => !inDoubt(id)))
        for (const record of cached) archived.set(record.id, record)
        const rest = cached.length === 0 ? ask : ask.filter((id) => !archived.has(id))
        if (rest.length > 0) {
          const answer = yield* Effect.either(fromArchive(rest))
          if (Either.isLeft(answer)) {
            // Without the archive, a logged value is still a value; absence is not, nor is a deletion that may be older.
            for (const id of rest) {
              if (proven || logged.get(id)?.deleted !== false) failed.set(id, answer.left)
            }
          } else {
            for (const record of answer.right) archived.set(record.id, record)
            for (const id of rest) core.pending.compared(id, archived.get(id))
            yield* fillCache(core, answer.right)
            const absent =
              past || (believed && core.cache?.trusted === true)
                ? []
                : rest.filter((id) => !archived.has(id) && !logged.has(id))
            const alone = yield* Effect.either(volatileOnes(absent))
            if (Either.isLeft(alone)) for (const id of absent) failed.set(id, alone.left)
            else for (const record of alone.right) archived.set(record.id, record)
            if (Either.isRight(alone)) cached = [...cached, ...alone.right]
          }
        }
        // A volatile item expires in the cache, and would not do so in memory.
        const mayExpire = new Set(cached.flatMap((record) => (record.volatile === true ? [record.id] : [])))
        count(ids.length - failed.size, logged.size, cached.length, archived.size)
        const again: Array<string> = []
        for (const id of ids) {
          if (watches.get(id)!.dirty) {
            again.push(id)
            failed.delete(id)
            continue
          }
          if (failed.has(id)) continue
          const record = newestOf(archived.get(id), logged.get(id))
          remember(id, record, mayExpire.has(id))
          found(id, record)
        }
        return { again, failed }
      })
    )

  const remember = (id: string, record: ItemRecord | undefined, mayExpire: boolean): void => {
    if (record !== undefined) core.clock.observe(record.version)
    const pending = core.pending.get(id)
    // Tombstones stay in memory only while they are pending: another node may bring the id back, or have deleted it.
    if (record === undefined || record.deleted) {
      if (pending === undefined) core.memory.remove(id)
      return
    }
    if (mayExpire) return
    // Nor what could not be compared with the archive's now: memory would be believed.
    if (pending?.unchecked !== true || compareVersions(pending, record) < 0) core.versions.keep(record)
  }

  /** Reads the newest records of these ids and tells each as soon as it is known; returns why others are not. */
  const fetchEach = (
    ids: ReadonlyArray<string>,
    found: Found,
    { past, proven }: Depth = readers
  ): Effect.Effect<ReadonlyMap<string, TierError>> =>
    Effect.gen(function* () {
      const failed = new Map<string, TierError>()
      let open: ReadonlyArray<string> = ids
      while (open.length > 0) {
        const missing: Array<string> = []
        const below = past(core)
        for (const id of open) {
          const held = below ? undefined : core.memory.peek(id)
          if (held === undefined) missing.push(id)
          else found(id, held)
        }
        if (missing.length === 0) break
        const result = yield* attempt(missing, found, proven, below)
        for (const [id, error] of result.failed) failed.set(id, error)
        open = result.again
      }
      return failed
    })

  const collect = (ids: ReadonlyArray<string>, depth: Depth): ReturnType<PointReads["fetch"]> =>
    Effect.suspend(() => {
      const records = new Map<string, ItemRecord>()
      const collected = fetchEach(
        ids,
        (id, record) => {
          if (record !== undefined) records.set(id, record)
        },
        depth
      )
      return Effect.flatMap(
        collected,
        (failed): Effect.Effect<ReadonlyMap<string, ItemRecord>, TierError> => {
          for (const error of failed.values()) return Effect.fail(error)
          return Effect.succeed(records)
        }
      )
    })

  const fetch: PointReads["fetch"] = (ids) => collect(ids, readers)
  const fetchCompared: PointReads["fetch"] = (ids) => collect(ids, pages)

  // Reads that missed memory wait here, by id: those of one turn share one fetch, and later ones of the same id join
  // it while it is under way. Joining is safe: a write that becomes visible meanwhile makes the fetch look again.
  const waiting = new Map<string, Array<Waiting>>()
  let next: Array<string> = []
  const tell = (id: string, answer: Answer): void => {
    const readers = waiting.get(id)
    waiting.delete(id)
    if (readers !== undefined) for (const resume of readers) resume(answer)
  }
  const answerNext = Effect.suspend(() => {
    const open = new Set(next)
    next = []
    const fetched = fetchEach([...open], (id, record) => {
      open.delete(id)
      tell(id, Effect.succeed(visible(record)))
    })
    return Effect.onExit(Effect.interruptible(fetched), (exit) =>
      Effect.sync(() => {
        for (const id of open) tell(id, failureOf(id, exit))
      })
    )
  })
  const failureOf = (id: string, exit: Exit.Exit<ReadonlyMap<string, TierError>>): Answer => {
    if (Exit.isInterrupted(exit)) return Effect.fail(core.gate.closed("query"))
    if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
    const error = exit.value.get(id)
    return error === undefined ? Effect.dieMessage(`no answer for ${JSON.stringify(id)}`) : Effect.fail(error)
  }
  // The yield lets the other readers of this turn join. Nobody waits for this fiber's exit: its readers have it.
  const startAnswering = Effect.yieldNow().pipe(
    Effect.zipRight(answerNext),
    Effect.ignore,
    Effect.uninterruptible,
    Effect.forkIn(scope)
  )

  const miss = (id: string): Effect.Effect<Option.Option<SyncItem>, ReadError> => {
    const problem = idProblem(id)
    if (problem !== undefined) return Effect.fail(new InvalidItem({ id: nameOf(id), field: "id", problem }))
    if (core.provenAbsent(id)) {
      Metrics.read("filter", 1)
      return Effect.succeed(Option.none())
    }
    // One synchronous step joins the batch and decides who answers it; an interruption must not come before the answering
    // fiber has been started, because everybody after this reader counts on it.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        let answer: Answer | undefined
        let wake: Waiting | undefined
        const resume: Waiting = (effect) => {
          answer = effect
          wake?.(effect)
        }
        const answered: Answer = Effect.async((told) => {
          if (answer === undefined) wake = told
          else told(answer)
        })
        const others = waiting.get(id)
        if (others !== undefined) {
          others.push(resume)
          return restore(answered)
        }
        waiting.set(id, [resume])
        next.push(id)
        return next.length === 1 ? Effect.zipRight(startAnswering, restore(answered)) : restore(answered)
      })
    )
  }

  const get: PointReads["get"] = (id) =>
    Effect.suspend(() => {
      if (!core.lifecycle.acceptsQueries()) return Effect.fail(core.gate.closed("query"))
      const held = core.memory.get(id)
      return held === undefined ? miss(id) : Effect.succeed(visible(held))
    })

  const getMany: PointReads["getMany"] = (ids) =>
    Effect.suspend((): Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError> => {
      const gate = core.gate.query()
      if (gate !== undefined) return Effect.fail(gate)
      if (!Array.isArray(ids))
        return Effect.fail(new InvalidRequest({ argument: "ids", problem: "must be an array" }))
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
          return Effect.fail(new InvalidItem({ id: nameOf(id), field: "id", problem }))
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

  return {
    get,
    getMany,
    fetch,
    fetchCompared,
    fetchProven: (ids) => collect(ids, decisions),
    fetchStored: (ids) => collect(ids, stored)
  }
}

const visible = (record: ItemRecord | undefined): Option.Option<SyncItem> =>
  record === undefined || record.deleted ? Option.none() : Option.some(record)
