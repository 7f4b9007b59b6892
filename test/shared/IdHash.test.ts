import { describe, expect, it } from "@effect/vitest"
import { IdHash } from "../../src/shared/IdHash.js"

const hashOf = (id: string, seed = 1): [number, number] => {
  const hash = new IdHash(seed)
  hash.of(id)
  return [hash.low, hash.high]
}

describe("IdHash", () => {
  it("is the same on every run and machine", () => {
    expect([
      hashOf("geo.fr.11.2988507"),
      hashOf("geo.fr.11.2988507", 2),
      hashOf("ü"),
      hashOf("a"),
      hashOf("ab")
    ]).toMatchInlineSnapshot(`
      [
        [
          1866851335,
          -1705502940,
        ],
        [
          1011474123,
          -358419950,
        ],
        [
          -1244874009,
          585340978,
        ],
        [
          1846213640,
          -1391807489,
        ],
        [
          839880290,
          -173785584,
        ],
      ]
    `)
  })

  it("gives a million ids a million hashes, and spreads both lanes evenly", () => {
    const count = 1_000_000
    const hash = new IdHash(7)
    const seen = new Float64Array(count)
    const lows = new Int32Array(256)
    const highs = new Int32Array(256)
    const lastHighs = new Int32Array(256)
    for (let n = 0; n < count; n++) {
      hash.of(`geo.fr.${n}`)
      lows[hash.low >>> 24]!++
      highs[hash.high & 255]!++
      lastHighs[(hash.high >>> 8) & 255]!++
      // 53 of the 64 bits: a collision among a million is a matter of 1 in 18,000.
      seen[n] = (hash.low >>> 0) * 2 ** 21 + (hash.high & 0x1fffff)
    }
    seen.sort()
    let equal = 0
    for (let n = 1; n < count; n++) if (seen[n] === seen[n - 1]) equal++
    expect(equal).toBe(0)
    for (const cells of [lows, highs, lastHighs]) {
      const expected = count / 256
      const chiSquare = cells.reduce((sum, cell) => sum + (cell - expected) ** 2 / expected, 0)
      // 255 degrees of freedom: mean 255, standard deviation 23.
      expect(chiSquare).toBeLessThan(255 + 5 * 23)
    }
  })

  it("tells ids apart that differ in one unit, in order, or by a trailing NUL", () => {
    const ids = [
      "a",
      "b",
      "ab",
      "ba",
      "abc",
      "acb",
      "abd",
      "a\0",
      "a\0\0",
      "",
      "\0",
      "User.1",
      "user.1",
      "üser.1"
    ]
    expect(new Set(ids.map((id) => hashOf(id).join())).size).toBe(ids.length)
  })

  it("flips about half of the bits when one bit of the id changes", () => {
    const bitsOf = (n: number) => {
      let bits = 0
      for (let rest = n; rest !== 0; rest &= rest - 1) bits++
      return bits
    }
    const base = "geo.fr.11.2988507"
    const [low, high] = hashOf(base)
    for (let at = 0; at < base.length; at++) {
      let flipped = 0
      for (let bit = 0; bit < 16; bit++) {
        const changed =
          base.slice(0, at) + String.fromCharCode(base.charCodeAt(at) ^ (1 << bit)) + base.slice(at + 1)
        const [otherLow, otherHigh] = hashOf(changed)
        flipped += bitsOf(low ^ otherLow) + bitsOf(high ^ otherHigh)
      }
      expect(Math.abs(flipped / 16 - 32)).toBeLessThan(6)
    }
  })
})
