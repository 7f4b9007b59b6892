/**
 * The log's only consumer: takes entries in log order, commits them to the archive, puts culprits aside, and
 * only then lets them leave the log. A normal flush, the drain at start, the recovery after an outage and the
 * last flush of a shutdown are this same code.
 */

import { Effect, Fiber } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { Superseded } from "../../archive/CommitPlan.js"
import type { LogUnavailable, TierUnavailable } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { FlushReason } from "../../SyncEngineModels.js"
import { counted } from "../../shared/Counted.js"
import { Turns } from "../../shared/Turns.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import { carryToCache } from "../cache/CacheWriter.js"
import { noteArchived, noteCarried } from "../state/ArchiveBinding.js"
import { noArchive } from "../state/ArchiveUnavailable.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { commitSplitting } from "./BatchBisect.js"
import { BatchShare } from "./BatchShare.js"
import type { ChangeStream } from "./ChangeStream.js"
import type { Committed, Lost } from "./CommitOutcome.js"
import { answer, settle } from "./CommitOutcome.js"
import { newestPerId } from "./FlushBatch.js"

export interface Flusher {
  /**
   * Carries what is committed in the log to the archive, at most up to `upTo`. `fullOnly` stops before a batch
   * that is not full. Calls take turns, batch by batch, and what one carries counts for all.
   */
  readonly run: (options: {
    readonly reason: FlushReason
    readonly upTo?: number | undefined
    readonly fullOnly?: boolean | undefined
  }) => Effect.Effect<void, ArchiveError | LogUnavailable | TierUnavailable>
  /** Runs an effect while nothing is being flushed. */
  readonly exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Whether a whole batch is waiting in memory. Synchronous. */
  readonly batchIsFull: () => boolean
  /** Whether the log still holds what may leave it: a release has failed, and the next call makes up for it. Synchronous. */
  readonly releaseDue: () => boolean
  /** Whether the last attempt failed a moment ago, so that the next regular one waits. Synchronous. */
  readonly backsOff: () => boolean
}

const firstRetryMs = 100

/** How long to wait before attempt `failures + 1`: doubling from 100 ms, capped. */
export const retryDelayMs = (failures: number, capMs: number): number =>
  failures === 0 ? 0 : Math.min(capMs, firstRetryMs * 2 ** Math.min(failures - 1, 20))

export const make = (core: EngineState, waiters: ArchiveWaiters, feed: ChangeStream): Flusher => {
  const turns = new Turns()
  let failures = 0
  let notBefore = 0
  /** Whether it was a flush that found the log failing. */
  let logFailed = false
  const share = new BatchShare()

  /** The next batch behind what has been taken already. */
  const nextEntries = (taken: number, upTo: number): Effect.Effect<ReadonlyArray<LogEntry>, LogUnavailable> =>
    Effect.suspend(() => {
      const { batchFlushBytes, batchFlushCount, sqlWriteConcurrency } = core.config()
      const maxItems = share.of(batchFlushCount * sqlWriteConcurrency)
      const maxBytes = share.of(batchFlushBytes * sqlWriteConcurrency)
      const { tail } = core
      if (!tail.mustReadLogAfter(taken)) {
        const entries = tail.peek(maxItems, maxBytes, taken)
        return Effect.succeed(entries.filter((entry) => entry.sequence <= upTo))
      }
      const { spilled } = tail
      return Effect.map(core.log.read({ after: taken, maxItems, maxBytes }), (entries) => {
        // Only when everything before has been settled: the cursor must not pass a batch under way.
        if (entries.length === 0 && taken === tail.consumed) tail.caughtUp(spilled)
        return entries.filter((entry) => entry.sequence <= upTo)
      })
    })

  interface Timed extends Committed {
    readonly startedMs: number
  }

  interface Answered extends Timed {
    readonly lost: Lost
  }

  /** Writes that were acknowledged and are not what the archive holds: one line a batch. */
  const tellOfLosses = ([first, ...others]: ReadonlyArray<Superseded>): Effect.Effect<void> =>
    first === undefined
      ? Effect.void
      : Effect.logWarning(
          `${others.length + 1} acknowledged writes lost against versions that the archive had already`,
          { first: first.submitted.id, version: first.submitted.version, stored: first.stored.version }
        )

  const commit = (
    archive: OpenArchive,
    entries: ReadonlyArray<LogEntry>
  ): Effect.Effect<Timed, ArchiveError> =>
    Effect.suspend(() => {
      const startedMs = core.elapsedMs()
      core.versions.committing(entries)
      const batch = newestPerId(entries)
      return Effect.map(
        commitSplitting(archive, batch, entries, core.config().sqlWriteConcurrency),
        (result): Timed => ({ entries, batch, result, startedMs })
      )
    })

  const putAside = ({ result }: Committed): Effect.Effect<void, LogUnavailable> =>
    result.culprits.length === 0
      ? Effect.void
      : core.log.deadLetters
          .add(
            result.culprits.map(({ entry, problem }) => ({
              sequence: entry.sequence,
              record: entry.record,
              reason: problem,
              at: core.nowMs()
            }))
          )
          .pipe(
            Effect.zipRight(
              Effect.logWarning(
                `the archive refused ${counted(result.culprits.length, "write")}; see the dead letters`,
                {
                  first: result.culprits[0]!.entry.record.id,
                  problem: result.culprits[0]!.problem
                }
              )
            )
          )

  /** What follows a commit at once: dead letters, and whoever waits for the archive, which is not the cache. */
  const answered = (committed: Timed): Effect.Effect<Answered, LogUnavailable> =>
    Effect.map(putAside(committed), () => ({ ...committed, lost: answer(core, waiters, committed) }))

  /** What follows then: cache, readers, and the entries leave the log. */
  const finish = (committed: Answered, reason: FlushReason): Effect.Effect<void> =>
    (committed.result.applied > 0 ? noteArchived(core) : Effect.void).pipe(
      Effect.zipRight(carryToCache(core, committed.result)),
      Effect.zipRight(
        Effect.suspend(() => {
          const { entries, result, startedMs } = committed
          feed.carried(entries, result.taken)
          settle(core, waiters, committed, committed.lost)
          core.counters.flushes[reason]++
          Metrics.flushed(reason, entries.length, core.elapsedMs() - startedMs)
          if (result.culprits.length > 0) Metrics.deadLettered(result.culprits.length)
          return Effect.zipRight(
            tellOfLosses(committed.lost.untold),
            reason === "shutdown" || core.degradations.logRefusal === undefined ? release : Effect.void
          )
        })
      )
    )

  /**
   * What is archived leaves the log; with a change stream, what it has published. A log that cannot let go of it holds
   * up nobody: the next flush makes up for it, and so does the next start.
   */
  const release: Effect.Effect<void> = Effect.suspend(() =>
    Effect.catchAll(
      releasable() < core.tail.consumed
        ? Effect.zipRight(noteCarried(core), core.log.release(releasable()))
        : core.log.release(releasable()),
      (error) => Effect.sync(() => core.degradations.logRefuses(error))
    )
  )

  const releasable = () => Math.min(core.tail.consumed, feed.published())

  const releaseDue = (): boolean => {
    if (core.tiers === undefined) return false
    const { committed, released } = core.log.usage()
    return released < Math.min(releasable(), committed)
  }

  const failed = (error: ArchiveError | LogUnavailable): Effect.Effect<void> =>
    Effect.suspend(() => {
      failures++
      notBefore = core.elapsedMs() + retryDelayMs(failures, core.config().walDrainInterval)
      core.counters.flushFailures++
      Metrics.flushFailed()
      waiters.release(core.tail.consumed)
      if (error._tag === "ArchiveError" && error.overdue === true) share.overdue()
      const component = error._tag === "ArchiveError" ? "archive" : "log"
      if (component === "log") logFailed = true
      return Conditions.begins(
        core,
        component,
        error.message,
        `flush failed, writes stay in the log: ${error.message}`
      )
    })

  const logWorks = Effect.suspend(() => {
    if (!logFailed) return Effect.void
    logFailed = false
    return Conditions.ends(core, "log", "the log can be read and released again")
  })

  const succeeded = Effect.suspend(() => {
    share.committed()
    failures = 0
    notBefore = 0
    return Effect.zipRight(logWorks, Conditions.ends(core, "archive", "the archive takes writes again"))
  })

  const run: Flusher["run"] = ({ fullOnly = false, reason, upTo = Number.MAX_SAFE_INTEGER }) =>
    turns.hold((pass) =>
      Effect.gen(function* () {
        if (releaseDue() && (reason === "shutdown" || core.degradations.logRefusal === undefined))
          yield* release
        // While a batch is finished (cache, log), the next one is committed; they finish in log order.
        let finishing: Effect.Effect<void> = Effect.void
        let taken = core.tail.consumed
        const batches = Effect.gen(function* () {
          while (taken < upTo && !core.tail.isEmptyAfter(taken)) {
            const archive = core.tiers?.archive
            if (archive === undefined) return yield* noArchive("flush")
            if (fullOnly && !batchIsFull(taken)) break
            const entries = yield* nextEntries(taken, upTo)
            if (entries.length === 0) break
            // Once the archive has committed, the bookkeeping must follow.
            yield* Effect.uninterruptible(
              Effect.flatMap(Effect.flatMap(commit(archive, entries), answered), (committed) =>
                Effect.gen(function* () {
                  yield* finishing
                  finishing = yield* Effect.map(Effect.fork(finish(committed, reason)), Fiber.join)
                })
              )
            )
            taken = entries[entries.length - 1]!.sequence
            yield* succeeded
            if (turns.wanted) {
              yield* finishing
              finishing = Effect.void
              yield* pass
              taken = core.tail.consumed
            }
          }
          return undefined
        })
        // Whatever happens, the last batch is finished before this call ends.
        yield* Effect.onExit(batches, () => Effect.ignore(Effect.suspend(() => finishing)))
        yield* finishing
      }).pipe(Effect.tapError((error) => (error._tag === "TierUnavailable" ? Effect.void : failed(error))))
    )

  const batchIsFull = (taken = core.tail.consumed): boolean => {
    const { batchFlushBytes, batchFlushCount } = core.config()
    const { tail } = core
    if (tail.mustReadLogAfter(taken) || tail.bytesAfter(taken) >= batchFlushBytes) return true
    return tail.sizeAfter(taken) >= batchFlushCount
  }

  return {
    run,
    exclusively: (effect) => turns.hold(() => effect),
    batchIsFull: () => batchIsFull(),
    releaseDue,
    backsOff: () => failures > 0 && core.elapsedMs() < notBefore
  }
}
