/** What can be wrong with a Redis that answers: damaged values, other programs' keys, an old dump, nothing at all. */
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, Redacted } from "effect"
import { inject } from "vitest"
import { textOf } from "../../../src/SyncItem.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import { again, cacheOf, countingCache, isWell, items, privateRedis, proven, rawRedis } from "./tiers.js"

const database = Effect.map(
  Effect.suspend(() => freshDatabase(inject("mysqlUrl"))),
  Redacted.value
)

/** Every read asks Redis or SQL, and differences are looked for often. */
const bare = { l1MaxBytes: 0, healthInterval: 250, filterSnapshotInterval: 0 }
const key = (id: string) => `sync-engine:item:${id}`

let readsChecked = 0
afterAll(() => expect(readsChecked).toBeGreaterThan(500))

/**
 * Reads all the time, one by one and in batches, and compares with what is archived. Every answer has to be right;
 * there is no excuse, because SQL is there.
 */
const watchReads = (engine: RealEngine, truth: ReadonlyMap<string, string>, absent: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    let stop = false
    let rounds = 0
    const ids = [...truth.keys()]
    const fiber = yield* Effect.fork(
      Effect.gen(function* () {
        for (let at = 0; !stop; at++) {
          const id = ids[(at * 7) % ids.length]!
          const one = yield* engine.service.get(id)
          expect([id, Option.getOrUndefined(Option.map(one, textOf))]).toEqual([id, truth.get(id)])
          const batch = [...ids.slice(at % ids.length, (at % ids.length) + 10), ...absent]
          const many = yield* engine.service.getMany(batch)
          for (const other of batch) {
            const found = many.get(other)
            expect([other, found === undefined ? undefined : textOf(found)]).toEqual([
              other,
              truth.get(other)
            ])
          }
          readsChecked += batch.length + 1
          rounds++
          yield* Effect.sleep("1 millis")
        }
      })
    )
    return {
      /** Every item has been read since. */
      readAll: Effect.suspend(() => {
        const until = rounds + ids.length + 1
        return Effect.repeat(Effect.sleep("10 millis"), { until: () => rounds >= until })
      }),
      stop: Effect.suspend(() => {
        stop = true
        return Fiber.join(fiber)
      })
    }
  })

const truthOf = (writes: ReadonlyArray<{ readonly id: string; readonly content: string }>) =>
  new Map(writes.map(({ content, id }) => [id, content]))

const filled = (count: number) =>
  Effect.gen(function* () {
    const redis = yield* privateRedis()
    const counting = countingCache()
    const options = { ...bare, dataDir: yield* temporaryDirectory, sql: yield* database, redis: redis.url }
    const engine = yield* startEngine(options, counting.wrap)
    const writes = items(count)
    yield* engine.service.submitMany(writes)
    yield* engine.service.flush
    yield* eventually("all is well", isWell(engine))
    const raw = yield* rawRedis(redis.url)
    return { redis, engine, raw, counts: counting.counts, truth: truthOf(writes), options }
  })

/** The roots agree, and the engine says that all is well; a comparison later too, for what was still on its way. */
const agree = (engine: RealEngine, redisUrl: string) =>
  agreeNow(engine, redisUrl).pipe(
    Effect.zipRight(Effect.sleep(2 * bare.healthInterval)),
    Effect.zipRight(agreeNow(engine, redisUrl))
  )

const agreeNow = (engine: RealEngine, redisUrl: string) =>
  Effect.scoped(
    Effect.flatMap(cacheOf(redisUrl), (cache) =>
      eventually(
        "archive and cache agree",
        Effect.map(
          Effect.either(Effect.all([isWell(engine), cache.root, engine.service.merkleRoot])),
          (answer) => Either.isRight(answer) && answer.right[0] && answer.right[1] === answer.right[2]
        )
      )
    )
  )

/** And every value of the cache is its row. */
const agreeInAll = (engine: RealEngine, redisUrl: string) =>
  Effect.gen(function* () {
    yield* agree(engine, redisUrl)
    expect((yield* proven(engine, redisUrl)).inSync).toBe(true)
  })

describe("values of ours that are damaged", () => {
  it.scopedLive("are never served, and mended by being read", () =>
    Effect.gen(function* () {
      const { engine, raw, redis, truth } = yield* filled(200)
      const ids = [...truth.keys()]
      const valueOf = async (id: string) => (await raw.getBuffer(key(id)))!
      const damage: ReadonlyArray<readonly [string, (id: string) => Promise<unknown>]> = [
        ["content cut short", (id) => valueOf(id).then((value) => raw.set(key(id), value.subarray(0, 59)))],
        ["content gone", (id) => valueOf(id).then((value) => raw.set(key(id), value.subarray(0, 58)))],
        ["content of other bytes", (id) => raw.setrange(key(id), 58, "\u0001")],
        ["more content", (id) => raw.append(key(id), "more")],
        ["checksum", (id) => raw.setrange(key(id), 0, "sum")],
        ["kind", (id) => raw.setrange(key(id), 4, "\u0002")],
        ["length of the state", (id) => raw.setrange(key(id), 5, "\u00ff")],
        ["epoch", (id) => raw.setrange(key(id), 6, "\u0001\u0002")],
        ["no epoch", (id) => raw.setrange(key(id), 6, "\u0000\u0000\u0000\u0000")],
        ["version", (id) => raw.setrange(key(id), 12, "\u0001")],
        ["version out of bounds", (id) => raw.setrange(key(id), 10, "\u007f")],
        ["time", (id) => raw.setrange(key(id), 25, "\u0001")],
        ["hash", (id) => raw.setrange(key(id), 26, "hash")],
        ["head cut short", (id) => valueOf(id).then((value) => raw.set(key(id), value.subarray(0, 30)))],
        ["an empty string", (id) => raw.set(key(id), "")],
        ["another item's value", (id) => valueOf(ids[40]!).then((value) => raw.set(key(id), value))],
        ["a string", (id) => raw.set(key(id), "mine")],
        ["a hash", (id) => raw.del(key(id)).then(() => raw.hset(key(id), "m", "1 2 j", "c", "x"))],
        ["a list", (id) => raw.del(key(id)).then(() => raw.rpush(key(id), "a"))],
        ["a set", (id) => raw.del(key(id)).then(() => raw.sadd(key(id), "a"))],
        ["deleted behind our back", (id) => raw.del(key(id))],
        ["expiring", (id) => raw.pexpire(key(id), 300)]
      ]
      const reads = yield* watchReads(engine, truth, ["geo.absent", "never"])
      for (const [at, [, harm]] of damage.entries()) {
        yield* Effect.promise(() => harm(ids[at]!))
        yield* Effect.promise(() => harm(ids[at + 50]!))
        yield* Effect.sleep("20 millis")
      }
      for (const [at, [name]] of damage.entries()) {
        const found = yield* engine.service.get(ids[at]!)
        expect([name, Option.getOrUndefined(Option.map(found, textOf))]).toEqual([name, truth.get(ids[at]!)])
      }
      // What expires or is gone shows in no root: only who reads it finds out.
      const harmed = damage.flatMap((_, at) => [ids[at]!, ids[at + 50]!]).map(key)
      yield* eventually(
        "nothing expires any more",
        Effect.promise(async () =>
          (await Promise.all(harmed.map((one) => raw.pttl(one)))).every((ms) => ms < 0)
        )
      )
      yield* reads.readAll
      yield* reads.stop
      yield* agreeInAll(engine, redis.url)
      for (const id of ids) {
        const value = yield* Effect.promise(() => raw.getBuffer(key(id)).catch(() => null))
        expect([id, value?.subarray(58).toString()]).toEqual([id, truth.get(id)])
      }
    })
  )
})

describe("keys of other types where the tree should be", () => {
  it.scopedLive("are replaced; keys that are not ours stay", () =>
    Effect.gen(function* () {
      const { engine, raw, redis, truth } = yield* filled(200)
      const foreign = [
        "other:key",
        "sync-engine",
        "sync-engine:strange",
        "sync-engine:item",
        "sync-engine2:item:a"
      ]
      for (const name of foreign) yield* Effect.promise(() => raw.set(name, "not yours"))
      const { stop } = yield* watchReads(engine, truth, ["geo.absent"])
      const epoch = (yield* Effect.promise(() => raw.get("sync-engine:epoch")))!
      const nodeOf = (kind: string, path: string, e = epoch) => `sync-engine:${kind}:${e}:${path}`
      const rounds: ReadonlyArray<() => Promise<unknown>> = [
        () => raw.set(nodeOf("tree", "geo.1"), "garbage"),
        () => raw.set(nodeOf("tree", ""), Buffer.alloc(40, 7)),
        () => raw.del(nodeOf("tree", "geo")),
        () => raw.set(nodeOf("leaves", "geo.2"), "a string"),
        () => raw.zadd(nodeOf("leaves", "geo.3"), 0, "not.there", 0, "neither"),
        () => raw.set(nodeOf("branches", "geo"), "a string"),
        () => raw.del(nodeOf("branches", "")),
        () => raw.del(nodeOf("tree", "geo.3")).then(() => raw.rpush(nodeOf("tree", "geo.3"), "a")),
        () => raw.set("sync-engine:epoch", "short"),
        () => raw.del("sync-engine:epoch").then(() => raw.rpush("sync-engine:epoch", "a")),
        () => raw.del("sync-engine:epoch")
      ]
      for (const [at, harm] of rounds.entries()) {
        yield* Effect.promise(harm)
        // A change as well, so that damage which no root tells of is found when the tree is walked or written.
        yield* engine.service.submit({ id: `geo.${at % 5}.extra`, content: `x${at}` })
        yield* engine.service.flush
        yield* agree(engine, redis.url)
      }
      // What no root told of must not hide differences later.
      const other = yield* cacheOf(redis.url)
      const row = Option.getOrThrow(yield* other.get("geo.1.1"))
      yield* other.put([0, 1, 2, 3, 4].map((branch) => ({ ...row, id: `geo.${branch}.stranger` })))
      yield* agree(engine, redis.url)
      expect((yield* other.getMany([0, 1, 2, 3, 4].map((branch) => `geo.${branch}.stranger`))).length).toBe(0)
      yield* stop
      for (const name of foreign) {
        expect([name, yield* Effect.promise(() => raw.get(name))]).toEqual([name, "not yours"])
      }
    })
  )
})

describe("a Redis that forgets", () => {
  it.scopedLive("flushed while serving: reads stay right, all of it comes back", () =>
    Effect.gen(function* () {
      const { counts, engine, raw, redis, truth } = yield* filled(600)
      yield* engine.service.delete("geo.0.0")
      yield* engine.service.flush
      truth.delete("geo.0.0")
      const { stop } = yield* watchReads(engine, truth, ["geo.absent", "geo.0.0"])
      for (let round = 0; round < 3; round++) {
        counts.put = 0
        yield* Effect.promise(() => raw.flushall())
        // Written into the emptied cache at once.
        yield* engine.service.submitMany([{ id: "after", content: `flush ${round}` }])
        yield* engine.service.flush
        yield* agreeInAll(engine, redis.url)
        // The rest is written once, less what reads have filled in; nothing twice.
        expect(counts.put).toBeLessThanOrEqual(truth.size + 10)
        expect(yield* Effect.promise(() => raw.exists(key("geo.1.1")))).toBe(1)
      }
      yield* stop
    })
  )

  it.scopedLive(
    "coming back empty, or with an old dump: nothing old is served, only what differs is repaired",
    () =>
      Effect.gen(function* () {
        const { counts, engine, raw, redis, truth } = yield* filled(2000)
        yield* Effect.promise(() => raw.save())
        // After the dump: 30 changed, 20 new, 10 deleted, and two that come and go.
        const later = [...items(30, "changed", 100), ...items(20, "new", 4000)]
        yield* engine.service.submitMany(later)
        for (const { content, id } of later) truth.set(id, content)
        const gone = items(10, "v", 500).map(({ id }) => id)
        yield* engine.service.deleteMany(gone)
        for (const id of gone) truth.delete(id)
        yield* engine.service.flush
        const { stop } = yield* watchReads(engine, truth, ["geo.absent", ...gone])
        yield* Effect.promise(() => redis.kill())
        yield* Effect.sleep("200 millis")
        // Missed by the cache altogether.
        yield* engine.service.submit({ id: "geo.1.1", content: "while away" })
        truth.set("geo.1.1", "while away")
        yield* engine.service.flush
        counts.put = 0
        counts.removed = 0
        const old = yield* again(redis)
        yield* eventually("the old dump is mended", isWell(engine))
        yield* agree(engine, old.url)
        // 30 changed, 20 new, 1 missed, and tombstones for 10 deleted. Reads may have brought some of them already.
        expect(counts.put).toBeLessThanOrEqual(61)
        expect(counts.put).toBeGreaterThan(10)
        expect(counts.removed).toBeLessThanOrEqual(10)

        yield* Effect.promise(() => old.kill())
        const empty = yield* privateRedis({ port: redis.port })
        yield* eventually("the empty one is filled", isWell(engine))
        yield* agreeInAll(engine, empty.url)
        const client = yield* rawRedis(empty.url)
        expect(yield* Effect.promise(() => client.exists(key("geo.1.1")))).toBe(1)
        yield* stop
      })
  )

  it.scopedLive("with an old dump at a start: compared before it is believed", () =>
    Effect.gen(function* () {
      const { engine, options, raw, redis, truth } = yield* filled(300)
      yield* Effect.promise(() => raw.save())
      yield* engine.service.submit({ id: "geo.2.2", content: "newer" })
      yield* engine.service.delete("geo.3.3")
      yield* engine.service.flush
      yield* engine.service.shutdown
      yield* Effect.promise(() => redis.kill())
      const old = yield* again(redis)
      const next = yield* startEngine({ ...options, redis: old.url })
      expect((yield* next.service.health).cache.trusted).toBe(true)
      expect(Option.map(yield* next.service.get("geo.2.2"), textOf)).toEqual(Option.some("newer"))
      expect(Option.isNone(yield* next.service.get("geo.3.3"))).toBe(true)
      expect(truth.size).toBe(300)
      yield* agreeInAll(next, old.url)
    })
  )
})
