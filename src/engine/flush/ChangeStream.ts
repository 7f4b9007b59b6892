/**
 * The change stream: what the archive holds after each commit goes, in log order, to a Redis stream. At least once: an
 * entry leaves the log only when it has been published too, so a Redis outage holds the log, within its bounds.
 * Consumers deduplicate by version and hash. What was merged into a later write, lost against the archive's version or
 * was put aside is not published. Of what a Redis outage leaves to the next start, the newest versions are.
 */
import { Chunk, Effect, Option, Stream } from "effect"
import { ArchiveError } from "../../archive/ArchiveError.js"
import type { CacheChange, CacheError, PositionedChange } from "../../cache/Cache.js"
import type { LogUnavailable, ReadError } from "../../EngineError.js"
import { NotSupported, TierUnavailable } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { ItemVersion } from "../../SyncItem.js"
import { sameVersion } from "../../SyncItem.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import { cacheFailed } from "../cache/CacheWriter.js"
import type { CacheTrust } from "../state/CacheTrust.js"
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { SequenceSet } from "../state/KnownVersions.js"

const entriesPerPage = 500
const bytesPerPage = 4 * 1024 * 1024
const pollMs = 250

const notConnected = new ArchiveError({
  operation: "heads",
  kind: "transient",
  problem: "the archive is not connected"
})

export class ChangeStream {
  private cursor: number | undefined
  private readonly turn = Effect.unsafeMakeSemaphore(1)
  /** Entries of this life that the archive did not take: merged into later ones, superseded, put aside. */
  private readonly untaken = new SequenceSet()

  constructor(private readonly core: EngineState) {}

  /** Everything up to this sequence number may leave the log, as far as the change stream is concerned. Synchronous. */
  published(): number {
    return this.core.config().cdc ? this.position : Number.MAX_SAFE_INTEGER
  }

  /** The archive has committed these entries, and holds these records of theirs now. Synchronous. */
  carried(
    entries: ReadonlyArray<LogEntry>,
    taken: ReadonlyArray<ItemVersion & { readonly id: string }>
  ): void {
    if (!this.core.config().cdc) return
    const held = new Map(taken.map((record) => [record.id, record]))
    // Backwards: of the same version twice the later one is published.
    for (const { record, sequence } of [...entries].reverse()) {
      const stored = held.get(record.id)
      if (stored !== undefined && sameVersion(stored, record)) held.delete(record.id)
      else this.untaken.add(sequence)
    }
  }

  /** Publishes what the archive has taken since. */
  readonly publish: Effect.Effect<void, ArchiveError | CacheError | LogUnavailable> = Effect.suspend(() =>
    this.turn.withPermits(1)(
      Effect.suspend(() =>
        this.core.config().cdc && this.core.tiers !== undefined
          ? Effect.asVoid(Effect.repeat(this.page(), { while: (more) => more }))
          : Effect.void
      )
    )
  )

  /** Entries of the change stream after a position (all that are kept without one), and those to come. */
  readonly changes = (after = ""): Stream.Stream<PositionedChange, ReadError | NotSupported> =>
    Stream.paginateChunkEffect(after, (from) =>
      Effect.map(this.read(from), (found) => {
        const last = found[found.length - 1]?.position ?? from
        return [Chunk.unsafeFromArray([...found]), Option.some(last)] as const
      })
    )

  private read(from: string): Effect.Effect<ReadonlyArray<PositionedChange>, ReadError | NotSupported> {
    return Effect.suspend((): Effect.Effect<ReadonlyArray<PositionedChange>, ReadError | NotSupported> => {
      const { core } = this
      const { cache } = core
      const gate = core.gate.query()
      if (gate !== undefined) return Effect.fail(gate)
      if (!core.config().cdc || cache === undefined) {
        const problem = "the change stream is off; switch it on with CDC and REDIS_URL"
        return Effect.fail(new NotSupported({ operation: "changes", problem }))
      }
      return cache.service.readChanges(from, entriesPerPage).pipe(
        Effect.mapError(
          ({ problem, retryAfterMs }) =>
            new TierUnavailable({ tier: "cache", operation: "changes", problem, retryAfterMs })
        ),
        Effect.tap((found) => (found.length === 0 ? Effect.sleep(`${pollMs} millis`) : Effect.void))
      )
    })
  }

  private get position(): number {
    // At a stream's beginning: what the log has released was published before.
    return this.cursor ?? this.core.tiers?.log.usage().released ?? 0
  }

  /** Whether there may be more. */
  private page(): Effect.Effect<boolean, ArchiveError | CacheError | LogUnavailable> {
    const { core, untaken } = this
    return Effect.gen(this, function* () {
      const { cache } = core
      const upTo = core.tail.consumed
      const after = this.position
      if (cache === undefined || after >= upTo) return false
      const entries = (yield* core.log.read({
        after,
        maxItems: entriesPerPage,
        maxBytes: bytesPerPage
      })).filter(({ sequence }) => sequence <= upTo)
      const last = entries[entries.length - 1]?.sequence ?? upTo
      const before = yield* this.takenBefore(entries)
      const isHeld = ({ record, sequence }: LogEntry): boolean => {
        if (sequence > core.carriedBefore) return !untaken.has(sequence)
        const head = before.get(record.id)
        return head !== undefined && sameVersion(head, record)
      }
      yield* this.append(cache, entries.filter(isHeld).map(changeOf))
      this.cursor = last
      untaken.forget(last)
      yield* core.log.release(last)
      return true
    })
  }

  private append(cache: CacheTrust, changes: ReadonlyArray<CacheChange>): Effect.Effect<void, CacheError> {
    if (changes.length === 0) return Effect.void
    const { core } = this
    return cache.service.appendChanges(changes, core.config().cdcMaxLen).pipe(
      // A cache that refuses the stream is a good cache all the same, and says so at every call.
      Effect.tapError((error) =>
        error.kind === "refused"
          ? Conditions.begins(core, "changes", error.message, `the change stream stands: ${error.message}`)
          : cacheFailed(core, cache, error.message)
      ),
      Effect.zipRight(Conditions.ends(core, "changes", "the change stream goes on")),
      Effect.zipRight(Effect.sync(() => Metrics.changesPublished(changes.length)))
    )
  }

  /** What was carried before this start: the archive is asked what it holds of it now. */
  private takenBefore(
    entries: ReadonlyArray<LogEntry>
  ): Effect.Effect<ReadonlyMap<string, ItemVersion>, ArchiveError> {
    const earlier = entries.filter(({ sequence }) => sequence <= this.core.carriedBefore)
    const archive = this.core.tiers?.archive
    if (earlier.length === 0) return Effect.succeed(new Map())
    if (archive === undefined) return Effect.fail(notConnected)
    const ids = [...new Set(earlier.map(({ record }) => record.id))]
    return Effect.map(archive.heads(ids), (heads) => new Map(heads.map((head) => [head.id, head])))
  }
}

const changeOf = ({ record, sequence }: LogEntry): CacheChange => ({
  operation: record.deleted ? "DELETE" : "PUT",
  id: record.id,
  version: record.version,
  contentHash: record.contentHash,
  sequence
})
