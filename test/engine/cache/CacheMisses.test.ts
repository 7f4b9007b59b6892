import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, TestClock } from "effect"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { Cache, type CacheService } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { CacheMisses, mostMisses } from "../../../src/engine/state/CacheMisses.js"
import { resync } from "../../../src/reconcile/Resync.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { recordOf, tombstoneOf } from "../../cache/records.js"
import { beside, items, PlayedArchive, settle, start } from "../support.js"

const walks = ["node", "branches", "leaves", "leafSum", "children"] as const

/** A cache that counts what a walk of its tree asks. */
const watched = Effect.map(InProcessCache.make(), ({ cache, control }) => {
  const seen = { walk: 0, hangs: false }
  const counted = { ...cache } as Record<string, unknown>
  for (const name of walks) {
    const call = cache[name] as (...args: ReadonlyArray<unknown>) => unknown
    counted[name] = (...args: ReadonlyArray<unknown>) => {
      seen.walk++
      return call(...args)
    }
  }
  counted.put = (...args: Parameters<CacheService["put"]>) => (seen.hangs ? Effect.never : cache.put(...args))
  const service = counted as unknown as CacheService
  return { seen, service, control, layer: Layer.succeed(Cache, { open: Effect.succeed(service) }) }
})

describe("what the cache has missed", () => {
  it.scoped("is repaired after an outage without a walk of the trees", () =>
    Effect.gen(function* () {
      const cache = yield* watched
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, cache: cache.layer })
      yield* service.submitMany(items(20))
      yield* service.flush
      cache.control.setAvailable(false)
      cache.seen.walk = 0
      yield* service.submitMany(items(5, "item.", "y"))
      yield* service.submit({ id: "new", content: "n" })
      yield* service.delete("item.7")
      // Another node's, which this one meets: it may not have reached the cache either.
      archive.put("item.9", 10 ** 9)
      yield* archive.uncompared(service.submit({ id: "item.9", content: "z", version: 10 ** 8 }))
      yield* service.flush
      cache.control.setAvailable(true)
      yield* service.tick
      expect((yield* service.health).cache.trusted).toBe(true)
      expect(yield* cache.service.root).toBe(archive.state.tree.root)
      expect(cache.seen.walk).toBe(0)
    })
  )

  it.scoped("is what a flush did not wait for", () =>
    Effect.gen(function* () {
      const cache = yield* watched
      const { service } = yield* start({ cache: cache.layer })
      cache.seen.hangs = true
      cache.seen.walk = 0
      yield* service.submit({ id: "a", content: "x" })
      yield* beside(service.flush)
      yield* TestClock.adjust("2 seconds")
      // And what is not even tried while it has not answered.
      yield* service.submit({ id: "b", content: "x" })
      yield* service.flush
      yield* service.tick
      yield* settle
      expect((yield* service.health).cache.trusted).toBe(true)
      expect(cache.seen.walk).toBe(0)
    })
  )

  it.scoped("is what the log held at the start", () =>
    Effect.gen(function* () {
      const cache = yield* watched
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      const first = yield* start({ disk, archive: archive.options, cache: cache.layer })
      yield* first.service.submitMany(items(20))
      yield* first.service.flush
      archive.down = true
      yield* first.service.submitMany(items(5, "item.", "y"))
      const shutdown = yield* beside(first.service.shutdown)
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(shutdown)
      archive.down = false
      cache.seen.walk = 0
      const second = yield* start({ disk, archive: archive.options, cache: cache.layer })
      expect((yield* second.service.health).cache.trusted).toBe(true)
      expect(cache.seen.walk).toBe(0)
    })
  )

  it("is bounded: of too many none is listed, until the cache has been proven again", () => {
    const misses = new CacheMisses()
    const some = (count: number) => Array.from({ length: count }, (_, n) => ({ id: `id.${n}` }))
    misses.add(some(mostMisses))
    expect(misses.listed.length).toBe(mostMisses)
    misses.add([{ id: "one more" }])
    misses.add(some(3))
    expect(misses.listed).toEqual([])
    misses.clear()
    misses.add(some(3))
    expect(misses.listed).toEqual(["id.0", "id.1", "id.2"])
    misses.end()
    misses.add(some(3))
    expect(misses.listed).toEqual([])
  })

  it.scoped("need not be all: the trees are walked then", () =>
    Effect.gen(function* () {
      const archive = MemoryArchive.make()
      const cache = yield* watched
      const tiers = {
        archive,
        cache: cache.service,
        exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => effect
      }
      const before = Array.from({ length: 200 }, (_, n) => recordOf(`id.${n}`, 1))
      yield* archive.commit(before)
      yield* cache.service.put(before)
      yield* archive.commit([recordOf("id.3", 2), recordOf("id.4", 2), tombstoneOf("id.5", 2)])
      expect(yield* resync(tiers, { missed: ["id.3", "id.5", "never"] })).toMatchObject({
        equal: true,
        rounds: 1,
        written: 2,
        removed: 1
      })
      expect(cache.seen.walk).toBeGreaterThan(0)
      // And nothing is rewritten when the roots are equal.
      expect(yield* resync(tiers, { missed: ["id.3"] })).toMatchObject({ equal: true, rounds: 0, written: 0 })
    })
  )
})
