/**
 * Giving way to I/O in long synchronous work.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

const toTheEventLoop: Effect.Effect<void> = Effect.async((resume) => {
  const handle = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(handle))
})

/**
 * How long synchronous work gives way; through the event loop unless replaced. A simulation, which has no event
 * loop, gives its own turns.
 *
 * @since 0.1.0
 * @category services
 */
export class GiveWay extends Context.Reference<GiveWay>()("effect-sync-engine/GiveWay", {
  defaultValue: () => toTheEventLoop
}) {}

/**
 * Lets timers and I/O run before going on (`Effect.yieldNow` is a microtask and does not).
 *
 * @since 0.1.0
 * @category combinators
 */
export const giveWay: Effect.Effect<void> = Effect.flatten(GiveWay)
