/** The cache over a client of the application's. */
import { Duration, Effect, Option, Schedule, type Scope } from "effect"
import { Cluster, Redis } from "ioredis"
import { describe, expect, it } from "vitest"
import { Cache, type CacheService } from "../../../src/cache/Cache.js"
import { layerClient, type RedisClientOptions } from "../../../src/cache/RedisCache.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { textOf } from "../../../src/SyncItem.js"
import { recordOf } from "../../cache/records.js"
import { cacheSuite } from "../../cache/suite.js"
import { openedIn } from "../../support/components.js"
import { startRedis, startRedisCluster } from "../../support/redis.js"
import { eventually, startEngine, temporaryDirectory } from "../engine/support.js"
import { isWell, withCache } from "../engine/tiers.js"

const run = <A>(body: Effect.Effect<A, unknown, Scope.Scope>) => Effect.runPromise(Effect.scoped(body))

const server = (options: Parameters<typeof startRedis>[0] = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(options)),
    (redis) => Effect.promise(() => redis.stop())
  )

/** The application's own, with the driver's defaults. */
const clientOf = (port: number, options: { keyPrefix?: string; lazyConnect?: boolean } = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new Redis(port, { ...options, retryStrategy: () => 50 }).on("error", () => {})),
    (client) => Effect.sync(() => client.disconnect())
  )

const cacheOver = (client: RedisClientOptions["client"], options: Partial<RedisClientOptions> = {}) =>
  Effect.provide(
    openedIn(Cache),
    layerClient({ client, coolDown: Duration.millis(100), commandTimeout: "1 second", ...options })
  )

const isConnected = (cache: CacheService, generation: number) =>
  eventually(
    `connected in generation ${generation}`,
    Effect.sync(() => {
      const status = cache.status()
      return status.connection === "connected" && status.generation >= generation
    })
  )

const connections = (client: Redis) =>
  Effect.promise(async () => Number(/connected_clients:(\d+)/.exec(await client.info("clients"))?.[1]))

const records = Array.from({ length: 50 }, (_, i) => recordOf(`geo.${i % 5}.${i}`, 1))

cacheSuite(
  "the cache over the application's client, with a key prefix of its own",
  Effect.gen(function* () {
    const redis = yield* server()
    const client = yield* clientOf(redis.port, { keyPrefix: "app:", lazyConnect: true })
    const cache = yield* cacheOver(client)
    yield* cache.connect
    return cache
  })
)

describe("an engine over the application's client", () => {
  it("shares its one connection, and leaves it working", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const client = yield* clientOf(redis.port)
        const directory = yield* temporaryDirectory
        yield* Effect.scoped(
          Effect.gen(function* () {
            const engine = yield* startEngine(
              { dataDir: directory, sql: `sqlite:${directory}/archive.db`, l1MaxBytes: 0 },
              withCache(layerClient({ client }))
            )
            yield* engine.service.submitMany(records.map(({ id }) => ({ id, content: `of ${id}` })))
            yield* engine.service.flush
            yield* eventually("all is well", isWell(engine))
            expect(textOf(Option.getOrThrow(yield* engine.service.get("geo.1.1")))).toBe("of geo.1.1")
            expect(yield* connections(client)).toBe(1)
            expect(yield* Effect.promise(() => client.exists("sync-engine:item:geo.1.1"))).toBe(1)
            yield* engine.service.shutdown
          })
        )
        expect(yield* Effect.promise(() => client.ping())).toBe("PONG")
        expect(yield* connections(client)).toBe(1)
        expect([client.status, client.listenerCount("close"), client.listenerCount("ready")]).toEqual([
          "ready",
          0,
          0
        ])
      })
    ))
})

describe("what becomes of the application's client", () => {
  it("connecting late, breaking off and coming back are seen; its listeners are given back", () =>
    run(
      Effect.gen(function* () {
        const first = yield* server()
        yield* Effect.promise(first.kill)
        const client = yield* clientOf(first.port)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const cache = yield* cacheOver(client)
            expect((yield* Effect.flip(cache.connect)).kind).toBe("unavailable")
            const second = yield* server({ port: first.port })
            yield* isConnected(cache, 1)
            yield* cache.put(records)
            yield* Effect.promise(second.kill)
            yield* eventually(
              "reconnecting",
              Effect.sync(() => cache.status().connection === "reconnecting")
            )
            expect((yield* Effect.flip(cache.get("geo.1.1"))).kind).toBe("unavailable")
            yield* server({ port: first.port })
            yield* isConnected(cache, 2)
            expect(yield* cache.get("geo.1.1")).toEqual(Option.none())
            yield* cache.put(records)
            expect(yield* cache.root).toBe(MerkleTree.from(records).root)
          })
        )
        expect([client.listenerCount("close"), client.listenerCount("ready")]).toEqual([0, 0])
      })
    ))

  it("a server that stays silent costs a bounded time and opens the circuit; a demoted one is left alone", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const other = yield* server()
        const client = yield* clientOf(redis.port)
        const cache = yield* cacheOver(client, { commandTimeout: "500 millis", failureThreshold: 2 })
        yield* isConnected(cache, 1)
        yield* cache.put(records)
        redis.pause()
        for (let i = 0; i < 2; i++) {
          expect((yield* Effect.flip(cache.getMany(["geo.1.1"]))).kind).toBe("timeout")
        }
        expect(cache.status().connection).toBe("circuit-open")
        redis.resume()
        yield* isConnected(cache, 2)
        const raw = yield* clientOf(redis.port)
        yield* Effect.promise(() => raw.call("REPLICAOF", "127.0.0.1", other.port))
        yield* eventually(
          "left alone",
          Effect.sync(() => cache.status().connection === "reconnecting")
        )
        expect(cache.status().lastError).toMatch(/READONLY|LOADING|MASTERDOWN/)
        yield* Effect.promise(() => raw.call("REPLICAOF", "NO", "ONE"))
        yield* isConnected(cache, 3)
        expect(client.status).toBe("ready")
      })
    ))

  it("a cluster client: all keys in one slot, every command at its node, a failover is a new generation", () =>
    run(
      Effect.gen(function* () {
        const cluster = yield* Effect.acquireRelease(
          Effect.promise(() => startRedisCluster()),
          (made) => Effect.promise(() => made.stop())
        )
        const client = yield* Effect.acquireRelease(
          Effect.sync(() => new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })))),
          (made) => Effect.sync(() => made.disconnect())
        )
        const cache = yield* cacheOver(client, { maxReconnectDelay: "200 millis" })
        yield* isConnected(cache, 1)
        yield* cache.put(records)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
        expect(yield* cache.rebuildTree).toBe(MerkleTree.from(records).root)
        expect(cache.status().generation).toBe(1)
        const { replica } = yield* Effect.promise(() => cluster.holders("{sync-engine:}"))
        const promoted = yield* clientOf(replica.port)
        yield* Effect.promise(() => promoted.call("CLUSTER", "FAILOVER"))
        yield* isConnected(cache, 2)
        yield* Effect.retry(cache.put([recordOf("geo.1.1", 2)]), { times: 50 })
        expect(yield* Effect.promise(() => promoted.exists("{sync-engine:}item:geo.1.1"))).toBe(1)
        expect(
          yield* Effect.retry(cache.reset, Schedule.intersect(Schedule.spaced(50), Schedule.recurs(50)))
        ).toBe(records.length)
      })
    ))

  it("a prefix that cannot be is refused", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const client = yield* clientOf(redis.port)
        const error = yield* Effect.flip(cacheOver(client, { prefix: "item:" }))
        expect(error).toMatchObject({ _tag: "InvalidConfig", name: "REDIS_PREFIX" })
      })
    ))
})
