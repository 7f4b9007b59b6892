import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { PendingOrder } from "../../../src/engine/state/PendingOrder.js"
import { compareBytes } from "../../../src/merkle/ByteOrder.js"
import { YieldToEventLoop } from "../../../src/shared/YieldToEventLoop.js"

/** A set of ids that tells its order what is added. */
const ordered = () => {
  const ids = new Set<string>()
  const order = new PendingOrder({
    get size() {
      return ids.size
    },
    has: (id) => ids.has(id),
    ids: () => ids
  })
  const add = (id: string) => {
    order.add(id)
    ids.add(id)
  }
  const inOrder = Effect.map(order.sorted, (sorted) => [...sorted("")].filter((id) => ids.has(id)))
  const expected = () => [...ids].sort(compareBytes)
  return { add, expected, ids, inOrder, order }
}

const name = (n: number) => `w${(n * 7919) % 97}.${n}`

describe("the order of pending ids", () => {
  it.effect("is that of bytes, from any id on, however many come and go between two readers", () =>
    Effect.gen(function* () {
      const { add, expected, ids, inOrder, order } = ordered()
      for (let n = 0; n < 40_000; n++) add(name(n))
      expect(yield* inOrder).toEqual(expected())
      for (let round = 0; round < 150; round++) {
        for (let n = 0; n < 20; n++) add(name(100_000 + round * 20 + n))
        for (let n = 0; n < 250; n++) ids.delete(name(round * 250 + n))
        if (round % 10 === 0) expect(yield* inOrder).toEqual(expected())
        else yield* order.sorted
      }
      for (const id of ["\u{1f600}.1", "\uffe5.1", "é", "\ue000"]) add(id)
      expect(yield* inOrder).toEqual(expected())
      const sorted = yield* order.sorted
      const middle = expected()[1000]!
      expect(sorted(middle).next().value).toBe(middle)
      expect([...sorted("\ue000")].filter((id) => ids.has(id))).toEqual(["\ue000", "\uffe5.1", "\u{1f600}.1"])
    })
  )

  it.effect("keeps nothing when its readers stay away, and begins again with the next", () =>
    Effect.gen(function* () {
      const { add, expected, ids, inOrder, order } = ordered()
      add("a")
      yield* order.sorted
      for (let n = 0; n < 100_000; n++) {
        add(name(n))
        ids.delete(name(n))
      }
      expect((order as unknown as { readonly noted: unknown }).noted).toBeUndefined()
      add("b")
      expect(yield* inOrder).toEqual(["a", "b"])
      expect(yield* inOrder).toEqual(expected())
    })
  )

  it.effect("holds what was there when it was asked, though others write and read while it is made", () =>
    Effect.gen(function* () {
      const { add, ids, inOrder, order } = ordered()
      for (let n = 0; n < 50_000; n++) add(name(n))
      const before = [...ids]
      let turn = 0
      // Whenever it gives way somebody writes.
      const meanwhile = Effect.zipRight(
        Effect.sync(() => add(`late.${turn++}`)),
        Effect.yieldNow()
      )
      const readers = yield* Effect.forEach([1, 2], () => Effect.fork(inOrder)).pipe(
        Effect.provideService(YieldToEventLoop, meanwhile)
      )
      for (const reader of readers) {
        const seen = new Set(yield* Fiber.join(reader))
        expect(before.filter((id) => !seen.has(id))).toEqual([])
      }
      expect(turn).toBeGreaterThan(2)
      // A reader that goes half-way leaves nothing half sorted.
      for (let n = 0; n < 50_000; n++) add(`more.${name(n)}`)
      const gone = yield* Effect.fork(order.sorted)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(gone)
      expect(new Set(yield* inOrder).size).toBe(ids.size)
    })
  )
})
