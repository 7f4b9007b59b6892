import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, Stream, TestClock } from "effect"
import { Cache, type CacheStatus } from "../../src/cache/Cache.js"
import * as InProcessCache from "../../src/cache/InProcessCache.js"
import { emptyRoot } from "../../src/merkle/Digest.js"
import { openedIn } from "../support/components.js"
import { recordOf, tombstoneOf } from "./records.js"
import { cacheSuite } from "./suite.js"

cacheSuite(
  "the cache in memory",
  Effect.map(InProcessCache.make(), ({ cache }) => cache)
)

describe("the cache in memory, by the clock", () => {
  it.scoped("items and tombstones leave when their time is over; a fill keeps what is left", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make({ tombstoneTtl: 5_000 })
      yield* cache.put([recordOf("a", 1)], { ttl: 1_000 })
      yield* cache.put([tombstoneOf("b", 7)])
      yield* TestClock.adjust(900)
      yield* cache.fill([recordOf("a", 2)])
      expect(Option.isSome(yield* cache.get("a"))).toBe(true)
      yield* TestClock.adjust(100)
      expect(yield* cache.get("a")).toEqual(Option.none())
      expect((yield* cache.put([recordOf("b", 6)])).newer.length).toBe(1)
      yield* TestClock.adjust(4_000)
      expect((yield* cache.put([recordOf("b", 6)])).applied).toBe(1)
    })
  )

  it.scoped("unavailable is an error, and coming back is a new generation", () =>
    Effect.gen(function* () {
      const { cache, control } = yield* InProcessCache.make()
      const states: Array<CacheStatus> = []
      const watching = yield* Effect.fork(
        Stream.runForEach(Stream.take(cache.changes, 3), (status) => Effect.sync(() => states.push(status)))
      )
      while (states.length === 0) yield* Effect.yieldNow()
      yield* cache.put([recordOf("a", 1)])
      control.setAvailable(false)
      const error = yield* Effect.flip(cache.get("a"))
      expect([error.kind, cache.status().connection]).toEqual(["unavailable", "reconnecting"])
      control.setAvailable(true)
      expect(Option.isSome(yield* cache.get("a"))).toBe(true)
      yield* Fiber.join(watching)
      expect(states.map(({ connection, generation }) => [connection, generation])).toEqual([
        ["connected", 1],
        ["reconnecting", 1],
        ["connected", 2]
      ])
    })
  )

  it.scoped("a corrupted item reads as absent, is reported once, and is mended by the same version", () =>
    Effect.gen(function* () {
      const { cache, control } = yield* InProcessCache.make()
      yield* cache.put([recordOf("a", 1)])
      control.corrupt("a")
      expect(yield* cache.get("a")).toEqual(Option.none())
      expect(cache.takeCorrupted()).toEqual(["a"])
      expect(cache.takeCorrupted()).toEqual([])
      yield* cache.fill([recordOf("a", 1)])
      expect(Option.isSome(yield* cache.get("a"))).toBe(true)
      control.flushAll()
      expect(yield* cache.root).toBe(emptyRoot)
    })
  )

  it.effect("stands behind the tag", () =>
    Effect.gen(function* () {
      const cache = yield* openedIn(Cache)
      yield* cache.put([recordOf("a", 1)])
      expect(yield* cache.heads(["a"])).toHaveLength(1)
    }).pipe(Effect.scoped, Effect.provide(InProcessCache.layerMemory))
  )
})
