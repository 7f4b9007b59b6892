import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { backpressureLevels, levelOf, policy } from "../../src/shared/Backpressure.js"

const rank = (level: (typeof backpressureLevels)[number]) => backpressureLevels.indexOf(level)

describe("backpressure", () => {
  it("enters each level at its threshold", () => {
    const cases = [
      [0, "Normal"],
      [0.699, "Normal"],
      [0.7, "Warn"],
      [0.799, "Warn"],
      [0.8, "Throttle"],
      [0.9, "Critical"],
      [0.949, "Critical"],
      [0.95, "Emergency"],
      [0.98, "Shutdown"],
      [1.2, "Shutdown"],
      [-1, "Normal"],
      [Number.NaN, "Shutdown"]
    ] as const
    for (const [pressure, level] of cases) expect(levelOf(pressure)).toBe(level)
  })

  it("leaves a level only below its lower mark, and falls through as many as are undercut", () => {
    expect(levelOf(0.66, "Warn")).toBe("Warn")
    expect(levelOf(0.649, "Warn")).toBe("Normal")
    expect(levelOf(0.97, "Shutdown")).toBe("Shutdown")
    expect(levelOf(0.955, "Shutdown")).toBe("Emergency")
    expect(levelOf(0.94, "Shutdown")).toBe("Emergency")
    expect(levelOf(0.88, "Shutdown")).toBe("Critical")
    expect(levelOf(0.1, "Shutdown")).toBe("Normal")
    expect(levelOf(0.85, "Normal")).toBe("Throttle")
    expect(levelOf(0.96, "Throttle")).toBe("Emergency")
  })

  it("does not flap: pressure wavering by less than the gap changes the level at most once", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(fc.double({ min: -0.0099, max: 0.0099, noNaN: true }), { minLength: 2, maxLength: 50 }),
        (centre, wobbles) => {
          let level = levelOf(centre)
          let falls = 0
          for (const wobble of wobbles) {
            const next = levelOf(centre + wobble, level)
            if (rank(next) < rank(level)) falls++
            level = next
          }
          expect(falls).toBe(0)
        }
      ),
      { numRuns: 500, seed: 7 }
    )
  })

  it("is never below what the pressure alone calls for, and grows with pressure and with history", () => {
    const level = fc.constantFrom(...backpressureLevels)
    const pressure = fc.double({ min: 0, max: 1.1, noNaN: true })
    fc.assert(
      fc.property(pressure, pressure, level, (a, b, previous) => {
        const [low, high] = a < b ? [a, b] : [b, a]
        expect(rank(levelOf(low, previous))).toBeGreaterThanOrEqual(rank(levelOf(low)))
        expect(rank(levelOf(high, previous))).toBeGreaterThanOrEqual(rank(levelOf(low, previous)))
        expect(rank(levelOf(low, previous))).toBeLessThanOrEqual(Math.max(rank(previous), rank(levelOf(low))))
      }),
      { numRuns: 500, seed: 8 }
    )
    for (const name of backpressureLevels.slice(1)) {
      const { enter, leave } = policy(name)
      expect(enter - leave).toBeGreaterThan(0.0199)
      expect(enter - leave).toBeLessThan(0.0501)
    }
  })

  it("admits writes until the bound is near, first slower, then not: 429, then 503", () => {
    expect(backpressureLevels.map((level) => policy(level).admitsWrites)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false
    ])
    expect(backpressureLevels.map((level) => policy(level).httpStatus)).toEqual([
      200, 200, 200, 200, 429, 503
    ])
    expect(backpressureLevels.map((level) => policy(level).delayMs)).toEqual([0, 0, 10, 100, 0, 0])
    expect(backpressureLevels.map((level) => policy(level).retryAfterMs)).toEqual([0, 0, 0, 0, 1000, 5000])
  })
})
