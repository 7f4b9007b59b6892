/** Shutdown: once, bounded by a deadline, with one true report for everybody who asks. */
import { Duration, Effect, Exit, Option, Schedule, Scope } from "effect"
import type { ShutdownReport } from "../../Lifecycle.js"
import { Lifecycle } from "../../Lifecycle.js"
import { counted } from "../../shared/Counted.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import type { EngineState } from "../state/EngineState.js"

/** The scopes a shutdown closes, in its order. */
export interface ShutdownScopes {
  /** A start that is still under way. */
  readonly stopStarting: Effect.Effect<void>
  readonly runLoop: Scope.CloseableScope
  /** Log and archive. */
  readonly tiers: Scope.CloseableScope
}

/** How much of the time is kept for what comes after a step, when that takes all it can get: in their order. */
const keptShares = {
  before: 0.4,
  flush: 0.3,
  snapshot: 0.25,
  register: 0.2,
  stream: 0.15,
  closing: 0
} as const
const settlePollMs = 5

/** Between two attempts at what fails for a time: doubling from 50 ms to at most a second. */
const pauses = Schedule.union(Schedule.exponential("50 millis"), Schedule.spaced("1 second"))

/** Runs steps until the deadline, and remembers what they could not do. */
const makeSteps = (core: EngineState, problems: Array<string>) => {
  const failedStart = problems.length > 0
  const { shutdownTimeout } = core.config()
  const deadlineMs = core.elapsedMs() + shutdownTimeout

  /** Whether the step succeeded before the share of the time begins that is kept for what comes after it. */
  return (name: string, kind: keyof typeof keptShares, body: Effect.Effect<unknown, Failure>) =>
    Effect.gen(function* () {
      let last: string | undefined
      const leftMs = Math.max(0, deadlineMs - core.elapsedMs() - shutdownTimeout * keptShares[kind])
      // Disconnected: a driver that does not let itself be interrupted must not hold up the deadline.
      const exit = yield* body.pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            last = error.message
          })
        ),
        // An archive that fails for a time may take what is left; nobody waits for a start that has failed, nor for a
        // log that cannot release what is archived.
        Effect.retry({
          schedule: pauses,
          while: () => kind === "flush" && !failedStart && !core.fresh.isEmpty
        }),
        Effect.disconnect,
        Effect.timeoutOption(Duration.millis(leftMs)),
        Effect.exit
      )
      if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return true
      const late = `not done within the shutdown timeout of ${shutdownTimeout} ms`
      problems.push(`${name}: ${last ?? (Exit.isSuccess(exit) ? late : "failed unexpectedly")}`)
      return false
    })
}

interface Failure {
  readonly message: string
}

/**
 * Runs the shutdown to its end. Only the caller for whom `beginShutdown` was true may run it.
 *
 * @param earlier what already went wrong before (a failed start)
 */
export const perform = (
  scopes: ShutdownScopes,
  earlier: ReadonlyArray<string>
): Effect.Effect<ShutdownReport, never, EngineRuntime | Lifecycle> =>
  Effect.gen(function* () {
    const { changeStream, core, filterMaintenance, flush, waiters } = yield* EngineRuntime
    const lifecycle = yield* Lifecycle
    const archivedBefore = core.counters.archived
    // Losses of which the log of messages has told are no news.
    const lostBefore = core.lossesTold
    const startedAtMs = core.nowMs()
    const startedMs = core.elapsedMs()
    const problems: Array<string> = [...earlier]
    const step = makeSteps(core, problems)
    yield* lifecycle.setBootStage("ShuttingDown")

    yield* step("start-up", "before", scopes.stopStarting)
    yield* step("writes under way", "before", appendsSettled(core))
    yield* step("run loop", "before", Scope.close(scopes.runLoop, Exit.void))
    if (core.tiers?.archive !== undefined && (core.pendingEntries() > 0 || flush.releaseDue())) {
      const released = Effect.suspend(() =>
        flush.releaseDue() && core.logRefusal !== undefined ? Effect.fail(core.logRefusal) : Effect.void
      )
      yield* step("flush", "flush", Effect.zipRight(flush.run({ reason: "shutdown" }), released))
    }
    // Nobody waits for an archive that has not answered: the log has their writes.
    waiters.close(core.fresh.consumed)
    const saved = yield* step("filter snapshot", "snapshot", filterMaintenance.save)
    // After the snapshot: only a writer in the register can vouch for its root.
    yield* step("writers' register", "register", filterMaintenance.leave)
    if (core.tiers !== undefined && core.config().cdc)
      yield* step("change stream", "stream", changeStream.publish)
    const opened = core.tiers !== undefined
    const checkpointed =
      opened &&
      (yield* step("log checkpoint", "closing", Effect.zipRight(core.log.shrink, core.log.checkpoint)))
    const closed = yield* step("closing log and archive", "closing", Scope.close(scopes.tiers, Exit.void))
    core.giveUpAppends()
    // Counted at the very end: a batch that was under way when its time was over may have been archived since.
    // A start that could not open the log has done nothing; one that never began has nothing to do.
    const known = opened || earlier.length === 0
    const itemsLeftInLog = known ? core.committedEntries() : undefined
    const flushedWal = itemsLeftInLog !== undefined && core.fresh.isEmpty
    problems.push(...leftOver(core, lostBefore, changeStream.published()))
    const report: ShutdownReport = {
      flushedWal,
      finalCheckpoint: (checkpointed || !opened) && closed && known,
      filterSnapshot: saved && known,
      itemsFlushed: core.counters.archived - archivedBefore,
      itemsLeftInLog,
      problems,
      startedAtMs,
      completedAtMs: core.nowMs(),
      durationMs: Math.round(core.elapsedMs() - startedMs)
    }
    yield* lifecycle.complete(report)
    return report
  })

/** What every entry that is left waits for, and what was lost, in words. */
const leftOver = (core: EngineState, lostBefore: number, published: number): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const lost = core.counters.lostUnsynced - lostBefore
  if (lost > 0)
    problems.push(
      `${counted(lost, 'write acknowledged at "memory" was', 'writes acknowledged at "memory" were')} lost on the way to the log`
    )
  const left = core.committedEntries()
  if (left === 0) return problems
  if (!core.fresh.isEmpty) {
    const pending = Math.min(left, core.pendingEntries())
    const why =
      core.tiers?.archive !== undefined
        ? ""
        : core.expectsArchive
          ? ": the archive was not connected"
          : ": no archive is configured"
    problems.push(`${counted(pending, "write stays", "writes stay")} in the log, not archived${why}`)
  } else if (published < core.fresh.consumed) {
    problems.push(
      `${counted(left, "archived write stays", "archived writes stay")} in the log: the change stream does not have them yet`
    )
  } else
    problems.push(
      `${counted(left, "archived write stays", "archived writes stay")} in the log: it could not release them`
    )
  return problems
}

/** Waits until no append is under way: from then on no caller is left without an answer. */
const appendsSettled = (core: { readonly appendsInFlight: number }): Effect.Effect<void> =>
  Effect.suspend(() =>
    core.appendsInFlight === 0
      ? Effect.void
      : Effect.zipRight(Effect.sleep(Duration.millis(settlePollMs)), appendsSettled(core))
  )
