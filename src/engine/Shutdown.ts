/**
 * Shutdown: once, bounded by a deadline, with one true report for everybody who asks.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { ShutdownReport } from "../Lifecycle.js"
import { Lifecycle } from "../Lifecycle.js"
import { EngineRuntime } from "./EngineRuntime.js"

/** The scopes a shutdown closes, in its order. @since 0.1.0 @category models */
export interface ShutdownScopes {
  /** A start that is still under way. */
  readonly stopStarting: Effect.Effect<void>
  readonly runLoop: Scope.CloseableScope
  /** Log and archive. */
  readonly tiers: Scope.CloseableScope
}

/** How much of the time is kept for the checkpoint and for closing, when the flush takes all it can get. */
const closingShare = 0.2
const settlePollMs = 5

/**
 * Runs the shutdown to its end. Only the caller for whom `beginShutdown` was true may run it.
 *
 * @param earlier what already went wrong before (a failed start)
 * @since 0.1.0
 * @category functions
 */
export const perform = (
  scopes: ShutdownScopes,
  earlier: ReadonlyArray<string>
): Effect.Effect<ShutdownReport, never, EngineRuntime | Lifecycle> =>
  Effect.gen(function* () {
    const { core, feed, filterCare, flush, waiters } = yield* EngineRuntime
    const lifecycle = yield* Lifecycle
    const archivedBefore = core.counters.archived
    const startedAtMs = yield* Clock.currentTimeMillis
    const problems: Array<string> = [...earlier]
    yield* lifecycle.setBootStage("ShuttingDown")
    const { shutdownDelay, shutdownTimeout } = core.config()
    if (shutdownDelay > 0) yield* Effect.sleep(Duration.millis(shutdownDelay))
    const deadlineMs = (yield* Clock.currentTimeMillis) + shutdownTimeout

    /** Runs a step until the deadline (minus what is kept for later steps); says whether it succeeded. */
    const step = (name: string, body: Effect.Effect<unknown, unknown>, keepMs = 0) =>
      Effect.gen(function* () {
        const leftMs = Math.max(0, deadlineMs - keepMs - (yield* Clock.currentTimeMillis))
        // Disconnected: a driver that does not let itself be interrupted must not hold up the deadline.
        const exit = yield* body.pipe(
          Effect.disconnect,
          Effect.timeoutOption(Duration.millis(leftMs)),
          Effect.exit
        )
        if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return true
        problems.push(
          Exit.isSuccess(exit)
            ? `${name}: not done within the shutdown timeout of ${shutdownTimeout} ms`
            : `${name}: ${messageOf(exit)}`
        )
        return false
      })

    const keepMs = shutdownTimeout * closingShare
    yield* step("start-up", scopes.stopStarting, keepMs)
    yield* step("writes under way", appendsSettled(core), keepMs)
    yield* step("run loop", Scope.close(scopes.runLoop, Exit.void), keepMs)
    const due = core.pendingEntries() > 0 || flush.releaseDue()
    if (core.tiers !== undefined && core.tiers.archive !== undefined && due) {
      yield* step("flush", flush.run({ reason: "shutdown" }), keepMs)
    }
    // Nobody waits for an archive that has not answered: the log has their writes.
    waiters.release(core.fresh.consumed)
    if (core.config().cdc && core.cache?.connected === true)
      yield* step("change stream", feed.publish, keepMs)
    const filterSaved: { value: boolean } = { value: false }
    const saved = yield* step(
      "filter snapshot",
      Effect.map(filterCare.save, (value) => {
        filterSaved.value = value
      }),
      keepMs
    )
    yield* step("writers' register", filterCare.leave, keepMs)
    const opened = core.tiers !== undefined
    const checkpointed =
      opened && (yield* step("log checkpoint", Effect.zipRight(core.log.shrink, core.log.checkpoint)))
    const closed = yield* step("closing log and archive", Scope.close(scopes.tiers, Exit.void))
    // Counted at the very end: a batch that was under way when its time was over may have been archived since.
    const itemsLeftInLog = core.heldEntries()
    const completedAtMs = yield* Clock.currentTimeMillis
    const report: ShutdownReport = {
      flushedWal: core.fresh.isEmpty,
      // A log that was never opened has nothing to checkpoint.
      finalCheckpoint: (checkpointed || !opened) && closed,
      filterSnapshot: saved && filterSaved.value,
      backupUploaded: false,
      itemsFlushed: core.counters.archived - archivedBefore,
      itemsLeftInLog,
      problems,
      startedAtMs,
      completedAtMs,
      durationMs: completedAtMs - startedAtMs
    }
    yield* lifecycle.complete(report)
    return report
  })

const messageOf = (exit: Exit.Failure<unknown, unknown>): string => {
  const failure = exit.cause._tag === "Fail" ? exit.cause.error : undefined
  return failure instanceof Error ? failure.message : "failed unexpectedly"
}

/** Waits until no append is under way: from then on no caller is left without an answer. */
const appendsSettled = (core: { readonly appendsInFlight: number }): Effect.Effect<void> =>
  Effect.suspend(() =>
    core.appendsInFlight === 0
      ? Effect.void
      : Effect.zipRight(Effect.sleep(Duration.millis(settlePollMs)), appendsSettled(core))
  )
