/**
 * The change stream: what the archive has committed goes, in log order, to a Redis stream. At least once: an entry
 * leaves the log only when it has been published too, so a Redis outage holds the log, within its bounds. Consumers
 * deduplicate by version and hash.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CacheChange, CacheError, PositionedChange } from "../cache/Cache.js"
import type { LogUnavailable, ReadError } from "../EngineError.js"
import { NotSupported, TierUnavailable } from "../EngineError.js"
import * as Metrics from "../Metrics.js"
import type { LogEntry } from "../wal/WriteAheadLog.js"
import { cacheFailed } from "./CacheWrites.js"
import type { EngineCore } from "./EngineCore.js"

/** @since 0.1.0 @category models */
export interface ChangeFeed {
  /** Everything up to this sequence number may leave the log, as far as the change stream is concerned. Synchronous. */
  readonly published: () => number
  /** Publishes what the archive has committed since. */
  readonly publish: Effect.Effect<void, CacheError | LogUnavailable>
  /** Entries of the change stream after a position (all that are kept without one), and those to come. */
  readonly changes: (after?: string) => Stream.Stream<PositionedChange, ReadError | NotSupported>
}

const entriesPerPage = 500
const bytesPerPage = 4 * 1024 * 1024
const pollMs = 250

/** A feed's beginning: what the log has released was published before. @since 0.1.0 @category constructors */
export const make = (core: EngineCore): ChangeFeed => {
  let cursor: number | undefined
  const turn = Effect.unsafeMakeSemaphore(1)
  const position = () => cursor ?? core.tiers?.log.usage().released ?? 0

  const refused = (sequences: ReadonlyArray<LogEntry>): Effect.Effect<ReadonlySet<number>, LogUnavailable> =>
    core.log.deadLetters.count() === 0 || sequences.length === 0
      ? Effect.succeed(new Set())
      : Effect.map(
          core.log.deadLetters.within(sequences[0]!.sequence, sequences[sequences.length - 1]!.sequence),
          (letters) => new Set(letters)
        )

  const page = Effect.gen(function* () {
    const { cache } = core
    const upTo = core.fresh.consumed
    const after = position()
    if (cache === undefined || after >= upTo) return false
    const entries = (yield* core.log.read({
      after,
      maxItems: entriesPerPage,
      maxBytes: bytesPerPage
    })).filter(({ sequence }) => sequence <= upTo)
    const last = entries[entries.length - 1]?.sequence ?? upTo
    const dead = yield* refused(entries)
    const changes = entries.flatMap(
      ({ record, sequence }): Array<CacheChange> =>
        dead.has(sequence)
          ? []
          : [
              {
                operation: record.deleted ? "DELETE" : "PUT",
                id: record.id,
                version: record.version,
                contentHash: record.contentHash,
                sequence
              }
            ]
    )
    if (changes.length > 0) {
      yield* cache.service
        .appendChanges(changes, core.config().cdcMaxLen)
        .pipe(Effect.tapError((error) => cacheFailed(core, cache, error.message)))
      Metrics.changesPublished(changes.length)
    }
    cursor = last
    yield* core.log.release(last)
    return true
  })

  const publish: ChangeFeed["publish"] = turn
    .withPermits(1)(
      Effect.suspend(() =>
        core.config().cdc && core.tiers !== undefined
          ? Effect.repeat(page, { while: (more) => more })
          : Effect.void
      )
    )
    .pipe(Effect.asVoid)

  const changes: ChangeFeed["changes"] = (after = "") =>
    Stream.paginateChunkEffect(after, (from) =>
      Effect.suspend(
        (): Effect.Effect<
          readonly [Chunk.Chunk<PositionedChange>, Option.Option<string>],
          ReadError | NotSupported
        > => {
          const { cache } = core
          const gate = core.queryGate()
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

  return { published: () => (core.config().cdc ? position() : Number.MAX_SAFE_INTEGER), publish, changes }
}
