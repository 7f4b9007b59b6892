import { Effect, Fiber, Option, TestClock } from "effect"

/** Runs an effect under the test's clock, which goes on by itself until the effect has ended. */
export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    while (Option.isNone(yield* Fiber.poll(fiber))) {
      yield* TestClock.adjust("10 millis")
      // Giving way goes through the event loop, which the test's clock does not wait for.
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    return yield* Fiber.join(fiber)
  })
