/** Redis and SQL going away under load, each in its own way, and coming back. */
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, Redacted } from "effect"
import { TierUnavailable } from "../../../src/EngineError.js"
import type { ItemRecord } from "../../../src/SyncItem.js"
import { textOf } from "../../../src/SyncItem.js"
import { type RunningServer, startMysql } from "../../support/servers.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, type RealEngine, startEngine, temporaryDirectory } from "./support.js"
import {
  again,
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
  Effect.suspend(() => freshDatabase(mysql.url)),
  Redacted.value
)
const signal = (name: NodeJS.Signals) => Effect.sync(() => process.kill(mysql.pid, name))
const restartMysql = Effect.promise(() => mysql.restart())
/** Whatever happens in a test, the server runs afterwards. */
const pauseMysql = Effect.acquireRelease(signal("SIGSTOP"), () => signal("SIGCONT"))

const quick = {
  ...{ walDrainInterval: 200, healthInterval: 300, batchFlushCount: 200 },
  ...{ sqlQueryTimeout: 1000, sqlConnectTimeout: 1000 }
}
/** A call to SQL ends after twice the statement's bound; the rest is for a busy machine. */
const readBoundMs = 2 * quick.sqlQueryTimeout + 2500

/** Keeps every record that the archive has committed, commit by commit. */
const recorded = () => {
  const commits: Array<ReadonlyArray<ItemRecord>> = []
  const wrap = wrapArchive((archive) => ({
    commit: (records) =>
      Effect.tap(archive.commit(records), () => Effect.sync(() => commits.push([...records])))
  }))
  return { commits, wrap }
}

/** Nothing of a later commit is older than anything of an earlier one. */
const inLogOrder = (commits: ReadonlyArray<ReadonlyArray<ItemRecord>>) => {
  let newest = 0
  for (const commit of commits) {
    const versions = commit.map(({ version }) => version)
    if (Math.min(...versions) <= newest) return false
    newest = Math.max(...versions)
  }
  return true
}

/**
 * Writes until it is told to stop; every call has to be acknowledged. Answers the newest acknowledged text of each id.
 */
const load = (engine: RealEngine) =>
  Effect.gen(function* () {
    const newest = new Map<string, string>()
    let stop = false
    const writer = yield* Effect.fork(
      Effect.gen(function* () {
        for (let round = 0; !stop; round++) {
          const writes = items(40, `r${round}.`, (round * 17) % 900)
          const results = yield* engine.service.submitMany(writes)
          for (const [index, result] of results.entries()) {
            if (result._tag === "Rejected") return yield* Effect.die(result.error)
            newest.set(writes[index]!.id, writes[index]!.content)
          }
          if (round % 5 === 0) {
            const id = `geo.0.${(round * 5) % 900}`
            yield* engine.service.delete(id)
            newest.delete(id)
          }
          yield* Effect.sleep("5 millis")
        }
      })
    )
    return {
      newest,
      stop: Effect.suspend(() => {
        stop = true
        return Fiber.join(writer)
      })
    }
  })

/** Reads below "geo" while the load runs: values or a typed "unavailable", quickly. Absence only of what was deleted. */
const probe = (engine: RealEngine, newest: ReadonlyMap<string, string>) =>
  Effect.gen(function* () {
    let stop = false
    const counts = { values: 0, unavailable: 0, slowestMs: 0 }
    const reader = yield* Effect.fork(
      Effect.gen(function* () {
        for (let at = 0; !stop; at++) {
          const absent = at % 3 === 0
          const ids = [...newest.keys()]
          const id = absent ? `never.${at}` : ids[at % ids.length]
          if (id === undefined) {
            yield* Effect.sleep("5 millis")
            continue
          }
          const begun = performance.now()
          const answer = yield* Effect.either(engine.service.get(id))
          counts.slowestMs = Math.max(counts.slowestMs, performance.now() - begun)
          if (Either.isLeft(answer)) {
            expect(answer.left).toBeInstanceOf(TierUnavailable)
            counts.unavailable++
          } else if (Option.isSome(answer.right)) {
            expect(absent).toBe(false)
            counts.values++
          } else if (!absent) {
            // Deleted between the look and the answer, or a lie.
            expect(
              newest.has(id) &&
                ids.includes(id) &&
                !(yield* Effect.as(Effect.sleep("20 millis"), !newest.has(id)))
            ).toBe(false)
          }
          yield* Effect.sleep("2 millis")
        }
      })
    )
    return {
      counts,
      stop: Effect.suspend(() => {
        stop = true
        return Fiber.join(reader)
      })
    }
  })

/** Every acknowledged write is there, nothing else is, and the trees say the same. */
const allArrived = (engine: RealEngine, newest: ReadonlyMap<string, string>, redisUrl?: string) =>
  Effect.gen(function* () {
    yield* eventually("all is well", isWell(engine))
    expect(yield* engine.service.countPrefix("")).toBe(newest.size)
    const found = yield* engine.service.getMany([...newest.keys()])
    const texts = new Map(Array.from(found, ([id, item]) => [id, textOf(item)]))
    expect(texts).toEqual(newest)
    const [id, text] = [...newest][0]!
    expect(Option.map(yield* engine.service.getVerified(id), textOf)).toEqual(Option.some(text))
    if (redisUrl === undefined) expect((yield* engine.service.verify()).inSync).toBe(true)
    else {
      const { archive, cache, inSync } = yield* proven(engine, redisUrl)
      expect({ inSync, cache }).toEqual({ inSync: true, cache: archive })
    }
    expect(yield* engine.service.stats).toMatchObject({ deadLetters: 0 })
  })

/** Without SQL nothing is absent, unless a trusted filter proves it. */
const notDenied = (engine: RealEngine, id: string) =>
  Effect.gen(function* () {
    const provenAbsent = yield* engine.service.definitelyMissing(id)
    const answer = yield* Effect.either(engine.service.get(id))
    if (Either.isLeft(answer)) expect(answer.left).toBeInstanceOf(TierUnavailable)
    else expect([provenAbsent, Option.isNone(answer.right)]).toEqual([true, true])
  })

const alive = (engine: RealEngine) =>
  Effect.map(engine.service.health, (health) => {
    expect(health.lifecycle.phase).toBe("ready")
    expect({ writes: health.acceptsWrites, queries: health.acceptsQueries }).toEqual({
      writes: true,
      queries: true
    })
  })

const reasonOf = (engine: RealEngine, component: string) =>
  Effect.map(
    engine.service.health,
    (health) => health.degraded.find((entry) => entry.component === component)?.reason
  )

describe("Redis", () => {
  it.scopedLive("killed in the middle of a batch costs nobody anything, and is mended", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      let puts = 0
      const { commits, wrap } = recorded()
      const killer = wrapCache((cache) => ({
        put: (records, options) =>
          ++puts === 4
            ? Effect.zipRight(
                // Half of the batch is there when the server dies.
                cache.put(records.slice(0, records.length >> 1), options),
                Effect.zipRight(
                  Effect.promise(() => redis.kill()),
                  cache.put(records, options)
                )
              )
            : cache.put(records, options)
      }))
      const engine = yield* startEngine(
        { ...quick, dataDir: yield* temporaryDirectory, sql: yield* database, redis: redis.url },
        (parts) => killer(wrap(parts))
      )
      const writes = yield* load(engine)
      const reads = yield* probe(engine, writes.newest)
      yield* eventually(
        "the cache is gone",
        Effect.map(degraded(engine), (list) => list.includes("cache"))
      )
      yield* Effect.sleep("500 millis")
      expect(yield* degraded(engine)).toEqual(["cache"])
      expect(yield* reasonOf(engine, "cache")).not.toBe("")
      yield* alive(engine)
      yield* reads.stop
      expect(reads.counts.unavailable).toBe(0)
      expect(reads.counts.slowestMs).toBeLessThan(3000)
      const back = yield* again(redis)
      yield* Effect.sleep("300 millis")
      yield* writes.stop
      yield* allArrived(engine, writes.newest, back.url)
      expect(inLogOrder(commits)).toBe(true)
      expect((yield* engine.service.stats).flushFailures).toBe(0)
    })
  )
})

describe("SQL", () => {
  it.scopedLive(
    "killed in the middle of a batch and started again: all that was acknowledged arrives, in order",
    () =>
      Effect.gen(function* () {
        const redis = yield* privateRedis()
        const { commits, wrap } = recorded()
        let calls = 0
        const killer = wrapArchive((archive) => ({
          commit: (records) =>
            ++calls === 3
              ? Effect.zipRight(
                  // While the statements of the batch run.
                  Effect.fork(Effect.delay(signal("SIGKILL"), "3 millis")),
                  archive.commit(records)
                )
              : archive.commit(records)
        }))
        const engine = yield* startEngine(
          { ...quick, dataDir: yield* temporaryDirectory, sql: yield* database, redis: redis.url },
          (parts) => wrap(killer(parts))
        )
        const writes = yield* load(engine)
        const reads = yield* probe(engine, writes.newest)
        yield* eventually(
          "SQL is gone",
          Effect.map(degraded(engine), (list) => list.includes("archive"))
        )
        yield* Effect.sleep("1 second")
        yield* alive(engine)
        expect((yield* engine.service.health).archive.available).toBe(false)
        expect(yield* reasonOf(engine, "archive")).toMatch(/ECONN|refused|closed|lost/i)
        expect((yield* engine.service.stats).pending).toBeGreaterThan(0)
        expect(reads.counts.unavailable).toBeGreaterThan(0)
        yield* restartMysql
        yield* Effect.sleep("300 millis")
        yield* reads.stop
        yield* writes.stop
        expect(reads.counts.slowestMs).toBeLessThan(readBoundMs)
        yield* allArrived(engine, writes.newest, redis.url)
        expect(inLogOrder(commits)).toBe(true)
        expect(yield* degraded(engine)).toEqual([])
      })
  )

  it.scopedLive(
    "paused under load and resumed: intake goes on, reads say unavailable in time, never absent",
    () =>
      Effect.gen(function* () {
        const { commits, wrap } = recorded()
        const engine = yield* startEngine(
          // Nothing stays in memory: what is archived has to be asked of SQL.
          { ...quick, dataDir: yield* temporaryDirectory, sql: yield* database, l1MaxBytes: 0 },
          wrap
        )
        yield* engine.service.submitMany(items(100, "before", 2000))
        yield* engine.service.flush
        const writes = yield* load(engine)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* pauseMysql
            const begun = performance.now()
            const acknowledged = (yield* engine.service.stats).acknowledged
            const answers = yield* Effect.forEach(
              ["geo.0.2000", "geo.4.2099"],
              (id) => Effect.either(engine.service.get(id)),
              { concurrency: 2 }
            )
            expect(performance.now() - begun).toBeLessThan(readBoundMs)
            for (const answer of answers) {
              expect(Either.isLeft(answer) && answer.left).toBeInstanceOf(TierUnavailable)
            }
            yield* notDenied(engine, "never.written")
            const counted = yield* Effect.flip(engine.service.countPrefix("geo"))
            expect(counted).toBeInstanceOf(TierUnavailable)
            yield* Effect.sleep("1500 millis")
            yield* alive(engine)
            const stats = yield* engine.service.stats
            expect(stats.acknowledged).toBeGreaterThan(acknowledged + 500)
            // What is still in the log is served from there.
            const own = yield* engine.service.submit({ id: "own", content: "mine" })
            expect(own.durability).toBe("wal")
            expect(Option.map(yield* engine.service.get("own"), textOf)).toEqual(Option.some("mine"))
            expect(yield* degraded(engine)).toEqual(["archive"])
            expect(yield* reasonOf(engine, "archive")).toMatch(/answer|timed out|timeout|ETIMEDOUT/i)
          })
        )
        yield* eventually("drained", isWell(engine))
        yield* writes.stop
        const all = new Map(writes.newest)
        for (const { content, id } of items(100, "before", 2000)) all.set(id, content)
        yield* allArrived(engine, all.set("own", "mine"))
        expect(inLogOrder(commits)).toBe(true)
      })
  )

  it.scopedLive("cutting connections inside transactions while commits run: no caller sees it", () =>
    Effect.gen(function* () {
      const { commits, wrap } = recorded()
      const sql = yield* database
      // A batch may hold all of the slow ones in the end.
      const options = { ...quick, sqlQueryTimeout: 10_000 }
      const engine = yield* startEngine({ ...options, dataDir: yield* temporaryDirectory, sql }, wrap)
      const admin = yield* rawSql(mysql.url)
      const name = new URL(sql).pathname.slice(1)
      // Sleeps where it can be caught: behind the first statements of a transaction.
      yield* admin.unsafe(
        `CREATE TRIGGER ${name}.slow BEFORE INSERT ON ${name}.items FOR EACH ROW
         BEGIN IF NEW.id LIKE 'slow.%' THEN DO SLEEP(0.3); END IF; END`
      ).unprepared
      const writes = yield* load(engine)
      for (let cut = 0; cut < 6; cut++) {
        const id = `slow.${cut}`
        yield* engine.service.submit({ id, content: "caught" })
        writes.newest.set(id, "caught")
        yield* eventually(
          `cut ${cut}`,
          Effect.gen(function* () {
            const rows = yield* admin.unsafe<{ id: number }>(
              `SELECT id FROM information_schema.processlist WHERE db = '${name}' AND state = 'User sleep'`
            ).unprepared
            // One that has ended by itself meanwhile does not count.
            const kills = yield* Effect.forEach(rows, (row) =>
              Effect.either(admin.unsafe(`KILL CONNECTION ${Number(row.id)}`).unprepared)
            )
            return kills.some(Either.isRight)
          })
        )
      }
      expect((yield* engine.service.stats).flushFailures).toBeGreaterThan(0)
      yield* alive(engine)
      yield* writes.stop
      yield* allArrived(engine, writes.newest)
      expect(inLogOrder(commits)).toBe(true)
    })
  )

  it.scopedLive(
    "and Redis both down under load: log and memory go on, in the end everything is in both",
    () =>
      Effect.gen(function* () {
        const redis = yield* privateRedis()
        const { commits, wrap } = recorded()
        const engine = yield* startEngine(
          { ...quick, dataDir: yield* temporaryDirectory, sql: yield* database, redis: redis.url },
          wrap
        )
        yield* engine.service.submitMany(items(300, "before", 3000))
        yield* engine.service.flush
        const writes = yield* load(engine)
        yield* signal("SIGKILL")
        yield* eventually(
          "SQL is degraded",
          Effect.map(degraded(engine), (list) => list.includes("archive"))
        )
        // The cache still stands, and is still right about what it holds.
        expect((yield* engine.service.health).cache.available).toBe(true)
        yield* Effect.promise(() => redis.kill())
        yield* eventually(
          "both are degraded",
          Effect.map(degraded(engine), (list) => list.length === 2)
        )
        yield* Effect.sleep("4 seconds")
        yield* alive(engine)
        const held = yield* engine.service.stats
        expect(held.pending).toBeGreaterThan(1000)
        expect((yield* engine.service.getMany(items(300, "before", 3000).map(({ id }) => id))).size).toBe(300)
        yield* notDenied(engine, "never.written")
        expect(yield* Effect.flip(engine.service.flush)).toBeInstanceOf(TierUnavailable)
        expect((yield* engine.service.health).degraded.map(({ since }) => since > 0)).toEqual([true, true])
        yield* restartMysql
        yield* eventually(
          "drained",
          Effect.map(degraded(engine), (list) => list.join() === "cache")
        )
        const back = yield* again(redis)
        yield* Effect.sleep("300 millis")
        yield* writes.stop
        const all = new Map(writes.newest)
        for (const { content, id } of items(300, "before", 3000)) all.set(id, content)
        yield* allArrived(engine, all, back.url)
        expect(inLogOrder(commits)).toBe(true)
      })
  )

  it.scopedLive("away at the shutdown: the report says what stays, the next start carries it", () =>
    Effect.gen(function* () {
      const sql = yield* database
      const dataDir = yield* temporaryDirectory
      const engine = yield* startEngine({ ...quick, dataDir, sql, shutdownTimeout: 4000 })
      yield* engine.service.submitMany(items(10))
      yield* engine.service.flush
      const report = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* pauseMysql
          yield* engine.service.submitMany(items(500, "late", 100))
          return yield* engine.service.shutdown
        })
      )
      expect(report).toMatchObject({ itemsLeftInLog: 500, flushedWal: false, finalCheckpoint: true })
      expect(report.problems.length).toBeGreaterThan(0)
      expect(report.durationMs).toBeLessThan(7000)
      const next = yield* startEngine({ ...quick, dataDir, sql })
      expect(yield* next.service.countPrefix("")).toBe(510)
      expect((yield* next.service.verify()).inSync).toBe(true)
    })
  )
})
