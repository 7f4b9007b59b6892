/** Phase 3: what the log holds from before is carried to the archive, as far as that takes it. */
import { Data, Effect, Exit, Option } from "effect"
import { Lifecycle } from "../../Lifecycle.js"
import { counted } from "../../shared/Counted.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import type { EngineState } from "../state/EngineState.js"
import { ArchiveConnected } from "./ConnectArchive.js"
import { LogOpened } from "./OpenLog.js"
import { phase } from "./Phase.js"

/** What the log holds cannot be read back. */
export class ReplayError extends Data.TaggedError("ReplayError")<{
  readonly path: string
  readonly problem: string
}> {}

export const drainLog = Effect.gen(function* () {
  const { core, flush } = yield* EngineRuntime
  const lifecycle = yield* Lifecycle
  const archive = yield* ArchiveConnected
  const log = yield* LogOpened
  const held = core.pendingEntries()
  if (held === 0) return
  yield* lifecycle.mark("wal_replay_started")
  yield* Effect.logInfo(`the log holds ${counted(held, "write")} from before, to be carried to the archive`)
  // An archive that does not take it is told of by the flush.
  const flushed = Effect.tapDefect(flush.run({ reason: "recovery" }), (cause) =>
    Effect.logError("the log could not be drained", cause)
  )
  const drained = Option.isSome(archive) && Exit.isSuccess(yield* Effect.exit(flushed))
  if (!drained) {
    yield* indexRemaining(core, log)
    yield* Effect.logWarning(
      `${counted(core.pendingEntries(), "write stays", "writes stay")} in the log until the archive is available`
    )
  }
  yield* lifecycle.mark("wal_replay_ready")
}).pipe(phase("DrainingWal", "wal_drain"))

/**
 * Reads everything the log holds above what was consumed and makes it known to readers; contents stay in the
 * log. Versions count as unchecked: the archive may hold newer ones of other nodes.
 */
const indexRemaining = Effect.fnUntraced(
  function* (core: EngineState, log: OpenLog) {
    const { replayBytes, replayItems } = core.limits
    let after = core.tail.consumed
    for (;;) {
      const page = yield* log.read({ after, maxItems: replayItems, maxBytes: replayBytes })
      if (page.length === 0) return
      core.filter?.beforeWrite(page.map(({ record }) => record))
      for (const { record, sequence } of page) core.pending.add(record, sequence, true)
      after = page[page.length - 1]!.sequence
      yield* yieldToEventLoop
    }
  },
  Effect.mapError(
    ({ operation, path, problem }) => new ReplayError({ path, problem: `${operation}: ${problem}` })
  )
)
