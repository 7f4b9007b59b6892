/**
 * Reads below memory: the log, a trusted cache, the archive. What is read fills memory unless the id was touched
 * meanwhile (see `Watching`); then it is read again.
 */
import { Array as Arr, Effect, Either, Option } from "effect"
import type { CachedRecord, CacheError } from "../../cache/Cache.js"
import type { LogUnavailable } from "../../EngineError.js"
import { TierUnavailable } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { ItemRecord } from "../../SyncItem.js"
import { compareVersions } from "../../SyncItem.js"
import { cacheFailed, fillCache } from "../cache/CacheWriter.js"
import { archiveUnavailable, noArchive } from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import { touchedMeanwhile } from "../state/Watching.js"

/** The tier errors of a read. */
export type TierError = TierUnavailable | LogUnavailable

/** How a read looks for items. */
export interface Depth {
  /** The archive's failure is the answer, also where the log holds something. */
  readonly proven: boolean
  /** Neither memory nor the cache is believed. */
  readonly past: (core: EngineState) => boolean
}

export const readers: Depth = { proven: false, past: () => false }
export const pages: Depth = { proven: true, past: () => false }
export const decisions: Depth = { proven: true, past: (core) => !core.writer.isCertain() }
export const stored: Depth = { proven: true, past: () => true }

/** One batch of reads that missed memory, by the tier that answered. */
const count = (asked: number, log: number, cache: number, cacheAndArchive: number): void => {
  const archive = Math.max(0, cacheAndArchive - cache)
  if (log > 0) Metrics.read("log", log)
  if (cache > 0) Metrics.read("cache", cache)
  if (archive > 0) Metrics.read("archive", archive)
  const absent = asked - log - cache - archive
  if (absent > 0) Metrics.read("absent", absent)
}

/** Told what the tiers hold of an id; `undefined` for proven absence. */
export type Found = (id: string, record: ItemRecord | undefined) => void

/** What the tiers have said. */
interface Answers {
  readonly logged: ReadonlyMap<string, ItemRecord>
  /** From the cache or the archive. */
  readonly archived: Map<string, ItemRecord>
  readonly cached: ReadonlyArray<CachedRecord>
  readonly failed: Map<string, TierError>
}

const nothing: ReadonlyMap<string, ItemRecord> = new Map()

export class TierReads {
  constructor(private readonly core: EngineState) {}

  /** Reads the newest records of these ids and tells each as soon as it is known; returns why others are not. */
  each(
    ids: ReadonlyArray<string>,
    found: Found,
    { past, proven }: Depth = readers
  ): Effect.Effect<ReadonlyMap<string, TierError>> {
    const { core } = this
    return Effect.gen(this, function* () {
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
        open = yield* this.attempt(missing, found, failed, proven, below)
      }
      return failed
    })
  }

  /** The newest records, tombstones included; fails with the first id that cannot be read. */
  all(ids: ReadonlyArray<string>, depth: Depth): Effect.Effect<ReadonlyMap<string, ItemRecord>, TierError> {
    return Effect.gen(this, function* () {
      const records = new Map<string, ItemRecord>()
      const found: Found = (id, record) => {
        if (record !== undefined) records.set(id, record)
      }
      for (const error of (yield* this.each(ids, found, depth)).values()) return yield* error
      return records
    })
  }

  /** One attempt for ids that memory does not hold; returns which were touched meanwhile. */
  private attempt(
    ids: ReadonlyArray<string>,
    found: Found,
    failures: Map<string, TierError>,
    proven: boolean,
    past: boolean
  ): Effect.Effect<ReadonlyArray<string>> {
    return touchedMeanwhile(this.core, ids, (watches) =>
      Effect.map(this.ask(ids, proven, past), ({ archived, cached, failed, logged }) => {
        // A volatile item expires in the cache, and would not do so in memory.
        const mayExpire = new Set(cached.flatMap((record) => (record.volatile === true ? [record.id] : [])))
        count(ids.length - failed.size, logged.size, cached.length, archived.size)
        const again: Array<string> = []
        for (const id of ids) {
          const error = failed.get(id)
          if (watches.get(id)!.dirty) again.push(id)
          else if (error !== undefined) failures.set(id, error)
          else {
            const record = newestOf(archived.get(id), logged.get(id))
            this.remember(id, record, mayExpire.has(id))
            found(id, record)
          }
        }
        return again
      })
    )
  }

  private ask(ids: ReadonlyArray<string>, proven: boolean, past: boolean): Effect.Effect<Answers> {
    const { core } = this
    return Effect.gen(this, function* () {
      const failed = new Map<string, TierError>()
      const inLog = ids.filter((id) => core.pending.get(id) !== undefined)
      // Asked now: when the log has answered, such an entry may have been superseded and be no longer pending.
      const others = past && !core.writer.isCertain()
      const inDoubt = (id: string) => core.letters.isInDoubt(id)
      const unchecked = new Set(
        inLog.filter((id) => others || core.pending.get(id)?.unchecked === true || inDoubt(id))
      )
      const answered = yield* Effect.either(this.fromLog(inLog))
      if (Either.isLeft(answered)) for (const id of inLog) failed.set(id, answered.left)
      const logged = Either.getOrElse(answered, () => nothing)
      // Released between index and read: the archive has them. Unchecked: the archive may have something newer.
      const open = ids.filter(
        (id) => !failed.has(id) && ((!logged.has(id) && !core.provenAbsent(id)) || unchecked.has(id))
      )
      const believed = !past && core.cache?.trusted === true
      const cached = past ? [] : yield* this.fromCache(open.filter((id) => !inDoubt(id)))
      const archived = new Map<string, ItemRecord>(cached.map((record) => [record.id, record]))
      const rest = cached.length === 0 ? open : open.filter((id) => !archived.has(id))
      if (rest.length === 0) return { archived, cached, failed, logged }
      const answer = yield* Effect.either(this.fromArchive(rest))
      if (Either.isLeft(answer)) {
        // Without the archive, a logged value is still a value; absence is not, nor is a deletion that may be older.
        for (const id of rest) {
          if (proven || logged.get(id)?.deleted !== false) failed.set(id, answer.left)
        }
        return { archived, cached, failed, logged }
      }
      for (const record of answer.right) archived.set(record.id, record)
      for (const id of rest) core.pending.compared(id, archived.get(id))
      yield* fillCache(core, answer.right)
      if (past || (believed && core.cache?.trusted === true)) return { archived, cached, failed, logged }
      const absent = rest.filter((id) => !archived.has(id) && !logged.has(id))
      const alone = yield* Effect.either(this.volatileOnes(absent))
      if (Either.isLeft(alone)) {
        for (const id of absent) failed.set(id, alone.left)
        return { archived, cached, failed, logged }
      }
      for (const record of alone.right) archived.set(record.id, record)
      return { archived, cached: [...cached, ...alone.right], failed, logged }
    })
  }

  /** Pending records that memory has evicted, or that were never compared with the archive, from the log. */
  private fromLog(
    ids: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyMap<string, ItemRecord>, LogUnavailable> {
    const { core } = this
    return Effect.suspend(() => {
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
  }

  private fromArchive(ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ItemRecord>, TierUnavailable> {
    const { core } = this
    return Effect.suspend(() => {
      const archive = core.tiers?.archive
      if (archive === undefined) return Effect.fail(noArchive("get", ", so absence cannot be proven"))
      return Effect.forEach(Arr.chunksOf(ids, core.limits.idsPerQuery), (chunk) =>
        archive.getMany(chunk)
      ).pipe(Effect.mapBoth({ onFailure: archiveUnavailable("get"), onSuccess: (parts) => parts.flat() }))
    })
  }

  /** What a trusted cache holds. Only live items count: absence is for the archive to say. */
  private fromCache(ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<CachedRecord>> {
    const { core } = this
    return Effect.suspend(() => {
      const { cache } = core
      if (cache === undefined || ids.length === 0 || !cache.trusted) return Effect.succeed([])
      const asked: Effect.Effect<ReadonlyArray<CachedRecord>, CacheError> = ids.length === 1
        ? Effect.map(cache.service.get(ids[0]!), Option.toArray)
        : cache.service.getMany(ids)
      return Effect.matchEffect(asked, {
        onFailure: (error) => Effect.as(cacheFailed(core, cache, error.message), []),
        // Trust may have gone while it answered.
        onSuccess: (records) =>
          Effect.succeed(cache.trusted ? records.filter((record) => !record.deleted) : [])
      })
    })
  }

  /**
   * Volatile items live in the cache alone. Nobody else has them, so they are believed without trust, and an id that
   * the archive does not hold is not absent while the cache cannot be asked.
   */
  private volatileOnes(
    ids: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<CachedRecord>, TierUnavailable> {
    const { core } = this
    return Effect.suspend(() => {
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
  }

  private remember(id: string, record: ItemRecord | undefined, mayExpire: boolean): void {
    const { core } = this
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
}
