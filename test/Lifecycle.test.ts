import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, FastCheck as FC, Fiber, Option, Stream, TestClock } from "effect"
import type { LifecycleService, LifecycleSnapshot, ShutdownReport } from "../src/Lifecycle.js"
import { bootStages, isClean, Lifecycle, layer, make, phases } from "../src/Lifecycle.js"

const report = (over: Partial<ShutdownReport> = {}): ShutdownReport => ({
  flushedWal: true,
  finalCheckpoint: true,
  filterSnapshot: true,
  itemsFlushed: 3,
  itemsLeftInLog: 0,
  problems: [],
  startedAtMs: 1,
  completedAtMs: 2,
  durationMs: 1,
  ...over
})

const collect = (lifecycle: LifecycleService) =>
  Effect.map(Stream.runCollect(lifecycle.changes), Chunk.toReadonlyArray)

/** Collects in a fiber, and returns once the first snapshot has arrived there. */
const subscribe = (lifecycle: LifecycleService) =>
  Effect.gen(function* () {
    const subscribed = yield* Deferred.make<void>()
    const reader = yield* Effect.forkDaemon(
      Stream.runCollect(Stream.tap(lifecycle.changes, () => Deferred.succeed(subscribed, undefined)))
    )
    yield* Deferred.await(subscribed)
    return Fiber.map(reader, Chunk.toReadonlyArray)
  })

describe("phases", () => {
  it.effect("start, ready, drain, shutdown, stop; each transition true once", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      expect(lifecycle.unsafeSnapshot()).toEqual({
        phase: "starting",
        bootStage: "Created",
        reason: undefined,
        drainRequested: false
      })
      expect([lifecycle.acceptsWrites(), lifecycle.acceptsQueries()]).toEqual([false, false])
      expect(yield* lifecycle.markReady).toBe(true)
      expect(yield* lifecycle.markReady).toBe(false)
      expect([lifecycle.acceptsWrites(), lifecycle.acceptsQueries()]).toEqual([true, true])
      expect(yield* lifecycle.beginDrain).toBe(true)
      expect(yield* lifecycle.beginDrain).toBe(false)
      expect([lifecycle.acceptsWrites(), lifecycle.acceptsQueries()]).toEqual([false, true])
      expect(yield* lifecycle.beginShutdown).toBe(true)
      expect(yield* lifecycle.beginShutdown).toBe(false)
      expect([lifecycle.acceptsWrites(), lifecycle.acceptsQueries()]).toEqual([false, false])
      expect(yield* lifecycle.complete(report())).toBe(true)
      expect(yield* lifecycle.complete(report())).toBe(false)
      expect((yield* lifecycle.snapshot).phase).toBe("stopped")
    }).pipe(Effect.provide(layer))
  )

  it.effect("a drain asked for while starting takes effect on ready, and ready is never seen", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      const seen = yield* subscribe(lifecycle)
      expect(yield* lifecycle.beginDrain).toBe(true)
      expect(yield* lifecycle.beginDrain).toBe(false)
      expect((yield* lifecycle.snapshot).phase).toBe("starting")
      expect((yield* lifecycle.snapshot).drainRequested).toBe(true)
      expect(yield* lifecycle.markReady).toBe(true)
      expect((yield* lifecycle.snapshot).phase).toBe("draining")
      expect([lifecycle.acceptsWrites(), lifecycle.acceptsQueries()]).toEqual([false, true])
      yield* lifecycle.complete(report())
      expect((yield* Fiber.join(seen)).map((snapshot) => snapshot.phase)).toEqual([
        "starting",
        "starting",
        "draining",
        "stopped"
      ])
    })
  )

  it.effect("beginShutdown is true for exactly one of 1,000 racing fibers; all get the same report", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      yield* lifecycle.markReady
      const start = yield* Deferred.make<void>()
      const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), () =>
        Effect.fork(
          Effect.gen(function* () {
            yield* Deferred.await(start)
            const first = yield* lifecycle.beginShutdown
            if (first) {
              yield* Effect.yieldNow()
              yield* lifecycle.complete(report({ itemsFlushed: 42 }))
            }
            return [first, yield* lifecycle.awaitReport] as const
          })
        )
      )
      yield* Deferred.succeed(start, undefined)
      const results = yield* Effect.forEach(fibers, Fiber.join)
      expect(results.filter(([first]) => first)).toHaveLength(1)
      expect(new Set(results.map(([, got]) => got)).size).toBe(1)
      expect(results[0]![1].itemsFlushed).toBe(42)
    })
  )

  it.effect("shutdown from starting; markReady afterwards does nothing", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      yield* lifecycle.setReason("wal_drain")
      expect(yield* lifecycle.beginShutdown).toBe(true)
      expect(lifecycle.unsafeSnapshot()).toEqual({
        phase: "shutting_down",
        bootStage: "ShuttingDown",
        reason: undefined,
        drainRequested: false
      })
      expect(yield* lifecycle.markReady).toBe(false)
      expect(yield* lifecycle.beginDrain).toBe(false)
      expect((yield* lifecycle.snapshot).phase).toBe("shutting_down")
      expect((yield* lifecycle.marks).has("ready")).toBe(false)
    })
  )

  it.effect("the report: none before, the first one after, also for late waiters", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      const early = yield* Effect.fork(lifecycle.awaitReport)
      expect(Option.isNone(yield* lifecycle.report)).toBe(true)
      yield* lifecycle.beginShutdown
      const first = report()
      yield* lifecycle.complete(first)
      yield* lifecycle.complete(report({ itemsFlushed: 99 }))
      expect(yield* Fiber.join(early)).toBe(first)
      expect(yield* lifecycle.awaitReport).toBe(first)
      expect(Option.getOrThrow(yield* lifecycle.report)).toBe(first)
    })
  )

  it("isClean", () => {
    expect(isClean(report())).toBe(true)
    for (const bad of [
      { flushedWal: false },
      { finalCheckpoint: false },
      { filterSnapshot: false },
      { itemsLeftInLog: 1 },
      { problems: ["x"] }
    ]) {
      expect(isClean(report(bad))).toBe(false)
    }
  })
})

describe("stages and reasons", () => {
  it.effect("a stage can be entered again, Created never; reasons only while starting", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      expect(yield* lifecycle.setBootStage("WarmingUp")).toBe(true)
      expect(yield* lifecycle.setBootStage("WarmingUp")).toBe(false)
      expect(yield* lifecycle.setBootStage("Created")).toBe(false)
      // Redis connects after the filter was restored.
      expect(yield* lifecycle.setBootStage("Connecting")).toBe(true)
      expect(yield* lifecycle.setBootStage("WarmingUp")).toBe(true)
      yield* lifecycle.setReason("redis_sync")
      expect(yield* lifecycle.snapshot).toMatchObject({ bootStage: "WarmingUp", reason: "redis_sync" })
      yield* lifecycle.markReady
      expect((yield* lifecycle.snapshot).reason).toBeUndefined()
      yield* lifecycle.setReason("restore")
      expect((yield* lifecycle.snapshot).reason).toBeUndefined()
      expect(yield* lifecycle.setBootStage("Running")).toBe(true)
    })
  )
})

describe("changes", () => {
  it.effect("a reader that never keeps up sees every phase, stage and reason, and the end", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      const gate = yield* Deferred.make<void>()
      const subscribed = yield* Deferred.make<void>()
      const seen: Array<LifecycleSnapshot> = []
      const reader = yield* Effect.fork(
        Stream.runForEach(lifecycle.changes, (snapshot) =>
          Effect.zipRight(
            Effect.sync(() => seen.push(snapshot)),
            Effect.zipRight(Deferred.succeed(subscribed, undefined), Deferred.await(gate))
          )
        )
      )
      yield* Deferred.await(subscribed)
      yield* lifecycle.setBootStage("Connecting")
      yield* lifecycle.setBootStage("DrainingWal")
      yield* lifecycle.setReason("sql_connect")
      yield* lifecycle.mark("started")
      yield* lifecycle.setReason("redis_connect")
      yield* lifecycle.setBootStage("Ready")
      yield* lifecycle.markReady
      yield* lifecycle.setBootStage("Running")
      yield* lifecycle.beginDrain
      yield* lifecycle.beginShutdown
      yield* lifecycle.complete(report())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(reader)
      expect(seen.map((snapshot) => `${snapshot.phase} ${snapshot.bootStage} ${snapshot.reason}`)).toEqual([
        "starting Created undefined",
        "starting Connecting undefined",
        "starting DrainingWal undefined",
        "starting DrainingWal sql_connect",
        "starting DrainingWal redis_connect",
        "starting Ready redis_connect",
        "ready Ready undefined",
        "ready Running undefined",
        "draining Running undefined",
        "shutting_down ShuttingDown undefined",
        "stopped ShuttingDown undefined"
      ])
    })
  )

  it.effect("a reader that does not read keeps a bounded number of them, the newest", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      const gate = yield* Deferred.make<void>()
      const subscribed = yield* Deferred.make<void>()
      let seen = 0
      const reader = yield* Effect.fork(
        Stream.runFoldEffect(lifecycle.changes, "", (_, { phase }) =>
          Effect.sync(() => ++seen).pipe(
            Effect.zipRight(Deferred.succeed(subscribed, undefined)),
            Effect.zipRight(Deferred.await(gate)),
            Effect.as<string>(phase)
          )
        )
      )
      yield* Deferred.await(subscribed)
      for (let at = 0; at < 1000; at++) {
        yield* lifecycle.setReason(at % 2 === 0 ? "sql_connect" : "wal_init")
        // The reader's turn.
        yield* Effect.yieldNow()
      }
      yield* lifecycle.complete(report())
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(reader)).toBe("stopped")
      expect(seen).toBeLessThan(100)
    })
  )

  it.effect("a late reader gets the current snapshot; after stopped it gets that and the end", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      yield* lifecycle.markReady
      const first = yield* Stream.runHead(lifecycle.changes)
      expect(Option.getOrThrow(first).phase).toBe("ready")
      yield* lifecycle.complete(report())
      expect((yield* collect(lifecycle)).map((snapshot) => snapshot.phase)).toEqual(["stopped"])
    })
  )

  it.effect("many readers that come at any time all end with stopped", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      const readers: Array<Fiber.RuntimeFiber<ReadonlyArray<LifecycleSnapshot>>> = []
      const steps = [
        lifecycle.setBootStage("Connecting"),
        lifecycle.markReady,
        lifecycle.beginDrain,
        lifecycle.beginShutdown,
        lifecycle.complete(report())
      ]
      for (const step of steps) {
        for (let i = 0; i < 20; i++) readers.push(yield* Effect.fork(collect(lifecycle)))
        yield* step
        for (let i = 0; i < 20; i++) readers.push(yield* Effect.fork(collect(lifecycle)))
        yield* Effect.yieldNow()
      }
      for (const reader of readers) {
        const seen = yield* Fiber.join(reader)
        expect(seen.at(-1)!.phase).toBe("stopped")
        expect(seen.filter((snapshot) => snapshot.phase === "stopped")).toHaveLength(1)
      }
    })
  )
})

describe("marks and timings", () => {
  it.effect("marks are set once, by the clock or backfilled", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      yield* TestClock.setTime(1_000)
      expect(yield* lifecycle.backfill("started", 400)).toBe(true)
      expect(yield* lifecycle.mark("started")).toBe(false)
      expect(yield* lifecycle.mark("wal_replay_started")).toBe(true)
      yield* TestClock.adjust("250 millis")
      expect(yield* lifecycle.mark("wal_replay_ready")).toBe(true)
      expect(yield* lifecycle.backfill("wal_replay_ready", 5)).toBe(false)
      expect(yield* lifecycle.mark("restore_started")).toBe(true)
      expect(yield* lifecycle.backfill("index_warmup_ready", 5)).toBe(true)
      expect(yield* lifecycle.coldStartDurations).toEqual([["wal_replay", 250]])
      yield* TestClock.adjust("50 millis")
      yield* lifecycle.markReady
      expect(yield* lifecycle.mark("ready")).toBe(false)
      expect(yield* lifecycle.coldStartDurations).toEqual([
        ["wal_replay", 250],
        ["total", 900]
      ])
      expect(Array.from(yield* lifecycle.marks)).toEqual([
        ["started", 400],
        ["wal_replay_started", 1_000],
        ["wal_replay_ready", 1_250],
        ["restore_started", 1_250],
        ["index_warmup_ready", 5],
        ["ready", 1_300]
      ])
    })
  )

  it.effect("a backfilled ready stays; durations are never negative", () =>
    Effect.gen(function* () {
      const lifecycle = yield* make
      yield* lifecycle.backfill("started", 100)
      yield* lifecycle.backfill("ready", 70)
      expect(yield* lifecycle.markReady).toBe(true)
      expect((yield* lifecycle.marks).get("ready")).toBe(70)
      expect(yield* lifecycle.coldStartDurations).toEqual([["total", 0]])
    })
  )

  it.effect(
    "timed sets the reason and records the duration: success, failure, interruption; the first counts",
    () =>
      Effect.gen(function* () {
        const lifecycle = yield* make
        const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.fork(Effect.exit(effect))
        const opened = yield* run(lifecycle.timed("wal_init")(Effect.as(Effect.sleep("20 millis"), "log")))
        yield* TestClock.adjust("10 millis")
        expect((yield* lifecycle.snapshot).reason).toBe("wal_init")
        expect(yield* lifecycle.timings).toEqual([])
        yield* TestClock.adjust("10 millis")
        expect(yield* Fiber.join(opened)).toEqual(Exit.succeed("log"))

        const failed = yield* run(
          lifecycle.timed("sql_connect")(
            Effect.zipRight(Effect.sleep("7 millis"), Effect.fail("down" as const))
          )
        )
        yield* TestClock.adjust("7 millis")
        expect(yield* Fiber.join(failed)).toEqual(Exit.fail("down"))

        const stuck = yield* Effect.fork(lifecycle.timed("redis_sync")(Effect.never))
        yield* TestClock.adjust("3 millis")
        yield* Fiber.interrupt(stuck)

        const again = yield* run(lifecycle.timed("redis_sync")(Effect.sleep("1 seconds")))
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.join(again)
        expect(yield* lifecycle.timings).toEqual([
          ["wal_init", 20],
          ["sql_connect", 7],
          ["redis_sync", 3]
        ])
      })
  )
})

type Call = "markReady" | "beginDrain" | "beginShutdown" | "complete" | "stage" | "reason"

describe("any sequence of calls", () => {
  it("never goes backwards, reports each transition at most once, keeps reasons to starting", async () => {
    const calls = FC.array(
      FC.tuple(
        FC.constantFrom<Call>("markReady", "beginDrain", "beginShutdown", "complete", "stage", "reason"),
        FC.nat({ max: bootStages.length - 1 })
      ),
      { maxLength: 30 }
    )
    await FC.assert(
      FC.asyncProperty(calls, async (sequence) => {
        const lifecycle = Effect.runSync(make)
        const made: Record<string, number> = {}
        const reader = await Effect.runPromise(subscribe(lifecycle))
        for (const [call, n] of sequence) {
          const before = lifecycle.unsafeSnapshot()
          const result = Effect.runSync<unknown, never>(
            call === "complete"
              ? lifecycle.complete(report())
              : call === "stage"
                ? lifecycle.setBootStage(bootStages[n]!)
                : call === "reason"
                  ? lifecycle.setReason("wal_drain")
                  : lifecycle[call]
          )
          const after = lifecycle.unsafeSnapshot()
          expect(Effect.runSync(lifecycle.snapshot)).toBe(after)
          expect(phases.indexOf(after.phase)).toBeGreaterThanOrEqual(phases.indexOf(before.phase))
          const ready = bootStages.indexOf("Ready")
          expect(bootStages.indexOf(after.bootStage)).toBeGreaterThanOrEqual(
            Math.min(
              ready,
              bootStages.indexOf(before.bootStage) < ready ? 0 : bootStages.indexOf(before.bootStage)
            )
          )
          if (after.phase !== "starting") expect(after.reason).toBeUndefined()
          if (before.drainRequested) {
            expect(after.drainRequested).toBe(true)
            expect(after.phase).not.toBe("ready")
          }
          expect(lifecycle.acceptsWrites()).toBe(after.phase === "ready")
          expect(lifecycle.acceptsQueries()).toBe(after.phase === "ready" || after.phase === "draining")
          if (call !== "reason" && result === false) expect(after).toBe(before)
          if (call !== "reason" && result === true) expect(after).not.toBe(before)
          if (result === true && call !== "stage") made[call] = (made[call] ?? 0) + 1
        }
        for (const count of Object.values(made)) expect(count).toBe(1)
        Effect.runSync(lifecycle.complete(report()))
        const seen = await Effect.runPromise(Fiber.join(reader))
        expect(seen.at(-1)!.phase).toBe("stopped")
        const order = seen.map((snapshot) => phases.indexOf(snapshot.phase))
        expect(order).toEqual([...order].sort((a, b) => a - b))
      }),
      { seed: 7, numRuns: 300 }
    )
  })
})
