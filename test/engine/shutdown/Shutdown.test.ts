import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Either, Fiber, Layer, TestClock } from "effect"
import { Archive } from "../../../src/archive/Archive.js"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { Cache, type CacheService } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { LogUnavailable } from "../../../src/EngineError.js"
import { isClean } from "../../../src/Lifecycle.js"
import { FilterSnapshots } from "../../../src/wal/FilterSnapshots.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { WriteAheadLog } from "../../../src/wal/WriteAheadLog.js"
import { between, cacheOf } from "../../support/components.js"
import { makeEngine } from "../../support/engine.js"
import { logged } from "../../support/Logged.js"
import { steppingClock } from "../../support/SteppingClock.js"
import { beside, ended, items, PlayedArchive, settle, start } from "../support.js"

const hour = 3_600_000
const quiet = { batchFlushInterval: hour, walDrainInterval: hour, healthInterval: hour }

/** A memory log whose appends the test answers. */
const playedAppends = (disk: MemoryLog.MemoryLogDisk) => {
  const play: { appends: "commit" | "hang" | "fail" } = { appends: "commit" }
  const failure = new LogUnavailable({ path: "x", operation: "append", problem: "told to", retryAfterMs: 1 })
  const log = MemoryLog.layerMemory({ disk }).pipe(
    between(WriteAheadLog, (inner) => ({
      ...inner,
      get maxVersion() {
        return inner.maxVersion
      },
      unsafeAppend: (records, done) => {
        if (play.appends === "commit") inner.unsafeAppend(records, done)
        else if (play.appends === "fail") setTimeout(() => done(Either.left(failure)), 0)
      }
    }))
  )
  return { log, play }
}

const turnOfTheEventLoop = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

describe("the flush of a shutdown", () => {
  it.scoped("one transient failure does not end it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      yield* service.submitMany(items(7))
      let stumbles = 3
      archive.stumbles = ({ operation }) => operation === "commit" && stumbles-- > 0
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(2000)
      expect(yield* Fiber.join(shutdown)).toMatchObject({ flushedWal: true, itemsFlushed: 7, problems: [] })
    })
  )

  it.scoped("goes on until the share that is kept for closing, and takes an archive that comes back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { ...quiet, shutdownTimeout: 25_000 }
      })
      yield* service.submitMany(items(7))
      archive.down = true
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(16_500)
      expect(yield* ended(shutdown)).toBe(false)
      archive.down = false
      yield* TestClock.adjust(1000)
      expect(isClean(yield* Fiber.join(shutdown))).toBe(true)
    })
  )

  it.scoped("a log that cannot release holds up nothing: what is archived already is not flushed again", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      const { service } = yield* start({ disk, archive: archive.options, config: quiet })
      yield* service.submitMany(items(7))
      // The filter is built and trusted: there is something to save.
      yield* TestClock.adjust(5000)
      disk.faults.writes = 1_000_000
      const shutdown = yield* beside(service.shutdown)
      yield* settle
      expect(yield* ended(shutdown)).toBe(true)
      const report = yield* Fiber.join(shutdown)
      expect(report).toMatchObject({
        flushedWal: true,
        filterSnapshot: false,
        itemsLeftInLog: 7,
        durationMs: 0
      })
      expect(report.problems.join()).toContain("filter snapshot: ")
      expect(report.problems.join()).not.toContain("writers' register")
      expect(archive.state.writers.rows.size).toBe(0)
    })
  )

  it.scoped("a snapshot that hangs leaves the writers' register the time to be left", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const log = Layer.map(MemoryLog.layerMemory(), (context) =>
        Context.add(context, FilterSnapshots, {
          ...Context.get(context, FilterSnapshots),
          save: () => Effect.never
        })
      )
      const { service } = yield* start({ log, archive: archive.options, config: quiet })
      yield* service.submitMany(items(7))
      // The filter is built and trusted: there is something to save.
      yield* TestClock.adjust(5000)
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(25_000)
      const report = yield* Fiber.join(shutdown)
      expect(report.problems).toEqual(["filter snapshot: not done within the shutdown timeout of 25000 ms"])
      expect(archive.state.writers.rows.size).toBe(0)
    })
  )
})

describe("the share that is kept for closing the log", () => {
  it.scoped("is not used up by an archive and a cache that hang when they are closed", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { cache } = yield* InProcessCache.make()
      const hanging = Effect.addFinalizer(() => Effect.never)
      const { service } = yield* start({
        disk,
        archive: Layer.succeed(Archive, { open: Effect.as(hanging, MemoryArchive.make()) }),
        cache: Layer.succeed(Cache, { open: Effect.as(hanging, cache) }),
        config: { ...quiet, shutdownTimeout: 10_000 }
      })
      yield* service.submitMany(items(3))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(9499)
      expect(disk.owner).toBeDefined()
      yield* TestClock.adjust(1)
      expect(disk.owner).toBeUndefined()
      const report = yield* Fiber.join(shutdown)
      expect(report).toMatchObject({ flushedWal: true, finalCheckpoint: true, durationMs: 9500 })
      expect(report.problems).toEqual([
        "closing the cache: not done within the shutdown timeout of 10000 ms",
        "closing the archive: not done within the shutdown timeout of 10000 ms"
      ])
    })
  )

  it.scoped("a log that is opened too late is closed again", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const late = yield* Effect.makeLatch(false)
      const log = Layer.map(MemoryLog.layerMemory({ disk }), (context) =>
        Context.add(context, WriteAheadLog, {
          open: Effect.zipRight(late.await, Context.get(context, WriteAheadLog).open)
        })
      )
      const { service, start: begin } = yield* makeEngine({ log, config: { shutdownTimeout: 1000 } })
      yield* beside(Effect.exit(begin))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(1000)
      expect((yield* Fiber.join(shutdown)).problems[0]).toContain("start-up: not done")
      yield* late.open
      yield* settle
      expect(disk.owner).toBeUndefined()
    })
  )
})

describe("nobody is left without an answer", () => {
  it.scoped("a writer at archive while the archive is unavailable: before or with the report", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.down = true
      const early = yield* beside(service.submit({ id: "a", content: "x" }, { durability: "archive" }))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(25_000)
      yield* Fiber.join(shutdown)
      expect(yield* ended(early)).toBe(true)
    })
  )

  it.scoped(
    "a log that does not answer: every writer hears that nobody knows, and the report does not count them",
    () =>
      Effect.gen(function* () {
        const disk = MemoryLog.makeDisk()
        const { log, play } = playedAppends(disk)
        const { service } = yield* start({ log, config: { ...quiet, shutdownTimeout: 2000 } })
        yield* service.submit({ id: "held", content: "x" })
        play.appends = "hang"
        const waiting = yield* Effect.forEach(["wal", "archive"] as const, (durability) =>
          beside(Effect.flip(service.submit({ id: durability, content: "x" }, { durability })))
        )
        expect(
          (yield* service.submit({ id: "early", content: "x" }, { durability: "memory" })).durability
        ).toBe("memory")
        const shutdown = yield* beside(service.shutdown)
        yield* TestClock.adjust(2000)
        const report = yield* Fiber.join(shutdown)
        for (const writer of waiting) {
          expect(yield* ended(writer)).toBe(true)
          expect(yield* Fiber.join(writer)).toMatchObject({ _tag: "LogUnavailable", operation: "append" })
        }
        expect(report.itemsLeftInLog).toBeLessThanOrEqual(1)
        expect(report.problems[0]).toContain("writes under way: not done")
        expect(report.problems.join()).toContain('1 write acknowledged at "memory" was lost')
      })
  )
})

describe("the report", () => {
  it.scoped("of a start that could not open its log does not say that it is empty", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ disk, archive: "none" })
          yield* service.submitMany(items(12))
        })
      )
      disk.faults.opens = 1
      const { service, start: begin } = yield* makeEngine({ disk })
      yield* Effect.flip(begin)
      const report = yield* service.shutdown
      expect(report).toMatchObject({
        flushedWal: false,
        finalCheckpoint: false,
        filterSnapshot: false,
        itemsLeftInLog: undefined
      })
      expect(report.problems[0]).toContain("start: ")
      expect(isClean(report)).toBe(false)
    })
  )

  it.scoped("of a start that was stopped counts what the log holds, and why it stays", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      yield* Effect.scoped(
        Effect.flatMap(start({ disk, archive: "none" }), ({ service }) => service.submitMany(items(12)))
      )
      const archive = Layer.succeed(Archive, { open: Effect.never })
      const { service, start: begin } = yield* makeEngine({ disk, archive })
      yield* beside(begin)
      expect(yield* service.shutdown).toMatchObject({
        flushedWal: false,
        itemsLeftInLog: 12,
        problems: ["12 writes stay in the log, not archived: the archive was not connected"]
      })
    })
  )

  it.scoped("that does not wait for a write to the cache finds no fault in the cache", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const { lines, provide } = logged()
      const slow: CacheService = { ...cache, put: () => Effect.never }
      const { service } = yield* provide(start({ cache: cacheOf(slow), config: quiet }))
      yield* service.submit({ id: "a", content: "1" }, { durability: "archive" })
      const report = yield* service.shutdown
      expect(report.itemsLeftInLog).toBe(0)
      expect(lines.filter(({ message }) => message.includes("failed unexpectedly"))).toEqual([])
    })
  )

  it.scoped("without an archive names the reason", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ archive: "none" })
      yield* service.submitMany(items(3))
      expect((yield* service.shutdown).problems).toEqual([
        "3 writes stay in the log, not archived: no archive is configured"
      ])
    })
  )

  it.scoped('writes acknowledged at "memory" and lost are logged once while it runs', () =>
    Effect.gen(function* () {
      const { log, play } = playedAppends(MemoryLog.makeDisk())
      const { lines, provide } = logged()
      const { service } = yield* provide(start({ log, config: quiet }))
      play.appends = "fail"
      yield* service.submitMany(items(5), { durability: "memory" })
      yield* turnOfTheEventLoop
      yield* settle
      expect(lines.filter(({ message }) => message.includes("are lost"))).toEqual([
        {
          level: "ERROR",
          message: 'the log did not take what was acknowledged at "memory": 5 writes are lost',
          cause: ""
        }
      ])
    })
  )

  it.scoped('writes acknowledged at "memory" and lost in the shutdown make it unclean', () =>
    Effect.gen(function* () {
      const { log, play } = playedAppends(MemoryLog.makeDisk())
      const { service } = yield* start({ log, config: quiet })
      play.appends = "fail"
      yield* service.submitMany(items(5), { durability: "memory" })
      const shutdown = yield* beside(service.shutdown)
      yield* turnOfTheEventLoop
      yield* TestClock.adjust(100)
      const report = yield* Fiber.join(shutdown)
      expect(isClean(report)).toBe(false)
      expect(report.problems).toEqual(['5 writes acknowledged at "memory" were lost on the way to the log'])
    })
  )
})

describe("a wall clock that steps", () => {
  it.scoped.each([-hour, hour])("by %d ms does not move the deadline, and durations stay", (stepMs) =>
    Effect.gen(function* () {
      const { clock, step } = yield* steppingClock
      const archive = new PlayedArchive()
      const { lifecycle, service } = yield* Effect.withClock(
        start({ archive: archive.options, config: { ...quiet, shutdownTimeout: 1000 } }),
        clock
      )
      yield* service.submit({ id: "a", content: "x" })
      archive.hold("commit")
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(400)
      step(stepMs)
      yield* TestClock.adjust(600)
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      const report = yield* Fiber.join(shutdown)
      expect(report.durationMs).toBeGreaterThanOrEqual(700)
      expect(report.durationMs).toBeLessThanOrEqual(1000)
      archive.letGo("commit")
    })
  )

  it.scoped("backwards does not hold up the flush after a failure, nor uptime", () =>
    Effect.gen(function* () {
      const { clock, step } = yield* steppingClock
      const archive = new PlayedArchive()
      yield* TestClock.setTime(10 * hour)
      const { service } = yield* Effect.withClock(
        start({ archive: archive.options, config: { ...quiet, batchFlushInterval: 100 } }),
        clock
      )
      yield* TestClock.adjust(1000)
      archive.down = true
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(100)
      archive.down = false
      step(-hour)
      yield* TestClock.adjust(400)
      expect(archive.live()).toEqual(["a"])
      expect((yield* service.stats).uptimeMs).toBe(1500)
    })
  )

  it.scoped("backwards during the start: its durations are not negative and its retries end", () =>
    Effect.gen(function* () {
      const { clock, step } = yield* steppingClock
      yield* TestClock.setTime(10 * hour)
      const archive = new PlayedArchive()
      archive.hold("root")
      const engine = yield* Effect.withClock(makeEngine({ archive: archive.options }), clock)
      const starting = yield* beside(Effect.withClock(engine.start, clock))
      yield* TestClock.adjust(300)
      step(-hour)
      archive.letGo("root")
      yield* TestClock.adjust(200)
      yield* Fiber.join(starting)
      expect(new Map(yield* engine.lifecycle.coldStartDurations).get("total")).toBe(300)
    })
  )
})
