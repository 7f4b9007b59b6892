/** What is noticed when another server, or other data, stands behind the connection. */
import { Duration, Effect, Option, Redacted, type Scope } from "effect"
import { Redis } from "ioredis"
import { describe, expect, it } from "vitest"
import type { CacheService } from "../../../src/cache/Cache.js"
import { make, type RedisCacheOptions } from "../../../src/cache/RedisCache.js"
import { textOf } from "../../../src/SyncItem.js"
import { recordOf } from "../../cache/records.js"
import { type RedisServer, startRedis, startRedisCluster } from "../../support/redis.js"
import { eventually, startEngine, temporaryDirectory } from "../engine/support.js"
import { isWell } from "../engine/tiers.js"

const run = <A>(body: Effect.Effect<A, unknown, Scope.Scope>) => Effect.runPromise(Effect.scoped(body))

const server = (options: Parameters<typeof startRedis>[0] = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(options)),
    (redis) => Effect.promise(() => redis.stop())
  )

const cluster = Effect.acquireRelease(
  Effect.promise(() => startRedisCluster()),
  (made) => Effect.promise(() => made.stop())
)

const rawOf = ({ port }: RedisServer) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = new Redis(port, { enableReadyCheck: false })
      client.on("error", () => {})
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

const call = (client: Redis, name: string, ...args: ReadonlyArray<string | number>) =>
  Effect.promise(() => client.call(name, [...args]))

const cacheAt = (url: string, options: Partial<RedisCacheOptions> = {}) =>
  make({
    url: Redacted.make(url),
    connectTimeout: Duration.seconds(2),
    commandTimeout: Duration.seconds(2),
    maxReconnectDelay: Duration.millis(200),
    coolDown: Duration.millis(200),
    ...options
  })

const connectedAgain = (cache: CacheService, generation: number) =>
  eventually(
    `connected with a generation above ${generation}`,
    Effect.sync(() => {
      const status = cache.status()
      return status.connection === "connected" && status.generation > generation
    })
  )

const records = Array.from({ length: 20 }, (_, i) => recordOf(`geo.${i % 3}.${i}`, 1))

describe("a cluster of three primaries and three replicas", () => {
  it("a failover that leaves every node alive begins a new generation, also without a call", () =>
    run(
      Effect.gen(function* () {
        const { holders, url } = yield* cluster
        const cache = yield* cacheAt(url)
        yield* cache.connect
        yield* cache.put(records)
        expect(cache.status().generation).toBe(1)
        const { replica } = yield* Effect.promise(() => holders("{sync-engine:}"))
        const promoted = yield* rawOf(replica)
        yield* call(promoted, "CLUSTER", "FAILOVER")
        yield* connectedAgain(cache, 1)
        expect((yield* Effect.promise(() => promoted.info("replication"))).includes("role:master")).toBe(true)
        expect(yield* cache.get("geo.1.1")).toEqual(Option.some(records[1]))
        yield* cache.put([recordOf("geo.1.1", 2)])
        expect(Number(yield* call(promoted, "EXISTS", "{sync-engine:}item:geo.1.1"))).toBe(1)
      })
    ))

  it("a promoted replica that missed writes is not believed: no reader sees the old value", () =>
    run(
      Effect.gen(function* () {
        const { holders, url } = yield* cluster
        const { primary, replica } = yield* Effect.promise(() => holders("{sync-engine:}"))
        const sql = `sqlite:${yield* temporaryDirectory}/shared.db`
        const engine = yield* startEngine({
          dataDir: yield* temporaryDirectory,
          sql,
          redis: url,
          l1MaxBytes: 0,
          healthInterval: 30_000
        })
        const ids = Array.from({ length: 50 }, (_, i) => `stale.${i}`)
        yield* engine.service.submitMany(ids.map((id) => ({ id, content: "old" })))
        yield* engine.service.flush
        yield* eventually("trusted", isWell(engine))
        // From here on the replica gets nothing any more: it may not come back with this password.
        const raw = yield* rawOf(primary)
        const behind = yield* rawOf(replica)
        yield* eventually(
          "the replica has the old values",
          Effect.map(call(behind, "DBSIZE"), (size) => Number(size) > 50)
        )
        yield* call(raw, "CONFIG", "SET", "requirepass", "nobody-knows")
        yield* call(raw, "AUTH", "nobody-knows")
        yield* call(raw, "CLIENT", "KILL", "TYPE", "replica")
        yield* engine.service.submitMany(ids.map((id) => ({ id, content: "new" })))
        yield* engine.service.flush
        expect(textOf(Option.getOrThrow(yield* engine.service.get("stale.7")))).toBe("new")
        yield* Effect.promise(() => primary.kill())
        const until = performance.now() + 15_000
        let promoted = false
        let wellAgain = false
        while (!wellAgain && performance.now() < until) {
          for (const id of ids) {
            expect(textOf(Option.getOrThrow(yield* engine.service.get(id)))).toBe("new")
          }
          promoted ||= (yield* Effect.promise(() => behind.info("replication"))).includes("role:master")
          wellAgain = promoted && (yield* isWell(engine))
          yield* Effect.sleep(20)
        }
        expect({ promoted, wellAgain }).toEqual({ promoted: true, wellAgain: true })
        expect(yield* engine.service.isSynced).toBe(true)
      })
    ))
})

describe("one server, another role or other data", () => {
  const pair = Effect.gen(function* () {
    const primary = yield* server()
    const other = yield* server()
    return { primary, other, raw: yield* rawOf(primary), rawOther: yield* rawOf(other) }
  })

  it("a primary that becomes a replica is left within a second, and taken again when it is a primary", () =>
    run(
      Effect.gen(function* () {
        const { other, primary, raw } = yield* pair
        const cache = yield* cacheAt(primary.url)
        yield* cache.connect
        yield* cache.put(records)
        yield* call(raw, "REPLICAOF", "127.0.0.1", other.port)
        yield* eventually(
          "left",
          Effect.sync(() => cache.status().connection === "reconnecting")
        )
        expect(cache.status().lastError).toMatch(/READONLY|LOADING|MASTERDOWN/)
        expect((yield* Effect.flip(cache.get("geo.1.1"))).kind).toBe("unavailable")
        yield* call(raw, "REPLICAOF", "NO", "ONE")
        yield* connectedAgain(cache, 1)
        yield* cache.put(records)
      })
    ))

  it("a replica is not taken into use, and is when it is promoted", () =>
    run(
      Effect.gen(function* () {
        const { other, primary, rawOther } = yield* pair
        yield* call(rawOther, "REPLICAOF", "127.0.0.1", primary.port)
        const cache = yield* cacheAt(other.url)
        const error = yield* Effect.flip(cache.connect)
        expect(error.kind).toBe("unavailable")
        expect(error.problem).toMatch(/READONLY|MASTERDOWN|LOADING/)
        yield* call(rawOther, "REPLICAOF", "NO", "ONE")
        yield* connectedAgain(cache, 0)
        yield* cache.put(records)
      })
    ))

  it("a promotion behind an open connection begins a new generation (another replication id)", () =>
    run(
      Effect.gen(function* () {
        const { other, primary, raw } = yield* pair
        const cache = yield* cacheAt(primary.url)
        yield* cache.connect
        yield* cache.put(records)
        const { generation } = cache.status()
        // Demoted and promoted again between two looks: the connection stays, the history is another one.
        yield* Effect.promise(() =>
          raw
            .pipeline([
              ["replicaof", "127.0.0.1", String(other.port)],
              ["replicaof", "no", "one"]
            ])
            .exec()
        )
        yield* connectedAgain(cache, generation)
      })
    ))

  it("FLUSHALL begins a new generation, a rebuild or reset of our own does not", () =>
    run(
      Effect.gen(function* () {
        const { primary, raw } = yield* pair
        const cache = yield* cacheAt(primary.url)
        yield* cache.connect
        yield* cache.put(records)
        yield* cache.rebuildTree
        yield* cache.reset
        yield* Effect.sleep(1_000)
        expect(cache.status().generation).toBe(1)
        for (const generation of [1, 2]) {
          yield* call(raw, "FLUSHALL")
          yield* cache.put(records)
          yield* connectedAgain(cache, generation)
        }
      })
    ))
})
