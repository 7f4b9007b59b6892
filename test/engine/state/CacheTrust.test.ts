import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import type { CacheService, CacheStatus } from "../../../src/cache/Cache.js"
import { CacheTrust } from "../../../src/engine/state/CacheTrust.js"

const tier = () => {
  let status: CacheStatus = {
    connection: "connected",
    since: 0,
    generation: 1,
    lastError: undefined,
    warnings: []
  }
  const service = { status: () => status } as CacheService
  let elapsedMs = 0
  const cache = new CacheTrust(service, () => elapsedMs)
  cache.claimed(true, 1, 1000)
  return {
    cache,
    wait: (milliseconds: number) => {
      elapsedMs += milliseconds
    },
    set: (change: Partial<CacheStatus>) => {
      status = { ...status, ...change }
    }
  }
}

describe("trust in the cache", () => {
  it("guards an application's cache that is an instance of a class", () => {
    class OwnCache {
      private readonly held = 7
      status(): CacheStatus {
        return {
          connection: "connected",
          since: this.held,
          generation: 1,
          lastError: undefined,
          warnings: []
        }
      }
      get() {
        return Effect.succeed(this.held)
      }
    }
    const cache = new CacheTrust(new OwnCache() as unknown as CacheService, () => 0)
    expect(cache.service.status().since).toBe(7)
    expect(Effect.runSync(Effect.flip(cache.service.get("a")))).toMatchObject({ kind: "unavailable" })
    cache.claimed(true, 1, 1000)
    expect(Effect.runSync(cache.service.get("a"))).toBe(7)
  })

  it("begins with a proof", () => {
    const { cache } = tier()
    expect([cache.trusted, cache.reason]).toEqual([false, "its root has not been compared yet"])
    expect(cache.trust(1, cache.doubtsSoFar)).toBe(true)
    expect([cache.trusted, cache.reason]).toEqual([true, undefined])
  })

  it("ignores a proof that was begun before a doubt", () => {
    const { cache } = tier()
    const before = cache.doubtsSoFar
    cache.misses.add([{ id: "a" }])
    cache.distrust("a write was missed")
    expect(cache.trust(1, before)).toBe(false)
    expect([cache.trusted, cache.reason]).toEqual([false, "a write was missed"])
    expect(cache.misses.listed).toEqual(["a"])
    expect(cache.trust(1, cache.doubtsSoFar)).toBe(true)
    expect([cache.trusted, cache.misses.listed]).toEqual([true, []])
  })

  it("ignores a proof of another generation, and ends with the one it was proven in", () => {
    const { cache, set } = tier()
    set({ generation: 2 })
    expect(cache.trust(1, cache.doubtsSoFar)).toBe(false)
    cache.claimed(true, 2, 1000)
    expect(cache.trust(2, cache.doubtsSoFar)).toBe(true)
    expect(cache.trusted).toBe(true)
    set({ generation: 3 })
    expect([cache.trusted, cache.connected]).toEqual([false, true])
    expect(cache.reason).toContain("root has not been compared since")
  })

  it("is none without a connection, and comes back with the same one", () => {
    const { cache, set } = tier()
    cache.trust(1, cache.doubtsSoFar)
    set({ connection: "circuit-open", lastError: "slow" })
    expect([cache.trusted, cache.reason]).toEqual([false, "circuit-open: slow"])
    set({ connection: "connected" })
    expect(cache.trusted).toBe(true)
  })
})

describe("whose it is", () => {
  it("is nobody's before a claim, on another connection, and after the claim", () => {
    const { cache, set, wait } = tier()
    expect([cache.owner, cache.usable]).toEqual(["ours", true])
    set({ generation: 2 })
    expect([cache.owner, cache.usable]).toEqual(["unknown", false])
    // The answer to a claim that was begun on the connection before.
    cache.claimed(true, 1, 1000)
    expect(cache.owner).toBe("unknown")
    cache.claimed(false, 2, 1000)
    expect([cache.owner, cache.usable]).toEqual(["another's", false])
    cache.claimed(true, 2, 1000)
    expect(cache.owner).toBe("ours")
    wait(1000)
    expect([cache.owner, cache.usable]).toEqual(["unknown", false])
  })

  it("when it is ours again, is no proof of what it holds", () => {
    const { cache, wait } = tier()
    const before = cache.doubtsSoFar
    cache.trust(1, before)
    cache.claimed(true, 1, 2000)
    expect(cache.trusted).toBe(true)
    wait(2000)
    cache.claimed(true, 1, 4000)
    expect(cache.trusted).toBe(false)
    expect(cache.trust(1, before)).toBe(false)
    expect(cache.trust(1, cache.doubtsSoFar)).toBe(true)
  })
})
