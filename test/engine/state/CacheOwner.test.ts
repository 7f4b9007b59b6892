import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, PubSub, Stream, TestClock } from "effect"
import { Archive } from "../../../src/archive/Archive.js"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { CacheError, type CacheService, type CacheStatus } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { ArchiveStartError } from "../../../src/EngineError.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { cacheOf } from "../../support/components.js"
import { PlayedArchive, recordOf, settle, start } from "../support.js"

/** A connection behind which the server may be replaced, and whose claims may be held. */
const switching = (first: CacheService) =>
  Effect.gen(function* () {
    const published = yield* PubSub.unbounded<CacheStatus>()
    let server = first
    let status: CacheStatus = first.status()
    let held: Effect.Latch | undefined
    let claims: "answered" | "failing" = "answered"
    const of = <A, E>(ask: (service: CacheService) => Effect.Effect<A, E>) =>
      Effect.suspend(() => ask(server))
    const cache: CacheService = {
      ...first,
      put: (records, options) => of((service) => service.put(records, options)),
      fill: (records) => of((service) => service.fill(records)),
      repair: (records) => of((service) => service.repair(records)),
      get: (id) => of((service) => service.get(id)),
      getMany: (ids) => of((service) => service.getMany(ids)),
      heads: (ids) => of((service) => service.heads(ids)),
      deleteMany: (targets) => of((service) => service.deleteMany(targets)),
      root: of((service) => service.root),
      node: (path) => of((service) => service.node(path)),
      branches: (path, page) => of((service) => service.branches(path, page)),
      leaves: (path, page) => of((service) => service.leaves(path, page)),
      leafSum: (path, range) => of((service) => service.leafSum(path, range)),
      tidy: of((service) => service.tidy),
      status: () => status,
      changes: Stream.unwrapScoped(
        Effect.map(PubSub.subscribe(published), (queue) => Stream.fromQueue(queue))
      ),
      claim: (lineage: string, milliseconds: number) =>
        Effect.zipRight(
          Effect.suspend(() => held?.await ?? Effect.void),
          Effect.suspend(() =>
            claims === "answered"
              ? server.claim(lineage, milliseconds)
              : Effect.fail(
                  new CacheError({ operation: "claim", kind: "timeout", problem: "late", retryAfterMs: 1 })
                )
          )
        )
    }
    return {
      layer: cacheOf(cache),
      /** The connection is lost and made again, to this server. */
      reconnectTo: (next: CacheService) =>
        Effect.suspend(() => {
          server = next
          status = { ...status, generation: status.generation + 1 }
          return PubSub.publish(published, status)
        }),
      hold: Effect.sync(() => {
        held = Effect.unsafeMakeLatch(false)
      }),
      letGo: Effect.suspend(() => held?.open ?? Effect.void),
      failClaims: (failing: boolean) =>
        Effect.sync(() => {
          claims = failing ? "failing" : "answered"
        })
    }
  })

/** The cache of another archive, with what that one keeps in it. */
const theirs = Effect.gen(function* () {
  const { cache, control } = yield* InProcessCache.make()
  yield* cache.claim("theirs", 10 * 3_600_000)
  yield* cache.put([recordOf("a", 1, "theirs"), recordOf("only.theirs", 1, "theirs")])
  yield* cache.put([recordOf("short", 1, "theirs")], { ttl: 3_600_000 })
  const root = yield* cache.root
  const calls = control.calls()
  return {
    cache,
    /** Nothing there has been read or changed. */
    untouched: (connects: number) =>
      Effect.gen(function* () {
        expect(control.calls() - calls).toBe(connects)
        expect(yield* cache.root).toBe(root)
      })
  }
})

const volatile = { sql: false, ttl: "1 hour" } as const
const config = { l1MaxBytes: 0, healthInterval: 10_000, batchFlushInterval: 5000 }

describe("whose the cache is", () => {
  it.scoped("is unknown after a reconnect until it is claimed: nothing is read or written", () =>
    Effect.gen(function* () {
      const mine = yield* InProcessCache.make()
      const other = yield* theirs
      const link = yield* switching(mine.cache)
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, cache: link.layer, config })
      yield* service.submit({ id: "v", content: "1" }, volatile)
      // By now it follows the connection.
      yield* TestClock.adjust("2 seconds")
      expect((yield* service.health).cache.trusted).toBe(true)

      yield* link.hold
      yield* link.reconnectTo(other.cache)
      yield* settle
      yield* service.submit({ id: "a", content: "mine" }, { durability: "archive" })
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
      // A volatile item cannot be looked for, and is not absent for that.
      for (const id of ["short", "only.theirs"]) {
        expect(yield* Effect.flip(service.get(id))).toMatchObject({ _tag: "TierUnavailable", tier: "cache" })
      }
      expect(yield* Effect.flip(service.submit({ id: "v", content: "2" }, volatile))).toMatchObject({
        _tag: "TierUnavailable",
        tier: "cache",
        retryAfterMs: 1000
      })
      expect((yield* service.health).cache).toMatchObject({ available: true, trusted: false })
      yield* other.untouched(0)

      yield* link.letGo
      yield* settle
      expect(Option.isNone(yield* service.get("only.theirs"))).toBe(true)
      expect((yield* service.health).degraded[0]?.reason).toContain("another archive")

      yield* link.reconnectTo(mine.cache)
      yield* settle
      expect((yield* service.health).cache.trusted).toBe(true)
      expect((yield* service.get("v")).pipe(Option.isSome)).toBe(true)
      expect(yield* mine.cache.root).toBe(archive.state.tree.root)
    })
  )

  it.scoped("is unknown at a start whose claim has no answer", () =>
    Effect.gen(function* () {
      const other = yield* theirs
      const link = yield* switching(other.cache)
      yield* link.hold
      const starting = yield* Effect.fork(start({ cache: link.layer, config }))
      yield* TestClock.adjust("11 seconds")
      const { service } = yield* starting.await.pipe(Effect.flatten)
      yield* service.submit({ id: "a", content: "mine" }, { durability: "archive" })
      expect(Option.isNone(yield* service.get("only.theirs"))).toBe(true)
      expect(yield* Effect.flip(service.submit({ id: "v", content: "1" }, volatile))).toMatchObject({
        _tag: "TierUnavailable"
      })
      yield* TestClock.adjust("1 minute")
      yield* other.untouched(1)
      yield* link.letGo
    })
  )

  it.scoped("is unknown again when its claim has run out, and nothing is believed until it is compared", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const link = yield* switching(cache)
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, cache: link.layer, config })
      yield* service.submit({ id: "a", content: "1" }, { durability: "archive" })
      // Renewed for as long as it takes: a claim lasts a minute.
      yield* TestClock.adjust("2 minutes")
      expect(yield* cache.claim("theirs", 1000)).toBe(archive.state.lineage)
      yield* link.hold
      yield* TestClock.adjust("61 seconds")
      expect(yield* cache.claim("theirs", 30_000)).toBe("theirs")
      expect((yield* service.health).cache.trusted).toBe(false)
      const root = yield* cache.root
      yield* service.submit({ id: "b", content: "1" }, { durability: "archive" })
      expect(yield* cache.root).toBe(root)
      // The other one has been here, and is gone.
      yield* cache.put([recordOf("strange", 1, "theirs")])
      yield* link.letGo
      yield* TestClock.adjust("2 minutes")
      expect((yield* service.health).cache.trusted).toBe(true)
      expect(yield* cache.root).toBe(archive.state.tree.root)
    })
  )

  it.scoped("a claim that fails leaves it unknown, one that succeeds later gives it back", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const link = yield* switching(cache)
      const { service } = yield* start({ cache: link.layer, config })
      yield* link.failClaims(true)
      yield* link.reconnectTo(cache)
      yield* TestClock.adjust("30 seconds")
      expect((yield* service.health).degraded).toMatchObject([{ component: "cache" }])
      expect(yield* Effect.flip(service.submit({ id: "v", content: "1" }, volatile))).toMatchObject({
        _tag: "TierUnavailable"
      })
      yield* link.failClaims(false)
      yield* TestClock.adjust("10 seconds")
      expect(yield* service.health).toMatchObject({ cache: { trusted: true }, degraded: [] })
    })
  )

  it.scoped("does not matter without an archive: volatile items are taken at once", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const link = yield* switching(cache)
      yield* link.failClaims(true)
      const { service } = yield* start({ archive: "none", cache: link.layer, config })
      yield* service.submit({ id: "v", content: "1" }, volatile)
      yield* link.reconnectTo(cache)
      yield* service.submit({ id: "w", content: "1" }, volatile)
      expect((yield* cache.getMany(["v", "w"])).length).toBe(2)
    })
  )
})

describe("a start without SQL", () => {
  it.scoped(
    "takes volatile items for the log's archive, and compares the cache as soon as SQL is there",
    () =>
      Effect.gen(function* () {
        const { cache } = yield* InProcessCache.make()
        const disk = MemoryLog.makeDisk()
        const played = new PlayedArchive()
        const layer = cacheOf(cache)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { service } = yield* start({ disk, archive: played.options, cache: layer })
            yield* service.submit({ id: "old", content: "x" })
          })
        )
        let there = false
        const archive = Layer.succeed(Archive, {
          open: Effect.suspend(() =>
            there
              ? Effect.succeed(MemoryArchive.make(played.options))
              : Effect.fail(
                  new ArchiveStartError({ target: "memory", kind: "unreachable", problem: "told to" })
                )
          )
        })
        const { service } = yield* start({
          disk,
          archive,
          cache: layer,
          config: { startWithoutSql: true, sqlStartTimeout: 0, healthInterval: 600_000 }
        })
        yield* service.submit({ id: "v", content: "1" }, volatile)
        expect((yield* service.health).degraded.map(({ component }) => component)).toEqual([
          "archive",
          "cache"
        ])
        there = true
        yield* TestClock.adjust("2 seconds")
        expect(yield* service.health).toMatchObject({ cache: { trusted: true }, degraded: [] })
        expect(Option.isSome(yield* service.get("v"))).toBe(true)
      })
  )
})
