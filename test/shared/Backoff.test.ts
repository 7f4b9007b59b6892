import { describe, expect, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Random, Schedule } from "effect"
import { backoff, backoffMs } from "../../src/shared/Backoff.js"

describe("backoff", () => {
  it("doubles after each failure, up to the longest pause, however many there were", () => {
    expect([0, 1, 2, 3, 4, 5, 6, 1e9].map((failures) => backoffMs(failures, 100, 1_500))).toEqual([
      0, 100, 200, 400, 800, 1_500, 1_500, 1_500
    ])
  })

  it.effect("as a schedule it recurs for ever, each pause off by up to a fifth, in whole milliseconds", () =>
    Effect.gen(function* () {
      const pausesWith = (seed: number) =>
        Schedule.run(Schedule.delays(backoff("100 millis", "2 seconds")), 0, Array(2_000).fill(0)).pipe(
          Effect.map((pauses) => Chunk.toReadonlyArray(pauses).map(Duration.toMillis)),
          Effect.withRandom(Random.make(seed))
        )
      const pauses = yield* pausesWith(1)
      expect(pauses).toHaveLength(2_000)
      for (const [n, pause] of pauses.entries()) {
        const plain = backoffMs(n + 1, 100, 2_000)
        expect(Number.isInteger(pause)).toBe(true)
        expect(Math.abs(pause - plain)).toBeLessThanOrEqual(plain / 5)
      }
      expect(new Set(pauses).size).toBeGreaterThan(100)
      expect(yield* pausesWith(1)).toEqual(pauses)
      expect(yield* pausesWith(2)).not.toEqual(pauses)
    })
  )
})
