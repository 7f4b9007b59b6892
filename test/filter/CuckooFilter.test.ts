import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { CuckooFilter, maxFalsePositiveRate } from "../../src/filter/CuckooFilter.js"

const key = (n: number) => `geo.fr.${n % 97}.${n}`

const filled = (capacity: number, keys: number, seed?: number) => {
  const filter = new CuckooFilter({ capacity, seed })
  for (let n = 0; n < keys; n++) filter.add(key(n))
  return filter
}

const denied = (filter: CuckooFilter, keys: number) => {
  let count = 0
  for (let n = 0; n < keys; n++) if (!filter.has(key(n))) count++
  return count
}

const falselyKnown = (filter: CuckooFilter, trials: number) => {
  let count = 0
  for (let n = 0; n < trials; n++) if (filter.has(`absent.${n}`)) count++
  return count / trials
}

describe("CuckooFilter", () => {
  it("holds a million keys in one layer: none denied, 17 bits a key, 0.02 % false", () => {
    const filter = filled(1_000_000, 1_000_000)
    expect(denied(filter, 1_000_000)).toBe(0)
    expect(filter.layers).toBe(1)
    expect(filter.bitsPerKey).toBeLessThanOrEqual(17)
    expect(filter.count).toBeGreaterThan(999_800)
    const rate = falselyKnown(filter, 1_000_000)
    expect(rate).toBeLessThanOrEqual(maxFalsePositiveRate)
    expect(Math.abs(rate - filter.falsePositiveRate)).toBeLessThan(0.00005)
    expect(filter.shouldRebuild).toBe(false)
  })

  it("takes at most 17 bits a key at the design fill whatever the capacity", () => {
    for (const capacity of [5_000, 65_537, 150_000]) {
      const filter = filled(capacity, capacity)
      expect((filter.bytes * 8) / capacity).toBeLessThanOrEqual(17)
      expect(filter.layers).toBe(1)
    }
  })

  it("grows by doubled layers, keeps every key, and asks for a rebuild once its answers get worse", () => {
    const filter = new CuckooFilter({ capacity: 10_000 })
    let askedAt = 0
    for (let n = 0; n < 65_000; n++) {
      filter.add(key(n))
      if (askedAt === 0 && filter.shouldRebuild) askedAt = n
    }
    expect(denied(filter, 65_000)).toBe(0)
    expect(filter.layers).toBe(3)
    // One layer full and the second, twice as large, at 0.7 of its fill: the budget of 0.02 % is spent.
    expect(askedAt).toBeGreaterThan(20_000)
    expect(askedAt).toBeLessThan(27_000)
    const rate = falselyKnown(filter, 300_000)
    expect(rate).toBeGreaterThan(maxFalsePositiveRate)
    expect(Math.abs(rate - filter.falsePositiveRate)).toBeLessThan(0.0001)
  })

  it("does not grow by keys it knows", () => {
    const filter = filled(1_000, 900)
    const count = filter.count
    for (let round = 0; round < 20; round++) {
      for (let n = 0; n < 900; n++) expect(filter.add(key(n))).toBe(false)
    }
    expect(filter.count).toBe(count)
    expect(filter.layers).toBe(1)
  })

  it("denies no stored key after any sequence of stores, deletions, restarts and rebuilds", () => {
    const step = fc.oneof(
      {
        weight: 20,
        arbitrary: fc.record({ kind: fc.constant("store" as const), from: fc.nat(5_000), count: fc.nat(300) })
      },
      {
        weight: 6,
        arbitrary: fc.record({
          kind: fc.constant("delete" as const),
          from: fc.nat(5_000),
          count: fc.nat(300)
        })
      },
      { weight: 3, arbitrary: fc.constant({ kind: "restart" as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: "rebuild" as const }) }
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.integer(), (steps, seed) => {
        let filter = new CuckooFilter({ capacity: 300, seed })
        const stored = new Set<string>()
        for (const { kind, ...range } of steps) {
          if (kind === "store" || kind === "delete") {
            const { from, count } = range as { from: number; count: number }
            for (let n = from; n < from + count; n++) {
              if (kind === "delete") {
                stored.delete(key(n))
              } else {
                const wasKnown = filter.has(key(n))
                expect(filter.add(key(n))).toBe(!wasKnown)
                stored.add(key(n))
              }
            }
          } else if (kind === "restart") {
            const restored = CuckooFilter.fromBytes(filter.toBytes())
            if (typeof restored === "string") throw new Error(restored)
            filter = restored
          } else {
            filter = new CuckooFilter({ capacity: 300, seed })
            for (const id of stored) filter.add(id)
          }
          for (const id of stored) if (!filter.has(id)) throw new Error(`denied ${id}`)
        }
      }),
      { numRuns: 60, seed: 11 }
    )
  })

  it("gives the same bytes for the same keys, and other ones for another seed", () => {
    const bytes = filled(1_000, 950).toBytes()
    expect(filled(1_000, 950).toBytes()).toEqual(bytes)
    expect(filled(1_000, 950, 99).toBytes()).not.toEqual(bytes)
  })

  it("comes back from its bytes the same, and goes on growing", () => {
    const filter = filled(1_000, 2_500, -5)
    // At an odd offset, as a slice of a larger buffer may stand.
    const padded = new Uint8Array(filter.toBytes().byteLength + 1)
    padded.set(filter.toBytes(), 1)
    const restored = CuckooFilter.fromBytes(padded.subarray(1))
    if (typeof restored === "string") throw new Error(restored)
    expect(restored.toBytes()).toEqual(filter.toBytes())
    expect([restored.count, restored.layers, restored.bytes, restored.capacity]).toEqual([
      filter.count,
      filter.layers,
      filter.bytes,
      filter.capacity
    ])
    for (let n = 2_500; n < 5_000; n++) restored.add(key(n))
    expect(denied(restored, 5_000)).toBe(0)
  })

  it("refuses malformed bytes with a reason, without throwing", () => {
    const bytes = filled(300, 600).toBytes()
    for (let length = 0; length < bytes.byteLength; length += 7) {
      expect(CuckooFilter.fromBytes(bytes.subarray(0, length))).toEqual(expect.any(String))
    }
    const longer = new Uint8Array(bytes.byteLength + 2)
    longer.set(bytes)
    expect(CuckooFilter.fromBytes(longer)).toEqual(expect.any(String))
    // Every header byte but the seed's four, which may have any value.
    for (let at = 0; at < 48; at++) {
      if (at >= 8 && at < 12) continue
      const damaged = bytes.slice()
      damaged[at]! ^= 0x81
      expect(CuckooFilter.fromBytes(damaged)).toEqual(expect.any(String))
    }
    const emptied = bytes.slice()
    emptied.fill(0, 60, 400)
    expect(CuckooFilter.fromBytes(emptied)).toBe("has layers that are not those of its header")
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        expect(CuckooFilter.fromBytes(noise)).toEqual(expect.any(String))
      }),
      { numRuns: 200, seed: 3 }
    )
  })

  it("refuses a capacity that is no positive whole number within its bounds", () => {
    for (const capacity of [0, -1, 1.5, Number.NaN, 2 ** 28 + 1]) {
      expect(() => new CuckooFilter({ capacity })).toThrow(RangeError)
    }
    const tiny = filled(1, 5_000)
    expect(denied(tiny, 5_000)).toBe(0)
  })
})
