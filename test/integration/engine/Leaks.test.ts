/** What an engine takes it gives back: sockets, timers, files; and its gate, before the start, after the stop and under pressure. */
import { readdirSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Option, Redacted, Stream } from "effect"
import { inject } from "vitest"
import { Backpressure, GateClosed, LogFull } from "../../../src/EngineError.js"
import { textOf } from "../../../src/SyncItem.js"
import { type BackpressureLevel, backpressureLevels } from "../../../src/shared/Backpressure.js"
import { freePort } from "../../support/redis.js"
import { type RunningServer, startMysql } from "../../support/servers.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, makeEngine, startEngine, temporaryDirectory } from "./support.js"
import { items, privateRedis, wrapArchive } from "./tiers.js"

const database = Effect.map(
  Effect.suspend(() => freshDatabase(inject("mysqlUrl"))),
  Redacted.value
)

/** What keeps a process alive, by kind, and how many file descriptors are open. */
const held = () => {
  const kinds: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    // Work that is under way at this instant is not held.
    if (/^(Immediate|FSReqCallback|FSReqPromise|TickObject)$/.test(kind)) continue
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  return { kinds, files: readdirSync("/proc/self/fd").length }
}

const total = (kinds: Readonly<Record<string, number>>) => Object.values(kinds).reduce((a, b) => a + b, 0)

/** Waits until no more is held than before; then says what is. */
const settled = (before: ReturnType<typeof held>) =>
  Effect.gen(function* () {
    yield* eventually(
      "given back",
      Effect.sync(() => {
        const now = held()
        return now.files <= before.files && total(now.kinds) <= total(before.kinds)
      }),
      100
    ).pipe(Effect.catchAllDefect(() => Effect.void))
    return held()
  })

describe("start and stop", () => {
  it.scopedLive("ten times over MariaDB and Redis leave no socket, timer or file behind", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const options = {
        dataDir: yield* temporaryDirectory,
        sql: yield* database,
        redis: redis.url,
        cdc: true
      }
      const round = (at: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const engine = yield* startEngine(options)
            yield* engine.service.submitMany(items(300, `r${at}.`))
            yield* Effect.forEach(items(50), ({ id }) => engine.service.get(id), { concurrency: 50 })
            yield* engine.service.get(`absent.${at}`)
            yield* Stream.runDrain(Stream.take(engine.service.changes(), 5))
            // Every second time by closing the scope alone.
            if (at % 2 === 0) {
              const report = yield* engine.service.shutdown
              expect(report.problems).toEqual([])
            }
          })
        )
      yield* round(0)
      const before = held()
      for (let at = 1; at <= 10; at++) yield* round(at)
      const after = yield* settled(before)
      expect(after.files).toBeLessThanOrEqual(before.files)
      expect(total(after.kinds), JSON.stringify({ before, after })).toBeLessThanOrEqual(total(before.kinds))
    })
  )

  it.scopedLive("that fail, over SQL, over the log, or interrupted half-way, leave nothing either", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const port = yield* Effect.promise(freePort)
      const dataDir = yield* temporaryDirectory
      const good = yield* database
      const fail = (at: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const noSql = yield* makeEngine({
              ...{ dataDir, sql: `mysql://u:p@127.0.0.1:${port}/d`, redis: redis.url, sqlStartTimeout: 300 }
            })
            expect(Either.isLeft(yield* Effect.either(noSql.start))).toBe(true)
            const noLog = yield* makeEngine({ dataDir, walPath: "/proc/none/wal.db", redis: redis.url })
            expect(Either.isLeft(yield* Effect.either(noLog.start))).toBe(true)
            const halfWay = yield* makeEngine({ dataDir, sql: good, redis: redis.url })
            const starting = yield* Effect.fork(halfWay.start)
            yield* Effect.sleep(5 + 15 * at)
            yield* halfWay.shutdown
            yield* Effect.exit(starting)
          })
        )
      yield* fail(0)
      const before = held()
      for (let at = 1; at <= 6; at++) yield* fail(at)
      const after = yield* settled(before)
      expect(after.files).toBeLessThanOrEqual(before.files)
      expect(total(after.kinds), JSON.stringify({ before, after })).toBeLessThanOrEqual(total(before.kinds))
    })
  )
})

describe("the gate", () => {
  it.scopedLive("refuses before the start and after the stop, with a reason, for every operation", () =>
    Effect.gen(function* () {
      const redis = yield* privateRedis()
      const engine = yield* makeEngine({
        dataDir: yield* temporaryDirectory,
        sql: yield* database,
        redis: redis.url
      })
      const { service } = engine
      const operations: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["submit", service.submit({ id: "a", content: "1" })],
        ["submit to memory", service.submit({ id: "a", content: "1" }, { durability: "memory" })],
        ["submit volatile", service.submit({ id: "a", content: "1" }, { sql: false, ttl: "1 minute" })],
        ["compare and set", service.submit({ id: "a", content: "1" }, { expectedVersion: 0 })],
        ["submitMany", service.submitMany(items(3))],
        ["delete", service.delete("a")],
        ["deleteMany", service.deleteMany(["a"])],
        ["setState", service.setState("a", "x")],
        ["deleteByState", service.deleteByState("x")],
        ["deletePrefix", service.deletePrefix("a")],
        ["get", service.get("a")],
        ["getMany", service.getMany(["a"])],
        ["getVerified", service.getVerified("a")],
        ["getOrInsertWith", service.getOrInsertWith("a", Effect.succeed({ content: "1" }))],
        ["contains", service.contains("a")],
        ["definitelyMissing", service.definitelyMissing("a")],
        ["isCurrent", service.isCurrent("a", 1)],
        ["status", service.status("a")],
        ["getByState", Stream.runDrain(service.getByState("x"))],
        ["countByState", service.countByState("x")],
        ["listStateIds", service.listStateIds("x")],
        ["scanPrefix", Stream.runDrain(service.scanPrefix("a"))],
        ["countPrefix", service.countPrefix("a")],
        ["merkleRoot", service.merkleRoot],
        ["merkleNode", service.merkleNode("")],
        ["merkleChildren", service.merkleChildren("")],
        ["verify", service.verify()],
        ["flush", service.flush]
      ]
      const allRefused = (phase: string) =>
        Effect.forEach(operations, ([name, operation]) =>
          Effect.map(Effect.either(operation), (answer) => {
            expect([name, Either.isLeft(answer) && answer.left instanceof GateClosed]).toEqual([name, true])
            if (Either.isLeft(answer))
              expect(answer.left).toMatchObject({ phase, retryAfterMs: expect.any(Number) })
          })
        )
      yield* allRefused("starting")
      expect((yield* service.health).lifecycle.phase).toBe("starting")
      expect((yield* service.stats).acknowledged).toBe(0)
      yield* service.tick

      // Twice at once: one start.
      yield* Effect.all([engine.start, engine.start, Effect.yieldNow().pipe(Effect.zipRight(engine.start))], {
        concurrency: "unbounded"
      })
      yield* engine.start
      expect((yield* service.stats).startupTimings.filter(([label]) => label === "wal_init").length).toBe(1)
      yield* service.submit({ id: "a", content: "1" })
      const [one, two] = yield* Effect.all([engine.shutdown, service.shutdown], { concurrency: 2 })
      expect(one).toBe(two)
      expect(one).toMatchObject({ problems: [], flushedWal: true, itemsLeftInLog: 0 })

      yield* allRefused("stopped")
      expect(
        Either.isLeft(yield* Effect.either(engine.start)) ||
          (yield* service.health).lifecycle.phase === "stopped"
      ).toBe(true)
      expect((yield* service.health).acceptsWrites).toBe(false)
      expect((yield* service.stats).acknowledged).toBe(1)
      yield* service.tick
      expect(yield* engine.shutdown).toBe(one)
    })
  )
})

describe("overload", () => {
  let mysql: RunningServer
  beforeAll(async () => {
    mysql = await startMysql()
  })
  afterAll(() => mysql.stop())

  it.scopedLive("goes through every level of backpressure and back, and loses nothing it acknowledged", () =>
    Effect.gen(function* () {
      const sql = Redacted.value(yield* freshDatabase(mysql.url))
      let commits = 0
      const engine = yield* startEngine(
        {
          ...{
            dataDir: yield* temporaryDirectory,
            sql,
            walMaxItems: 100,
            walDrainInterval: 300,
            healthInterval: 300
          },
          ...{ sqlQueryTimeout: 1000, sqlConnectTimeout: 1000, batchFlushCount: 2, batchFlushInterval: 20 }
        },
        // Slowly, so that the levels can be seen on the way back.
        wrapArchive((archive) => ({
          commit: (records) => Effect.delay(archive.commit(records), ++commits > 1 ? "30 millis" : "0 millis")
        }))
      )
      yield* engine.service.submit({ id: "first", content: "1" }, { durability: "archive" })
      const levels: Array<BackpressureLevel> = []
      const look = Effect.map(engine.service.health, ({ backpressure }) => {
        if (levels.at(-1) !== backpressure.level) levels.push(backpressure.level)
        return backpressure
      })
      yield* look
      const acknowledged = new Map<string, string>()
      yield* Effect.sync(() => process.kill(mysql.pid, "SIGSTOP")).pipe(
        Effect.zipRight(Effect.addFinalizer(() => Effect.sync(() => process.kill(mysql.pid, "SIGCONT"))))
      )
      const delays: Partial<Record<BackpressureLevel, number>> = {}
      for (let at = 0; at < 94; at++) {
        const { level } = yield* look
        const begun = performance.now()
        yield* engine.service.submit({ id: `id.${at}`, content: `v${at}` })
        delays[level] = Math.max(delays[level] ?? 0, performance.now() - begun)
        acknowledged.set(`id.${at}`, `v${at}`)
      }
      expect(delays.Throttle).toBeGreaterThanOrEqual(9)
      expect(delays.Critical).toBeGreaterThanOrEqual(99)
      // The bound itself: a batch that does not fit is refused whole, nothing of it is written.
      const tooMany = yield* engine.service.submitMany(items(20, "never"))
      for (const result of tooMany) {
        expect(result._tag === "Rejected" && result.error).toBeInstanceOf(LogFull)
      }
      yield* engine.service.submitMany(items(2, "level"))
      const emergency = yield* Effect.flip(engine.service.submit({ id: "refused", content: "1" }))
      expect(emergency).toBeInstanceOf(Backpressure)
      expect(emergency).toMatchObject({ level: "Emergency", retryAfterMs: 1000 })
      yield* look
      for (const { content, id } of items(2, "level")) acknowledged.set(id, content)
      // Batches under way when the gate closed may still come in; the highest level is theirs.
      expect((yield* look).pressure).toBeLessThan(0.98)
      expect(yield* Effect.flip(engine.service.delete("id.0"))).toBeInstanceOf(Backpressure)
      // Reads go on at every level.
      expect(Option.map(yield* engine.service.get("id.93"), textOf)).toEqual(Option.some("v93"))
      yield* Effect.sleep("1500 millis")
      expect((yield* engine.service.health).lifecycle.phase).toBe("ready")
      yield* Effect.sync(() => process.kill(mysql.pid, "SIGCONT"))
      yield* eventually(
        "back to normal",
        Effect.map(look, ({ level, pressure }) => level === "Normal" && pressure === 0).pipe(
          Effect.zipLeft(Effect.sleep("5 millis"))
        )
      )
      yield* engine.service.submit({ id: "id.0", content: "taken again" })
      acknowledged.set("id.0", "taken again").set("first", "1")
      const up = levels.indexOf("Emergency")
      expect(levels.slice(0, up + 1)).toEqual(backpressureLevels.slice(0, up + 1))
      expect(levels.slice(up)).toEqual([...backpressureLevels.slice(0, up + 1)].reverse())
      expect(yield* engine.service.countPrefix("")).toBe(acknowledged.size)
      const found = yield* engine.service.getMany([...acknowledged.keys()])
      expect(new Map(Array.from(found, ([id, item]) => [id, textOf(item)]))).toEqual(acknowledged)
      expect((yield* engine.service.verify()).inSync).toBe(true)
      expect((yield* engine.service.stats).deadLetters).toBe(0)
    })
  )

  it.scopedLive(
    "fills to the last place under many writers at once: the highest level refuses, none is lost",
    () =>
      Effect.gen(function* () {
        const sql = Redacted.value(yield* freshDatabase(mysql.url))
        const engine = yield* startEngine({
          ...{
            dataDir: yield* temporaryDirectory,
            sql,
            walMaxItems: 100,
            walDrainInterval: 300,
            healthInterval: 300
          },
          ...{ sqlQueryTimeout: 1000, sqlConnectTimeout: 1000 }
        })
        yield* Effect.sync(() => process.kill(mysql.pid, "SIGSTOP")).pipe(
          Effect.zipRight(Effect.addFinalizer(() => Effect.sync(() => process.kill(mysql.pid, "SIGCONT"))))
        )
        yield* engine.service.submitMany(items(90))
        const answers = yield* Effect.forEach(
          Array.from({ length: 60 }, (_, at) => at),
          (at) => Effect.either(engine.service.submit({ id: `burst.${at}`, content: "x" })),
          { concurrency: "unbounded" }
        )
        const taken = answers.filter(Either.isRight).length
        for (const answer of answers) {
          if (Either.isLeft(answer)) {
            expect(answer.left instanceof Backpressure || answer.left instanceof LogFull).toBe(true)
            expect(answer.left).toMatchObject({ retryAfterMs: expect.any(Number) })
          }
        }
        const full = yield* engine.service.health
        expect(taken).toBeGreaterThanOrEqual(5)
        expect((yield* engine.service.stats).log.items).toBe(90 + taken)
        expect(90 + taken).toBeLessThanOrEqual(100)
        if (90 + taken >= 98) {
          expect(full.backpressure.level).toBe("Shutdown")
          expect(yield* Effect.flip(engine.service.submit({ id: "more", content: "x" }))).toMatchObject({
            _tag: "Backpressure",
            level: "Shutdown",
            retryAfterMs: 5000
          })
        }
        yield* Effect.sync(() => process.kill(mysql.pid, "SIGCONT"))
        yield* eventually(
          "back to normal",
          Effect.map(engine.service.health, ({ backpressure }) => backpressure.pressure === 0)
        )
        expect(yield* engine.service.countPrefix("burst")).toBe(taken)
        expect(yield* engine.service.countPrefix("geo")).toBe(90)
      })
  )
})
