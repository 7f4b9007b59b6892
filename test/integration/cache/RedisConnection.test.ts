import { Chunk, Duration, Effect, Exit, Fiber, Option, Redacted, Stream } from "effect"
import { Redis } from "ioredis"
import { describe, expect, it } from "vitest"
import type { CacheService, CacheStatus } from "../../../src/cache/Cache.js"
import { Cache } from "../../../src/cache/Cache.js"
import { layer, make, type RedisCacheOptions } from "../../../src/cache/RedisCache.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { recordOf } from "../../cache/records.js"
import { openedIn } from "../../support/components.js"
import { freePort, type RedisServer, startRedis } from "../../support/redis.js"

const quick = {
  connectTimeout: Duration.millis(1_000),
  commandTimeout: Duration.millis(150),
  maxReconnectDelay: Duration.millis(100),
  failureThreshold: 3,
  coolDown: Duration.millis(200)
} satisfies Partial<RedisCacheOptions>

const urlOf = (port: number) => `redis://127.0.0.1:${port}`

const cacheAt = (url: string, options: Partial<RedisCacheOptions> = {}) =>
  make({ url: Redacted.make(url), ...quick, ...options })

const server = (options: Parameters<typeof startRedis>[0] = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(options)),
    (redis) => Effect.promise(() => redis.stop())
  )

const run = <A>(body: Effect.Effect<A, unknown, import("effect/Scope").Scope>) =>
  Effect.runPromise(Effect.scoped(body))

/** Waits until the status is as wanted; the test's own timeout bounds it. */
const until = (cache: CacheService, wanted: (status: CacheStatus) => boolean) =>
  Effect.gen(function* () {
    while (!wanted(cache.status())) yield* Effect.sleep(10)
  })

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = performance.now()
    const exit = yield* Effect.exit(effect)
    return { exit, ms: performance.now() - before }
  })

const records = Array.from({ length: 50 }, (_, i) => recordOf(`geo.${i % 5}.${i}`, 1))

describe("connecting", () => {
  it("builds with Redis down, fails typed and at once, and connects when Redis comes", () =>
    run(
      Effect.gen(function* () {
        const port = yield* Effect.promise(freePort)
        // At once is far below these, on a busy machine too.
        const patience = { connectTimeout: Duration.minutes(1), commandTimeout: Duration.minutes(1) }
        const cache = yield* cacheAt(urlOf(port), patience)
        const connect = yield* timed(cache.connect)
        expect(connect.ms).toBeLessThan(10_000)
        const error = yield* Effect.flip(cache.connect)
        expect([error._tag, error.kind]).toEqual(["CacheError", "unavailable"])
        expect(error.problem).toContain("ECONNREFUSED")
        const call = yield* timed(Effect.flip(cache.put(records)))
        expect(call.ms).toBeLessThan(10_000)
        expect((yield* Effect.flip(cache.get("a"))).kind).toBe("unavailable")
        expect(cache.status()).toMatchObject({ connection: "reconnecting", generation: 0 })
        yield* server({ port })
        yield* until(cache, ({ connection }) => connection === "connected")
        expect(cache.status()).toMatchObject({ generation: 1, lastError: undefined, warnings: [] })
        yield* cache.connect
        yield* cache.root
        yield* cache.put(records)
      })
    ))

  it("a host that swallows packets is given up within the bound", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        redis.pause()
        const cache = yield* cacheAt(urlOf(redis.port))
        const { exit, ms } = yield* timed(cache.connect)
        expect(Exit.isFailure(exit)).toBe(true)
        expect(ms).toBeLessThan(4_000)
        redis.resume()
        yield* until(cache, ({ connection }) => connection === "connected")
      })
    ))

  it("a wrong password is a typed error that shows no secret", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ args: ["--requirepass", "right-secret"] })
        const cache = yield* cacheAt(`redis://:wrong-secret@127.0.0.1:${redis.port}`)
        const error = yield* Effect.flip(cache.connect)
        expect(error.problem).toContain("WRONGPASS")
        const shown = JSON.stringify([error, error.message, String(error.stack), cache.status()])
        expect(shown).not.toContain("wrong-secret")
        const good = yield* cacheAt(`redis://:right-secret@127.0.0.1:${redis.port}`)
        yield* good.connect
      })
    ))

  it("an invalid URL or prefix is an invalid configuration", () =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(cacheAt("redis://:s3cret@"))
        expect([error._tag, error.name]).toEqual(["InvalidConfig", "REDIS_URL"])
        expect(error.message).not.toContain("s3cret")
        const prefix = yield* Effect.flip(cacheAt("redis://localhost", { prefix: "item:" }))
        expect(prefix.name).toBe("REDIS_PREFIX")
      })
    ))

  it("warns of an eviction policy that may drop the tree", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ args: ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"] })
        const cache = yield* cacheAt(redis.url)
        yield* cache.connect
        expect(cache.status().warnings.join()).toContain("allkeys-lru")
      })
    ))

  it("is a layer, and leaves no socket or timer behind", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const raw = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis(redis.port)),
          (client) => Effect.sync(() => client.disconnect())
        )
        const clients = Effect.promise(
          async () => /connected_clients:(\d+)/.exec(await raw.info("clients"))?.[1]
        )
        for (let i = 0; i < 10; i++) {
          yield* Effect.flatMap(openedIn(Cache), (cache) => Effect.zipRight(cache.connect, cache.root)).pipe(
            Effect.scoped,
            Effect.provide(layer({ url: Redacted.make(redis.url) }))
          )
        }
        const down = yield* Effect.promise(freePort)
        for (let i = 0; i < 10; i++) {
          yield* Effect.flatMap(openedIn(Cache), (cache) => Effect.flip(cache.root)).pipe(
            Effect.scoped,
            Effect.provide(layer({ url: Redacted.make(urlOf(down)) }))
          )
        }
        yield* Effect.sleep(50)
        expect(yield* clients).toBe("1")
        const sockets = process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap")
        expect(sockets.length).toBeLessThanOrEqual(1)
      })
    ))

  it("after the scope closes every call fails as closed", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const cache = yield* Effect.scoped(Effect.tap(cacheAt(redis.url), (cache) => cache.connect))
        expect((yield* Effect.flip(cache.get("a"))).problem).toContain("closed")
        expect((yield* Effect.flip(cache.connect)).problem).toContain("closed")
        expect(cache.status().connection).toBe("closed")
      })
    ))
})

describe("outages", () => {
  const withCache = (
    body: (
      cache: CacheService,
      redis: RedisServer
    ) => Effect.Effect<void, unknown, import("effect/Scope").Scope>,
    options: Partial<RedisCacheOptions> = {}
  ) =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const cache = yield* cacheAt(redis.url, options)
        yield* cache.connect
        yield* cache.put(records)
        yield* body(cache, redis)
      })
    )

  it("a killed Redis fails calls under way, is seen, and comes back as a new generation", () =>
    withCache(
      (cache, redis) =>
        Effect.gen(function* () {
          const seen = yield* Effect.fork(
            Stream.runCollect(
              Stream.takeUntil(
                cache.changes,
                ({ connection, generation }) => connection === "connected" && generation === 2
              )
            )
          )
          const big = Array.from({ length: 20_000 }, (_, i) => recordOf(`big.${i}`, 1, new Uint8Array(300)))
          const put = yield* Effect.fork(Effect.flip(cache.put(big)))
          yield* Effect.sleep(20)
          yield* Effect.promise(redis.kill)
          expect((yield* Fiber.join(put)).kind).toBe("unavailable")
          yield* until(cache, ({ connection }) => connection === "reconnecting")
          const get = yield* timed(Effect.flip(cache.get("geo.0.0")))
          expect(get.ms).toBeLessThan(5_000)
          expect(cache.status().lastError).toBeDefined()
          yield* server({ port: redis.port })
          const states = Chunk.toReadonlyArray(yield* Fiber.join(seen)).map(({ connection }) => connection)
          expect(states).toContain("reconnecting")
          expect(states.at(-1)).toBe("connected")
          expect(yield* cache.get("geo.0.0")).toEqual(Option.none())
          yield* cache.put(records)
          expect(yield* cache.root).toBe(MerkleTree.from(records).root)
        }),
      { commandTimeout: Duration.seconds(10) }
    ))

  it("a paused Redis costs a bounded time, opens the circuit, and a probe closes it again", () =>
    withCache((cache, redis) =>
      Effect.gen(function* () {
        redis.pause()
        for (let i = 0; i < 3; i++) {
          const { exit, ms } = yield* timed(Effect.flip(cache.getMany(["geo.0.0"])))
          expect(exit.pipe(Exit.map(({ kind }) => kind))).toEqual(Exit.succeed("timeout"))
          expect(ms).toBeGreaterThan(100)
          expect(ms).toBeLessThan(2_000)
        }
        expect(cache.status().connection).toBe("circuit-open")
        // Not asked: that would be a timeout again.
        expect((yield* Effect.flip(cache.get("geo.0.0"))).kind).toBe("circuit-open")
        redis.resume()
        yield* until(cache, ({ connection }) => connection === "connected")
        expect(cache.status().generation).toBe(2)
        expect(yield* cache.get("geo.0.0")).toEqual(Option.some(records[0]))
      })
    ))

  it("a Redis that stays silent is connected anew, also when only probes are left", () =>
    withCache((cache, redis) =>
      Effect.gen(function* () {
        redis.pause()
        for (let i = 0; i < 3; i++) yield* Effect.flip(cache.root)
        yield* until(cache, ({ connection }) => connection === "reconnecting")
        redis.resume()
        yield* until(cache, ({ connection }) => connection === "connected")
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("a put that timed out and is applied late harms nothing", () =>
    withCache(
      (cache, redis) =>
        Effect.gen(function* () {
          redis.pause()
          const late = records.map((record) => recordOf(record.id, 2))
          expect((yield* Effect.flip(cache.put(late))).kind).toBe("timeout")
          redis.resume()
          yield* cache.root
          const newest = records.map((record) => recordOf(record.id, 3))
          yield* cache.put(newest)
          yield* cache.put(late)
          expect(yield* cache.root).toBe(MerkleTree.from(newest).root)
        }),
      // On a busy machine, too, what comes after the pause is answered in time.
      { commandTimeout: Duration.seconds(1) }
    ))

  it("connections cut by the server come back by themselves", () =>
    withCache((cache, redis) =>
      Effect.gen(function* () {
        const raw = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis(redis.port)),
          (client) => Effect.sync(() => client.disconnect())
        )
        yield* Effect.promise(() => raw.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        yield* until(cache, ({ generation }) => generation === 2)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("a server out of memory refuses, typed, with no half-written batch and no open circuit", () =>
    withCache((cache, redis) =>
      Effect.gen(function* () {
        const raw = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis(redis.port)),
          (client) => Effect.sync(() => client.disconnect())
        )
        yield* Effect.promise(() => raw.config("SET", "maxmemory", "1"))
        for (let i = 0; i < 5; i++) {
          const error = yield* Effect.flip(cache.put([recordOf("new", 1), recordOf("geo.0.0", 2)]))
          expect([error.kind, error.problem.includes("OOM")]).toEqual(["refused", true])
        }
        expect(cache.status().connection).toBe("connected")
        yield* Effect.promise(() => raw.config("SET", "maxmemory", "0"))
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("an older snapshot restored under it shows in the root", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const cache = yield* cacheAt(redis.url)
        yield* cache.connect
        yield* cache.put(records)
        const raw = new Redis(redis.port)
        yield* Effect.promise(() => raw.save())
        raw.disconnect()
        const newer = records.slice(0, 10).map((record) => recordOf(record.id, 2))
        yield* cache.put(newer)
        yield* Effect.promise(redis.kill)
        yield* until(cache, ({ connection }) => connection === "reconnecting")
        yield* server({ port: redis.port, dir: redis.dir })
        yield* until(cache, ({ generation }) => generation === 2)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
        yield* cache.put(newer)
        expect(yield* cache.root).toBe(MerkleTree.from([...newer, ...records.slice(10)]).root)
      })
    ))
})

describe("a cluster", () => {
  it("works through redis-cluster://, with all keys in one slot", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({
          args: ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
        })
        const raw = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis(redis.port)),
          (client) => Effect.sync(() => client.disconnect())
        )
        yield* Effect.promise(() => raw.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383))
        yield* Effect.promise(async () => {
          while (!String(await raw.call("CLUSTER", "INFO")).includes("cluster_state:ok")) {
            await new Promise((resolve) => setTimeout(resolve, 50))
          }
        })
        const cache = yield* cacheAt(`redis-cluster://127.0.0.1:${redis.port}`, { prefix: "app:" })
        yield* until(cache, ({ connection }) => connection === "connected")
        yield* cache.put(records)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
        expect(yield* cache.get("geo.1.1")).toEqual(Option.some(records[1]))
        expect(yield* cache.rebuildTree).toBe(MerkleTree.from(records).root)
        const { contentHash } = records[0]!
        yield* cache.appendChanges([{ operation: "PUT", id: "a", version: 1, contentHash, sequence: 1 }], 10)
        expect(yield* cache.readChanges("", 10)).toHaveLength(1)
        const keys = yield* Effect.promise(() => raw.keys("*"))
        expect(keys.filter((key) => !key.startsWith("{app:}"))).toEqual([])
        raw.disconnect()
        yield* Effect.promise(redis.kill)
        yield* until(cache, ({ connection }) => connection !== "connected")
        expect((yield* Effect.flip(cache.get("geo.1.1")))._tag).toBe("CacheError")
        yield* server({
          port: redis.port,
          dir: redis.dir,
          args: ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
        })
        yield* until(cache, ({ connection }) => connection === "connected")
        expect(cache.status().generation).toBeGreaterThan(1)
        expect(yield* cache.reset).toBe(0)
      })
    ))
})
