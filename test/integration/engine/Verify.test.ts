/** Damage done to MariaDB and Redis with plain clients: verification finds each, repair mends each. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { inject } from "vitest"
import { recordIn, writeValue } from "../../../src/cache/ItemValue.js"
import { LiveConfig } from "../../../src/EngineConfig.js"
import * as MerkleClient from "../../../src/http/client/MerkleClient.js"
import * as Server from "../../../src/http/HttpServer.js"
import * as Lifecycle from "../../../src/Lifecycle.js"
import type { VerifyDifference } from "../../../src/SyncEngine.js"
import { SyncEngine } from "../../../src/SyncEngine.js"
import { type ItemRecord, textOf } from "../../../src/SyncItem.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import { items, privateRedis, rawRedis, rawSql } from "./tiers.js"

const database = Effect.map(
  Effect.suspend(() => freshDatabase(inject("mysqlUrl"))),
  Redacted.value
)

/** Nothing but the test itself looks for differences. */
const still = { healthInterval: 600_000, filterSnapshotInterval: 0 }

const filled = (count: number) =>
  Effect.gen(function* () {
    const redis = yield* privateRedis()
    const sql = yield* database
    const engine = yield* startEngine({
      ...still,
      dataDir: yield* temporaryDirectory,
      sql,
      redis: redis.url
    })
    yield* engine.service.submitMany([
      ...items(count),
      { id: "geo", content: "top" },
      { id: "geo-x.y", content: "1" }
    ])
    yield* engine.service.flush
    const raw = yield* rawRedis(redis.url)
    const db = yield* rawSql(sql)
    const run = (statement: string, ...params: ReadonlyArray<unknown>) =>
      Effect.asVoid(db.unsafe(statement, [...params]).unprepared)
    return { engine, redis, raw, run, sql }
  })

const everything = { roots: true, rows: true, contents: true, values: "full", differences: 10_000 } as const

const text = ({ id, problem, tier, what }: VerifyDifference) => `${tier} ${what} ${problem} ${id}`.trim()

const found = (engine: RealEngine, options: Parameters<RealEngine["service"]["verify"]>[0] = everything) =>
  Effect.map(engine.service.verify(options), (result) => {
    expect(result.unchecked).toEqual([])
    expect(result.differencesTotal).toBe(result.differences.length)
    expect(result.inSync).toBe(result.differences.length === 0)
    return result.differences.map(text).sort()
  })

/** Repairs, and proves that nothing is left. */
const mended = (engine: RealEngine) =>
  Effect.gen(function* () {
    const result = yield* engine.service.repair()
    expect(result.problems).toEqual([])
    expect(result).toMatchObject({ inSync: true, complete: true, contentsLost: 0 })
    expect(yield* found(engine)).toEqual([])
    expect(yield* engine.service.isSynced).toBe(true)
    return result
  })

const itemKey = (id: string) => `sync-engine:item:${id}`

describe("verify and repair over MariaDB and Redis", () => {
  it.scopedLive("a sound engine is proven in full", () =>
    Effect.gen(function* () {
      const { engine } = yield* filled(1500)
      const result = yield* engine.service.verify(everything)
      expect(result).toMatchObject({
        inSync: true,
        complete: true,
        differences: [],
        checked: { rows: 1502, contents: 1502, values: 1502 }
      })
      expect(result.cacheRoot).toBe(result.archiveRoot)
      expect(result.recomputed).toEqual({ root: result.archiveRoot, rows: 1502 })
      expect(yield* mended(engine)).toMatchObject({
        treeRebuilt: false,
        cacheWritten: 0,
        cacheRemoved: 0,
        cacheRebuilt: false,
        valuesRewritten: 0,
        memoryDropped: 0
      })
    })
  )

  it.scopedLive("rows: changed, removed, brought in, and bytes damaged", () =>
    Effect.gen(function* () {
      const { engine, run } = yield* filled(300)
      const columns =
        "version, updated_at, content_type, content_hash, state, deleted, tombstone_at, traceparent, content"
      yield* run("UPDATE items SET updated_at = updated_at + 1 WHERE id = 'geo.1.1'")
      yield* run("DELETE FROM items WHERE id = 'geo.2.2'")
      yield* run(
        `INSERT INTO items (id, ${columns}) SELECT 'geo.3.new', ${columns} FROM items WHERE id = 'geo.3.3'`
      )
      yield* run("UPDATE items SET content = 'zzz' WHERE id = 'geo.4.4'")
      const differences = yield* found(engine)
      expect(differences).toEqual([
        "archive content changed geo.4.4",
        "archive node changed geo",
        "archive node changed geo.1",
        "archive node changed geo.2",
        "archive node changed geo.3",
        "archive root changed",
        // What of it shows in the cache too is asserted below.
        ...differences.filter((difference) => difference.startsWith("cache "))
      ])
      expect(differences).toContain("cache value changed geo.1.1")
      expect(differences).toContain("cache value missing geo.3.new")
      const result = yield* mended(engine)
      expect(result).toMatchObject({ treeRebuilt: true, contentsRestored: 1 })
      expect(Option.map(yield* engine.service.getVerified("geo.4.4"), textOf)).toEqual(Option.some("v4"))
      expect(Option.isNone(yield* engine.service.get("geo.2.2"))).toBe(true)
      expect(Option.isSome(yield* engine.service.get("geo.3.new"))).toBe(true)
    })
  )

  it.scopedLive("the archive's tree: nodes changed, lost, misplaced and strange, under a right root", () =>
    Effect.gen(function* () {
      const { engine, run } = yield* filled(300)
      yield* run("UPDATE tree SET s3 = s3 + 1 WHERE path = 'geo.1'")
      yield* run("UPDATE tree SET count = count - 1 WHERE path = 'geo.2'")
      yield* run("DELETE FROM tree WHERE path = 'geo.3'")
      yield* run("UPDATE tree SET parent = 'geo.4' WHERE path = 'geo-x'")
      yield* run(
        "INSERT INTO tree SELECT 'no.where', 'no', 5, s0, s1, s2, s3, s4, s5, s6, s7, 0 FROM tree WHERE path = ''"
      )
      expect(yield* found(engine, { rows: true })).toEqual([
        "archive node changed geo.1",
        "archive node changed geo.2",
        "archive node extra no.where",
        "archive node missing geo-x",
        "archive node missing geo.3"
      ])
      expect(yield* mended(engine)).toMatchObject({ treeRebuilt: true, cacheWritten: 0 })
      yield* engine.service.submit({ id: "geo.3.later", content: "1" })
      expect(yield* found(engine)).toEqual([])
    })
  )

  it.scopedLive("the cache's values: damaged, foreign, stale and gone, under an equal root", () =>
    Effect.gen(function* () {
      const { engine, raw } = yield* filled(300)
      yield* Effect.promise(async () => {
        await raw.setrange(itemKey("geo.1.1"), 58, "garbage")
        await raw.set(itemKey("geo.2.2"), (await raw.getBuffer(itemKey("geo.2.2")))!.subarray(0, 58))
        await raw.set(itemKey("geo.3.3"), "nonsense")
        // As somebody would write them who knows how.
        const rewrite = async (id: string, change: (record: ItemRecord) => ItemRecord) => {
          const { epoch, record } = recordIn(id, (await raw.getBuffer(itemKey(id)))!)!
          const value = Buffer.alloc(500)
          await raw.set(itemKey(id), value.subarray(0, writeValue(value, 0, change(record), epoch)))
        }
        await rewrite("geo.4.9", (record) => ({ ...record, state: "tampered" }))
        await rewrite("geo.1.6", (record) => ({ ...record, version: record.version - 1 }))
        await raw.del(itemKey("geo.0.5"))
        await raw.set(itemKey("geo.0.10"), "a text of another program")
      })
      expect(yield* found(engine, { roots: true })).toEqual([])
      expect((yield* found(engine, { values: "full" })).filter((one) => one.includes(" value "))).toEqual([
        "cache value changed geo.1.6",
        "cache value changed geo.4.9",
        "cache value missing geo.0.10",
        "cache value missing geo.0.5",
        "cache value missing geo.1.1",
        "cache value missing geo.2.2",
        "cache value missing geo.3.3"
      ])
      expect(yield* found(engine, { values: "sample", sample: 302 })).toHaveLength(7)
      yield* mended(engine)
      // A flushed Redis is noticed without a comparison, and filled again.
      yield* Effect.promise(() => raw.flushall())
      yield* eventually(
        "all items are back",
        Effect.map(
          Effect.promise(() => raw.keys("sync-engine:item:geo.*")),
          (keys) => keys.length === 300
        )
      )
      expect(yield* found(engine, { roots: true })).toEqual([])
    })
  )

  it.scopedLive("the cache's tree: nodes, lists and leaves changed, under an equal root", () =>
    Effect.gen(function* () {
      const { engine, raw } = yield* filled(300)
      // A tree that was rebuilt has another epoch in its keys.
      let epoch: string | null = null
      const tree = (kind: string, path: string) => `sync-engine:${kind}:${epoch}:${path}`
      for (const damage of [
        async () => {
          await raw.setrange(tree("tree", "geo.1"), 20, "\u0001\u0002\u0003")
          await raw.del(tree("tree", "geo.2"))
        },
        async () => {
          await raw.zrem(tree("leaves", "geo.1"), "1", "6")
          await raw.zadd(tree("leaves", "geo.2"), 0, "stranger")
        },
        async () => {
          await raw.zrem(tree("branches", "geo"), "3")
          await raw.set(tree("leaves", "geo.4"), "a text of another program")
        },
        // An item that says that no tree counts it.
        async () => {
          await raw.setrange(itemKey("geo.1.1"), 6, "\u0000\u0000\u0000\u0000")
        }
      ]) {
        epoch = yield* Effect.promise(() => raw.get("sync-engine:epoch"))
        yield* Effect.promise(damage)
        expect(yield* found(engine, { roots: true, rows: true })).toEqual([])
        const differences = yield* found(engine, { values: "full" })
        expect(differences.length).toBeGreaterThan(0)
        for (const one of differences) expect(one).toMatch(/^cache (leaf|node) /)
        yield* mended(engine)
      }
    })
  )

  it.scopedLive("verifies and repairs while others write, without false alarms", () =>
    Effect.gen(function* () {
      const { engine, redis, sql } = yield* filled(2000)
      const second = yield* startEngine({
        ...still,
        dataDir: yield* temporaryDirectory,
        sql,
        redis: redis.url
      })
      let stop = false
      const write = (service: RealEngine["service"], name: string) =>
        Effect.gen(function* () {
          for (let round = 0; !stop; round++) {
            yield* service.submitMany(items(20, `${name}${round}-`, (round * 20) % 2000))
            yield* service.delete(`geo.${round % 5}.${round}`)
            yield* Effect.sleep("5 millis")
          }
        })
      const writers = yield* Effect.fork(
        Effect.all([write(engine.service, "a"), write(second.service, "b")], { concurrency: 2 })
      )
      for (let round = 0; round < 3; round++) {
        const rows = yield* engine.service.verify({ rows: true, contents: true })
        expect(rows).toMatchObject({ differences: [], complete: true })
        yield* engine.service.repair({ values: "sample", sample: 100 })
      }
      stop = true
      yield* Fiber.join(writers)
      yield* Effect.all([engine.service.flush, second.service.flush])
      yield* mended(engine)
      expect(yield* found(second)).toEqual([])
    })
  )
})

const serve = (engine: RealEngine, token: string) =>
  Server.make({ host: "127.0.0.1", port: 0, token: Redacted.make(token) }).pipe(
    Effect.provide(
      Layer.mergeAll(
        Layer.succeed(SyncEngine, engine.service),
        Layer.succeed(Lifecycle.Lifecycle, engine.lifecycle),
        Layer.succeed(LiveConfig, engine.live)
      )
    )
  )

describe("findDivergent over HTTP between two engines", () => {
  it.scopedLive("finds exactly the ids that differ", () =>
    Effect.gen(function* () {
      const a = yield* filled(3000)
      const copy = yield* database
      const name = (url: string) => new URL(url).pathname.slice(1)
      const b = yield* startEngine({ ...still, dataDir: yield* temporaryDirectory, sql: copy })
      // The same rows to the millisecond, as a restored backup has them.
      yield* a.run(`INSERT INTO ${name(copy)}.items SELECT * FROM ${name(a.sql)}.items`)
      yield* b.service.repair()
      const { url } = yield* serve(b, "a-secret")
      const other = yield* Effect.provide(
        MerkleClient.make({ url, token: Redacted.make("a-secret") }),
        NodeHttpClient.layer
      )
      const cost = { digests: 0, requests: 0 }
      const differences = (options?: { readonly under: string }) =>
        Effect.map(Stream.runCollect(a.engine.service.findDivergent(other, { ...options, cost })), (all) =>
          [...Chunk.toReadonlyArray(all)].sort((x, y) => (x.id < y.id ? -1 : 1))
        )
      expect(yield* differences()).toEqual([])
      expect(cost).toEqual({ digests: 1, requests: 1 })

      yield* b.service.submit({ id: "geo.1.1", content: "changed there" })
      yield* b.service.delete("geo.2.2")
      yield* b.service.submit({ id: "geo.3.ü %&?#", content: "new there" })
      yield* a.engine.service.submit({ id: "geo.4.4", content: "changed here" })
      yield* a.engine.service.submit({ id: "geo.4.4.below", content: "new here" })
      expect(yield* differences()).toEqual([
        { id: "geo.1.1", kind: "changed" },
        { id: "geo.2.2", kind: "missing" },
        { id: "geo.3.ü %&?#", kind: "extra" },
        { id: "geo.4.4", kind: "changed" },
        { id: "geo.4.4.below", kind: "missing" }
      ])
      expect(cost.digests).toBeLessThan(600)
      expect(cost.requests).toBeLessThan(60)
      expect(yield* differences({ under: "geo.2" })).toEqual([{ id: "geo.2.2", kind: "missing" }])

      const refused = yield* Effect.provide(
        MerkleClient.make({ url, token: Redacted.make("wrong") }),
        NodeHttpClient.layer
      )
      expect(yield* Effect.flip(Stream.runDrain(a.engine.service.findDivergent(refused)))).toMatchObject({
        _tag: "RequestFailed",
        status: 401
      })
    })
  )
})
