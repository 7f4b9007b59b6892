import { expect, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { describe, inject } from "vitest"
import * as RedisCache from "../../../src/cache/RedisCache.js"
import { textOf } from "../../../src/SyncItem.js"
import { startRedis } from "../../support/redis.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, startEngine, temporaryDirectory } from "./support.js"

const privateRedis = Effect.acquireRelease(
  Effect.promise(() => startRedis()),
  (server) => Effect.promise(() => server.stop())
)

const tiers = Effect.gen(function* () {
  const dataDir = yield* temporaryDirectory
  const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
  const redis = yield* privateRedis
  return { dataDir, sql, redisServer: redis, redis: `redis://127.0.0.1:${redis.port}` }
})

const cacheOf = (url: string) =>
  RedisCache.make({ url: Redacted.make(url) }).pipe(Effect.tap((cache) => cache.connect))

const items = (count: number, text = "v") =>
  Array.from({ length: count }, (_, index) => ({
    id: `geo.${index % 5}.${index}`,
    content: `${text}${index}`
  }))

describe("an engine over MariaDB and Redis", () => {
  it.scopedLive("carries writes to both, with equal roots, and serves a fresh engine from the cache", () =>
    Effect.gen(function* () {
      const { redisServer, ...urls } = yield* tiers
      const engine = yield* startEngine(urls)
      yield* engine.service.submitMany(items(2000))
      yield* engine.service.delete("geo.0.0")
      yield* engine.service.flush
      const health = yield* engine.service.health
      expect(health.degraded).toEqual([])
      expect(health.cache).toEqual({ configured: true, available: true, trusted: true })
      const cache = yield* cacheOf(urls.redis)
      expect(yield* cache.root).toBe(yield* engine.service.merkleRoot)
      expect((yield* engine.service.verify()).inSync).toBe(true)
      const report = yield* engine.service.shutdown
      expect(report.problems).toEqual([])

      const again = yield* startEngine(urls)
      expect((yield* again.service.health).cache.trusted).toBe(true)
      const found = yield* again.service.get("geo.1.1")
      expect(Option.map(found, textOf)).toEqual(Option.some("v1"))
      expect(Option.isNone(yield* again.service.get("geo.0.0"))).toBe(true)
      expect(redisServer.port).toBeGreaterThan(0)
    })
  )

  it.scopedLive("starts without Redis, and mends the cache when it is there", () =>
    Effect.gen(function* () {
      const { redisServer, ...urls } = yield* tiers
      yield* Effect.promise(() => redisServer.stop())
      const engine = yield* startEngine(urls)
      expect((yield* engine.service.health).degraded.map(({ component }) => component)).toEqual(["cache"])
      yield* engine.service.submitMany(items(500))
      yield* engine.service.flush
      expect(Option.isSome(yield* engine.service.get("geo.1.1"))).toBe(true)
      const back = yield* Effect.acquireRelease(
        Effect.promise(() => startRedis({ port: redisServer.port })),
        (server) => Effect.promise(() => server.stop())
      )
      yield* eventually(
        "the cache is trusted",
        Effect.map(engine.service.health, ({ cache, degraded }) => cache.trusted && degraded.length === 0)
      )
      const cache = yield* cacheOf(`redis://127.0.0.1:${back.port}`)
      expect(yield* cache.root).toBe(yield* engine.service.merkleRoot)
    })
  )

  it.scopedLive("repairs a flushed, a stale and a meddled-with cache at the next comparison", () =>
    Effect.gen(function* () {
      const { redisServer, ...urls } = yield* tiers
      const engine = yield* startEngine({ ...urls, healthInterval: 200 })
      yield* engine.service.submitMany(items(300))
      yield* engine.service.flush
      const cache = yield* cacheOf(urls.redis)
      const inStep = Effect.gen(function* () {
        const { cache: state } = yield* engine.service.health
        return state.trusted && (yield* cache.root) === (yield* engine.service.merkleRoot)
      })
      yield* eventually("equal roots", inStep)
      // An item the archive does not have, and one it has in another version.
      const row = Option.getOrThrow(yield* cache.get("geo.1.1"))
      yield* cache.put([
        { ...row, id: "geo.stranger" },
        { ...row, version: row.version + 1, contentHash: row.contentHash }
      ])
      expect(yield* cache.root).not.toBe(yield* engine.service.merkleRoot)
      yield* eventually("extra and newer items are gone", inStep)
      expect(Option.isNone(yield* cache.get("geo.stranger"))).toBe(true)
      expect(Option.getOrThrow(yield* cache.get("geo.1.1")).version).toBe(row.version)
      yield* cache.reset
      yield* eventually("an emptied cache is filled again", inStep)
      expect(redisServer.port).toBeGreaterThan(0)
    })
  )
})
