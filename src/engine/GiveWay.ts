/**
 * Giving way to I/O in long synchronous work.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * Lets timers and I/O run before going on (`Effect.yieldNow` is a microtask and does not).
 *
 * @since 0.1.0
 * @category combinators
 */
export const giveWay: Effect.Effect<void> = Effect.async((resume) => {
  const handle = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(handle))
})
