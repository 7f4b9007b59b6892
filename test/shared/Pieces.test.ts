import { createHash, randomBytes } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { hashOf, join, pieceBytes } from "../../src/shared/Pieces.js"
import { YieldToEventLoop } from "../../src/shared/YieldToEventLoop.js"

/** The result, and how often it gave way. */
const counted = <A>(effect: Effect.Effect<A>): Effect.Effect<readonly [A, number]> =>
  Effect.suspend(() => {
    let times = 0
    const yieldToEventLoop = Effect.sync(() => {
      times++
    })
    return Effect.map(
      Effect.provideService(effect, YieldToEventLoop, yieldToEventLoop),
      (value) => [value, times] as const
    )
  })

describe("Pieces", () => {
  it.effect("joins parts into a buffer of its own, a piece a turn", () =>
    Effect.gen(function* () {
      const parts = [0, 3, 2.5 * pieceBytes, 7, pieceBytes].map((length) => randomBytes(length))
      const [whole, turns] = yield* counted(join(parts))
      expect(Buffer.compare(whole, Buffer.concat(parts))).toBe(0)
      expect(whole.buffer.byteLength).toBe(whole.length)
      expect(turns).toBe(3)
      expect((yield* counted(join(parts.slice(0, 2))))[1]).toBe(0)
    })
  )

  it.effect("hashes a large content, a piece a turn", () =>
    Effect.gen(function* () {
      for (const [length, expected] of [
        [pieceBytes, 0],
        [2.5 * pieceBytes, 3]
      ] as const) {
        const content = randomBytes(length)
        const [hash, turns] = yield* counted(hashOf(content))
        expect(hash).toBe(createHash("sha256").update(content).digest("hex"))
        expect(turns).toBe(expected)
      }
    })
  )
})
