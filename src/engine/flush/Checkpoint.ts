/**
 * Folding what stands beside the files of log and archive into them: a copy of the files themselves is complete then.
 */
import { Effect } from "effect"
import type { EngineState } from "../state/EngineState.js"

/**
 * Done after an explicit flush and after a drain. A failure costs nobody a write: what is beside the files is read
 * at the next start.
 */
export const checkpoint = (core: EngineState): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { tiers } = core
    if (tiers === undefined) return Effect.void
    const told = (error: { readonly message: string }) =>
      Effect.logWarning(`no checkpoint after the flush: ${error.message}`)
    return Effect.zipRight(
      Effect.catchAll(tiers.archive?.checkpoint ?? Effect.void, told),
      // Of a log that takes no writes has been told already.
      core.degradations.logRefusal === undefined ? Effect.catchAll(tiers.log.checkpoint, told) : Effect.void
    )
  })
