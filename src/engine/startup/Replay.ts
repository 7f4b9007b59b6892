/** Building the index of pending writes from what the log still holds. */
import { Effect } from "effect"
import type { LogUnavailable } from "../../EngineError.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { EngineState } from "../state/EngineState.js"

/**
 * Reads everything the log holds above what was consumed and makes it known to readers; contents stay in the
 * log. Versions count as unchecked: the archive may hold newer ones of other nodes.
 */
export const indexRemaining = (core: EngineState): Effect.Effect<void, LogUnavailable> =>
  Effect.gen(function* () {
    const { replayBytes, replayItems } = core.limits
    let after = core.fresh.consumed
    for (;;) {
      const page = yield* core.log.read({ after, maxItems: replayItems, maxBytes: replayBytes })
      if (page.length === 0) return
      core.filter?.beforeWrite(page.map(({ record }) => record))
      for (const { record, sequence } of page) core.pending.add(record, sequence, true)
      after = page[page.length - 1]!.sequence
      yield* yieldToEventLoop
    }
  })
