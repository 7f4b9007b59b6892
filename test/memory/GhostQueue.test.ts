import { describe, expect, it } from "@effect/vitest"
import { GhostQueue } from "../../src/memory/GhostQueue.js"

// Spreads small numbers over 32 bits, as the hash of ids does.
const hashOf = (n: number) => Math.imul(n + 1, 0x9e3779b1) | 0

describe("GhostQueue", () => {
  it("knows the last hashes, each once, and no others", () => {
    const ghosts = new GhostQueue()
    for (let n = 0; n < 20; n++) ghosts.add(hashOf(n), 10)
    expect(ghosts.take(hashOf(9), 10)).toBe(false)
    expect(ghosts.take(hashOf(10), 10)).toBe(true)
    expect(ghosts.take(hashOf(10), 10)).toBe(false)
    expect(ghosts.take(hashOf(19), 10)).toBe(true)
    expect(ghosts.take(hashOf(99), 10)).toBe(false)
  })

  it("forgets what an added hash pushes out", () => {
    const ghosts = new GhostQueue()
    ghosts.add(hashOf(0), 1)
    expect(ghosts.take(hashOf(0), 0)).toBe(false)
    ghosts.add(hashOf(1), 1)
    expect(ghosts.take(hashOf(0), 1)).toBe(false)
  })

  it("keeps nearly all of its limit while the table grows, and its memory within the stated bounds", () => {
    const ghosts = new GhostQueue()
    let limit = 0
    for (let n = 0; n < 20_000; n++) {
      limit = Math.max(1, Math.ceil(n / 2))
      ghosts.add(hashOf(n), limit)
      expect(ghosts.bytes).toBeLessThanOrEqual(8 * Math.max(64, 4 * limit))
    }
    let known = 0
    for (let n = 20_000 - limit; n < 20_000; n++) if (ghosts.take(hashOf(n), limit)) known++
    expect(known / limit).toBeGreaterThan(0.9)
    let older = 0
    for (let n = 0; n < 20_000 - limit; n++) if (ghosts.take(hashOf(n), limit)) older++
    expect(older).toBe(0)
  })

  it("gives memory back after the cache has shrunk", () => {
    const ghosts = new GhostQueue()
    for (let n = 0; n < 10_000; n++) ghosts.add(hashOf(n), 10_000)
    const large = ghosts.bytes
    ghosts.add(hashOf(10_000), 100)
    expect(ghosts.bytes).toBeLessThan(large / 16)
    expect(ghosts.take(hashOf(10_000), 100)).toBe(true)
    expect(ghosts.take(hashOf(9_950), 100)).toBe(true)
    expect(ghosts.take(hashOf(9_000), 100)).toBe(false)
  })
})
