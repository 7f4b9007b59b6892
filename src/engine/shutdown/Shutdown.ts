/** Shutdown: once, bounded by a deadline, with one true report for everybody who asks. */
import { Effect } from "effect"
import type { ShutdownReport } from "../../Lifecycle.js"
import { counted } from "../../shared/Counted.js"
import type { ChangeStream } from "../flush/ChangeStream.js"
import type { EngineState } from "../state/EngineState.js"
import type { ShutdownSteps } from "../state/ShutdownSteps.js"

interface Rooms {
  readonly core: EngineState
  readonly changeStream: ChangeStream
  readonly shutdown: ShutdownSteps
}

/**
 * Runs the steps that the rooms have registered, then tells what they did. Only the caller for whom `beginShutdown` was
 * true may run it.
 *
 * @param earlier what already went wrong before (a failed start)
 */
export const perform = Effect.fn("SyncEngine.shutdown")(function* (
  { changeStream, core, shutdown }: Rooms,
  earlier: ReadonlyArray<string>
) {
  const archivedBefore = core.counters.archived
  // Losses of which the log of messages has told are no news.
  const lostBefore = core.early.lossesTold
  const startedAtMs = core.nowMs()
  const startedMs = core.elapsedMs()
  yield* core.lifecycle.setBootStage("ShuttingDown")
  yield* shutdown.close(core.config().shutdownTimeout, earlier)
  core.appends.giveUp()
  // Counted at the very end: a batch that was under way when its time was over may have been archived since.
  // A start that could not open the log has done nothing; one that never began has nothing to do.
  const opened = core.tiers !== undefined
  const known = opened || earlier.length === 0
  const itemsLeftInLog = known ? core.committedEntries() : undefined
  const closed = shutdown.succeeded("log checkpoint") && shutdown.succeeded("closing the log")
  const report: ShutdownReport = {
    flushedWal: itemsLeftInLog !== undefined && core.tail.isEmpty,
    finalCheckpoint: (closed || !opened) && known,
    filterSnapshot: shutdown.succeeded("filter snapshot") && known,
    itemsFlushed: core.counters.archived - archivedBefore,
    itemsLeftInLog,
    problems: [...shutdown.problems, ...leftOver(core, lostBefore, changeStream.published())],
    startedAtMs,
    completedAtMs: core.nowMs(),
    durationMs: Math.round(core.elapsedMs() - startedMs)
  }
  yield* core.lifecycle.complete(report)
})

/** What every entry that is left waits for, and what was lost, in words. */
const leftOver = (core: EngineState, lostBefore: number, published: number): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const lost = core.early.lost - lostBefore
  if (lost > 0)
    problems.push(
      `${counted(lost, 'write acknowledged at "memory" was', 'writes acknowledged at "memory" were')} lost on the way to the log`
    )
  const left = core.committedEntries()
  if (left === 0) return problems
  if (!core.tail.isEmpty) {
    const pending = Math.min(left, core.pendingEntries())
    const why =
      core.tiers?.archive !== undefined
        ? ""
        : core.expectsArchive
          ? ": the archive was not connected"
          : ": no archive is configured"
    return [...problems, `${counted(pending, "write stays", "writes stay")} in the log, not archived${why}`]
  }
  const why =
    published < core.tail.consumed ? "the change stream does not have them yet" : "it could not release them"
  const stays = counted(left, "write stays", "writes stay")
  return [...problems, `${stays} in the log, archived or put aside: ${why}`]
}
