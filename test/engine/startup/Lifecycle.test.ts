import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream, TestClock } from "effect"
import { Archive } from "../../../src/archive/Archive.js"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { ArchiveStartError } from "../../../src/EngineError.js"
import type { Phase } from "../../../src/Lifecycle.js"
import { isClean } from "../../../src/Lifecycle.js"
import type { SyncEngineApi } from "../../../src/SyncEngineApi.js"
import { textOf } from "../../../src/SyncItem.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { makeEngine } from "../../support/engine.js"
import { beside, driven, ended, items, PlayedArchive, settle, start } from "../support.js"

const writes = (service: SyncEngineApi): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
  service.submit({ id: "a", content: "x" }),
  service.submit({ id: "a", content: "x" }, { expectedVersion: 0 }),
  service.submitMany([{ id: "a", content: "x" }]),
  service.delete("a"),
  service.deleteMany(["a"])
]

const reads = (service: SyncEngineApi): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
  service.get("a"),
  service.getMany(["a"]),
  service.getVerified("a"),
  service.contains("a"),
  service.definitelyMissing("a"),
  service.mightExist("a"),
  service.status("a"),
  service.isCurrent("a", 1),
  service.countPrefix(""),
  service.countByState("s"),
  service.listStateIds("s"),
  service.scanPage(""),
  service.statePage("s"),
  Stream.runDrain(service.scanPrefix("")),
  Stream.runDrain(service.getByState("s")),
  service.merkleRoot,
  service.merkleNode(""),
  service.merkleChildren(""),
  service.verify(),
  service.flush
]

const expectClosed = (calls: ReadonlyArray<Effect.Effect<unknown, unknown>>, phase: Phase) =>
  Effect.forEach(calls, (call) =>
    Effect.map(Effect.flip(call), (error) => {
      expect(error).toMatchObject({ _tag: "GateClosed", phase })
      expect((error as { readonly retryAfterMs: number }).retryAfterMs).toBeGreaterThan(0)
    })
  )

/** An archive whose connecting is the test's to play. */
const connecting = (connect: Effect.Effect<void, ArchiveStartError>, archive = new PlayedArchive()) =>
  Layer.succeed(Archive, { open: Effect.as(connect, MemoryArchive.make(archive.options)) })

const refused = new ArchiveStartError({
  target: "memory",
  kind: "unreachable",
  problem: "connection refused"
})

const made = (options: Parameters<typeof makeEngine>[0]) => Effect.tap(makeEngine(options), driven)

describe("the gate", () => {
  it.scoped("before the start and while starting: nothing passes, and the reason is told", () =>
    Effect.gen(function* () {
      const { lifecycle, service, start } = yield* made({ archive: connecting(Effect.never) })
      yield* expectClosed([...writes(service), ...reads(service)], "starting")
      yield* beside(start)
      yield* expectClosed([...writes(service), ...reads(service)], "starting")
      expect(yield* Effect.flip(service.get("a"))).toMatchObject({ reason: "sql_connect" })
      expect(lifecycle.unsafeSnapshot()).toMatchObject({ phase: "starting", bootStage: "Connecting" })
      expect(yield* service.deadLetters.list()).toEqual([])
      yield* service.tick
      expect((yield* service.health).acceptsQueries).toBe(false)
      expect((yield* service.stats).pending).toBe(0)
    })
  )

  it.scoped("ready: everything; draining: reads and flushes only; stopped: nothing", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      for (const call of [...writes(service).slice(0, 1), ...reads(service)]) yield* call
      yield* service.submit({ id: "b", content: "x" })
      expect(yield* service.drain).toBe(true)
      expect(yield* service.drain).toBe(false)
      yield* expectClosed(writes(service), "draining")
      for (const call of reads(service)) yield* call
      expect((yield* service.stats).pending).toBe(0)
      yield* service.shutdown
      yield* expectClosed([...writes(service), ...reads(service)], "stopped")
      expect(yield* service.drain).toBe(false)
    })
  )

  it.scoped("while shutting down: nothing", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "x" })
      archive.hold("commit")
      const shutdown = yield* beside(service.shutdown)
      yield* expectClosed([...writes(service), ...reads(service)], "shutting_down")
      archive.letGo("commit")
      yield* settle
      expect(isClean(yield* Fiber.join(shutdown))).toBe(true)
    })
  )

  it.scoped("a batch that a drain overtakes: what is in the log is acknowledged, the rest is refused", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ disk, limits: { itemsPerTurn: 10 } })
      const batch = yield* Effect.fork(service.submitMany(items(100)))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      yield* service.drain
      const results = yield* Fiber.join(batch)
      const acknowledged = results.filter(({ _tag }) => _tag === "Acknowledged")
      expect(results).toHaveLength(100)
      expect(acknowledged.length).toBeGreaterThan(0)
      expect(acknowledged.length).toBeLessThan(100)
      expect(disk.committed).toBe(acknowledged.length)
      for (const result of results.slice(acknowledged.length)) {
        expect(result).toMatchObject({ _tag: "Rejected", error: { _tag: "GateClosed" } })
      }
    })
  )
})

describe("start", () => {
  it.scoped("twice and at the same time: one start for all", () =>
    Effect.gen(function* () {
      let connects = 0
      const { lifecycle, start } = yield* made({ archive: connecting(Effect.sync(() => void connects++)) })
      yield* Effect.all([start, start, start], { concurrency: "unbounded" })
      yield* start
      expect(connects).toBe(1)
      expect(lifecycle.unsafeSnapshot()).toMatchObject({ phase: "ready", bootStage: "Running" })
    })
  )

  it.scoped("goes on when the caller who waits for it is interrupted", () =>
    Effect.gen(function* () {
      const { lifecycle, start } = yield* made({ archive: connecting(Effect.sleep(100)) })
      const caller = yield* beside(start)
      yield* Fiber.interrupt(caller)
      yield* TestClock.adjust(100)
      expect(lifecycle.unsafeSnapshot().phase).toBe("ready")
    })
  )

  it.scoped("a log that cannot be opened, or is in use, is fatal and says where it is", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      disk.faults.opens = 1
      const { lifecycle, service, start } = yield* made({ disk })
      const error = yield* Effect.flip(start)
      expect(error).toMatchObject({ _tag: "LogOpenError", kind: "cannot-open", path: "memory" })
      expect(error.message).toContain("Durability cannot be guaranteed")
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      const report = yield* service.shutdown
      expect(report.problems).toEqual([`start: ${error.message}`])
      expect(isClean(report)).toBe(false)
      expect(yield* Effect.flip(start)).toBe(error)

      const first = yield* made({ disk })
      yield* first.start
      const second = yield* made({ disk })
      expect(yield* Effect.flip(second.start)).toMatchObject({ _tag: "LogOpenError", kind: "in-use" })
      expect(first.lifecycle.unsafeSnapshot().phase).toBe("ready")
    })
  )

  it.scoped("an archive that comes back within the start time-out is waited for", () =>
    Effect.gen(function* () {
      let attempts = 0
      const { service, start } = yield* made({
        archive: connecting(Effect.suspend(() => (++attempts < 4 ? Effect.fail(refused) : Effect.void)))
      })
      yield* beside(start)
      yield* TestClock.adjust(5000)
      expect(attempts).toBe(4)
      yield* service.submit({ id: "a", content: "x" })
    })
  )

  it.scoped("an archive that does not is fatal, and everything is closed again", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      let attempts = 0
      const { lifecycle, service, start } = yield* made({
        disk,
        config: { sqlStartTimeout: 10_000 },
        archive: connecting(
          Effect.suspend(() => {
            attempts++
            return Effect.fail(refused)
          })
        )
      })
      const starting = yield* beside(Effect.flip(start))
      yield* TestClock.adjust(9000)
      expect(yield* ended(starting)).toBe(false)
      yield* TestClock.adjust(15_000)
      expect(yield* Fiber.join(starting)).toBe(refused)
      expect(attempts).toBeGreaterThan(4)
      expect(attempts).toBeLessThan(15)
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      expect((yield* service.shutdown).problems).toEqual([`start: ${refused.message}`])
      // The log is free for the next start.
      yield* Effect.scoped(Effect.flatMap(made({ disk }), ({ start }) => start))
    })
  )

  it.scoped("an archive that does not is waited for no longer than the bound, and told of once", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const { start } = yield* made({
        config: { sqlStartTimeout: 3000 },
        archive: connecting(Effect.fail(refused))
      })
      const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
      const starting = yield* beside(Effect.flip(start).pipe(Effect.provide(Logger.add(logger))))
      yield* TestClock.adjust(3001)
      expect(yield* ended(starting)).toBe(true)
      expect(lines.filter((line) => line.includes("SQL is not there yet"))).toHaveLength(1)
    })
  )

  it.scoped("failed attempts to connect leave nothing open", () =>
    Effect.gen(function* () {
      let open = 0
      let attempts = 0
      const layer = Layer.succeed(Archive, {
        open: Effect.gen(function* () {
          yield* Effect.acquireRelease(
            Effect.sync(() => void open++),
            () => Effect.sync(() => void open--)
          )
          if (++attempts < 3) return yield* refused
          return MemoryArchive.make()
        })
      })
      const { service, start } = yield* made({ archive: layer })
      yield* beside(start)
      yield* TestClock.adjust(5000)
      expect([attempts, open]).toEqual([3, 1])
      yield* service.shutdown
      expect(open).toBe(0)
    })
  )

  it.scoped("without an archive: works, and says what is missing", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ disk, archive: "none" })
      yield* service.submitMany(items(3))
      expect(yield* service.health).toMatchObject({
        degraded: [{ component: "archive" }],
        archive: { dialect: "none", available: false }
      })
      yield* TestClock.adjust(10_000)
      const report = yield* service.shutdown
      expect(report).toMatchObject({
        flushedWal: false,
        itemsLeftInLog: 3,
        itemsFlushed: 0,
        finalCheckpoint: true
      })
      expect(disk.entries).toHaveLength(3)
      expect(disk.owner).toBeUndefined()
    })
  )

  it.scoped("what the log holds is carried over before anything is served", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ disk, archive: "none" })
          yield* service.submitMany(items(25))
          yield* service.delete("item.3")
        })
      )
      archive.hold("commit")
      const {
        lifecycle,
        service,
        start: starting
      } = yield* made({ disk, archive: archive.options, config: { batchFlushCount: 10 } })
      const started = yield* beside(starting)
      expect(lifecycle.unsafeSnapshot()).toMatchObject({
        phase: "starting",
        bootStage: "DrainingWal",
        reason: "wal_drain"
      })
      archive.letGo("commit")
      yield* settle
      yield* Fiber.join(started)
      expect(archive.live()).toHaveLength(24)
      expect(archive.commits.map((ids) => ids.length)).toEqual([10, 10, 6])
      const stats = yield* service.stats
      expect([stats.pending, stats.flushes.recovery]).toEqual([0, 3])
      expect((yield* lifecycle.coldStartDurations).map(([name]) => name)).toEqual(
        expect.arrayContaining(["wal_replay", "total"])
      )
    })
  )

  it.scoped(
    "an archive that is away during the replay: degraded, and every acknowledged item is still read",
    () =>
      Effect.gen(function* () {
        const disk = MemoryLog.makeDisk()
        const archive = new PlayedArchive()
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { service } = yield* start({ disk, archive: "none" })
            yield* service.submitMany(items(25))
            yield* service.submit({ id: "item.0", content: "newer" })
            yield* service.delete("item.3")
          })
        )
        // It is connected, and away from the first write on.
        archive.stumbles = ({ operation }) => {
          archive.down ||= operation === "commit"
          return archive.down
        }
        const { service } = yield* start({ disk, archive: archive.options, limits: { replayItems: 4 } })
        expect((yield* service.health).degraded.map(({ component }) => component)).toEqual(["archive"])
        expect(textOf(Option.getOrThrow(yield* service.get("item.0")))).toBe("newer")
        // Another node may have brought the deleted item back: its absence is not proven without the archive.
        expect(yield* Effect.flip(service.get("item.3"))).toMatchObject({ _tag: "TierUnavailable" })
        const others = items(25).flatMap(({ id }) => (id === "item.3" ? [] : [id]))
        expect((yield* service.getMany(others)).size).toBe(24)
        expect((yield* service.stats).pending).toBe(27)
        archive.stumbles = () => false
        archive.down = false
        yield* TestClock.adjust(5000)
        expect(Option.isNone(yield* service.get("item.3"))).toBe(true)
        expect(archive.live()).toHaveLength(24)
        expect((yield* service.health).degraded).toEqual([])
      })
  )

  it.scoped("entries of the log that cannot be read are fatal: they would be denied to their readers", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ disk, archive: "none" })
          yield* service.submitMany(items(5))
        })
      )
      disk.faults.reads = 10
      const { start: starting } = yield* made({ disk })
      expect(yield* Effect.flip(starting)).toMatchObject({ _tag: "LogOpenError", kind: "damaged" })
      expect(disk.entries).toHaveLength(5)
      disk.faults.reads = 0
      const again = yield* start({ disk })
      expect(yield* again.service.countPrefix("item")).toBe(5)
    })
  )

  it.scoped("the stages and phases are seen in their order, to the end", () =>
    Effect.gen(function* () {
      const { service, start } = yield* made({})
      const phases = yield* beside(Stream.runCollect(service.phaseChanges))
      const stages = yield* beside(Stream.runCollect(service.bootStageChanges))
      yield* start
      yield* service.drain
      yield* service.shutdown
      yield* settle
      expect(Chunk.toArray(yield* Fiber.join(phases))).toEqual([
        "starting",
        "ready",
        "draining",
        "shutting_down",
        "stopped"
      ])
      const seen = Chunk.toArray(yield* Fiber.join(stages))
      expect(seen[0]).toBe("Created")
      expect(seen.slice(-3)).toEqual(["Ready", "Running", "ShuttingDown"])
    })
  )
})

describe("drain and shutdown during the start", () => {
  it.scoped("a drain is remembered: no write ever gets in", () =>
    Effect.gen(function* () {
      const { lifecycle, service, start } = yield* made({ archive: connecting(Effect.sleep(100)) })
      const starting = yield* beside(start)
      expect(yield* service.drain).toBe(true)
      yield* TestClock.adjust(100)
      yield* Fiber.join(starting)
      expect(lifecycle.unsafeSnapshot().phase).toBe("draining")
      yield* expectClosed(writes(service), "draining")
      expect(Option.isNone(yield* service.get("a"))).toBe(true)
    })
  )

  it.scoped("a drain that was asked for meanwhile flushes and checkpoints once the start is through", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      yield* Effect.scoped(
        Effect.flatMap(start({ disk, archive: "none" }), ({ service }) => service.submitMany(items(3)))
      )
      const there = yield* Effect.makeLatch(false)
      let stumbles = 1
      archive.stumbles = ({ operation }) => operation === "commit" && stumbles-- > 0
      const hour = 3_600_000
      const engine = yield* made({
        disk,
        archive: connecting(there.await, archive),
        config: { batchFlushInterval: hour, walDrainInterval: hour, healthInterval: hour }
      })
      const starting = yield* beside(engine.start)
      yield* engine.service.drain
      expect(archive.calls).toEqual([])
      yield* there.open
      yield* Fiber.join(starting)
      yield* settle
      expect(archive.live()).toHaveLength(3)
      expect(archive.calls.at(-1)!.operation).toBe("checkpoint")
      expect(archive.seen("checkpoint")).toHaveLength(1)
    })
  )

  it.scoped("a shutdown stops a start that hangs, and frees the log", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { lifecycle, service, start } = yield* made({ disk, archive: connecting(Effect.never) })
      const starting = yield* beside(Effect.flip(start))
      const report = yield* service.shutdown
      expect(isClean(report)).toBe(true)
      expect(yield* Fiber.join(starting)).toMatchObject({ _tag: "GateClosed", phase: "shutting_down" })
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      expect(disk.owner).toBeUndefined()
    })
  )

  it.scoped("a shutdown during a hanging replay keeps the deadline, and the log keeps its entries", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      yield* Effect.scoped(
        Effect.flatMap(start({ disk, archive: "none" }), ({ service }) => service.submitMany(items(5)))
      )
      archive.hold("commit")
      const { service, start: starting } = yield* made({
        disk,
        archive: archive.options,
        config: { shutdownTimeout: 1000 }
      })
      yield* beside(Effect.exit(starting))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(1000)
      const report = yield* Fiber.join(shutdown)
      expect(report).toMatchObject({ flushedWal: false, itemsLeftInLog: 5 })
      expect(report.problems[0]).toContain("start-up")
      expect(report.durationMs).toBeLessThanOrEqual(1000)
      expect(disk.entries).toHaveLength(5)
    })
  )

  it.scoped("a shutdown before the start: the start is refused and opens nothing", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { lifecycle, service, start } = yield* made({ disk })
      yield* service.shutdown
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      expect(yield* Effect.flip(start)).toMatchObject({ _tag: "GateClosed", phase: "stopped" })
      expect(disk.owner).toBeUndefined()
      expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
    })
  )
})

describe("shutdown", () => {
  it.scoped("flushes what is pending, checkpoints, closes, and says so", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5000)
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({
        archive: archive.options,
        disk,
        config: { batchFlushInterval: 3_600_000 }
      })
      yield* service.submitMany(items(25))
      expect(yield* service.shutdown).toEqual({
        flushedWal: true,
        finalCheckpoint: true,
        filterSnapshot: true,
        itemsFlushed: 25,
        itemsLeftInLog: 0,
        problems: [],
        startedAtMs: 5000,
        completedAtMs: 5000,
        durationMs: 0
      })
      expect(archive.live()).toHaveLength(25)
      expect((yield* service.stats).flushes.shutdown).toBe(1)
      expect(disk.owner).toBeUndefined()
    })
  )

  it.scoped("100 callers at once, and later ones, get the very same report", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service, shutdown } = yield* start({ archive: archive.options })
      yield* service.submitMany(items(5))
      const reports = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? service.shutdown : shutdown)),
        (call) => call,
        { concurrency: "unbounded" }
      )
      expect(new Set([...reports, yield* service.shutdown]).size).toBe(1)
      expect(archive.commits).toHaveLength(1)
    })
  )

  it.scoped("an interrupted caller does not stop it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(items(5))
      archive.hold("commit")
      const first = yield* beside(service.shutdown)
      yield* Fiber.interrupt(first)
      archive.letGo("commit")
      yield* settle
      expect(isClean(yield* service.shutdown)).toBe(true)
      expect(archive.live()).toHaveLength(5)
    })
  )

  it.scoped("serves on for SHUTDOWN_DELAY, not ready any more; later requests join", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { lifecycle, service } = yield* start({
        archive: archive.options,
        config: { shutdownDelay: 5000, batchFlushInterval: 3_600_000 }
      })
      const first = yield* beside(service.shutdown)
      expect(lifecycle.unsafeSnapshot()).toMatchObject({ phase: "ready", shutdownRequested: true })
      yield* TestClock.adjust(3000)
      const second = yield* beside(service.shutdown)
      yield* service.submit({ id: "a", content: "x" })
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
      yield* TestClock.adjust(1999)
      expect(lifecycle.unsafeSnapshot().phase).toBe("ready")
      yield* service.submit({ id: "b", content: "x" })
      expect(archive.commits).toEqual([])
      yield* TestClock.adjust(1)
      const report = yield* Fiber.join(first)
      expect(report).toMatchObject({ durationMs: 0, itemsFlushed: 2, problems: [] })
      expect(yield* Fiber.join(second)).toBe(report)
    })
  )

  it.scoped(
    "SHUTDOWN_DELAY: a drained engine serves reads meanwhile; the caller's interruption changes nothing",
    () =>
      Effect.gen(function* () {
        const { lifecycle, service } = yield* start({ config: { shutdownDelay: 5000 } })
        yield* service.submit({ id: "a", content: "x" })
        yield* service.drain
        yield* Fiber.interrupt(yield* beside(service.shutdown))
        yield* TestClock.adjust(4999)
        expect(Option.isSome(yield* service.get("a"))).toBe(true)
        yield* TestClock.adjust(1)
        expect(lifecycle.unsafeSnapshot().phase).toBe("stopped")
      })
  )

  it.scoped("SHUTDOWN_DELAY: closing the scope, and a start that is not through, wait for nothing", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const config = { shutdownDelay: 3_600_000 }
      const engine = yield* Scope.extend(makeEngine({ config }), scope)
      yield* engine.start
      const asked = yield* beside(engine.service.shutdown)
      yield* Scope.close(scope, Exit.void)
      expect(isClean(yield* Fiber.join(asked))).toBe(true)

      const starting = yield* made({ archive: connecting(Effect.never), config })
      yield* beside(starting.start)
      yield* starting.service.shutdown
      expect(starting.lifecycle.unsafeSnapshot().phase).toBe("stopped")
    })
  )

  it.scoped("keeps its deadline with an archive that hangs, and tells what stays in the log", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ archive: archive.options, disk, config: { shutdownTimeout: 2000 } })
      archive.hold("commit")
      yield* service.submitMany(items(7))
      yield* TestClock.adjust(100)
      const waiting = yield* beside(service.submit({ id: "waits", content: "x" }, { durability: "archive" }))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(2000)
      const report = yield* Fiber.join(shutdown)
      expect(report).toMatchObject({
        flushedWal: false,
        itemsLeftInLog: 8,
        itemsFlushed: 0,
        finalCheckpoint: true
      })
      expect(report.durationMs).toBeLessThanOrEqual(2000)
      expect(report.problems.join()).toContain("flush: not done within the shutdown timeout of 2000 ms")
      // Nobody is left without an answer: the log has the write.
      expect((yield* Fiber.join(waiting)).durability).toBe("wal")
      expect(disk.entries).toHaveLength(8)
      archive.letGo("commit")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const next = yield* start({ archive: archive.options, disk })
          expect(yield* next.service.countPrefix("")).toBe(8)
        })
      )
    })
  )

  it.scoped("an archive that is away: the report names it, and the next start has everything", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ archive: archive.options, disk })
      archive.down = true
      yield* service.submitMany(items(7))
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(20_000)
      const report = yield* Fiber.join(shutdown)
      expect(report).toMatchObject({
        flushedWal: false,
        itemsLeftInLog: 7,
        itemsFlushed: 0,
        finalCheckpoint: true
      })
      expect(report.problems[0]).toBe("flush: archive commit: the server is away (transient)")
      archive.down = false
      const next = yield* start({ archive: archive.options, disk })
      expect(yield* next.service.countPrefix("")).toBe(7)
    })
  )

  it.scoped("waits for commits under way, so that every caller has an answer", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ disk, commitDelay: Effect.sleep(30) })
      const write = yield* beside(service.submit({ id: "a", content: "x" }))
      const early = yield* service.submit({ id: "b", content: "x" }, { durability: "memory" })
      expect(early.durability).toBe("memory")
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(1000)
      expect((yield* Fiber.join(write)).durability).toBe("wal")
      expect(yield* Fiber.join(shutdown)).toMatchObject({ itemsFlushed: 2, itemsLeftInLog: 0, problems: [] })
    })
  )

  it.effect("closing the scope shuts down", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      const scope = yield* Scope.make()
      const engine = yield* Scope.extend(makeEngine({ archive: archive.options, disk }), scope)
      yield* engine.start
      yield* engine.service.submitMany(items(5))
      yield* Scope.close(scope, Exit.void)
      expect(engine.lifecycle.unsafeSnapshot().phase).toBe("stopped")
      expect(archive.live()).toHaveLength(5)
      expect(disk.owner).toBeUndefined()
      expect(isClean(yield* engine.shutdown)).toBe(true)
    })
  )

  it.scoped("ten times start and stop: nothing lost, nothing repeated, the root as it should be", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      const versions: Array<number> = []
      for (let round = 0; round < 10; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { service } = yield* start({ archive: archive.options, disk })
            expect(yield* service.countPrefix("")).toBe(round * 3)
            yield* service.submitMany(items(3, `round${round}.`))
            versions.push((yield* service.submit({ id: "round0.item", content: `${round}` })).version)
            yield* service.delete("round0.item")
            expect((yield* service.verify()).inSync).toBe(true)
            if (round % 2 === 0) yield* service.shutdown
          })
        )
      }
      expect([...versions].sort((a, b) => a - b)).toEqual(versions)
      expect(archive.live()).toHaveLength(30)
      expect(disk.entries).toEqual([])
    })
  )
})
