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
import { backoffMs } from "../../shared/Backoff.js"
import { counted } from "../../shared/Counted.js"
import { Turns } from "../../shared/Turns.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import { carryToCache } from "../cache/CacheWriter.js"
import { noteArchived, noteCarried } from "../state/ArchiveBinding.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import * as Conditions from "../state/Conditions.js"
import { noArchive } from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { BatchShare, commitSplitting, newestPerId, refusedAlone, type SplitResult } from "./BatchBisect.js"
import type { ChangeStream } from "./ChangeStream.js"
import type { Committed, Lost } from "./CommitOutcome.js"
import { answer, settle } from "./CommitOutcome.js"

const firstRetryMs = 100

/** So often in a row the archive's time may be over for one write alone, while the archive returns a ping. */
export const mostOverdueAlone = 5

type Timed = Committed & { readonly startedMs: number }

interface Run {
  readonly reason: FlushReason
  readonly upTo?: number
  readonly fullOnly?: boolean
}

export class Flusher {
  private readonly turns = new Turns()
  private readonly share = new BatchShare()
  private failures = 0
  private notBefore = 0
  /** Whether it was a flush that found the log failing. */
  private logFailed = false
  /** The write that was alone in the last batch for which the archive's time was over. */
  private overdue = { sequence: 0, times: 0 }

  constructor(
    private readonly core: EngineState,
    private readonly waiters: ArchiveWaiters,
    private readonly feed: ChangeStream
  ) {}

  /**
   * Carries what is committed in the log to the archive, at most up to `upTo`. `fullOnly` stops before a batch
   * that is not full. Calls take turns, batch by batch, and what one carries counts for all.
   */
  run(asked: Run): Effect.Effect<void, ArchiveError | LogUnavailable | TierUnavailable> {
    return this.turns.hold((pass) =>
      Effect.gen(this, function* () {
        const { logRefusal } = this.core.degradations
        if (this.releaseDue() && (asked.reason === "shutdown" || logRefusal === undefined))
          yield* this.release
        yield* this.batches(asked, pass)
      }).pipe(
        Effect.tapError((error) => (error._tag === "TierUnavailable" ? Effect.void : this.failed(error)))
      )
    )
  }

  /** Runs an effect while nothing is being flushed. */
  readonly exclusively = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    this.turns.hold(() => effect)

  /** Whether a whole batch is waiting in memory. Synchronous. */
  batchIsFull(taken = this.core.tail.consumed): boolean {
    const { batchFlushBytes, batchFlushCount } = this.core.config()
    const { tail } = this.core
    if (tail.mustReadLogAfter(taken) || tail.bytesAfter(taken) >= batchFlushBytes) return true
    return tail.sizeAfter(taken) >= batchFlushCount
  }

  /** Whether the log still holds what may leave it: a release has failed, and the next call makes up for it. Synchronous. */
  releaseDue(): boolean {
    if (this.core.tiers === undefined) return false
    const { committed, released } = this.core.log.usage()
    return released < Math.min(this.releasable, committed)
  }

  /** Whether the last attempt failed a moment ago, so that the next regular one waits. Synchronous. */
  backsOff(): boolean {
    return this.failures > 0 && this.core.elapsedMs() < this.notBefore
  }

  private batches(
    { fullOnly = false, reason, upTo = Number.MAX_SAFE_INTEGER }: Run,
    pass: Effect.Effect<void>
  ) {
    const { core, turns } = this
    // While a batch is finished (cache, log), the next one is committed; they finish in log order.
    let finishing: Effect.Effect<void> = Effect.void
    const all = Effect.gen(this, function* () {
      let taken = core.tail.consumed
      while (taken < upTo && !core.tail.isEmptyAfter(taken)) {
        const archive = core.tiers?.archive
        if (archive === undefined) return yield* noArchive("flush")
        if (fullOnly && !this.batchIsFull(taken)) break
        const entries = yield* this.nextEntries(taken, upTo)
        if (entries.length === 0) break
        // Once the archive has committed, the bookkeeping must follow.
        yield* Effect.uninterruptible(
          Effect.gen(this, function* () {
            const committed = yield* this.answered(yield* this.commit(archive, entries))
            yield* finishing
            finishing = Fiber.join(yield* Effect.fork(this.finish(committed, reason)))
          })
        )
        taken = entries[entries.length - 1]!.sequence
        yield* this.succeeded
        if (turns.wanted) {
          yield* finishing
          finishing = Effect.void
          yield* pass
          taken = core.tail.consumed
        }
      }
      return yield* finishing
    })
    // Whatever happens, the last batch is finished before this call ends.
    return Effect.onExit(all, () => Effect.ignore(Effect.suspend(() => finishing)))
  }

  /** The next batch behind what has been taken already. */
  private nextEntries(taken: number, upTo: number): Effect.Effect<ReadonlyArray<LogEntry>, LogUnavailable> {
    const { core, share } = this
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
  }

  private commit(archive: OpenArchive, entries: ReadonlyArray<LogEntry>): Effect.Effect<Timed, ArchiveError> {
    return Effect.suspend(() => {
      const { core } = this
      const startedMs = core.elapsedMs()
      core.versions.committing(entries)
      const batch = newestPerId(entries)
      return commitSplitting(archive, batch, entries, core.config().sqlWriteConcurrency).pipe(
        Effect.catchAll((error) => this.tooSlow(archive, entries, error)),
        Effect.map((result): Timed => ({ entries, batch, result, startedMs }))
      )
    })
  }

  /** A write for which the archive's time is over again and again, alone, would hold up everything behind it for ever. */
  private tooSlow(
    archive: OpenArchive,
    [entry, ...others]: ReadonlyArray<LogEntry>,
    error: ArchiveError
  ): Effect.Effect<SplitResult, ArchiveError> {
    if (error.overdue !== true || entry === undefined || others.length > 0) return Effect.fail(error)
    return Effect.matchEffect(archive.ping, {
      // An archive that is unavailable says nothing about the write.
      onFailure: () => Effect.fail(error),
      onSuccess: () => {
        const { sequence } = entry
        const times = this.overdue.sequence === sequence ? this.overdue.times + 1 : 1
        this.overdue = { sequence, times }
        return times < mostOverdueAlone
          ? Effect.fail(error)
          : Effect.succeed(refusedAlone(entry, `${error.problem}, tried ${times} times without others`))
      }
    })
  }

  /** What follows a commit at once: dead letters, and whoever waits for the archive, which is not the cache. */
  private answered(committed: Timed) {
    return Effect.map(this.putAside(committed), () => ({
      ...committed,
      lost: answer(this.core, this.waiters, committed)
    }))
  }

  private putAside({ result: { culprits } }: Committed): Effect.Effect<void, LogUnavailable> {
    const [first] = culprits
    if (first === undefined) return Effect.void
    const at = this.core.nowMs()
    const letters = culprits.map(({ entry, problem }) => ({ ...entry, reason: problem, at }))
    return Effect.zipRight(
      this.core.log.deadLetters.add(letters),
      Effect.logWarning(`the archive refused ${counted(culprits.length, "write")}; see the dead letters`, {
        first: first.entry.record.id,
        problem: first.problem
      })
    )
  }

  /** What follows then: cache, readers, and the entries leave the log. */
  private finish(committed: Timed & { readonly lost: Lost }, reason: FlushReason): Effect.Effect<void> {
    return Effect.gen(this, function* () {
      const { core, feed, waiters } = this
      const { entries, lost, result, startedMs } = committed
      if (result.applied > 0) yield* noteArchived(core)
      yield* carryToCache(core, result)
      feed.carried(entries, result.taken)
      settle(core, waiters, committed, lost)
      core.counters.flushes[reason]++
      Metrics.flushed(reason, entries.length, core.elapsedMs() - startedMs)
      if (result.culprits.length > 0) Metrics.deadLettered(result.culprits.length)
      yield* tellOfLosses(lost.untold)
      if (reason === "shutdown" || core.degradations.logRefusal === undefined) yield* this.release
    })
  }

  private get releasable(): number {
    return Math.min(this.core.tail.consumed, this.feed.published())
  }

  /**
   * What is archived leaves the log; with a change stream, what it has published. A log that cannot let go of it holds
   * up nobody: the next flush makes up for it, and so does the next start.
   */
  private readonly release: Effect.Effect<void> = Effect.suspend(() => {
    const { core, releasable } = this
    const released = core.log.release(releasable)
    return Effect.catchAll(
      releasable < core.tail.consumed ? Effect.zipRight(noteCarried(core), released) : released,
      (error) => Effect.sync(() => core.degradations.logRefuses(error))
    )
  })

  private failed(error: ArchiveError | LogUnavailable): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { core } = this
      this.failures++
      this.notBefore =
        core.elapsedMs() + backoffMs(this.failures, firstRetryMs, core.config().walDrainInterval)
      core.counters.flushFailures++
      Metrics.flushFailed()
      this.waiters.release(core.tail.consumed)
      const component = error._tag === "ArchiveError" ? "archive" : "log"
      if (error._tag === "ArchiveError" && error.overdue === true) this.share.overdue()
      if (component === "log") this.logFailed = true
      const said = `flush failed, writes stay in the log: ${error.message}`
      return Conditions.begins(core, component, error.message, said)
    })
  }

  private readonly succeeded: Effect.Effect<void> = Effect.gen(this, function* () {
    this.share.committed()
    this.failures = 0
    this.notBefore = 0
    if (this.logFailed) {
      this.logFailed = false
      yield* Conditions.ends(this.core, "log", "the log can be read and released again")
    }
    yield* Conditions.ends(this.core, "archive", "the archive takes writes again")
  })
}

/** Writes that were acknowledged and are not what the archive holds: one line a batch. */
const tellOfLosses = ([first, ...others]: ReadonlyArray<Superseded>): Effect.Effect<void> =>
  first === undefined
    ? Effect.void
    : Effect.logWarning(
        `${others.length + 1} acknowledged writes lost against versions that the archive had already`,
        { first: first.submitted.id, version: first.submitted.version, stored: first.stored.version }
      )
