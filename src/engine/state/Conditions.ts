/**
 * What does not work just now, told once when it begins and once when it ends, for the whole engine: everybody who
 * meets a condition says so here, and only the first is heard. Each also shows in the engine's health meanwhile.
 */
import { Cause, Effect } from "effect"
import type { Degradation } from "../../SyncEngineModels.js"
import type { EngineState } from "./EngineState.js"

type Component = Degradation["component"]

/** A component does not work as configured: a warning when that is news. */
export const begins = (
  core: EngineState,
  component: Component,
  reason: string,
  said = reason
): Effect.Effect<void> =>
  Effect.suspend(() =>
    core.degrade(component, reason) ? Effect.logWarning(said) : Effect.logDebug(`still: ${said}`)
  )

/** It works again: a line when that is news. */
export const ends = (core: EngineState, component: Component, said: string): Effect.Effect<void> =>
  Effect.suspend(() => (core.recover(component) ? Effect.logInfo(said) : Effect.void))

const expected = new Set([
  "ArchiveError",
  "ArchiveStartError",
  "CacheError",
  "GateClosed",
  "LogUnavailable",
  "RebuildLater",
  "TierUnavailable"
])

/** What went wrong, when it is a failure that operation brings with it and no fault of the program. */
export const expectedProblem = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterruptedOnly(cause)) return "it was interrupted"
  // A defect beside a failure is still a defect.
  if (Cause.defects(cause).length > 0) return undefined
  const error = Cause.squash(cause)
  return error instanceof Error && "_tag" in error && expected.has(String(error._tag))
    ? error.message
    : undefined
}
