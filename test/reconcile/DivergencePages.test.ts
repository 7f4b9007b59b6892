import { setImmediate } from "node:timers/promises"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck, Stream } from "effect"
import { compareBytes } from "../../src/merkle/ByteOrder.js"
import { joinNames, pages } from "../../src/reconcile/Divergence.js"

interface Named {
  readonly name: string
}

const names = FastCheck.uniqueArray(FastCheck.constantFrom(..."abcdefghijklmnop\u{1f600}\uffef"), {
  maxLength: 18
}).map((list) => [...list].sort(compareBytes))

const listOf = (all: ReadonlyArray<string>, limit: number, asked: Array<number> = []) =>
  pages<Named, never>(undefined, limit, (after) =>
    Effect.sync(() => {
      const page = all
        .filter((name) => after === undefined || compareBytes(name, after) > 0)
        .slice(0, limit)
        .map((name) => ({ name }))
      asked.push(page.length)
      return page
    })
  )

const size = FastCheck.integer({ min: 1, max: 6 })

describe("lists read page by page", () => {
  it("joins two of them by name, whatever the pages are", async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(names, names, size, size, async (left, right, leftSize, rightSize) => {
        const joined = await Effect.runPromise(
          Stream.runCollect(joinNames(listOf(left, leftSize), listOf(right, rightSize)))
        )
        const all = [...new Set([...left, ...right])].sort(compareBytes)
        expect(Chunk.toReadonlyArray(joined)).toEqual(
          all.map((name) => ({
            name,
            left: left.includes(name) ? { name } : undefined,
            right: right.includes(name) ? { name } : undefined
          }))
        )
        // Promises alone let nobody else in.
        await setImmediate()
      }),
      { numRuns: 200, seed: 3 }
    )
  })

  it("reads on only when it has to", async () => {
    const letters = ["a", "b", "c", "d", "e"]
    for (const [taken, pagesOfTwo] of [
      [1, 1],
      [2, 1],
      [3, 2],
      [5, 3]
    ] as const) {
      const asked: Array<number> = []
      const joined = joinNames(listOf(letters, 2, asked), listOf(["a", "b"], 2))
      await Effect.runPromise(Stream.runDrain(Stream.take(joined, taken)))
      expect(asked.length, `${taken} taken`).toBe(pagesOfTwo)
    }
  })

  it("fails as its list fails", async () => {
    const failing = Stream.concat(listOf(["a"], 2), Stream.fail("unavailable"))
    const joined = joinNames<Named, string>(failing, listOf(["a", "b"], 2))
    expect(await Effect.runPromise(Effect.flip(Stream.runDrain(joined)))).toBe("unavailable")
  })
})
