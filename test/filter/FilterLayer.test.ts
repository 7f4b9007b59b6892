import { describe, expect, it } from "@effect/vitest"
import { FilterLayer } from "../../src/filter/FilterLayer.js"

const positionOf = (n: number) => Math.imul(n, 0x9e3779b1) >>> 0
const fingerprintOf = (n: number) => Math.imul(n, 0x85ebca6b) >>> 16 || 1

describe("FilterLayer", () => {
  it("is unchanged by an insertion that finds no place, and still knows everything", () => {
    const layer = new FilterLayer(1000, 3)
    const placed: Array<number> = []
    let refused = 0
    for (let n = 1; n < 1200; n++) {
      const before = layer.table.slice()
      const count = layer.count
      if (layer.insert(positionOf(n), fingerprintOf(n))) {
        placed.push(n)
        continue
      }
      refused++
      expect(layer.table).toEqual(before)
      expect(layer.count).toBe(count)
    }
    expect(refused).toBeGreaterThan(50)
    expect(layer.count).toBe(placed.length)
    expect(layer.table.filter((fingerprint) => fingerprint !== 0).length).toBe(placed.length)
    expect(placed.every((n) => layer.has(positionOf(n), fingerprintOf(n)))).toBe(true)
  })

  it("reaches its design fill of 95 % whatever its size", () => {
    for (const capacity of [256, 1_000, 12_345, 65_536, 100_000]) {
      const layer = new FilterLayer(capacity, 5)
      let inserted = 0
      while (inserted < capacity && layer.insert(positionOf(inserted), fingerprintOf(inserted * 7 + 1)))
        inserted++
      expect(inserted).toBeGreaterThan(capacity * 0.98)
      expect(layer.table.length * 16).toBeLessThanOrEqual(capacity * 17)
    }
  })

  it("places the last position of the hash inside the table", () => {
    const layer = new FilterLayer(1000, 3)
    for (const position of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(layer.insert(position, 65_535)).toBe(true)
      expect(layer.has(position, 65_535)).toBe(true)
    }
    expect(layer.count).toBe(4)
  })
})
