import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC } from "effect"
import {
  HybridLogicalClock,
  maxObservedVersion,
  maxWallMs,
  versionsPerMillisecond
} from "../../../src/engine/state/HybridLogicalClock.js"
import { maxOwnVersion } from "../../../src/shared/OwnVersions.js"

const clockAt = (ms: number) => {
  const wall = { now: ms }
  return { wall, clock: new HybridLogicalClock(() => wall.now) }
}

describe("VersionClock", () => {
  it("rises strictly, above all it has seen, whatever the wall clock does (property)", () => {
    FC.assert(
      FC.property(
        FC.array(
          FC.oneof(
            FC.record({ step: FC.integer({ min: -100_000, max: 100_000 }) }),
            FC.record({ observe: FC.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }) }),
            FC.record({ floor: FC.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }) })
          ),
          { maxLength: 50 }
        ),
        (script) => {
          const { clock, wall } = clockAt(1_700_000_000_000)
          let highest = 0
          for (const step of script) {
            if ("step" in step) wall.now = Math.max(0, wall.now + step.step)
            else if ("observe" in step) clock.observe(step.observe)
            const floor = "floor" in step ? step.floor : 0
            const version = clock.next(floor)
            if (floor === Number.MAX_SAFE_INTEGER) {
              expect(version).toBeUndefined()
              continue
            }
            expect(Number.isSafeInteger(version)).toBe(true)
            expect(version).toBeGreaterThan(floor)
            // One floor near the end is answered above it without pulling the others up.
            if (version! <= maxObservedVersion) expect(version).toBeGreaterThan(highest)
            highest = Math.max(highest, clock.latest)
            expect(clock.latest).toBeLessThanOrEqual(maxObservedVersion + script.length + 1)
            if ("observe" in step) expect(version).toBeGreaterThan(Math.min(step.observe, maxObservedVersion))
          }
        }
      ),
      { numRuns: 500, seed: 4 }
    )
  })

  it("follows the wall clock, 1,024 versions a millisecond", () => {
    const { clock, wall } = clockAt(5)
    expect(clock.next()).toBe(5 * versionsPerMillisecond)
    expect(clock.next()).toBe(5 * versionsPerMillisecond + 1)
    wall.now = 6
    expect(clock.next()).toBe(6 * versionsPerMillisecond)
    for (let n = 0; n < 3000; n++) clock.next()
    expect(clock.latest).toBe(6 * versionsPerMillisecond + 3000)
    wall.now = 7
    expect(clock.next()).toBe(6 * versionsPerMillisecond + 3001)
    wall.now = 10
    expect(clock.next()).toBe(10 * versionsPerMillisecond)
  })

  it("begins at 1 with a wall clock at the epoch", () => {
    const { clock } = clockAt(0)
    expect(clock.next()).toBe(1)
    expect(clock.next()).toBe(2)
  })

  it("is above every own version, and keeps room above what others have stored", () => {
    const { clock } = clockAt(0)
    clock.observe(maxOwnVersion)
    expect(clock.next()).toBe(maxOwnVersion + 1)
    clock.observe(Number.MAX_SAFE_INTEGER)
    expect(clock.next()).toBe(maxObservedVersion + 1)
    expect(clock.next(Number.MAX_SAFE_INTEGER - 1)).toBe(Number.MAX_SAFE_INTEGER)
    expect(clock.next(Number.MAX_SAFE_INTEGER)).toBeUndefined()
    expect(clock.next()).toBe(maxObservedVersion + 2)
    expect(Number.MAX_SAFE_INTEGER - clock.latest).toBeGreaterThan(2 ** 39)
  })

  it("assigns safe integers whatever the wall clock says", () => {
    for (const now of [-1e15, -1, 0, maxWallMs, maxWallMs + 1, 1e15]) {
      const { clock } = clockAt(now)
      for (let n = 0; n < 3; n++) {
        const version = clock.next()!
        expect(Number.isSafeInteger(version) && version > 0).toBe(true)
      }
    }
  })
})
