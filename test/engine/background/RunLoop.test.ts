import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import type { EngineConfig } from "../../../src/config/Model.js"
import { LogUnavailable } from "../../../src/EngineError.js"
import { RebuildLater } from "../../../src/engine/background/FilterMaintenance.js"
import { pauseMs, supervise } from "../../../src/engine/background/RunLoop.js"
import { tombstone } from "../../../src/SyncItem.js"
import type { MemoryLogDisk } from "../../../src/wal/MemoryLog.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { WriteAheadLog } from "../../../src/wal/WriteAheadLog.js"
import { between } from "../../support/components.js"
import type { TestEngineOptions } from "../../support/engine.js"
import { startEngine } from "../../support/engine.js"
import { logged } from "../../support/Logged.js"
import { JumpingClock } from "../JumpingClock.js"
import { beside, items, PlayedArchive, settle, start } from "../support.js"

const second = 1000
const hour = 3600 * second

/** Nothing but the duty under test comes into play within an hour. */
const quiet: Partial<EngineConfig> = {
  batchFlushInterval: hour,
  walDrainInterval: hour,
  healthInterval: hour,
  watchdogInterval: 24 * hour
}

/** An engine with an archive of the test's own. */
const running = ({ config, ...options }: Omit<TestEngineOptions, "archive"> = {}) =>
  Effect.gen(function* () {
    const archive = new PlayedArchive()
    const engine = yield* start({
      ...options,
      archive: archive.options,
      config: { batchFlushInterval: 100, ...config }
    })
    archive.calls.length = 0
    return { ...engine, archive }
  })

/** The same on a clock that jumps, for what takes hours. */
const jumping = (config: Partial<EngineConfig>) =>
  Effect.gen(function* () {
    const clock = new JumpingClock()
    const archive = new PlayedArchive()
    const engine = yield* Effect.withClock(
      startEngine({ archive: archive.options, config: { ...quiet, ...config } }),
      clock
    )
    archive.calls.length = 0
    return { ...engine, archive, clock }
  })

/** A log that counts `shrink`, and fails it when told to. */
const countingLog = (disk: MemoryLogDisk) => {
  const seen = { shrinks: 0, fails: false }
  const log = MemoryLog.layerMemory({ disk }).pipe(
    between(WriteAheadLog, (inner) => ({
      ...inner,
      get maxVersion() {
        return inner.maxVersion
      },
      shrink: Effect.suspend(() => {
        seen.shrinks++
        return seen.fails
          ? Effect.fail(
              new LogUnavailable({ path: "x", operation: "shrink", problem: "told to", retryAfterMs: 1 })
            )
          : Effect.void
      })
    }))
  )
  return { log, seen }
}

describe("flush", () => {
  it.scoped("by age: 100 ms after the start of the interval, not before", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running()
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(99)
      expect(archive.commits).toEqual([])
      yield* TestClock.adjust(1)
      expect(archive.seen("commit").map(({ at }) => at)).toEqual([100])
      expect((yield* service.stats).flushes).toMatchObject({ age: 1, count: 0, bytes: 0, forced: 0 })
      yield* TestClock.adjust(10 * second)
      expect(archive.commits).toHaveLength(1)
    })
  )

  it.scoped("by count: at once when a batch is full; what does not fill one waits for its age", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { batchFlushCount: 10 } })
      yield* service.submitMany(items(9))
      yield* settle
      expect(archive.commits).toEqual([])
      yield* service.submitMany(items(16, "more."))
      yield* settle
      expect(archive.commits.map((ids) => ids.length)).toEqual([10, 10])
      expect((yield* service.stats).flushes).toMatchObject({ count: 2, age: 0 })
      yield* TestClock.adjust(100)
      expect(archive.commits.map((ids) => ids.length)).toEqual([10, 10, 5])
    })
  )

  it.scoped("by bytes", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { batchFlushBytes: 10_000 } })
      yield* service.submit({ id: "a", content: "x".repeat(5000) })
      yield* settle
      expect(archive.commits).toEqual([])
      yield* service.submit({ id: "b", content: "x".repeat(6000) })
      yield* settle
      expect((yield* service.stats).flushes).toMatchObject({ bytes: 1 })
      expect(archive.commits[0]).toEqual(["a"])
    })
  )

  it.scoped("forced: at once, whatever the interval", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: quiet })
      yield* service.submit({ id: "a", content: "x" })
      expect(yield* service.flush).toEqual({ flushed: 1, deadLettered: 0, pending: 0 })
      expect(archive.commits).toEqual([["a"]])
      expect((yield* service.stats).flushes.forced).toBe(1)
      expect(yield* service.flush).toEqual({ flushed: 0, deadLettered: 0, pending: 0 })
    })
  )

  it.scoped("tick does what is due by hand, and nothing once the engine has stopped", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: quiet })
      yield* service.submit({ id: "a", content: "x" })
      yield* service.tick
      expect(archive.commits).toEqual([["a"]])
      expect(archive.seen("ping")).toHaveLength(1)
      archive.down = true
      yield* service.submit({ id: "b", content: "x" })
      const shutdown = yield* beside(service.shutdown)
      yield* TestClock.adjust(25 * second)
      expect((yield* Fiber.join(shutdown)).itemsLeftInLog).toBe(1)
      archive.down = false
      archive.calls.length = 0
      yield* service.tick
      expect(archive.calls).toEqual([])
    })
  )
})

describe("an archive that is away", () => {
  it.scoped("is tried again after 100 ms, doubling, at most every WAL_DRAIN_INTERVAL", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({
        config: { healthInterval: hour, walDrainInterval: 3 * second }
      })
      archive.down = true
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(12 * second)
      const at = archive.seen("commit").map((call) => call.at)
      // The flush: 100, then pauses of 100, 200, 400, 800, 1,600, 3,000 …; the drain: every 3 s.
      expect(at.slice(0, 6)).toEqual([100, 200, 400, 800, 1600, 3000])
      for (let index = 1; index < at.length; index++)
        expect(at[index]! - at[index - 1]!).toBeLessThanOrEqual(3000)
      expect(at.length).toBeLessThanOrEqual(6 + 2 * 3)
      expect(at).toEqual(expect.arrayContaining([3000, 6000, 9000, 12_000]))
      expect((yield* service.stats).flushFailures).toBe(at.length)
      expect((yield* service.health).archive.available).toBe(false)
      expect((yield* service.health).degraded).toMatchObject([{ component: "archive", since: 100 }])
    })
  )

  it.scoped("is drained within WAL_DRAIN_INTERVAL of its return", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { ...quiet, walDrainInterval: 5 * second } })
      archive.down = true
      yield* service.submitMany(items(10))
      yield* Effect.flip(service.flush)
      archive.down = false
      archive.calls.length = 0
      yield* TestClock.adjust(5 * second - 1)
      expect(archive.commits).toEqual([])
      yield* TestClock.adjust(1)
      expect(archive.live()).toHaveLength(10)
      const stats = yield* service.stats
      expect([stats.flushes.recovery, stats.pending]).toEqual([1, 0])
      expect((yield* service.health).degraded).toEqual([])
    })
  )

  it.scoped("is found out by the health check without a write, and found back", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { ...quiet, healthInterval: 3 * second } })
      yield* TestClock.adjust(9 * second)
      expect(archive.seen("ping").map(({ at }) => at)).toEqual([3000, 6000, 9000])
      expect((yield* service.health).archive.available).toBe(true)
      archive.down = true
      yield* TestClock.adjust(3 * second)
      expect((yield* service.health).archive.available).toBe(false)
      expect((yield* service.health).degraded).toMatchObject([{ component: "archive", since: 12_000 }])
      archive.down = false
      yield* TestClock.adjust(3 * second)
      expect((yield* service.health).degraded).toEqual([])
    })
  )

  it.scoped("does not make intake wait, and the writes of an outage arrive in log order", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { batchFlushCount: 10 } })
      archive.down = true
      for (let round = 0; round < 10; round++) {
        yield* service.submitMany(items(10, `r${round}.`))
        yield* TestClock.adjust(second)
      }
      archive.down = false
      archive.calls.length = 0
      yield* TestClock.adjust(6 * second)
      expect(archive.commits.flat()).toEqual(
        Array.from({ length: 10 }, (_, round) => items(10, `r${round}.`).map(({ id }) => id)).flat()
      )
    })
  )
})

describe("an outage is told once when it begins and once when it ends", () => {
  it.scoped("of the archive, whatever meets it", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      const archive = new PlayedArchive()
      const { service } = yield* provide(
        start({
          archive: archive.options,
          config: {
            healthInterval: 2 * second,
            watchdogInterval: 10 * second,
            filterSnapshotInterval: second
          }
        })
      )
      yield* service.submitMany(items(3))
      yield* TestClock.adjust(second)
      lines.length = 0
      archive.down = true
      yield* service.submitMany(items(3, "more."))
      yield* TestClock.adjust(9 * second)
      yield* service.submitMany(items(3, "late."))
      yield* TestClock.adjust(30 * second)
      expect(lines.map(({ cause, level }) => level + cause)).toEqual(["WARN", "WARN"])
      expect(lines[0]!.message).toContain("writes stay in the log: archive commit: the server is away")
      expect(lines[1]!.message).toContain("watchdog: ")
      archive.down = false
      yield* TestClock.adjust(20 * second)
      expect(lines.slice(2).map(({ level, message }) => `${level} ${message}`)).toEqual([
        "INFO the archive takes writes again",
        "INFO watchdog: pending writes move again"
      ])
    })
  )

  it.scoped("of the archive, found out by a duty of an idle engine", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      const { archive, clock } = yield* provide(jumping({ healthInterval: 10 * hour }))
      lines.length = 0
      archive.down = true
      // The purge of tombstones meets it, every hour.
      for (let passed = 0; passed < 8; passed++) yield* clock.jump(hour)
      archive.down = false
      for (let passed = 0; passed < 4; passed++) yield* clock.jump(hour)
      const told = lines.filter(({ message }) => !message.startsWith("the filter was rebuilt"))
      expect(told.map(({ cause, level, message }) => `${level} ${message}${cause}`)).toEqual([
        "WARN the archive is unavailable: archive ping: the server is away (transient)",
        "INFO the archive is available again"
      ])
    })
  )
})

describe("watchdog", () => {
  it.scoped("alerts when a group commit hangs, and clears when it ends", () =>
    Effect.gen(function* () {
      const commits = Effect.unsafeMakeLatch(true)
      const { service } = yield* running({
        commitDelay: commits.await,
        config: { watchdogInterval: 6 * second }
      })
      commits.unsafeClose()
      const write = yield* beside(service.submit({ id: "a", content: "x" }))
      yield* TestClock.adjust(6 * second)
      expect((yield* service.health).degraded).toEqual([])
      yield* TestClock.adjust(6 * second)
      expect((yield* service.health).degraded).toEqual([
        { component: "log", reason: "1 calls wait for the log and none has ended for 6 s", since: 12_000 }
      ])
      commits.unsafeOpen()
      yield* Fiber.join(write)
      yield* TestClock.adjust(6 * second)
      expect((yield* service.health).degraded).toEqual([])
    })
  )

  it.scoped("does not alert without an archive: nothing is meant to move", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      const { service } = yield* provide(start({ archive: "none", config: { watchdogInterval: second } }))
      yield* service.submit({ id: "a", content: "x" })
      lines.length = 0
      yield* TestClock.adjust(20 * second)
      expect((yield* service.health).degraded.map(({ component }) => component)).toEqual(["archive"])
      expect(lines).toEqual([])
    })
  )

  it.scoped("alerts when something is pending and nothing moves, and clears when it moves", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { watchdogInterval: 6 * second } })
      archive.hold("commit")
      yield* service.submitMany(items(3))
      yield* TestClock.adjust(6 * second)
      // Seen once: it may have come a moment ago.
      expect((yield* service.health).degraded).toEqual([])
      yield* TestClock.adjust(6 * second)
      expect((yield* service.health).degraded).toEqual([
        { component: "flush", reason: "3 writes are pending and none has moved for 6 s", since: 12_000 }
      ])
      archive.letGo("commit")
      yield* TestClock.adjust(6 * second)
      expect((yield* service.health).degraded).toEqual([])
    })
  )

  it.scoped("does not alert while writes flow, nor when nothing is pending", () =>
    Effect.gen(function* () {
      const { service } = yield* running({
        config: { ...quiet, watchdogInterval: 2 * second }
      })
      for (let round = 0; round < 10; round++) {
        yield* service.submit({ id: `a.${round}`, content: "x" })
        if (round % 2 === 1) yield* service.flush
        yield* TestClock.adjust(second)
        expect((yield* service.health).degraded).toEqual([])
      }
      yield* service.flush
      yield* TestClock.adjust(20 * second)
      expect((yield* service.health).degraded).toEqual([])
    })
  )
})

describe("housekeeping", () => {
  it.scoped("the log is shrunk every health interval; a failure stops neither this nor anything else", () =>
    Effect.gen(function* () {
      const { log, seen } = countingLog(MemoryLog.makeDisk())
      const { archive, service } = yield* running({
        log,
        config: { ...quiet, batchFlushInterval: 100, healthInterval: 3 * second }
      })
      yield* TestClock.adjust(6 * second)
      expect(seen.shrinks).toBe(2)
      seen.fails = true
      yield* TestClock.adjust(6 * second)
      expect(seen.shrinks).toBe(4)
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(100)
      expect(archive.commits).toEqual([["a"]])
      seen.fails = false
    })
  )

  it.scoped("tombstones go after their retention, by pages, once an hour", () =>
    Effect.gen(function* () {
      const { archive, clock, service } = yield* jumping({ tombstoneRetention: 3 * hour })
      for (let n = 0; n < 2500; n++) archive.state.records.set(`old.${n}`, tombstone(`old.${n}`, 5, 1))
      archive.state.records.set("young", tombstone("young", 5, hour))
      yield* service.submit({ id: "live", content: "x" })
      yield* service.flush
      for (let passed = 0; passed < 3; passed++) yield* clock.jump(hour)
      expect(archive.state.records.size).toBe(2502)
      yield* clock.jump(hour)
      // Three pages: 1,000, 1,000, 500.
      expect(archive.seen("purgeTombstones").map(({ at }) => at / hour)).toEqual([1, 2, 3, 4, 4, 4])
      expect([...archive.state.records.keys()]).toEqual(["young", "live"])
    })
  )

  it.scoped("with a retention of 0 tombstones stay, until the option changes", () =>
    Effect.gen(function* () {
      const { archive, clock, live } = yield* jumping({ tombstoneRetention: 0 })
      archive.state.records.set("old", tombstone("old", 5, 0))
      yield* clock.jump(hour)
      yield* clock.jump(hour)
      expect(archive.seen("purgeTombstones")).toEqual([])
      yield* live.update({ tombstoneRetention: 2 * hour })
      yield* clock.jump(hour)
      expect(archive.state.records.size).toBe(0)
    })
  )
})

describe("configuration changes while running", () => {
  it.scoped("intervals: each duty is started anew with its new one", () =>
    Effect.gen(function* () {
      const { log, seen } = countingLog(MemoryLog.makeDisk())
      const { archive, live, service } = yield* running({ config: quiet, log })
      yield* live.update({
        batchFlushInterval: 500,
        healthInterval: 2 * second,
        watchdogInterval: 4 * second
      })
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(499)
      expect(archive.commits).toEqual([])
      yield* TestClock.adjust(1)
      expect(archive.commits).toEqual([["a"]])
      yield* TestClock.adjust(6 * second)
      expect(archive.seen("ping")).toHaveLength(3)
      expect(seen.shrinks).toBe(3)

      archive.down = true
      yield* service.submit({ id: "b", content: "x" })
      yield* TestClock.adjust(9 * second)
      expect((yield* service.health).degraded.map(({ component }) => component).sort()).toEqual([
        "archive",
        "flush"
      ])

      // Slower again: the old rounds are gone.
      yield* live.update({ batchFlushInterval: hour, healthInterval: hour })
      yield* settle
      archive.calls.length = 0
      yield* TestClock.adjust(10 * second)
      expect(archive.seen("ping")).toEqual([])
      expect(archive.commits).toEqual([])

      yield* live.update({ walDrainInterval: second })
      yield* settle
      yield* TestClock.adjust(second)
      expect(archive.commits).toEqual([["b"]])
    })
  )

  it.scoped("a change of something else leaves the rounds as they are", () =>
    Effect.gen(function* () {
      const { archive, live, service } = yield* running()
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(60)
      yield* live.update({ maxBatchItems: 5 })
      yield* settle
      yield* TestClock.adjust(40)
      expect(archive.seen("commit").map(({ at }) => at)).toEqual([100])
    })
  )

  it.scoped("L1_MAX_BYTES evicts at once", () =>
    Effect.gen(function* () {
      const { live, service } = yield* running()
      yield* service.submitMany(items(100, "item.", "x".repeat(1000)))
      expect((yield* service.stats).memory.items).toBe(100)
      yield* live.update({ l1MaxBytes: 10_000 })
      yield* settle
      const { memory } = yield* service.stats
      expect(memory.maxBytes).toBe(10_000)
      expect(memory.bytes).toBeLessThanOrEqual(10_000)
      expect(memory.items).toBeGreaterThan(0)
      expect((yield* service.getMany(items(100).map(({ id }) => id))).size).toBe(100)
    })
  )

  it.scoped("READ_ONLY, by the option and by setReadOnly", () =>
    Effect.gen(function* () {
      const { live, service } = yield* running()
      yield* service.submit({ id: "a", content: "x" })
      yield* live.update({ readOnly: true })
      for (const write of [
        service.submit({ id: "a", content: "y" }),
        service.submit({ id: "a", content: "y" }, { expectedVersion: 0 }),
        service.submitMany(items(2)),
        service.delete("a"),
        service.deleteMany(["a"]),
        service.deletePrefix("a"),
        service.setState("a", "s")
      ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>>) {
        expect((yield* Effect.flip(write))._tag).toBe("ReadOnly")
      }
      expect(yield* service.health).toMatchObject({
        readOnly: true,
        acceptsWrites: false,
        acceptsQueries: true
      })
      expect(yield* service.contains("a")).toBe(true)
      yield* service.setReadOnly(false)
      yield* service.submit({ id: "a", content: "y" })
      yield* service.setReadOnly(true)
      expect((yield* Effect.flip(service.delete("a")))._tag).toBe("ReadOnly")
    })
  )

  it.scoped("bounds on items and batches", () =>
    Effect.gen(function* () {
      const { live, service } = yield* running()
      yield* live.update({ maxPayloadBytes: 5, maxBatchItems: 2 })
      expect((yield* Effect.flip(service.submit({ id: "a", content: "123456" })))._tag).toBe(
        "PayloadTooLarge"
      )
      expect((yield* Effect.flip(service.submitMany(items(3))))._tag).toBe("InvalidRequest")
      yield* live.update({ maxPayloadBytes: 6, maxBatchItems: 3 })
      yield* service.submit({ id: "a", content: "123456" })
      yield* service.submitMany(items(3))
    })
  )

  it.scoped("BATCH_FLUSH_COUNT and BATCH_FLUSH_BYTES", () =>
    Effect.gen(function* () {
      const { archive, live, service } = yield* running({ config: quiet })
      yield* service.submitMany(items(5))
      yield* settle
      expect(archive.commits).toEqual([])
      yield* live.update({ batchFlushCount: 3 })
      yield* service.submit({ id: "last", content: "x" })
      yield* settle
      expect(archive.commits.map((ids) => ids.length)).toEqual([3, 3])
      yield* live.update({ batchFlushCount: 1000, batchFlushBytes: 2000 })
      yield* service.submit({ id: "big", content: "x".repeat(2000) })
      yield* settle
      expect(archive.commits).toHaveLength(3)
    })
  )
})

describe("duties do not depend on each other", () => {
  it.scoped("a hanging health check delays no flush", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { healthInterval: 2 * second } })
      archive.hold("ping")
      yield* TestClock.adjust(2100)
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(100)
      expect(archive.live()).toEqual(["a"])
      yield* TestClock.adjust(6 * second)
      expect(archive.seen("ping")).toHaveLength(1)
      archive.letGo("ping")
      yield* TestClock.adjust(2100)
      expect(archive.seen("ping")).toHaveLength(2)
    })
  )

  it.scoped("a hanging commit delays neither health nor intake nor reads", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running({ config: { healthInterval: 2 * second } })
      archive.hold("commit")
      yield* service.submit({ id: "a", content: "x" })
      yield* TestClock.adjust(10 * second)
      expect(archive.seen("ping")).toHaveLength(5)
      yield* service.submit({ id: "b", content: "x" })
      expect(yield* service.contains("b")).toBe(true)
      expect(archive.commits).toEqual([["a"]])
      archive.letGo("commit")
    })
  )

  it.scoped("a failing duty goes on, after a pause that doubles from 100 ms to 30 s", () =>
    Effect.gen(function* () {
      const at: Array<number> = []
      const round = Effect.gen(function* () {
        at.push(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
        // Failures of every sort, and then health.
        if (at.length === 2) return yield* Effect.die(new Error("a defect"))
        if (at.length === 3) throw new Error("thrown")
        if (at.length < 6) return yield* Effect.fail("no")
      })
      const fiber = yield* Effect.fork(supervise("tested", () => 10, round))
      yield* TestClock.adjust(2000)
      // Failed five times: 10, then pauses of 100, 200, 400, 800, 1,600.
      expect(at.slice(0, 6)).toEqual([10, 110, 310, 710, 1510, 3110].filter((ms) => ms <= 2000))
      yield* TestClock.adjust(1200)
      expect(at.slice(5, 9)).toEqual([3110, 3120, 3130, 3140])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("an interruption from within is one failure more, and the next round comes", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      let rounds = 0
      const round = Effect.suspend(() => (++rounds === 1 ? Effect.interrupt : Effect.void))
      const fiber = yield* Effect.fork(provide(supervise("tested", () => 10, round)))
      yield* TestClock.adjust(200)
      expect(rounds).toBeGreaterThan(3)
      expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
        "WARN tested: it was interrupted; it goes on after a pause",
        "INFO tested: works again after 1 failures"
      ])
      yield* Fiber.interrupt(fiber)
      const before = rounds
      yield* TestClock.adjust(1000)
      expect(rounds).toBe(before)
    })
  )

  it.effect("failures are told once when they begin and once when they end; only a defect has a stack", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      const play: { round: Effect.Effect<void, unknown> } = { round: Effect.void }
      const fiber = yield* Effect.fork(
        provide(
          supervise(
            "tested",
            () => 10,
            Effect.suspend(() => play.round)
          )
        )
      )
      const later = Effect.fail(new RebuildLater({ message: "the lease is not held" }))
      for (const round of [Effect.void, later, Effect.die(new Error("a fault")), later, Effect.void, later]) {
        play.round = round
        yield* TestClock.adjust(2000)
      }
      yield* Fiber.interrupt(fiber)
      expect(
        lines.map(({ cause, level, message }) => `${level} ${message}${cause === "" ? "" : " +"}`)
      ).toEqual([
        "WARN tested: the lease is not held; it goes on after a pause",
        "ERROR tested failed; it goes on after a pause +",
        expect.stringMatching(/^INFO tested: works again after \d+ failures$/),
        "WARN tested: the lease is not held; it goes on after a pause"
      ])
    })
  )

  it("pauses: the interval, or after failures the backoff if that is longer", () => {
    expect([0, 1, 2, 3, 4, 9, 10, 1000].map((failures) => pauseMs(10, failures))).toEqual([
      10, 100, 200, 400, 800, 25_600, 30_000, 30_000
    ])
    expect(pauseMs(3_600_000, 5)).toBe(3_600_000)
  })

  it.scoped("closing the engine ends the duties", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* running()
      const closed = yield* beside(service.shutdown)
      yield* Fiber.join(closed)
      archive.calls.length = 0
      yield* TestClock.adjust(100 * second)
      expect(archive.calls).toEqual([])
    })
  )
})

describe("rounds by hand", () => {
  it.scoped(
    "a tick runs every duty: it flushes, purges, saves the filter; warmUp builds it; none raises an alert",
    () =>
      Effect.gen(function* () {
        const hour = 3600 * second
        const { archive, service } = yield* running({
          config: { batchFlushInterval: hour, healthInterval: hour, walDrainInterval: hour }
        })
        yield* service.submitMany(items(3))
        yield* service.warmUp
        archive.calls.length = 0
        yield* service.tick
        yield* service.tick
        const seen = new Set(archive.calls.map(({ operation }) => operation))
        expect(archive.live()).toHaveLength(3)
        for (const operation of ["commit", "ping", "purgeTombstones"]) expect(seen).toContain(operation)
        expect((yield* service.health).degraded).toEqual([])
        expect((yield* service.health).filter.trusted).toBe(true)
      })
  )
})
