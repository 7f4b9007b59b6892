import { afterAll, describe, expect, it } from "vitest"
import { measure } from "./liveness/measure.js"
import { killAll } from "./support.js"

afterAll(killAll)

// Bounds of seconds are for machines with other work on them; those of a turn are in processor time, which is the
// daemon's own. docs/performance.md has what was measured.
describe("under full write load", () => {
  it("health, pages and the root are answered while batches never pause", async () => {
    const { health, page, pending, root, turns, written } = await measure({ seconds: 8 })
    expect([health.failures, page.failures]).toEqual([0, 0])
    expect(health.count).toBeGreaterThan(20)
    expect(health.p99).toBeLessThan(3000)
    expect(page.count).toBeGreaterThan(3)
    expect(page.p99).toBeLessThan(8000)
    // Either the root, or the typed error after FLUSH_TIMEOUT.
    expect(root.max).toBeLessThan(25_000)
    expect(written).toBeGreaterThan(1000)
    expect(pending).toBeGreaterThanOrEqual(0)
    // 204 before work was cut into parts.
    expect(turns.p99).toBeLessThan(60)
  })

  it("large JSON bodies do not hold them up either", async () => {
    const { health, page, statuses, turns } = await measure({ seconds: 8, writers: 4, large: 8 })
    expect([health.failures, page.failures]).toEqual([0, 0])
    expect(health.p99).toBeLessThan(3000)
    expect(statuses).not.toHaveProperty("0")
    // 640 and more before large bodies were examined in pieces.
    expect(turns.p99).toBeLessThan(60)
  })
})
