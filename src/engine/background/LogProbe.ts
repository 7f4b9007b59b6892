/** Whether the log takes writes: found out before somebody's write is refused, and after one was. */
import { Clock, Effect } from "effect"
import type { LogUnavailable } from "../../EngineError.js"
import type { EngineState } from "../state/EngineState.js"

export type LogProbe = ReturnType<typeof make>

export const make = (core: EngineState) => {
  let told = false
  let probedAt: bigint | undefined

  const tell = (error: LogUnavailable): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (told) return Effect.void
      told = true
      return Effect.logWarning(
        `the log takes no writes, and they are refused until it does: ${error.message}`
      )
    })

  const recovered = Effect.suspend(() => {
    core.degradations.logTakesWrites()
    if (!told) return Effect.void
    told = false
    return Effect.logInfo("the log takes writes again")
  })

  const probe = Effect.gen(function* () {
    if (core.tiers === undefined) return
    if (core.degradations.logRefusal !== undefined) yield* tell(core.degradations.logRefusal)
    probedAt = yield* Clock.currentTimeNanos
    yield* Effect.matchEffect(core.log.probe, {
      onFailure: (error) =>
        Effect.suspend(() => {
          core.degradations.logRefuses(error)
          return tell(error)
        }),
      onSuccess: () => recovered
    })
  })

  /** Probes once every `HEALTH_INTERVAL`, and at every call while the log refuses writes. */
  const check = Effect.flatMap(Clock.currentTimeNanos, (now) => {
    const due = probedAt === undefined || Number(now - probedAt) / 1e6 >= core.config().healthInterval
    return due || core.degradations.logRefusal !== undefined ? probe : Effect.void
  })

  return { check, probe }
}
