/** Whether a write is let in: the phase, read-only, the log, the clock, backpressure. */
import { Duration, Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { Backpressure, ClockOutOfRange, ReadOnly } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import { policy } from "../../shared/Backpressure.js"
import type { EngineState } from "../state/EngineState.js"
import { maxWallMs } from "../state/HybridLogicalClock.js"

/** Why nothing may be written at all now, whatever room there is. */
export const closedToWrites = (core: EngineState): WriteError | undefined => {
  if (!core.gate.acceptsWrites) return core.gate.closed("write")
  if (core.config().readOnly) return new ReadOnly({ retryAfterMs: 5000 })
  if (core.degradations.logRefusal !== undefined) return core.degradations.logRefusal
  const nowMs = core.nowMs()
  return nowMs >= 0 && nowMs <= maxWallMs ? undefined : new ClockOutOfRange({ nowMs, retryAfterMs: 5000 })
}

/** Why a write is refused before its item is looked at, if it is. */
export const writeGate = (core: EngineState): WriteError | undefined => {
  const closed = closedToWrites(core)
  if (closed !== undefined) return closed
  const level = core.pressure.level()
  const rule = policy(level)
  if (rule.admitsWrites) return undefined
  return new Backpressure({ level, pressure: core.pressure.share, retryAfterMs: rule.retryAfterMs })
}

/** Under pressure, lets a call wait before it goes on to the gate. To be called when the call begins. */
export const throttled = <A, E, R>(
  core: EngineState,
  goOn: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const { delayMs } = policy(core.pressure.level())
  return delayMs === 0
    ? goOn()
    : Effect.zipRight(Effect.sleep(Duration.millis(delayMs)), Effect.suspend(goOn))
}

export const refuse = (error: WriteError, items = 1): Effect.Effect<never, WriteError> => {
  Metrics.rejected(error._tag, Number.isNaN(items) ? 1 : items)
  return Effect.fail(error)
}
