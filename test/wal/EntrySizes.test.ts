import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { EntrySizes } from "../../src/wal/EntrySizes.js"

describe("EntrySizes", () => {
  it("counts like a plain map, over blocks, gaps and releases", () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("add" as const),
        count: fc.integer({ min: 1, max: 20_000 }),
        size: fc.integer({ min: 1, max: 99 })
      }),
      fc.record({ kind: fc.constant("fail" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({
        kind: fc.constant("release" as const),
        share: fc.double({ min: 0, max: 1.2, noNaN: true })
      })
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.integer({ min: 1, max: 2 ** 40 }), (steps, start) => {
        const sizes = new EntrySizes()
        const model = new Map<number, number>()
        let next = start
        let released = start - 1
        for (const each of steps) {
          if (each.kind === "add") {
            for (let index = 0; index < each.count; index++, next++) {
              sizes.add(next, each.size + (index % 3))
              model.set(next, each.size + (index % 3))
            }
          } else if (each.kind === "fail") {
            const first = Math.max(released + 1, next - Math.floor((next - start) * each.share))
            sizes.removeRange(first, next - 1)
            for (let sequence = first; sequence < next; sequence++) model.delete(sequence)
          } else {
            released = Math.max(released, start + Math.floor((next - start) * each.share))
            sizes.release(released)
            for (const sequence of model.keys()) if (sequence <= released) model.delete(sequence)
            next = Math.max(next, released + 1)
          }
          expect(sizes.items).toBe(model.size)
          expect(sizes.bytes).toBe([...model.values()].reduce((sum, bytes) => sum + bytes, 0))
        }
      }),
      { seed: 3, numRuns: 60 }
    )
  })
})
