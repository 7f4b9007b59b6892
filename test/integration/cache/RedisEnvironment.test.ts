/** Redis as it is found: users with few rights, databases that are refused, addresses of another family. */
import { readFileSync } from "node:fs"
import { Duration, Effect, Exit, Redacted, type Scope } from "effect"
import { Redis } from "ioredis"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { make, type RedisCacheOptions } from "../../../src/cache/RedisCache.js"
import { checkRedis } from "../../../src/cli/doctor/Doctor.js"
import { fromPartial } from "../../../src/EngineConfig.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { recordOf } from "../../cache/records.js"
import { cacheSuite } from "../../cache/suite.js"
import { type RedisServer, startRedis } from "../../support/redis.js"

const run = <A>(body: Effect.Effect<A, unknown, Scope.Scope>) => Effect.runPromise(Effect.scoped(body))

const server = (options: Parameters<typeof startRedis>[0] = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(options)),
    (redis) => Effect.promise(() => redis.stop())
  )

const rawOf = ({ port }: RedisServer) =>
  Effect.acquireRelease(
    Effect.sync(() => new Redis(port, { enableReadyCheck: false })),
    (client) => Effect.sync(() => client.disconnect())
  )

const call = (client: Redis, name: string, ...args: ReadonlyArray<string | number>) =>
  Effect.promise(() => client.call(name, [...args]))

const cacheAt = (url: string, options: Partial<RedisCacheOptions> = {}) =>
  make({ url: Redacted.make(url), coolDown: Duration.millis(100), ...options })

const records = Array.from({ length: 20 }, (_, i) => recordOf(`geo.${i % 3}.${i}`, 1))

/** The line of the documentation that makes a user. */
const documented =
  /^ACL SETUSER (\S+) on >(\S+) (~sync-engine:\*) (.*)$/m.exec(
    readFileSync(new URL("../../../docs/operations.md", import.meta.url), "utf8")
  ) ?? []

describe("a user with the documented commands", () => {
  let redis: RedisServer
  let raw: Redis
  let prefixes = 0
  const [, user = "", password = "", keys = "", commands = ""] = documented

  beforeAll(async () => {
    redis = await startRedis({ args: ["--acllog-max-len", "1000"] })
    raw = new Redis(redis.port)
    await raw.call("ACL", "SETUSER", user, "on", `>${password}`, keys, ...commands.split(" "))
    await raw.call("ACL", "SETUSER", "default", "resetpass", ">for-the-test")
  })
  afterAll(async () => {
    raw.disconnect()
    await redis.stop()
  })

  const open = Effect.suspend(() =>
    cacheAt(`redis://${user}:${password}@127.0.0.1:${redis.port}`, {
      prefix: `sync-engine:${++prefixes}:`
    }).pipe(Effect.tap((cache) => cache.connect))
  )

  cacheSuite("the cache of such a user", open)

  it("nothing but INFO was refused, once a connection and a look, and the user is told", () =>
    run(
      Effect.gen(function* () {
        const cache = yield* open
        yield* cache.put(records)
        expect(yield* cache.rebuildTree).toBe(MerkleTree.from(records).root)
        yield* cache.reset
        yield* Effect.sleep(1_000)
        expect(cache.status()).toMatchObject({ connection: "connected", generation: 1 })
        expect(cache.status().warnings).toEqual([expect.stringContaining("may not run INFO")])
        const refused = (yield* call(raw, "ACL", "LOG")) as ReadonlyArray<ReadonlyArray<unknown>>
        expect(new Set(refused.map((entry) => String(entry[entry.indexOf("object") + 1])))).toEqual(
          new Set(["info"])
        )
      })
    ))

  it("has no command too many: without any one of them it does not work", () =>
    run(
      Effect.gen(function* () {
        const all = commands.split(" ").filter((word) => word.startsWith("+"))
        for (const word of all) {
          yield* call(raw, "ACL", "SETUSER", "less", "reset", "on", ">less", keys, "-@all", ...all)
          yield* call(raw, "ACL", "SETUSER", "less", `-${word.slice(1)}`)
          yield* call(raw, "SCRIPT", "FLUSH")
          const used = Effect.gen(function* () {
            const cache = yield* cacheAt(`redis://less:less@127.0.0.1:${redis.port}`, {
              prefix: `sync-engine:${++prefixes}:`,
              maxReconnectDelay: Duration.millis(50)
            })
            yield* cache.connect
            yield* cache.put(records)
            yield* cache.put([recordOf("volatile", 1)], { ttl: 60_000 })
            yield* cache.fill([recordOf("volatile", 1)])
            yield* cache.deleteMany([{ id: "geo.0.0" }])
            yield* cache.getMany(["geo.1.1"])
            yield* cache.heads(["geo.1.1"])
            yield* cache.children("geo", { limit: 10 })
            const listed = (yield* cache.leaves("geo.1", { limit: 10 })).length
            const { contentHash } = records[0]!
            yield* cache.appendChanges(
              [{ operation: "PUT", id: "a", version: 1, contentHash, sequence: 1 }],
              10
            )
            yield* cache.readChanges("", 10)
            const before = yield* cache.root
            if (listed === 0 || before !== (yield* cache.rebuildTree)) {
              return yield* Effect.fail("a refusal inside of a script")
            }
            yield* cache.reset
            yield* cache.put([recordOf("x.y", 1)])
            yield* cache.deleteMany([{ id: "x.y" }])
          })
          expect([word, Exit.isSuccess(yield* Effect.exit(Effect.scoped(used)))]).toEqual([word, false])
        }
      })
    ))
})

describe("what is refused", () => {
  it("a user without rights is tried again in growing pauses, not 20 times a second", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const raw = yield* rawOf(redis)
        yield* call(raw, "ACL", "SETUSER", "none", "on", ">none", "~*", "-@all", "+info", "+ping")
        const received = Effect.map(
          Effect.promise(() => raw.info("stats")),
          (info) => Number(/total_connections_received:(\d+)/.exec(info)?.[1])
        )
        for (const credentials of ["none:none", "none:wrong", "nobody:x"]) {
          const before = yield* received
          const cache = yield* cacheAt(`redis://${credentials}@127.0.0.1:${redis.port}`)
          const error = yield* Effect.flip(cache.connect)
          expect(error.problem).toMatch(credentials === "none:none" ? /NOPERM.*eval/ : /WRONGPASS/)
          yield* Effect.sleep(2_000)
          expect((yield* received) - before).toBeLessThan(12)
          expect(cache.status()).toMatchObject({ connection: "reconnecting", generation: 0 })
        }
      })
    ))

  it("a server that drops every connection as soon as it is made is not run against", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server()
        const raw = yield* rawOf(redis)
        const cache = yield* cacheAt(redis.url)
        yield* cache.connect
        const until = performance.now() + 2_000
        while (performance.now() < until) {
          yield* call(raw, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
          yield* Effect.sleep(5)
        }
        expect(cache.status().generation).toBeLessThan(9)
      })
    ))

  it("a database that cannot be selected is no reason to use another one", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ args: ["--databases", "4"] })
        const raw = yield* rawOf(redis)
        const theirs = yield* cacheAt(redis.url)
        yield* theirs.connect
        yield* theirs.put(records)
        yield* call(raw, "ACL", "SETUSER", "stuck", "on", ">stuck", "~*", "+@all", "-select")
        for (const [url, problem] of [
          [`${redis.url}/7`, "DB index is out of range"],
          [`redis://stuck:stuck@127.0.0.1:${redis.port}/3`, "NOPERM"]
        ] as const) {
          const ours = yield* cacheAt(url)
          const error = yield* Effect.flip(ours.connect)
          expect(error.problem).toContain(`database ${url.at(-1)} cannot be selected`)
          expect(error.problem).toContain(problem)
          expect((yield* Effect.flip(ours.reset)).kind).toBe("unavailable")
        }
        expect(yield* theirs.root).toBe(MerkleTree.from(records).root)
        const third = yield* cacheAt(`${redis.url}/3`)
        yield* third.connect
        yield* third.put([recordOf("only.here", 1)])
        expect(yield* third.getMany(["only.here", "geo.1.1"])).toHaveLength(1)
        yield* third.reset
        expect(yield* theirs.getMany(["geo.1.1"])).toHaveLength(1)
      })
    ))

  it("a node of a cluster that is not addressed as one says what to write", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ args: ["--cluster-enabled", "yes"] })
        const raw = yield* rawOf(redis)
        const cache = yield* cacheAt(redis.url)
        expect((yield* Effect.flip(cache.connect)).problem).toContain("CLUSTERDOWN")
        yield* call(raw, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
      })
    ))
})

describe("the surroundings", () => {
  it("a host that has only an IPv6 address", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ host: "::1" })
        expect(redis.url).toBe(`redis://[::1]:${redis.port}`)
        const cache = yield* cacheAt(redis.url)
        yield* cache.connect
        yield* cache.put(records)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("a cluster that has only IPv6 addresses", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ host: "::1", args: ["--cluster-enabled", "yes"] })
        const raw = yield* Effect.acquireRelease(
          Effect.sync(() => new Redis({ host: "::1", port: redis.port, enableReadyCheck: false })),
          (client) => Effect.sync(() => client.disconnect())
        )
        yield* call(raw, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        const cache = yield* cacheAt(`redis-cluster://[::1]:${redis.port}`, {
          maxReconnectDelay: Duration.millis(100)
        })
        yield* Effect.retry(cache.connect, { times: 100 })
        yield* cache.put(records)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("the driver prints nothing, whatever it meets", () =>
    run(
      Effect.gen(function* () {
        const printed: Array<unknown> = []
        for (const method of ["log", "info", "warn", "error", "debug"] as const) {
          vi.spyOn(console, method).mockImplementation((...args) => printed.push(args))
        }
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
        const plain = yield* server()
        const guarded = yield* server({ args: ["--requirepass", "right"] })
        const clustered = yield* server({ args: ["--cluster-enabled", "yes"] })
        const raw = yield* rawOf(plain)
        yield* call(raw, "ACL", "SETUSER", "few", "on", ">few", "~*", "+@all", "-info", "-client")
        const urls = [
          `redis://:not-needed@127.0.0.1:${plain.port}`,
          `redis://few:few@127.0.0.1:${plain.port}/1`,
          `redis://127.0.0.1:${guarded.port}`,
          `redis://:wrong@127.0.0.1:${guarded.port}/99`,
          `redis-cluster://:wrong@127.0.0.1:${clustered.port},127.0.0.1:1`,
          "redis://127.0.0.1:1",
          "redis://nowhere.invalid"
        ]
        const reached: Array<boolean> = []
        for (const url of urls) {
          const cache = yield* cacheAt(url, { connectTimeout: Duration.millis(500) })
          reached.push(Exit.isSuccess(yield* Effect.exit(cache.connect)))
        }
        yield* Effect.sleep(500)
        expect(reached).toEqual([true, true, false, false, false, false, false])
        expect(printed).toEqual([])
      })
    ))
})

describe("doctor", () => {
  const config = (redisUrl: string) =>
    Effect.map(fromPartial({ redisUrl: Redacted.make(redisUrl) }), checkRedis).pipe(Effect.flatten)

  it("tells a wrong password, database, role, right and address apart, and changes nothing", () =>
    run(
      Effect.gen(function* () {
        const redis = yield* server({ args: ["--databases", "4"] })
        const raw = yield* rawOf(redis)
        const at = (credentials: string, suffix = "") =>
          `redis://${credentials}127.0.0.1:${redis.port}${suffix}`
        const [, , , keys = "", commands = ""] = documented
        yield* call(
          raw,
          "ACL",
          "SETUSER",
          "few",
          "on",
          ">few-rights",
          keys,
          ...commands.split(" "),
          "-getrange",
          "-zadd"
        )
        yield* call(raw, "ACL", "SETUSER", "enough", "on", ">enough", keys, ...commands.split(" "))
        expect(yield* config(at(""))).toMatchObject({ ok: true, advice: undefined })
        expect((yield* config(at("enough:enough@"))).found).toContain("may not run INFO")
        for (const [url, found, advice] of [
          [at("few:wrong-secret@"), "WRONGPASS", "user and password"],
          [at("few:few-rights@"), "GETRANGE, ZADD", "commands"],
          [at("", "/9"), "database 9 cannot be selected", "database number"],
          ["redis://127.0.0.1:1", "ECONNREFUSED", "up and reachable"],
          ["redis://nowhere.invalid", "nowhere.invalid", "up and reachable"],
          [`redis-cluster://127.0.0.1:1,127.0.0.1:${redis.port}`, undefined, undefined]
        ] as const) {
          const check = yield* config(url)
          expect([url, check.ok]).toEqual([url, found === undefined])
          if (found !== undefined) {
            expect(check.found).toContain(found)
            expect(check.advice).toContain(advice)
          }
          expect(JSON.stringify(check)).not.toContain("wrong-secret")
        }
        expect(Number(yield* call(raw, "DBSIZE"))).toBe(0)
        const clustered = yield* server({ args: ["--cluster-enabled", "yes"] })
        expect((yield* config(clustered.url)).found).toContain("CLUSTERDOWN")
        yield* call(raw, "REPLICAOF", "127.0.0.1", 1)
        expect((yield* config(at(""))).advice).toMatch(/primary|reachable/)
      })
    ))
})
