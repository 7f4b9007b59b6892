import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as FC, Fiber, TestClock } from "effect"
import type { CacheChange, CacheService } from "../../../src/cache/Cache.js"
import { CacheError } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { SequenceSet } from "../../../src/engine/state/KnownVersions.js"
import { isClean } from "../../../src/Lifecycle.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { cacheOf } from "../../support/components.js"
import { beside, ended, PlayedArchive, settle, start } from "../support.js"

const hour = 3_600_000
const quiet = { batchFlushInterval: hour, walDrainInterval: hour, healthInterval: hour }

type Play = "works" | "fails" | "hangs" | "refuses"

/** A cache whose change stream and writes the test plays; remembers what was published. */
const playedCache = Effect.gen(function* () {
  const { cache } = yield* InProcessCache.make()
  const play: { stream: Play; puts: Play } = { stream: "works", puts: "works" }
  const published: Array<CacheChange> = []
  const failure = new CacheError({ operation: "x", kind: "unavailable", problem: "told to", retryAfterMs: 1 })
  const played = <A>(how: () => Play, effect: Effect.Effect<A, CacheError>) =>
    Effect.suspend(() =>
      how() === "works"
        ? effect
        : how() === "fails"
          ? Effect.fail(failure)
          : how() === "refuses"
            ? Effect.fail(new CacheError({ ...failure, kind: "refused" }))
            : Effect.never
    )
  const service: CacheService = {
    ...cache,
    put: (records) => played(() => play.puts, cache.put(records)),
    appendChanges: (changes, maxLen) =>
      played(
        () => play.stream,
        Effect.tap(cache.appendChanges(changes, maxLen), () => Effect.sync(() => published.push(...changes)))
      )
  }
  return { layer: cacheOf(service), play, published }
})

const world = Effect.gen(function* () {
  const archive = new PlayedArchive()
  const disk = MemoryLog.makeDisk()
  const cache = yield* playedCache
  const life = (config = {}) =>
    start({
      archive: archive.options,
      cache: cache.layer,
      disk,
      config: { ...quiet, cdc: true, shutdownTimeout: 2000, ...config }
    })
  return { archive, cache, disk, life }
})

/** Ends a life although Redis does not take the change stream. */
const stop = (service: { readonly shutdown: Effect.Effect<unknown> }) =>
  Effect.gen(function* () {
    const shutdown = yield* beside(service.shutdown)
    yield* TestClock.adjust(2000)
    yield* Fiber.join(shutdown)
  })

const seen = (published: ReadonlyArray<CacheChange>) => published.map(({ id, version }) => `${id}@${version}`)

describe("the change stream publishes what the archive holds after a commit", () => {
  it.scoped("merged versions, superseded ones and refused ones never; the rest in log order", () =>
    Effect.gen(function* () {
      const { archive, cache, life } = yield* world
      const { service } = yield* life()
      archive.refuses = ({ id }) => id === "bad"
      archive.put("newer", 900)
      for (const version of [10, 11, 12]) yield* service.submit({ id: "a", content: `${version}`, version })
      yield* service.submit({ id: "bad", content: "x", version: 20 })
      yield* service.submit({ id: "bad", content: "x", version: 20 }).pipe(Effect.ignore)
      yield* service.submit({ id: "b", content: "x", version: 5 })
      yield* service.submit({ id: "a", content: "13", version: 13 })
      yield* service.flush
      yield* service.submit({ id: "a", content: "14", version: 14 })
      yield* service.delete("b", { version: 6 })
      yield* service.flush
      expect(yield* stopAnd(service, cache.published)).toEqual(["b@5", "a@13", "a@14", "b@6"])
    })
  )

  it.scoped(
    "a refused write whose letter was dropped is not published, and after a restart not archived",
    () =>
      Effect.gen(function* () {
        const { archive, cache, disk, life } = yield* world
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { service } = yield* life()
            cache.play.stream = "fails"
            archive.refuses = ({ id }) => id === "bad"
            yield* service.submit({ id: "bad", content: "x", version: 20 })
            yield* service.submit({ id: "good", content: "x", version: 21 })
            yield* service.flush
            expect(yield* service.deadLetters.drop()).toBe(1)
            yield* stop(service)
          })
        )
        expect(disk.entries).toHaveLength(2)
        archive.refuses = () => false
        const { service } = yield* life()
        expect(archive.live()).toEqual(["good"])
        cache.play.stream = "works"
        expect(yield* stopAnd(service, cache.published)).toEqual(["good@21"])
        expect(disk.entries).toEqual([])
      })
  )

  it.scoped("a cache that refuses it shows for as long as it does, and is used all the same", () =>
    Effect.gen(function* () {
      const { cache, life } = yield* world
      const { service } = yield* life({ healthInterval: 1000, batchFlushInterval: 100 })
      yield* TestClock.adjust(2000)
      cache.play.stream = "refuses"
      yield* service.submit({ id: "a", content: "1" })
      yield* service.flush
      for (let n = 0; n < 5; n++) {
        yield* TestClock.adjust(1000)
        const { degraded } = yield* service.health
        expect(degraded.map(({ component }) => component)).toEqual(["changes"])
      }
      cache.play.stream = "works"
      yield* TestClock.adjust(10_000)
      yield* service.submit({ id: "b", content: "1" })
      yield* service.flush
      yield* TestClock.adjust(10_000)
      expect((yield* service.health).degraded).toEqual([])
      expect(cache.published.map(({ id }) => id)).toEqual(["a", "b"])
    })
  )

  it.scoped("after a restart the newest of what was not published yet, and nothing is archived twice", () =>
    Effect.gen(function* () {
      const { archive, cache, life } = yield* world
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* life()
          cache.play.stream = "fails"
          for (const version of [1, 2]) {
            yield* service.submit({ id: "a", content: `${version}`, version })
            yield* service.flush
          }
          yield* stop(service)
        })
      )
      cache.play.stream = "works"
      archive.calls.length = 0
      const { service } = yield* life()
      expect(archive.commits).toEqual([])
      yield* service.submit({ id: "c", content: "x", version: 3 })
      yield* service.flush
      expect(yield* stopAnd(service, cache.published)).toEqual(["a@2", "c@3"])
    })
  )

  it("sequence numbers are remembered and forgotten", () => {
    FC.assert(
      FC.property(
        FC.uniqueArray(FC.integer({ min: 1, max: 20_000 })),
        FC.integer({ min: 0, max: 20_000 }),
        (all, upTo) => {
          const set = new SequenceSet()
          for (const sequence of all) set.add(sequence)
          const added = new Set(all)
          for (let at = 1; at <= 20_000; at += 7) expect(set.has(at)).toBe(added.has(at))
          set.forget(upTo)
          for (const sequence of all) if (sequence > upTo) expect(set.has(sequence)).toBe(true)
        }
      ),
      { numRuns: 20 }
    )
  })
})

const stopAnd = (
  service: { readonly shutdown: Effect.Effect<unknown> },
  published: ReadonlyArray<CacheChange>
) => Effect.map(stop(service), () => seen(published))

describe("a Redis that hangs", () => {
  it.scoped("and the change stream: the report names it, and says what is true", () =>
    Effect.gen(function* () {
      const { archive, cache, life } = yield* world
      const { service } = yield* life()
      cache.play.stream = "hangs"
      archive.refuses = ({ id }) => id === "bad"
      yield* service.submitMany(["a", "bad"].map((id) => ({ id, content: "x" })))
      yield* service.flush
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(2000)
      const report = yield* Fiber.join(shutdown)
      expect(isClean(report)).toBe(false)
      expect(report).toMatchObject({ flushedWal: true, itemsLeftInLog: 2 })
      expect(report.problems).toEqual([
        "change stream: not done within the shutdown timeout of 2000 ms",
        "2 writes stay in the log, archived or put aside: the change stream does not have them yet"
      ])
      expect(archive.live()).toEqual(["a"])
    })
  )

  it.scoped("keeps what it has not got in the log, whatever is archived behind it", () =>
    Effect.gen(function* () {
      const { archive, cache, disk, life } = yield* world
      const { service } = yield* life({ cdc: false, batchFlushCount: 1 })
      cache.play.puts = "hangs"
      archive.down = true
      yield* service.submitMany(["a", "b", "c"].map((id) => ({ id, content: id })))
      yield* settle
      archive.down = false
      const flush = yield* beside(service.flush)
      // The first is archived and on its way to the cache; the next one is archived meanwhile, and waits for its turn.
      expect(archive.live()).toEqual(["a", "b"])
      expect(disk.entries).toHaveLength(3)
      expect((yield* service.stats).pending).toBe(3)
      yield* TestClock.adjust(1000)
      yield* Fiber.join(flush)
      expect(disk.entries).toHaveLength(0)
    })
  )

  it.scoped("keeps no writer at archive waiting: the archive alone wakes them", () =>
    Effect.gen(function* () {
      const { cache, life } = yield* world
      const { service } = yield* life({ cdc: false })
      cache.play.puts = "hangs"
      const first = yield* beside(service.submit({ id: "a", content: "x" }, { durability: "archive" }))
      expect(yield* ended(first)).toBe(true)
      const second = yield* beside(service.submit({ id: "b", content: "x" }, { durability: "archive" }))
      yield* TestClock.adjust(1000)
      expect(yield* ended(second)).toBe(true)
      const others = yield* Effect.forEach(["c", "d", "e"], (id) =>
        beside(service.submit({ id, content: "x" }, { durability: "archive" }))
      )
      yield* settle
      for (const writer of others) expect(yield* ended(writer)).toBe(true)
      expect((yield* Fiber.join(first)).durability).toBe("archive")
      expect((yield* service.health).cache.trusted).toBe(false)
    })
  )
})
