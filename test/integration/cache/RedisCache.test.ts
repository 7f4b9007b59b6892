import { Duration, Effect, Option, Redacted } from "effect"
import { Redis } from "ioredis"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import type { CacheService } from "../../../src/cache/Cache.js"
import { make, type RedisCacheOptions } from "../../../src/cache/RedisCache.js"
import { emptyRoot } from "../../../src/merkle/Digest.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { TreeDelta } from "../../../src/merkle/TreeDelta.js"
import { resync } from "../../../src/reconcile/Resync.js"
import type { ItemRecord } from "../../../src/SyncItem.js"
import { recordOf, seeded, tombstoneOf } from "../../cache/records.js"
import { cacheSuite } from "../../cache/suite.js"
import { totalOf } from "../../support/recompute.js"
import { type RedisServer, startRedis } from "../../support/redis.js"

let server: RedisServer
let raw: Redis
let prefixes = 0

beforeAll(async () => {
  server = await startRedis()
  raw = new Redis(server.port)
})

afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

/** A connected cache under a prefix of its own. */
const open = (options: Partial<RedisCacheOptions> = {}) =>
  Effect.gen(function* () {
    const cache = yield* make({
      url: Redacted.make(server.url),
      prefix: `t${++prefixes}:`,
      ...options
    })
    yield* cache.connect
    return cache
  })

const run = <A>(
  body: (cache: CacheService, prefix: string) => Effect.Effect<A, unknown>,
  options: Partial<RedisCacheOptions> = {}
) => {
  const prefix = options.prefix ?? `r${++prefixes}:`
  return Effect.runPromise(
    Effect.scoped(Effect.flatMap(open({ ...options, prefix }), (cache) => body(cache, prefix)))
  )
}

const redis = <A>(call: (raw: Redis) => Promise<A>) => Effect.promise(() => call(raw))

/** Calls of one command since the last reset of the statistics. */
const callsOf = (command: string) =>
  redis(async (raw) => {
    const stats = await raw.info("commandstats")
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0)
  })

const many = (count: number, version = 1, path = "geo") =>
  Array.from({ length: count }, (_, i) => recordOf(`${path}.${i % 17}.${i}`, version))

cacheSuite(
  "the cache over Redis",
  Effect.suspend(() => open())
)
cacheSuite(
  "the cache over Redis, one record a chunk",
  Effect.suspend(() => open({ chunkItems: 1 }))
)

describe("commands", () => {
  it("1,000 concurrent gets take a handful of commands", () =>
    run((cache) =>
      Effect.gen(function* () {
        const records = many(1_000)
        yield* cache.put(records)
        yield* redis((raw) => raw.config("RESETSTAT"))
        const found = yield* Effect.forEach(records, ({ id }) => cache.get(id), { concurrency: "unbounded" })
        expect(found.map(Option.getOrThrow)).toEqual(records)
        expect((yield* callsOf("evalsha")) + (yield* callsOf("eval"))).toBeLessThanOrEqual(5)
      })
    ))

  it("a batch is cut by items and by bytes, and a record above the bound travels alone", () =>
    run(
      (cache) =>
        Effect.gen(function* () {
          const records = Array.from({ length: 20 }, (_, i) => recordOf(`b.${i}`, 1, new Uint8Array(30_000)))
          records.push(recordOf("huge", 1, new Uint8Array(6_000_000).fill(7)), recordOf("tiny", 1))
          yield* cache.put([recordOf("warm", 1)])
          yield* cache.deleteMany([{ id: "warm" }])
          yield* redis((raw) => raw.config("RESETSTAT"))
          expect((yield* cache.put(records)).applied).toBe(22)
          // Of each part the heads first, then its changes.
          expect(yield* callsOf("evalsha")).toBe(18)
          expect((yield* cache.getMany(records.map(({ id }) => id))).length).toBe(22)
          expect(yield* cache.root).toBe(MerkleTree.from(records).root)
        }),
      { chunkBytes: 100_000, coolDown: "1 minute" }
    ))

  it("reads contents of many megabytes in bounded replies", () =>
    run(
      (cache) =>
        Effect.gen(function* () {
          const records = Array.from({ length: 12 }, (_, i) =>
            recordOf(`m.${i}`, 1, new Uint8Array(1_500_000).fill(i))
          )
          yield* cache.put(records)
          yield* cache.get("warm")
          yield* redis((raw) => raw.config("RESETSTAT"))
          expect((yield* cache.getMany(records.map(({ id }) => id))).length).toBe(12)
          expect(yield* callsOf("evalsha")).toBe(4)
        }),
      { coolDown: "1 minute" }
    ))

  it("goes on when the server has forgotten its scripts", () =>
    run((cache) =>
      Effect.gen(function* () {
        yield* cache.put(many(10))
        yield* redis((raw) => raw.script("FLUSH"))
        expect((yield* cache.put(many(10, 2))).applied).toBe(10)
        expect(yield* cache.root).toBe(MerkleTree.from(many(10, 2)).root)
      })
    ))
})

describe("the tree", () => {
  it("stays exact through very many updates of the same items", () =>
    run((cache) =>
      Effect.gen(function* () {
        const random = seeded(11)
        const newest = new Map<string, ItemRecord>()
        for (let round = 1; round <= 150; round++) {
          const batch = Array.from({ length: 200 }, () =>
            recordOf(`x.${random(9)}.${random(40)}`, round, String(random(1_000_000)))
          )
          const distinct = [...new Map(batch.map((record) => [record.id, record])).values()]
          yield* cache.put(distinct)
          for (const record of distinct) newest.set(record.id, record)
        }
        const tree = MerkleTree.from(newest.values())
        expect(yield* cache.root).toBe(tree.root)
        for (const path of tree.totals().keys()) {
          expect(yield* cache.node(path)).toEqual(Option.some(tree.node(path)))
        }
      })
    ))

  it("adds with carries through all 256 bits", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        // A stored sum of 2^256 - 1: adding anything carries through every word and out at the top.
        yield* cache.put([recordOf("a", 1)])
        const epoch = yield* redis((raw) => raw.get(`${prefix}epoch`))
        const full = Buffer.concat([Buffer.alloc(8), Buffer.alloc(32, 0xff)])
        yield* redis((raw) => raw.set(`${prefix}tree:${epoch}:`, full))
        const record = recordOf("b", 1)
        yield* cache.put([record])
        const node = Option.getOrThrow(yield* cache.node(""))
        expect(node.sum).toBe(totalOf([record]).sum - 1n)
        yield* cache.deleteMany([{ id: "b" }])
        expect(Option.getOrThrow(yield* cache.node("")).sum).toBe(2n ** 256n - 1n)
      })
    ))

  it("two writers of the same items at once leave the newest and a right root", () =>
    run((cache, prefix) =>
      Effect.scoped(
        Effect.gen(function* () {
          const other = yield* open({ prefix })
          const random = seeded(5)
          const newest = new Map<string, ItemRecord>()
          const batches = Array.from({ length: 40 }, () =>
            Array.from({ length: 60 }, () => {
              const id = `w.${random(6)}.${random(20)}`
              const record =
                random(5) === 0 ? tombstoneOf(id, 1 + random(50)) : recordOf(id, 1 + random(50), "")
              const old = newest.get(id)
              if (
                old === undefined ||
                record.version > old.version ||
                (record.version === old.version && old.deleted)
              ) {
                newest.set(id, record)
              }
              return record
            })
          )
          yield* Effect.forEach(batches, (batch, i) => (i % 2 === 0 ? cache : other).put(batch), {
            concurrency: 8
          })
          const live = [...newest.values()].filter(({ deleted }) => !deleted)
          expect(yield* cache.root).toBe(MerkleTree.from(live).root)
          expect(yield* other.root).toBe(yield* cache.root)
        })
      )
    ))

  it("a rebuild under writes ends with the right root and removes the old tree", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        yield* cache.put(many(3_000))
        const writes = Effect.forEach(
          Array.from({ length: 30 }, (_, i) => i),
          (i) =>
            Effect.zipRight(
              cache.put(many(3_000, 2).slice(i * 100, i * 100 + 100)),
              cache.put([tombstoneOf(`geo.${i % 17}.${i}`, 3)])
            ),
          { concurrency: 3 }
        )
        yield* Effect.all([writes, cache.rebuildTree], { concurrency: 2 })
        const live = many(3_000, 2).slice(30)
        expect(yield* cache.root).toBe(MerkleTree.from(live).root)
        const epoch = yield* redis((raw) => raw.get(`${prefix}epoch`))
        for (const kind of ["tree", "branches", "leaves"]) {
          const keys = yield* redis((raw) => raw.keys(`${prefix}${kind}:*`))
          expect(keys.length).toBeGreaterThan(0)
          expect(keys.filter((key) => !key.startsWith(`${prefix}${kind}:${epoch}:`))).toEqual([])
        }
      })
    ))

  for (const [what, afterItems] of [
    ["rebuild", false],
    ["rebuild", true],
    ["reset", false]
  ] as const) {
    it(`a ${what} that was broken off ${afterItems ? "before its sweep" : "at its begin"} is ended by the next comparison`, () =>
      run((cache, prefix) =>
        Effect.gen(function* () {
          const archive = MemoryArchive.make()
          const kept = many(900)
          yield* archive.commit(kept)
          yield* cache.put(kept)
          // Missed by nobody's tree but the old one: equal roots would not show it.
          yield* cache.put([recordOf("geo.3.stale", 1)])
          if (afterItems) {
            const old = yield* redis((raw) => raw.keys(`${prefix}tree:*`))
            yield* cache.rebuildTree
            for (const key of old) yield* redis((raw) => raw.set(key, "left over"))
            yield* redis((raw) => raw.set(`${prefix}unfinished`, what))
          } else {
            yield* redis((raw) => raw.mset(`${prefix}epoch`, "2feedbeef", `${prefix}unfinished`, what))
          }
          const result = yield* resync({ archive, cache, exclusively: (effect) => effect })
          expect(result).toMatchObject({ equal: true, rebuilt: false })
          expect(yield* cache.get("geo.3.stale")).toEqual(Option.none())
          expect([...(yield* cache.getMany(kept.map(({ id }) => id)))]).toHaveLength(900)
          const epoch = yield* redis((raw) => raw.get(`${prefix}epoch`))
          const keys = yield* redis((raw) => raw.keys(`${prefix}*`))
          const trees = keys.filter((key) => /^[^:]*:(tree|branches|leaves):/.test(key))
          expect(trees.length).toBeGreaterThan(10)
          expect(trees.filter((key) => key.split(":")[2] !== epoch)).toEqual([])
          expect(keys).not.toContain(`${prefix}unfinished`)
          expect(yield* cache.tidy).toBe(false)
        })
      ))
  }

  it("a reset under writes loses none of them", () =>
    run((cache) =>
      Effect.gen(function* () {
        yield* cache.put(many(3_000))
        const later = many(500, 2, "later")
        const writes = Effect.forEach(
          Array.from({ length: 10 }, (_, i) => later.slice(i * 50, i * 50 + 50)),
          (batch) => cache.put(batch)
        )
        yield* Effect.all([cache.reset, writes], { concurrency: 2 })
        expect(yield* cache.root).toBe(MerkleTree.from(later).root)
        expect(yield* cache.getMany(many(3_000).map(({ id }) => id))).toEqual([])
      })
    ))

  it("a flushed server is an empty cache that fills again", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        yield* cache.put(many(50))
        yield* redis(async (raw) => raw.del(await raw.keys(`${prefix}*`)))
        expect(yield* cache.root).toBe(emptyRoot)
        yield* cache.put(many(50))
        expect(yield* cache.root).toBe(MerkleTree.from(many(50)).root)
      })
    ))
})

describe("time to live", () => {
  it("is kept by fills, ended by puts; tombstones expire", () =>
    run(
      (cache, prefix) =>
        Effect.gen(function* () {
          const left = (id: string) => redis((raw) => raw.pttl(`${prefix}item:${id}`))
          yield* cache.put([recordOf("a", 1)], { ttl: 60_000 })
          yield* cache.fill([recordOf("a", 2)])
          expect(yield* left("a")).toBeGreaterThan(50_000)
          expect(yield* left("a")).toBeLessThanOrEqual(60_000)
          yield* cache.put([recordOf("a", 2)])
          expect(yield* left("a")).toBe(-1)
          yield* cache.put([recordOf("s", 1)], { ttl: 30 })
          yield* cache.put([recordOf("t", 1)])
          yield* cache.put([tombstoneOf("t", 2)])
          expect(yield* left("t")).toBeLessThanOrEqual(120)
          expect((yield* cache.put([recordOf("t", 1)])).newer.length).toBe(1)
          yield* Effect.sleep(150)
          expect(yield* cache.getMany(["s", "t"])).toEqual([])
          expect((yield* cache.put([recordOf("t", 1)])).applied).toBe(1)
          expect(yield* cache.root).toBe(MerkleTree.from([recordOf("a", 2), recordOf("t", 1)]).root)
        }),
      { tombstoneTtl: Duration.millis(120) }
    ))
})

/** What an archive says of a commit, as `put` takes it. */
const committed = (before: ReadonlyArray<ItemRecord>, after: ReadonlyArray<ItemRecord>) => {
  const held = new Map(before.map((record) => [record.id, record]))
  const delta = new TreeDelta()
  for (const record of after) {
    const old = held.get(record.id)
    delta.change(old?.deleted === false ? old : undefined, record.deleted ? undefined : record)
  }
  return { before: held, delta: delta.toMap() }
}

describe("what a commit has changed", () => {
  const first = many(60)
  const second = [...many(40, 2), ...many(20, 2, "new"), tombstoneOf("geo.16.50", 2), tombstoneOf("none", 2)]
  const left = MerkleTree.from(
    [...first.filter(({ id }) => id !== "geo.16.50"), ...second]
      .reduce(
        (all, record) => (record.deleted ? all : all.set(record.id, record)),
        new Map<string, ItemRecord>()
      )
      .values()
  )
  const change = committed(first, second)

  it("is taken over in one command when the cache held the same", () =>
    run(
      (cache) =>
        Effect.gen(function* () {
          yield* cache.put(first, { change: committed([], first) })
          yield* redis((raw) => raw.config("RESETSTAT"))
          expect(yield* cache.put(second, { change })).toEqual({ applied: 62, same: 0, newer: [] })
          expect(yield* callsOf("evalsha")).toBe(1)
          expect(yield* cache.root).toBe(left.root)
          expect([...(yield* cache.getMany(second.map(({ id }) => id)))]).toHaveLength(62)
          for (const path of left.totals().keys()) {
            expect(yield* cache.children(path, { limit: 100 })).toEqual(left.children(path))
          }
          // Back from the dead: the marker is what the archive has as well.
          const back = [recordOf("geo.16.50", 3), recordOf("none", 3)]
          yield* redis((raw) => raw.config("RESETSTAT"))
          expect((yield* cache.put(back, { change: committed(second, back) })).applied).toBe(2)
          expect(yield* callsOf("evalsha")).toBe(1)
        }),
      { coolDown: "1 minute" }
    ))

  const others: ReadonlyArray<
    readonly [string, (cache: CacheService, prefix: string) => Effect.Effect<unknown, unknown>]
  > = [
    ["was empty", () => Effect.void],
    ["had missed some", (cache) => cache.put(first.slice(0, 30))],
    ["had others as well", (cache) => cache.put([...first, ...many(7, 1, "new")])],
    ["has some already", (cache) => cache.put([...first, ...second.slice(0, 30)])],
    ["has something newer", (cache) => cache.put([...first, ...many(5, 9)])],
    [
      "holds some for a while",
      (cache) => Effect.zipRight(cache.put(first), cache.put(many(9, 1, "new"), { ttl: 60_000 }))
    ],
    ["holds markers", (cache) => cache.put([...first, tombstoneOf("new.1.1", 1), tombstoneOf("geo.2.2", 5)])],
    [
      "was emptied",
      (cache, prefix) =>
        Effect.zipRight(
          cache.put(first),
          redis(async (raw) => raw.del(await raw.keys(`${prefix}*`)))
        )
    ],
    ["was rebuilt", (cache) => Effect.zipRight(cache.put(first), cache.rebuildTree)],
    [
      "is another tree's, by its keys",
      (cache, prefix) =>
        Effect.zipRight(
          cache.put(first),
          redis((raw) => raw.set(`${prefix}epoch`, "200000001"))
        )
    ]
  ]
  for (const [what, before] of others) {
    it(`is not taken over blindly when the cache ${what}`, () =>
      run((cache, prefix) =>
        Effect.gen(function* () {
          // Knows the epoch.
          yield* cache.put([recordOf("other", 1)])
          yield* cache.deleteMany([{ id: "other" }])
          yield* before(cache, prefix)
          yield* cache.put(second, { change })
          const ids = [...first, ...second, ...many(7, 1, "new")].map(({ id }) => id)
          const epoch = yield* redis(async (raw) =>
            Number.parseInt((await raw.get(`${prefix}epoch`))!.slice(1), 16)
          )
          const counted = yield* Effect.filter(yield* cache.getMany(ids), ({ id }) =>
            redis(async (raw) => (await raw.getBuffer(`${prefix}item:${id}`))!.readUInt32BE(6) === epoch)
          )
          expect(counted.length).toBeGreaterThan(20)
          expect(yield* cache.root).toBe(MerkleTree.from(counted).root)
          const held = new Map((yield* cache.getMany(ids)).map((record) => [record.id, record]))
          for (const record of second)
            expect(held.get(record.id)!.version).toBeGreaterThanOrEqual(record.version)
        })
      ))
  }

  it("is used for all of it or for none", () =>
    run(
      (cache) =>
        Effect.gen(function* () {
          yield* cache.put(first)
          yield* cache.put(second, { change })
          expect(yield* cache.root).toBe(left.root)
        }),
      { chunkItems: 7 }
    ))
})

describe("the format of the keys", () => {
  it("what an earlier one has left behind is not read, and cleared away by the first comparison", () => {
    const prefix = `r${++prefixes}:`
    const left = redis(async (raw) => {
      await raw.set(`${prefix}epoch`, "feedbeef")
      for (const { contentHash, id } of [...many(40), recordOf("old.one", 1)]) {
        const line = `1 1700000000001 b ${contentHash} - `
        await raw.hset(`${prefix}item:${id}`, { m: line, c: `${id}@1`, l: `${"x".repeat(32)}feedbeef` })
      }
      // A root that would be believed.
      const node = Buffer.alloc(40)
      node.writeDoubleBE(40)
      node.write(totalOf(many(40)).sum.toString(16).padStart(64, "0"), 8, "hex")
      await raw.set(`${prefix}tree:feedbeef:`, node)
      await raw.zadd(`${prefix}leaves:feedbeef:geo.1`, 0, "1")
    })
    const body = (cache: CacheService) =>
      Effect.gen(function* () {
        const archive = MemoryArchive.make()
        yield* archive.commit(many(40))
        expect(yield* cache.root).toBe(emptyRoot)
        expect(yield* cache.getMany([...many(40).map(({ id }) => id), "old.one"])).toEqual([])
        yield* resync({ archive, cache, exclusively: (effect) => effect })
        expect(yield* cache.root).toBe(yield* archive.root)
        const keys = yield* redis((raw) => raw.keys(`${prefix}*`))
        expect(keys.filter((key) => key.includes("feedbeef") || key.includes("old.one"))).toEqual([])
        expect(keys).not.toContain(`${prefix}unfinished`)
        expect(yield* redis((raw) => raw.type(`${prefix}item:geo.1.1`))).toBe("string")
      })
    return Effect.runPromise(Effect.zipRight(left, Effect.scoped(Effect.flatMap(open({ prefix }), body))))
  })
})

describe("damage", () => {
  it("a damaged value reads as absent, is reported, and is mended by a fill of the same version", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const records = many(6)
        const [a, b, c, d] = records.map(({ id }) => `${prefix}item:${id}`) as [
          string,
          string,
          string,
          string
        ]
        yield* cache.put(records)
        yield* redis(async (raw) => {
          await raw.append(a, "garbage")
          // The kind, which no hash covers, and the length of the state.
          await raw.setrange(b, 4, "\u0000")
          await raw.setrange(c, 5, "\u0003")
          await raw.set(d, (await raw.getBuffer(d))!.subarray(0, 60))
        })
        const found = yield* cache.getMany(records.map(({ id }) => id))
        expect(found).toEqual(records.slice(4))
        expect(yield* cache.get(records[0]!.id)).toEqual(Option.none())
        expect([...cache.takeCorrupted()].sort()).toEqual(records.slice(0, 4).map(({ id }) => id))
        yield* cache.fill(records)
        expect((yield* cache.getMany(records.map(({ id }) => id))).length).toBe(6)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("foreign values in the place of any key fail nothing and are healed by writes and a rebuild", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const records = many(40)
        yield* cache.put(records)
        const epoch = yield* redis((raw) => raw.get(`${prefix}epoch`))
        const spoil = async (key: string) => {
          await raw.del(key)
          await (key.includes("tree:") ? raw.lpush(key, "x") : raw.set(key, "x"))
        }
        yield* redis(async () => {
          await spoil(`${prefix}item:${records[0]!.id}`)
          await spoil(`${prefix}item:new.one`)
          await spoil(`${prefix}leaves:${epoch}:geo.3`)
          await spoil(`${prefix}branches:${epoch}:geo`)
          await spoil(`${prefix}tree:${epoch}:geo.5`)
          await raw.hset(`${prefix}item:other.hash`, "some", "field")
          await raw.expire(`${prefix}item:other.hash`, 100)
        })
        expect(yield* cache.getMany([records[0]!.id, "new.one"])).toEqual([])
        expect(yield* cache.heads([records[0]!.id])).toEqual([])
        expect(yield* cache.node("geo.5")).toEqual(Option.none())
        expect(yield* cache.children("geo", { limit: 10 })).toEqual([])
        expect(yield* cache.leaves("geo.3", { limit: 10 })).toEqual([])
        expect(cache.takeCorrupted()).toEqual([records[0]!.id, "new.one"])
        const all = [...records, recordOf("new.one", 1), recordOf("other.hash", 1)]
        yield* cache.put(all)
        expect((yield* cache.getMany(all.map(({ id }) => id))).length).toBe(all.length)
        expect(yield* redis((raw) => raw.pttl(`${prefix}item:other.hash`))).toBe(-1)
        expect(yield* cache.rebuildTree).toBe(MerkleTree.from(all).root)
        expect(yield* cache.children("geo", { limit: 100 })).toEqual(MerkleTree.from(all).children("geo"))
      })
    ))

  it("listings that were lost come back with a put of the same versions", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const records = many(40)
        yield* cache.put(records)
        yield* redis(async (raw) => {
          await raw.del(await raw.keys(`${prefix}branches:*`))
          await raw.del(await raw.keys(`${prefix}leaves:*`))
        })
        expect(yield* cache.children("", { limit: 10 })).toEqual([])
        yield* cache.put(records)
        const tree = MerkleTree.from(records)
        for (const path of tree.totals().keys()) {
          expect(yield* cache.children(path, { limit: 100 })).toEqual(tree.children(path))
        }
        expect(yield* cache.root).toBe(tree.root)
      })
    ))

  it("a foreign epoch begins a new tree, which a put of everything completes", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const records = many(30)
        yield* cache.put(records)
        yield* redis(async (raw) => {
          await raw.del(`${prefix}epoch`)
          await raw.lpush(`${prefix}epoch`, "x")
        })
        expect(yield* cache.root).toBe(emptyRoot)
        expect((yield* cache.put(records)).same).toBe(30)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      })
    ))

  it("items lost to an eviction are found missing and the tree is made right again", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const records = many(30)
        yield* cache.put(records)
        yield* redis((raw) => raw.del(`${prefix}item:${records[4]!.id}`))
        const gone = (yield* cache.leaves("geo.4", { limit: 10 })).find(({ name }) => name === "4")
        expect(gone?.digest).toBe("0".repeat(64))
        yield* cache.put([records[4]!])
        expect(yield* cache.rebuildTree).toBe(MerkleTree.from(records).root)
      })
    ))

  it("a foreign stream key is replaced", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        yield* redis((raw) => raw.set(`${prefix}changes`, "x"))
        const { contentHash } = recordOf("a", 1)
        const entry = { operation: "PUT", id: "a", version: 1, contentHash, sequence: 4 } as const
        yield* cache.appendChanges([entry], 10)
        expect((yield* cache.readChanges("", 10)).map(({ sequence }) => sequence)).toEqual([4])
      })
    ))
})

describe("prefixes", () => {
  it("two caches in one database do not see each other, and a reset spares everything else", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const one = yield* open({ prefix: "app" })
          const two = yield* open({ prefix: "app*" })
          const three = yield* open({ prefix: "app:item" })
          const ids = ["x", "item:x", ":item:x", "*", "%", "a b", "é.ü", "epoch", "tree:", "changes"]
          yield* one.put(ids.map((id) => recordOf(id, 1, "one")))
          yield* two.put(ids.map((id) => recordOf(id, 2, "two")))
          yield* three.put(ids.map((id) => recordOf(id, 3, "three")))
          yield* redis((raw) => raw.set("apple", "fruit"))
          for (const [cache, version, text] of [
            [one, 1, "one"],
            [two, 2, "two"],
            [three, 3, "three"]
          ] as const) {
            const records = ids.map((id) => recordOf(id, version, text))
            expect(yield* cache.root).toBe(MerkleTree.from(records).root)
            expect(new Set(yield* cache.getMany(ids))).toEqual(new Set(records))
          }
          expect(yield* two.reset).toBe(ids.length)
          expect((yield* two.getMany(ids)).length).toBe(0)
          for (const [cache, version, text] of [
            [one, 1, "one"],
            [three, 3, "three"]
          ] as const) {
            const records = ids.map((id) => recordOf(id, version, text))
            expect(yield* cache.root).toBe(MerkleTree.from(records).root)
          }
          expect(yield* redis((raw) => raw.get("apple"))).toBe("fruit")
          yield* one.reset
          yield* three.reset
        })
      )
    ))

  it("every key is behind the prefix", () =>
    run((cache, prefix) =>
      Effect.gen(function* () {
        const before = yield* redis((raw) => raw.keys("*"))
        yield* cache.put(many(20))
        const after = yield* redis((raw) => raw.keys("*"))
        const added = after.filter((key) => !before.includes(key))
        expect(added.length).toBeGreaterThan(20)
        expect(added.filter((key) => !key.startsWith(prefix))).toEqual([])
      })
    ))
})
