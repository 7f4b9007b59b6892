/** Every row of the phase table, driven to each of its outcomes. */
import { statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Either, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { inject } from "vitest"
import { ArchiveError } from "../../../src/archive/ArchiveError.js"
import {
  ArchiveStartError,
  GateClosed,
  LogOpenError,
  LogUnavailable,
  TierUnavailable
} from "../../../src/EngineError.js"
import type { BootStage } from "../../../src/Lifecycle.js"
import { textOf } from "../../../src/SyncItem.js"
import { FilterSnapshots } from "../../../src/wal/FilterSnapshots.js"
import { freePort } from "../../support/redis.js"
import { mysqlPassword, type RunningServer, startMysql } from "../../support/servers.js"
import { freshDatabase } from "../archive/mysql.js"
import type { Components } from "./support.js"
import { eventually, makeEngine, type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import {
  again,
  cacheOf,
  countingCache,
  degraded,
  isWell,
  items,
  privateRedis,
  proven,
  rawSql,
  wrapArchive,
  wrapCache
} from "./tiers.js"

let mysql: RunningServer
beforeAll(async () => {
  mysql = await startMysql()
})
afterAll(() => mysql.stop())

const database = Effect.map(
  Effect.suspend(() => freshDatabase(inject("mysqlUrl"))),
  Redacted.value
)
/** A database on the server that these tests kill. */
const mortalDatabase = Effect.map(
  Effect.suspend(() => freshDatabase(mysql.url)),
  Redacted.value
)
const killMysql = Effect.sync(() => process.kill(mysql.pid, "SIGKILL"))
const restartMysql = Effect.promise(() => mysql.restart())

/** Collects the boot stages of an engine that has not been started yet. */
const watch = (engine: RealEngine) =>
  Effect.gen(function* () {
    const stages: Array<BootStage> = []
    const reasons: Array<string> = []
    yield* engine.service.bootStageChanges.pipe(
      Stream.runForEach((stage) => Effect.sync(() => stages.push(stage))),
      Effect.forkScoped
    )
    yield* engine.lifecycle.changes.pipe(
      Stream.runForEach(({ reason }) => Effect.sync(() => reason !== undefined && reasons.push(reason))),
      Effect.forkScoped
    )
    yield* eventually(
      "the stream has begun",
      Effect.sync(() => stages.length > 0)
    )
    return { stages, reasons }
  })

const labels = (engine: RealEngine) =>
  Effect.map(engine.lifecycle.timings, (timings) =>
    timings.map(([label]) => label).filter((label) => label !== "warm_up")
  )

const durations = (engine: RealEngine) =>
  Effect.map(engine.lifecycle.coldStartDurations, (pairs) => pairs.map(([name]) => name))

const untilRoot = ["wal_init", "sql_connect", "wal_drain", "sql_root"]
const allLabels = [...untilRoot, "cf_restore", "redis_connect", "redis_sync"]
const allStages = [
  "Created",
  "Connecting",
  "DrainingWal",
  "WarmingUp",
  "Connecting",
  "SyncingRedis",
  "WarmingUp",
  "Ready",
  "Running"
]

/** Leaves acknowledged writes in the log of a folder, as an engine without SQL does. */
const leaveInLog = (dataDir: string, writes: ReadonlyArray<{ id: string; content: string }>) =>
  Effect.gen(function* () {
    const engine = yield* startEngine({ dataDir, sqlUrl: Redacted.make("none") })
    const results = yield* engine.service.submitMany(writes)
    expect(results.every(({ _tag }) => _tag === "Acknowledged")).toBe(true)
    const report = yield* engine.service.shutdown
    expect(report.itemsLeftInLog).toBe(writes.length)
  })

describe("a start with everything there", () => {
  it.scopedLive("goes through all stages in order, with a duration of each phase", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const engine = yield* makeEngine({
        dataDir: yield* temporaryDirectory,
        sql: yield* database,
        redis: redis.url
      })
      const seen = yield* watch(engine)
      yield* engine.start
      yield* eventually(
        "running",
        Effect.sync(() => seen.stages.at(-1) === "Running")
      )
      expect(seen.stages).toEqual(allStages)
      expect(yield* labels(engine)).toEqual(allLabels)
      expect(allLabels).toEqual(expect.arrayContaining(seen.reasons))
      expect(yield* durations(engine)).toEqual(expect.arrayContaining(["restore", "total"]))
      expect(yield* durations(engine)).not.toContain("wal_replay")
      expect((yield* engine.service.stats).startupTimings.length).toBeGreaterThanOrEqual(allLabels.length)
      const health = yield* engine.service.health
      expect(health.degraded).toEqual([])
      expect(health.lifecycle).toMatchObject({ phase: "ready", bootStage: "Running", reason: undefined })
      yield* engine.service.shutdown
      yield* eventually(
        "the stream shows the end",
        Effect.sync(() => seen.stages.at(-1) === "ShuttingDown")
      )
      expect(seen.stages).toEqual([...allStages, "ShuttingDown"])
    })
  )
})

describe("1 · the log", () => {
  /** A start that fails over its log: typed, named, gated, reported. */
  const refused = (engine: RealEngine, kind: LogOpenError["kind"], path: string) =>
    Effect.gen(function* () {
      const seen = yield* watch(engine)
      const error = yield* Effect.flip(engine.start)
      expect(error).toBeInstanceOf(LogOpenError)
      expect(error).toMatchObject({ kind, path })
      expect(error.message).toContain(path)
      expect(error.message).toContain("Durability cannot be guaranteed")
      expect(yield* Effect.flip(engine.start)).toEqual(error)
      yield* eventually(
        "it has stopped",
        Effect.sync(() => seen.stages.at(-1) === "ShuttingDown")
      )
      expect(seen.stages).toEqual(["Created", "Connecting", "ShuttingDown"])
      expect(yield* labels(engine)).toEqual(["wal_init"])
      expect(yield* Effect.flip(engine.service.submit({ id: "a", content: "1" }))).toBeInstanceOf(GateClosed)
      expect(yield* Effect.flip(engine.service.get("a"))).toBeInstanceOf(GateClosed)
      const report = yield* engine.service.shutdown
      expect(report.problems[0]).toContain(path)
      expect(engine.lifecycle.unsafeSnapshot().phase).toBe("stopped")
    })

  it.scopedLive("that cannot be opened is fatal", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      writeFileSync(join(dataDir, "file"), "no folder")
      const walPath = join(dataDir, "file", "wal.db")
      yield* refused(yield* makeEngine({ dataDir, walPath }), "cannot-open", walPath)
    })
  )

  it.scopedLive("in use is fatal for the second engine only", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const first = yield* startEngine({ dataDir })
      yield* refused(yield* makeEngine({ dataDir }), "in-use", join(dataDir, "wal.db"))
      yield* first.service.submit({ id: "a", content: "1" })
      yield* first.service.shutdown
      const third = yield* startEngine({ dataDir })
      expect(Option.map(yield* third.service.get("a"), textOf)).toEqual(Option.some("1"))
    })
  )

  it.scopedLive("damaged is fatal, whether garbage or cut short, and the file is kept", () =>
    Effect.gen(function* () {
      const garbage = yield* temporaryDirectory
      const path = join(garbage, "wal.db")
      writeFileSync(path, Buffer.alloc(20_000, "garbage"))
      yield* refused(yield* makeEngine({ dataDir: garbage }), "damaged", path)
      expect(statSync(path).size).toBe(20_000)

      const cut = yield* temporaryDirectory
      yield* leaveInLog(cut, items(500, "a rather long content ".repeat(20)))
      const size = statSync(join(cut, "wal.db")).size
      truncateSync(join(cut, "wal.db"), Math.floor(size / 8192 / 2) * 4096)
      yield* refused(yield* makeEngine({ dataDir: cut }), "damaged", join(cut, "wal.db"))
    })
  )
})

describe("2 · SQL", () => {
  it.scopedLive("that does not come is fatal after the bound; the log keeps what it holds", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      yield* leaveInLog(dataDir, items(10))
      const port = yield* Effect.promise(freePort)
      const sql = `mysql://tester:${encodeURIComponent(mysqlPassword)}@127.0.0.1:${port}/nowhere`
      const engine = yield* makeEngine({ dataDir, sql, sqlStartTimeout: 1500 })
      const seen = yield* watch(engine)
      const begun = performance.now()
      const error = yield* Effect.flip(engine.start)
      const took = performance.now() - begun
      expect(error).toBeInstanceOf(ArchiveStartError)
      expect(took).toBeGreaterThan(400)
      expect(took).toBeLessThan(8000)
      expect(error.message).toContain(String(port))
      expect(error.message).not.toContain(mysqlPassword)
      expect(error.message).not.toContain(encodeURIComponent(mysqlPassword))
      yield* eventually(
        "it has stopped",
        Effect.sync(() => seen.stages.at(-1) === "ShuttingDown")
      )
      expect(seen.stages).toEqual(["Created", "Connecting", "ShuttingDown"])
      expect(yield* labels(engine)).toEqual(["wal_init", "sql_connect"])
      const report = yield* engine.service.shutdown
      expect(report).toMatchObject({ itemsLeftInLog: 10, flushedWal: false })

      const later = yield* startEngine({ dataDir, sql: yield* database })
      expect(yield* later.service.countPrefix("geo")).toBe(10)
    })
  )

  it.scopedLive("that comes up during the retries is waited for", () =>
    Effect.gen(function* () {
      const sql = yield* mortalDatabase
      yield* killMysql
      const engine = yield* makeEngine({ dataDir: yield* temporaryDirectory, sql, sqlStartTimeout: 30_000 })
      const starting = yield* Effect.fork(engine.start)
      yield* eventually(
        "it asks for SQL",
        Effect.sync(() => engine.lifecycle.unsafeSnapshot().reason === "sql_connect")
      )
      yield* Effect.sleep("600 millis")
      expect((yield* engine.service.health).lifecycle).toMatchObject({
        phase: "starting",
        bootStage: "Connecting",
        reason: "sql_connect"
      })
      expect(yield* Effect.flip(engine.service.get("a"))).toMatchObject({
        _tag: "GateClosed",
        reason: "sql_connect"
      })
      yield* restartMysql
      yield* Fiber.join(starting)
      yield* engine.service.submit({ id: "a", content: "1" }, { durability: "archive" })
      const timing = new Map(yield* engine.lifecycle.timings).get("sql_connect")
      expect(timing).toBeGreaterThan(550)
      expect(yield* degraded(engine)).toEqual([])
    })
  )

  it.scopedLive("not configured: a warning, no ground truth, absence is never claimed", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const engine = yield* makeEngine({
        dataDir: yield* temporaryDirectory,
        sqlUrl: Redacted.make("none"),
        redis: redis.url
      })
      const seen = yield* watch(engine)
      yield* engine.start
      yield* eventually(
        "running",
        Effect.sync(() => seen.stages.at(-1) === "Running")
      )
      expect(seen.stages).not.toContain("SyncingRedis")
      expect(yield* labels(engine)).toEqual([...untilRoot, "cf_restore", "redis_connect"])
      expect(yield* degraded(engine)).toEqual(["archive", "cache"])
      const receipt = yield* engine.service.submit({ id: "a", content: "1" }, { durability: "archive" })
      expect(receipt.durability).toBe("wal")
      expect(Option.map(yield* engine.service.get("a"), textOf)).toEqual(Option.some("1"))
      expect(yield* Effect.flip(engine.service.get("b"))).toBeInstanceOf(TierUnavailable)
      expect((yield* engine.service.health).cache.trusted).toBe(false)
      const report = yield* engine.service.shutdown
      expect(report).toMatchObject({
        itemsLeftInLog: 1,
        flushedWal: false,
        problems: ["1 write stays in the log, not archived: no archive is configured"]
      })
    })
  )
})

describe("3 · what the log holds", () => {
  it.scopedLive("is drained", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      yield* leaveInLog(dataDir, items(2500))
      const engine = yield* makeEngine({ dataDir, sql: yield* database })
      const seen = yield* watch(engine)
      yield* engine.start
      expect(seen.stages).toContain("DrainingWal")
      const stats = yield* engine.service.stats
      expect(stats).toMatchObject({ pending: 0, archived: 2500, deadLetters: 0 })
      expect(stats.log.items).toBe(0)
      expect(stats.flushes.recovery).toBe(3)
      expect(yield* durations(engine)).toContain("wal_replay")
      expect(yield* engine.service.countPrefix("")).toBe(2500)
      expect((yield* engine.service.verify()).inSync).toBe(true)
    })
  )

  it.scopedLive("stays there when SQL goes away during the drain, and is drained later", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const redis = yield* privateRedis()
      yield* leaveInLog(dataDir, items(2500))
      let commits = 0
      const engine = yield* startEngine(
        {
          ...{ dataDir, sql: yield* mortalDatabase, redis: redis.url, batchFlushCount: 500 },
          ...{ walDrainInterval: 200, healthInterval: 300, sqlQueryTimeout: 1000, sqlConnectTimeout: 1000 }
        },
        wrapArchive((archive) => ({
          commit: (records) =>
            Effect.zipRight(++commits === 2 ? killMysql : Effect.void, archive.commit(records))
        }))
      )
      expect((yield* engine.service.health).lifecycle.phase).toBe("ready")
      expect(yield* degraded(engine)).toEqual(["archive", "cache"])
      expect((yield* engine.service.stats).pending).toBe(2000)
      expect(Option.map(yield* engine.service.get("geo.4.2499"), textOf)).toEqual(Option.some("v2499"))
      const held = yield* engine.service.getMany(items(2000, "v", 500).map(({ id }) => id))
      expect(held.size).toBe(2000)
      // Never heard of by this engine, and archived a moment ago: neither may count as absent.
      expect(yield* Effect.flip(engine.service.get("never.written"))).toBeInstanceOf(TierUnavailable)
      const archived = yield* Effect.either(engine.service.get("geo.0.0"))
      expect(Either.isLeft(archived) || Option.isSome(archived.right)).toBe(true)
      yield* engine.service.submit({ id: "geo.4.2499", content: "newer" })
      yield* restartMysql
      yield* eventually("all is well again", isWell(engine))
      expect(yield* engine.service.countPrefix("")).toBe(2500)
      expect(Option.map(yield* engine.service.getVerified("geo.4.2499"), textOf)).toEqual(
        Option.some("newer")
      )
      const { archive, cache, inSync } = yield* proven(engine, redis.url)
      expect({ inSync, cache }).toEqual({ inSync: true, cache: archive })
    })
  )

  it.scopedLive("goes to the dead letters where the archive refuses it, and blocks nothing", () =>
    Effect.gen(function* () {
      const sql = yield* database
      yield* Effect.scoped(startEngine({ dataDir: yield* temporaryDirectory, sql }))
      const admin = yield* rawSql(sql)
      yield* admin.unsafe(
        "CREATE TRIGGER poison BEFORE INSERT ON items FOR EACH ROW IF NEW.id LIKE '%poison%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'; END IF"
      ).unprepared
      const dataDir = yield* temporaryDirectory
      yield* leaveInLog(dataDir, [
        ...items(700),
        { id: "poison.1", content: "x" },
        ...items(700, "v", 700),
        { id: "poison.2", content: "x" }
      ])
      const engine = yield* startEngine({ dataDir, sql })
      expect(yield* degraded(engine)).toEqual([])
      expect(yield* engine.service.stats).toMatchObject({ pending: 0, archived: 1400, deadLetters: 2 })
      const letters = yield* engine.service.deadLetters.list()
      expect(letters.map(({ record }) => record.id)).toEqual(["poison.1", "poison.2"])
      expect(letters[0]!.reason).toContain("poison")
      expect(yield* engine.service.countPrefix("")).toBe(1400)
      expect((yield* engine.service.verify()).inSync).toBe(true)
    })
  )
})

describe("4 · the trusted root", () => {
  it.scopedLive("cannot be read: a warning, nothing is trusted until it can", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      let readable = false
      const engine = yield* makeEngine(
        { dataDir: yield* temporaryDirectory, sql: yield* database, redis: redis.url, healthInterval: 300 },
        wrapArchive((archive) => ({
          root: Effect.suspend(() =>
            readable
              ? archive.root
              : Effect.fail(new ArchiveError({ operation: "root", kind: "transient", problem: "unreadable" }))
          )
        }))
      )
      const seen = yield* watch(engine)
      yield* engine.start
      yield* eventually(
        "running",
        Effect.sync(() => seen.stages.at(-1) === "Running")
      )
      expect(seen.stages).toEqual(allStages.filter((stage) => stage !== "SyncingRedis"))
      expect(yield* labels(engine)).toEqual(expect.arrayContaining([...untilRoot, "redis_connect"]))
      const before = yield* engine.service.health
      expect(before.degraded).toMatchObject([{ component: "cache" }])
      expect(before.degraded[0]!.reason).toContain("root")
      expect(before.cache).toEqual({ configured: true, available: true, trusted: false })
      expect(before.filter.trusted).toBe(false)
      yield* engine.service.submitMany(items(20))
      expect((yield* engine.service.getMany(items(20).map(({ id }) => id))).size).toBe(20)
      expect(Option.isNone(yield* engine.service.get("absent"))).toBe(true)
      readable = true
      yield* eventually("the cache is trusted", isWell(engine))
    })
  )
})

describe("5 · the filter", () => {
  const trusted = (engine: RealEngine) => Effect.map(engine.service.health, ({ filter }) => filter.trusted)
  const warmedUp = (engine: RealEngine) =>
    Effect.map(engine.lifecycle.timings, (timings) => new Map(timings).has("warm_up"))
  /** What the snapshot of the last run looks like to this one. */
  const withSnapshot =
    (change: (bytes: Uint8Array) => Effect.Effect<Option.Option<Uint8Array>, LogUnavailable>) =>
    (parts: Components): Components =>
      Layer.map(parts, (context) => {
        const snapshots = Context.get(context, FilterSnapshots)
        const load = Effect.flatMap(snapshots.load, (found) => change(Option.getOrThrow(found)))
        return Context.add(context, FilterSnapshots, { ...snapshots, load })
      })

  it.scopedLive("none: built while serving; equal root: restored; other root or unreadable: rebuilt", () =>
    Effect.gen(function* () {
      const options = { dataDir: yield* temporaryDirectory, sql: yield* database }
      const first = yield* startEngine(options)
      yield* first.service.submitMany(items(500))
      yield* first.service.flush
      yield* eventually(
        "built",
        Effect.all([trusted(first), warmedUp(first)]).pipe(Effect.map(([a, b]) => a && b))
      )
      expect(yield* durations(first)).toContain("index_warmup")
      expect(yield* first.service.definitelyMissing("absent")).toBe(true)
      expect((yield* first.service.shutdown).filterSnapshot).toBe(true)

      const second = yield* startEngine(options)
      expect([yield* trusted(second), yield* warmedUp(second)]).toEqual([true, false])
      expect(yield* second.service.definitelyMissing("absent")).toBe(true)
      expect(yield* second.service.mightExist("geo.1.1")).toBe(true)
      yield* second.service.shutdown

      // Another node moves the root.
      const other = yield* startEngine({ ...options, dataDir: yield* temporaryDirectory })
      yield* other.service.submit({ id: "other", content: "x" }, { durability: "archive" })
      yield* other.service.shutdown
      const third = yield* startEngine(options)
      expect(yield* third.service.definitelyMissing("other")).toBe(false)
      expect(Option.isSome(yield* third.service.get("other"))).toBe(true)
      yield* eventually(
        "rebuilt",
        Effect.all([trusted(third), warmedUp(third)]).pipe(Effect.map(([a, b]) => a && b))
      )
      expect(yield* third.service.mightExist("other")).toBe(true)
      yield* third.service.shutdown

      const flip = (bytes: Uint8Array) => {
        const copy = Uint8Array.from(bytes)
        copy[copy.length >> 1]! ^= 0x10
        return copy
      }
      const unreadable: ReadonlyArray<Parameters<typeof withSnapshot>[0]> = [
        (bytes) => Effect.succeedSome(flip(bytes)),
        (bytes) => Effect.succeedSome(bytes.subarray(0, bytes.length >> 1)),
        () => Effect.succeedSome(new Uint8Array(0)),
        () =>
          new LogUnavailable({
            path: "wal.db",
            operation: "snapshot",
            problem: "unreadable",
            retryAfterMs: 1000
          })
      ]
      for (const change of unreadable) {
        const engine = yield* makeEngine(options, withSnapshot(change))
        const seen = yield* watch(engine)
        yield* engine.start
        yield* eventually(
          "running",
          Effect.sync(() => seen.stages.at(-1) === "Running")
        )
        expect(seen.stages).toEqual(["Created", "Connecting", "DrainingWal", "WarmingUp", "Ready", "Running"])
        expect(yield* labels(engine)).toEqual([...untilRoot, "cf_restore"])
        expect(yield* degraded(engine)).toEqual([])
        expect(Option.isSome(yield* engine.service.get("other"))).toBe(true)
        yield* eventually(
          "rebuilt",
          Effect.all([trusted(engine), warmedUp(engine)]).pipe(Effect.map(([a, b]) => a && b))
        )
        expect(yield* engine.service.mightExist("geo.1.1")).toBe(true)
        expect(yield* engine.service.definitelyMissing("absent")).toBe(true)
        yield* engine.service.shutdown
      }
    })
  )
})

describe("6 · Redis", () => {
  it.scopedLive("that is down, or takes the connection and stays silent, degrades and is followed", () =>
    Effect.gen(function* () {
      const sql = yield* database
      const redis = yield* privateRedis()
      redis.pause()
      const silent = yield* makeEngine({ dataDir: yield* temporaryDirectory, sql, redis: redis.url })
      const seen = yield* watch(silent)
      const begun = performance.now()
      yield* silent.start
      expect(performance.now() - begun).toBeLessThan(12_000)
      yield* eventually(
        "running",
        Effect.sync(() => seen.stages.at(-1) === "Running")
      )
      expect(seen.stages).toEqual(allStages.filter((stage) => stage !== "SyncingRedis"))
      expect(yield* labels(silent)).toEqual(allLabels.filter((label) => label !== "redis_sync"))
      const health = yield* silent.service.health
      expect(health.degraded.map(({ component }) => component)).toEqual(["cache"])
      expect(health.degraded[0]!.reason).not.toBe("")
      expect(health.cache).toEqual({ configured: true, available: false, trusted: false })
      yield* silent.service.submitMany(items(50))
      yield* silent.service.flush
      redis.resume()
      yield* eventually("it is trusted", isWell(silent))
      const { archive, cache } = yield* proven(silent, redis.url)
      expect(cache).toBe(archive)
      expect(new Map(yield* silent.lifecycle.timings).has("redis_sync")).toBe(false)
    })
  )
})

describe("7 · the cache against the trusted root", () => {
  it.scopedLive(
    "equal: nothing is written; stale: only what differs; Redis gone in mid-walk: untrusted, retried",
    () =>
      Effect.gen(function* () {
        const sql = yield* database
        const dataDir = yield* temporaryDirectory
        const redis = yield* privateRedis()
        const base = { dataDir, sql }
        const first = yield* startEngine({ ...base, redis: redis.url })
        yield* first.service.submitMany(items(3000))
        yield* first.service.flush
        yield* first.service.shutdown

        const equal = countingCache()
        const second = yield* startEngine({ ...base, redis: redis.url }, equal.wrap)
        expect((yield* second.service.health).cache.trusted).toBe(true)
        expect(equal.counts).toEqual({ put: 0, removed: 0 })
        yield* second.service.shutdown

        // Changed, new and deleted in the archive while no cache is configured; and one item that only the cache has.
        const without = yield* startEngine(base)
        yield* without.service.submitMany([...items(7, "changed"), ...items(5, "new", 5000)])
        yield* without.service.deleteMany(["geo.4.2999", "geo.3.2998"])
        yield* without.service.shutdown
        const meddler = yield* cacheOf(redis.url)
        const row = Option.getOrThrow(yield* meddler.get("geo.1.1001"))
        yield* meddler.put([{ ...row, id: "geo.stranger" }])
        const stale = countingCache()
        const third = yield* startEngine({ ...base, redis: redis.url }, stale.wrap)
        expect((yield* third.service.health).cache.trusted).toBe(true)
        // Changed and new ones are put; the deleted ones are removed and leave a tombstone each; the stranger is removed.
        expect(stale.counts.put).toBe(7 + 5 + 2)
        expect(stale.counts.removed).toBe(2 + 1)
        expect(Option.isNone(yield* meddler.get("geo.stranger"))).toBe(true)
        const { archive, cache } = yield* proven(third, redis.url)
        expect(cache).toBe(archive)
        expect(new Map(yield* third.lifecycle.timings).has("redis_sync")).toBe(true)
        yield* third.service.shutdown

        // Again something to find; the server is killed under the walk.
        yield* meddler.put([{ ...row, id: "geo.stranger" }])
        let killed = false
        const fourth = yield* makeEngine(
          { ...base, redis: redis.url, healthInterval: 300 },
          wrapCache((inner) => ({
            branches: (path, page) =>
              Effect.suspend(() => {
                if (killed) return inner.branches(path, page)
                killed = true
                return Effect.zipRight(
                  Effect.promise(() => redis.kill()),
                  inner.branches(path, page)
                )
              })
          }))
        )
        const seen = yield* watch(fourth)
        yield* fourth.start
        expect(killed).toBe(true)
        yield* eventually(
          "running",
          Effect.sync(() => seen.stages.at(-1) === "Running")
        )
        expect(seen.stages).toEqual(allStages)
        expect(yield* labels(fourth)).toEqual(allLabels)
        expect(yield* degraded(fourth)).toEqual(["cache"])
        // A call that fails ends the trust at once; that the server is gone is seen by the next question about it.
        expect((yield* fourth.service.health).cache.trusted).toBe(false)
        yield* eventually(
          "its absence is seen",
          Effect.map(fourth.service.health, (health) => !health.cache.available)
        )
        expect(Option.map(yield* fourth.service.get("geo.1.1"), textOf)).toEqual(Option.some("changed1"))
        expect(Option.isNone(yield* fourth.service.get("geo.stranger"))).toBe(true)
        const back = yield* again(redis)
        yield* eventually("retried", isWell(fourth))
        const end = yield* proven(fourth, back.url)
        expect(end.cache).toBe(end.archive)
      })
  )
})

describe("a failed start", () => {
  it.scopedLive("leaves the data folder usable and can be asked for its report", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const port = yield* Effect.promise(freePort)
      const engine = yield* makeEngine({
        dataDir,
        sql: `mysql://u:p@127.0.0.1:${port}/d`,
        sqlStartTimeout: 0
      })
      const [a, b] = yield* Effect.all([Effect.exit(engine.start), Effect.exit(engine.start)], {
        concurrency: 2
      })
      expect(a).toEqual(b)
      const [x, y] = yield* Effect.all([engine.shutdown, engine.service.shutdown], { concurrency: 2 })
      expect(x).toBe(y)
      const next = yield* startEngine({ dataDir })
      yield* next.service.submit({ id: "a", content: "1" })
    })
  )
})
