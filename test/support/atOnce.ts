import { Effect } from "effect"
import { YieldToEventLoop } from "../../src/shared/YieldToEventLoop.js"

/** Runs what only gives way now and then, without giving way. */
export const atOnce = <A, E>(effect: Effect.Effect<A, E>): A =>
  Effect.runSync(Effect.provideService(effect, YieldToEventLoop, Effect.void))
