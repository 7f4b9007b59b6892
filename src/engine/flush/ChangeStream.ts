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
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { SequenceSet } from "../state/SequenceSet.js"

export interface ChangeStream {
  /** Everything up to this sequence number may leave the log, as far as the change stream is concerned. Synchronous. */
  readonly published: () => number
  /** The archive has committed these entries, and holds these records of theirs now. Synchronous. */
  readonly carried: (
    entries: ReadonlyArray<LogEntry>,
    taken: ReadonlyArray<ItemVersion & { readonly id: string }>
  ) => void
  /** Publishes what the archive has taken since. */
  readonly publish: Effect.Effect<void, ArchiveError | CacheError | LogUnavailable>
  /** Entries of the change stream after a position (all that are kept without one), and those to come. */
  readonly changes: (after?: string) => Stream.Stream<PositionedChange, ReadError | NotSupported>
}

const entriesPerPage = 500
const bytesPerPage = 4 * 1024 * 1024
const pollMs = 250

const notConnected = new ArchiveError({
  operation: "heads",
  kind: "transient",
  problem: "the archive is not connected"
})

/** A feed's beginning: what the log has released was published before. */
export const make = (core: EngineState): ChangeStream => {
  let cursor: number | undefined
  const turn = Effect.unsafeMakeSemaphore(1)
  const position = () => cursor ?? core.tiers?.log.usage().released ?? 0

  /** Entries of this life that the archive did not take: merged into later ones, superseded, put aside. */
  const untaken = new SequenceSet()

  const carried: ChangeStream["carried"] = (entries, taken) => {
    if (!core.config().cdc) return
    const held = new Map(taken.map((record) => [record.id, record]))
    // Backwards: of the same version twice the later one is published.
    for (const { record, sequence } of [...entries].reverse()) {
      const stored = held.get(record.id)
      if (stored !== undefined && sameVersion(stored, record)) held.delete(record.id)
      else untaken.add(sequence)
    }
  }

  /** What was carried before this start: the archive is asked what it holds of it now. */
  const takenBefore = (entries: ReadonlyArray<LogEntry>) =>
    Effect.suspend(() => {
      const earlier = entries.filter(({ sequence }) => sequence <= core.carriedBefore)
      const archive = core.tiers?.archive
      if (earlier.length === 0) return Effect.succeed(new Map<string, ItemVersion>())
      if (archive === undefined) return Effect.fail(notConnected)
      const ids = [...new Set(earlier.map(({ record }) => record.id))]
      return Effect.map(archive.heads(ids), (heads) => new Map(heads.map((head) => [head.id, head])))
    })

  const page = Effect.gen(function* () {
    const { cache } = core
    const upTo = core.tail.consumed
    const after = position()
    if (cache === undefined || after >= upTo) return false
    const entries = (yield* core.log.read({
      after,
      maxItems: entriesPerPage,
      maxBytes: bytesPerPage
    })).filter(({ sequence }) => sequence <= upTo)
    const last = entries[entries.length - 1]?.sequence ?? upTo
    const before = yield* takenBefore(entries)
    const isHeld = ({ record, sequence }: LogEntry): boolean => {
      if (sequence > core.carriedBefore) return !untaken.has(sequence)
      const head = before.get(record.id)
      return head !== undefined && sameVersion(head, record)
    }
    const changes = entries.filter(isHeld).map(
      ({ record, sequence }): CacheChange => ({
        operation: record.deleted ? "DELETE" : "PUT",
        id: record.id,
        version: record.version,
        contentHash: record.contentHash,
        sequence
      })
    )
    if (changes.length > 0) {
      yield* cache.service.appendChanges(changes, core.config().cdcMaxLen).pipe(
        // A cache that refuses the stream is a good cache all the same, and says so at every call.
        Effect.tapError((error) =>
          error.kind === "refused"
            ? Conditions.begins(core, "changes", error.message, `the change stream stands: ${error.message}`)
            : cacheFailed(core, cache, error.message)
        )
      )
      yield* Conditions.ends(core, "changes", "the change stream goes on")
      Metrics.changesPublished(changes.length)
    }
    cursor = last
    untaken.forget(last)
    yield* core.log.release(last)
    return true
  })

  const publish: ChangeStream["publish"] = turn
    .withPermits(1)(
      Effect.suspend(() =>
        core.config().cdc && core.tiers !== undefined
          ? Effect.repeat(page, { while: (more) => more })
          : Effect.void
      )
    )
    .pipe(Effect.asVoid)

  const changes: ChangeStream["changes"] = (after = "") =>
    Stream.paginateChunkEffect(after, (from) =>
      Effect.suspend(
        (): Effect.Effect<
          readonly [Chunk.Chunk<PositionedChange>, Option.Option<string>],
          ReadError | NotSupported
        > => {
          const { cache } = core
          const gate = core.gate.query()
          if (gate !== undefined) return Effect.fail(gate)
          if (!core.config().cdc || cache === undefined) {
            return Effect.fail(
              new NotSupported({
                operation: "changes",
                problem: "the change stream is off; switch it on with CDC and REDIS_URL"
              })
            )
          }
          return cache.service.readChanges(from, entriesPerPage).pipe(
            Effect.mapError(
              (error) =>
                new TierUnavailable({
                  tier: "cache",
                  operation: "changes",
                  problem: error.problem,
                  retryAfterMs: error.retryAfterMs
                })
            ),
            Effect.tap((found) => (found.length === 0 ? Effect.sleep(`${pollMs} millis`) : Effect.void)),
            Effect.map((found) => {
              const last = found[found.length - 1]?.position ?? from
              return [Chunk.unsafeFromArray([...found]), Option.some(last)] as const
            })
          )
        }
      )
    )

  return {
    published: () => (core.config().cdc ? position() : Number.MAX_SAFE_INTEGER),
    carried,
    publish,
    changes
  }
}
