/** Volatile items (`sql: false`): between nodes, in batches, and what their receipts promise. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, TestClock } from "effect"
import { CacheError, type CacheService } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import type { SyncItem } from "../../../src/SyncItem.js"
import { textOf } from "../../../src/SyncItem.js"
import { YieldToEventLoop } from "../../../src/shared/YieldToEventLoop.js"
import { cacheOf } from "../../support/components.js"
import { items, PlayedArchive, recordOf, start } from "../support.js"

const textIn = (item: Option.Option<SyncItem>) => Option.getOrUndefined(Option.map(item, textOf))

/** Two nodes on one archive and one cache, which both trust. */
const startTwo = Effect.gen(function* () {
  const { cache } = yield* InProcessCache.make()
  const far = new PlayedArchive()
  const near = new PlayedArchive(far.state)
  const one = yield* start({ archive: far.options, cache: cacheOf(cache) })
  const joining = yield* Effect.fork(start({ archive: near.options, cache: cacheOf(cache) }))
  yield* TestClock.adjust("4 seconds")
  const two = yield* Fiber.join(joining)
  expect((yield* two.service.health).cache.trusted).toBe(true)
  return { one: one.service, two: two.service }
})

describe("volatile items between nodes", () => {
  it.scoped("are gone everywhere when their time is over, whoever has read them", () =>
    Effect.gen(function* () {
      const { one, two } = yield* startTwo
      yield* one.submit({ id: "durable", content: "1" })
      yield* one.flush
      yield* one.submit({ id: "short", content: "1" }, { sql: false, ttl: "500 millis" })
      for (const service of [one, two]) {
        expect(textIn(yield* service.get("short"))).toBe("1")
        expect([...(yield* service.getMany(["short", "durable"])).keys()].sort()).toEqual([
          "durable",
          "short"
        ])
      }
      yield* TestClock.adjust("5 seconds")
      for (const service of [one, two]) {
        expect(textIn(yield* service.get("short"))).toBeUndefined()
        expect(yield* service.contains("short")).toBe(false)
        expect(textIn(yield* service.get("durable"))).toBe("1")
      }
    })
  )

  it.scoped("are never absent because the cache is unavailable, nor gone while it is not trusted", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      let fails = false
      const failing = Effect.suspend(() =>
        Effect.fail(
          new CacheError({ operation: "get", kind: "unavailable", problem: "no answer", retryAfterMs: 100 })
        )
      )
      const played: CacheService = {
        ...cache,
        get: (id) => (fails ? failing : cache.get(id)),
        getMany: (ids) => (fails ? failing : cache.getMany(ids))
      }
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, cache: cacheOf(played) })
      yield* service.submit({ id: "short", content: "1" }, { sql: false, ttl: "1 hour" })
      fails = true
      for (let round = 0; round < 2; round++) {
        expect(yield* Effect.flip(service.get("short"))).toMatchObject({
          _tag: "TierUnavailable",
          tier: "cache"
        })
        expect(yield* Effect.flip(service.getMany(["short"]))).toMatchObject({ _tag: "TierUnavailable" })
      }
      fails = false
      expect((yield* service.health).cache.trusted).toBe(false)
      expect(textIn(yield* service.get("short"))).toBe("1")
      expect(textIn(yield* service.get("nobody.wrote.this"))).toBeUndefined()
    })
  )

  it.scoped("are not denied by the filter of a node that is alone again", () =>
    Effect.gen(function* () {
      const { one, two } = yield* startTwo
      yield* one.submit({ id: "left.behind", content: "1" }, { sql: false, ttl: "1 hour" })
      yield* one.shutdown
      // Long before the next comparison of the roots.
      yield* TestClock.adjust("8 seconds")
      expect((yield* two.health).filter.trusted).toBe(true)
      expect(yield* two.definitelyMissing("left.behind")).toBe(false)
      expect(yield* two.mightExist("left.behind")).toBe(true)
      expect(textIn(yield* two.get("left.behind"))).toBe("1")
    })
  )

  it.scoped("a node that has been alone all the time proves absence", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const { service } = yield* start({ cache: cacheOf(cache) })
      yield* TestClock.adjust("5 seconds")
      expect(yield* service.definitelyMissing("none")).toBe(true)
      yield* service.submit({ id: "v", content: "1" }, { sql: false, ttl: "1 hour" })
      expect(yield* service.definitelyMissing("v")).toBe(false)
    })
  )
})

describe("volatile batches", () => {
  const counted = Effect.gen(function* () {
    const { cache } = yield* InProcessCache.make()
    const puts: Array<number> = []
    const service: CacheService = {
      ...cache,
      put: (records, options) => {
        puts.push(records.length)
        return cache.put(records, options)
      }
    }
    const engine = yield* start({ cache: cacheOf(service) })
    return { cache, puts, service: engine.service }
  })
  const volatile = { sql: false, ttl: "1 hour" } as const

  it.scoped("are nothing that getOrInsertWith inserts, and it names the option that says so", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const { service } = yield* start({ cache: cacheOf(cache) })
      const made = Effect.die("made all the same")
      const error = yield* Effect.flip(service.getOrInsertWith("a", made, volatile))
      expect(error).toMatchObject({ _tag: "InvalidRequest", argument: "sql" })
      expect(error.message).not.toContain("expectedVersion")
    })
  )

  it.scoped("give way as others do", () =>
    Effect.gen(function* () {
      const { service } = yield* counted
      let turns = 0
      const results = yield* Effect.provideService(
        service.submitMany(items(10_000), volatile),
        YieldToEventLoop,
        Effect.sync(() => {
          turns++
        })
      )
      expect(results.every(({ _tag }) => _tag === "Acknowledged")).toBe(true)
      expect(turns).toBeGreaterThanOrEqual(9)
      expect(textIn(yield* service.get("item.9999"))).toBe("x")
    })
  )

  it.scoped("write the newest of many of one id, once a turn", () =>
    Effect.gen(function* () {
      const { puts, service } = yield* counted
      const results = yield* service.submitMany(
        Array.from({ length: 1000 }, (_, index) => ({ id: "a", content: `${index}` })),
        volatile
      )
      expect(results.every(({ _tag }) => _tag === "Acknowledged")).toBe(true)
      expect(puts.reduce((sum, records) => sum + records, 0)).toBeLessThan(100)
      expect(textIn(yield* service.get("a"))).toBe("999")
    })
  )

  it.scoped("say which of them the cache did not take", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* counted
      yield* service.submit({ id: "a", content: "5", version: 5 }, volatile)
      expect(
        yield* Effect.flip(service.submit({ id: "a", content: "3", version: 3 }, volatile))
      ).toMatchObject({
        _tag: "VersionConflict",
        submitted: 3,
        current: 5
      })
      // Another node's clock is ahead: ours catches up, and the write is newer than what was there.
      const ahead = 10_000_000 * 1024
      yield* cache.put([recordOf("b", ahead, "theirs")], { ttl: 3_600_000 })
      const results = yield* service.submitMany(
        [
          { id: "b", content: "mine" },
          { id: "a", content: "2", version: 2 },
          { id: "c", content: "mine" }
        ],
        volatile
      )
      expect(results.map(({ _tag }) => _tag)).toEqual(["Acknowledged", "Rejected", "Acknowledged"])
      const receipt = results[0]!
      expect(receipt._tag === "Acknowledged" && receipt.receipt.version).toBeGreaterThan(ahead)
      expect(textIn(yield* service.get("b"))).toBe("mine")
      expect(textIn(yield* service.get("a"))).toBe("5")
    })
  )
})
