/** Several engines on one Redis: of other archives, and of the same one while all write. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, Redacted } from "effect"
import { inject } from "vitest"
import { textOf } from "../../../src/SyncItem.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, startEngine, temporaryDirectory } from "./support.js"
import { cacheOf, degraded, isWell, items, privateRedis, rawRedis, wrapCache } from "./tiers.js"

describe("two archives behind one prefix", () => {
  it.scopedLive("the second one leaves the first one's cache alone, and says so", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const start = (dataDir: string, more = {}) =>
        startEngine({ dataDir, redis: redis.url, healthInterval: 300, l1MaxBytes: 0, ...more })
      const first = yield* start(yield* temporaryDirectory)
      yield* first.service.submitMany(items(200, "first "))
      yield* first.service.flush
      yield* eventually("the first is well", isWell(first))
      const second = yield* start(yield* temporaryDirectory)
      yield* second.service.submitMany(items(50, "second "))
      yield* second.service.flush
      yield* eventually(
        "the second goes without",
        Effect.map(degraded(second), (components) => components.includes("cache"))
      )
      for (let round = 0; round < 10; round++) {
        const [mine, theirs] = yield* Effect.all([
          first.service.getMany(["geo.1.1", "geo.4.199"]),
          second.service.getMany(["geo.1.1", "geo.4.199"])
        ])
        expect([...mine.values()].map(textOf)).toEqual(["first 1", "first 199"])
        expect([...theirs.values()].map(textOf)).toEqual(["second 1"])
        yield* Effect.sleep("100 millis")
      }
      const { degraded: why, cache } = yield* second.service.health
      expect(cache.trusted).toBe(false)
      expect(why.find(({ component }) => component === "cache")?.reason).toContain("another archive")
      for (let write = 0; write < 4; write++) {
        yield* second.service.submit({ id: "again", content: `${write}` }, { durability: "archive" })
      }
      // The reason does not grow with every batch.
      const { degraded: later } = yield* second.service.health
      const reason = later.find(({ component }) => component === "cache")!.reason
      // None where a comparison has come since.
      expect(reason.split("misses writes").length).toBeLessThanOrEqual(2)
      // Nor does anything else that goes to the cache change what the first one reads.
      const volatile = second.service.submit({ id: "geo.1.1", content: "v" }, { sql: false, ttl: "1 minute" })
      expect(yield* Effect.flip(volatile)).toMatchObject({ _tag: "TierUnavailable", tier: "cache" })
      yield* Effect.exit(second.service.repair())
      expect(Option.map(yield* first.service.get("geo.1.1"), textOf)).toEqual(Option.some("first 1"))
      expect(yield* isWell(first)).toBe(true)
      expect(yield* (yield* cacheOf(redis.url)).root).toBe(yield* first.service.merkleRoot)
      const other = yield* start(yield* temporaryDirectory, { redisPrefix: "other:" })
      yield* eventually("with a prefix of its own it is well", isWell(other))
    })
  )

  it.scopedLive("what a reconnect finds is not touched before it is known whose it is", () =>
    Effect.gen(function* () {
      const [mine, theirs] = yield* Effect.all([privateRedis(), privateRedis()])
      const start = (redis: string) =>
        Effect.flatMap(temporaryDirectory, (dataDir) =>
          startEngine(
            { dataDir, redis, healthInterval: 300, l1MaxBytes: 0, batchFlushInterval: 5 },
            // The answer takes its time, so that there is enough of it to go wrong in.
            wrapCache((cache) => ({
              claim: (lineage, milliseconds) => Effect.delay(cache.claim(lineage, milliseconds), "400 millis")
            }))
          )
        )
      const first = yield* start(mine.url)
      const second = yield* start(theirs.url)
      yield* first.service.submitMany(items(50, "first "))
      yield* second.service.submitMany(items(200, "second "))
      yield* Effect.all([first.service.flush, second.service.flush])
      yield* eventually(
        "both are well",
        Effect.zipWith(isWell(first), isWell(second), (a, b) => a && b)
      )
      const root = yield* second.service.merkleRoot
      yield* second.service.shutdown
      const raw = yield* rawRedis(theirs.url)
      yield* Effect.promise(() => raw.save())
      raw.disconnect()

      let refused = 0
      const writing = yield* Effect.forEach([1, 2, 3, 4], (writer) =>
        Effect.fork(
          Effect.forever(
            Effect.gen(function* () {
              const id = `geo.1.${writer}`
              yield* first.service.submit({ id, content: "first, later" }, { durability: "archive" })
              // Read or absent, or not known: never the other one's.
              const found = yield* Effect.either(first.service.getMany(["geo.4.199", id]))
              if (Either.isRight(found)) {
                expect([...found.right.values()].map(textOf)).toEqual(["first, later"])
              }
              const written = yield* Effect.either(
                first.service.submit({ id: `v.${writer}`, content: "v" }, { sql: false, ttl: "1 hour" })
              )
              if (Either.isLeft(written)) refused++
            })
          )
        )
      )
      yield* Effect.sleep("200 millis")
      yield* Effect.promise(() => Promise.all([mine.kill(), theirs.kill()]))
      const there = yield* privateRedis({ port: mine.port, dir: theirs.dir })
      yield* eventually(
        "the first one sees that it is another's",
        Effect.map(first.service.health, ({ degraded }) =>
          degraded.some(({ reason }) => reason.includes("another archive"))
        )
      )
      yield* Effect.sleep("300 millis")
      for (const fiber of writing) yield* Fiber.interrupt(fiber)
      expect(refused).toBeGreaterThan(0)
      const cache = yield* cacheOf(there.url)
      expect(yield* cache.root).toBe(root)
      expect(yield* cache.heads([1, 2, 3, 4].map((writer) => `v.${writer}`))).toEqual([])
    })
  )
})

describe("three other nodes that write without a pause", () => {
  it.scopedLive(
    "the cache stays trusted, verification reports no difference that is none, and a real one is found",
    () =>
      Effect.gen(function* () {
        const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
        const redis = yield* privateRedis()
        const start = Effect.flatMap(temporaryDirectory, (dataDir) =>
          startEngine({ dataDir, sql, redis: redis.url, healthInterval: 200 })
        )
        const watcher = yield* start
        yield* watcher.service.submitMany(items(500))
        yield* watcher.service.flush
        const writers = yield* Effect.all([start, start, start])
        const writing = yield* Effect.forEach([0, 1, 2, 3, 4, 5], (index) =>
          Effect.fork(
            Effect.forever(
              writers[index % 3]!.service.submitMany(items(300, `writer ${index} `, 1000 + index * 150))
            )
          )
        )
        yield* eventually(
          "trusted",
          Effect.map(watcher.service.health, ({ cache }) => cache.trusted)
        )
        let trusted = 0
        const looks = 60
        const watch = Effect.gen(function* () {
          for (let look = 0; look < looks; look++) {
            if ((yield* watcher.service.health).cache.trusted) trusted++
            yield* Effect.sleep("80 millis")
          }
        })
        const verified = Effect.forEach([1, 2, 3], () =>
          watcher.service.verify({ roots: true, values: "sample" })
        )
        const [, results] = yield* Effect.all([watch, verified], { concurrency: 2 })
        expect(results.map(({ differences }) => differences)).toEqual([[], [], []])
        expect(results.map(({ unchecked }) => unchecked)).toEqual([[], [], []])
        expect(trusted / looks).toBeGreaterThan(0.9)
        yield* Effect.forEach(writing, Fiber.interrupt)
        // Behind everybody's back, and nobody writes it again.
        const cache = yield* cacheOf(redis.url)
        yield* cache.deleteMany([{ id: "geo.1.1" }])
        const found = yield* watcher.service.verify({ values: "sample", sample: 100_000 })
        expect(found.differences).toEqual([
          { tier: "cache", what: "value", id: "geo.1.1", problem: "missing" }
        ])
        expect(Option.isSome(yield* watcher.service.get("geo.1.1"))).toBe(true)
      }),
    300_000
  )
})
