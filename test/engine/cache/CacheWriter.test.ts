import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, TestClock } from "effect"
import { Cache, type CacheService } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { mostFills } from "../../../src/engine/cache/CacheWriter.js"
import { beside, PlayedArchive, settle, start } from "../support.js"

/** A cache that holds nothing, and in which writes of one kind never end while `hangs`. */
const hanging = (operation: "fill" | "put") => {
  const seen = { calls: 0, running: 0, hangs: false }
  const never = Effect.acquireUseRelease(
    Effect.sync(() => {
      seen.calls++
      seen.running++
    }),
    () => Effect.never,
    () => Effect.sync(() => seen.running--)
  )
  const open = Effect.map(InProcessCache.make(), ({ cache }): CacheService => {
    const call: CacheService["fill"] = (records) => (seen.hangs ? never : cache[operation](records))
    return { ...cache, get: () => Effect.succeedNone, getMany: () => Effect.succeed([]), [operation]: call }
  })
  return { seen, cache: Layer.succeed(Cache, { open }) }
}

describe("what nobody waits for", () => {
  it.scoped("background fills are bounded, and end with the engine", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const ids = Array.from({ length: mostFills + 10 }, (_, n) => `item.${n}`)
      for (const id of ids) archive.put(id, 1)
      const { cache, seen } = hanging("fill")
      const { service, shutdown } = yield* start({ archive: archive.options, cache })
      seen.hangs = true
      for (const id of ids) expect((yield* service.get(id))._tag).toBe("Some")
      yield* settle
      expect([seen.calls, seen.running]).toEqual([mostFills, mostFills])
      yield* shutdown
      yield* settle
      expect(seen.running).toBe(0)
    })
  )

  it.scoped("a write that a flush gave up ends with the engine", () =>
    Effect.gen(function* () {
      const { cache, seen } = hanging("put")
      const { service, shutdown } = yield* start({ cache })
      seen.hangs = true
      yield* service.submit({ id: "a", content: "x" })
      yield* beside(service.flush)
      yield* TestClock.adjust("2 seconds")
      expect([seen.calls, seen.running]).toEqual([1, 1])
      yield* shutdown
      yield* settle
      expect(seen.running).toBe(0)
    })
  )
})

describe("what a commit has changed", () => {
  it.scoped("goes to the cache where the commit wrote all of it, and only there", () =>
    Effect.gen(function* () {
      const seen: Array<readonly [ids: ReadonlyArray<string>, before: ReadonlyArray<string> | undefined]> = []
      const open = Effect.map(
        InProcessCache.make(),
        ({ cache }): CacheService => ({
          ...cache,
          put: (records, options) => {
            const { change } = options ?? {}
            seen.push([records.map(({ id }) => id), change && [...change.before.keys()]])
            return cache.put(records, options)
          }
        })
      )
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        cache: Layer.succeed(Cache, { open })
      })
      yield* service.submitMany(["a", "b"].map((id) => ({ id, content: "1", version: 5 })))
      yield* service.flush
      yield* service.submitMany(["b", "c"].map((id) => ({ id, content: "2", version: 6 })))
      yield* service.flush
      yield* service.submitMany(["d", "e"].map((id) => ({ id, content: "3", version: 7 })))
      // Of another node, and newer.
      archive.put("d", 9)
      yield* service.flush
      expect(seen.map(([ids, before]) => [[...ids].sort(), before])).toEqual([
        [["a", "b"], []],
        [["b", "c"], ["b"]],
        [["d", "e"], undefined]
      ])
    })
  )
})
