import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { yieldToEventLoop } from "../../src/shared/YieldToEventLoop.js"

/** Keeps the thread busy. */
const work = (ms: number) => {
  const end = performance.now() + ms
  while (performance.now() < end);
}

describe("giving way", () => {
  it.live("makes no turn of the event loop longer because many wait", () =>
    Effect.gen(function* () {
      let pieces = 0
      let most = 0
      const ticks = setInterval(() => {
        most = Math.max(most, pieces)
        pieces = 0
      }, 0)
      const fibers = yield* Effect.forEach(Array.from({ length: 40 }), () =>
        Effect.fork(
          Effect.repeatN(
            Effect.zipRight(
              yieldToEventLoop,
              Effect.sync(() => {
                work(2)
                pieces++
              })
            ),
            2
          )
        )
      )
      yield* Fiber.joinAll(fibers)
      clearInterval(ticks)
      expect(most).toBeGreaterThan(0)
      // Two of 2 ms fit into a turn; a timer comes between any two turns.
      expect(most).toBeLessThanOrEqual(4)
    })
  )

  it.live("lets I/O and timers run each time, also for one who is alone", () =>
    Effect.gen(function* () {
      let immediates = 0
      let on = true
      const count = () => {
        immediates++
        if (on) setImmediate(count)
      }
      setImmediate(count)
      for (let n = 0; n < 50; n++) yield* yieldToEventLoop
      on = false
      expect(immediates).toBeGreaterThanOrEqual(49)
    })
  )

  it.live("who is interrupted does not hold up the others", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.fork(yieldToEventLoop)
      const stays = yield* Effect.fork(Effect.as(yieldToEventLoop, "here"))
      yield* Fiber.interrupt(gone)
      expect(yield* Fiber.join(stays)).toBe("here")
      yield* yieldToEventLoop
    })
  )
})
