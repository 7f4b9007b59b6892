import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import type { PayloadTooLarge } from "../../../src/EngineError.js"
import type { BackpressureLevel } from "../../../src/shared/Backpressure.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { beside, ended, items, PlayedArchive, settle, start } from "../support.js"

/** An engine whose log of 100 items fills, because the archive is away. */
const filling = (walMaxItems = 100) =>
  Effect.gen(function* () {
    const archive = new PlayedArchive()
    const disk = makeDisk()
    const engine = yield* start({
      archive: archive.options,
      disk,
      config: { walMaxItems, batchFlushInterval: 3_600_000, walDrainInterval: 3_600_000, batchFlushCount: 5 }
    })
    archive.down = true
    const level = Effect.map(engine.service.health, ({ backpressure }) => backpressure.level)
    /** Writes as one batch; goes on when it is through, however long it was made to wait. */
    const fill = (upTo: number) =>
      Effect.gen(function* () {
        const batch = items(upTo - disk.committed, `fill.${disk.committed}.`)
        const fiber = yield* beside(engine.service.submitMany(batch))
        yield* TestClock.adjust(100)
        return yield* Fiber.join(fiber)
      })
    return { ...engine, archive, disk, fill, level }
  })

describe("backpressure", () => {
  it.scoped("every level on the way up, what it does to a write, and back again", () =>
    Effect.gen(function* () {
      const { archive, disk, fill, level, service } = yield* filling()
      const levels: Array<BackpressureLevel> = []
      const steps: ReadonlyArray<readonly [items: number, level: BackpressureLevel, delayMs: number]> = [
        [69, "Normal", 0],
        [70, "Warn", 0],
        [80, "Throttle", 10],
        [90, "Critical", 100]
      ]
      for (const [upTo, expected, delayMs] of steps) {
        yield* fill(upTo - 1)
        // The last write of the step is admitted at the level that holds before it.
        const last = yield* beside(service.submit({ id: `step.${upTo}`, content: "x" }))
        yield* TestClock.adjust(100)
        yield* Fiber.join(last)
        levels.push(yield* level)
        expect(levels[levels.length - 1]).toBe(expected)
        const probe = yield* beside(service.submit({ id: "..", content: "x" }).pipe(Effect.flip))
        if (delayMs > 0) {
          yield* TestClock.adjust(delayMs - 1)
          expect(yield* ended(probe)).toBe(false)
          yield* TestClock.adjust(1)
        }
        expect((yield* Fiber.join(probe))._tag).toBe("InvalidItem")
      }
      yield* fill(95)
      expect(yield* level).toBe("Emergency")
      for (const write of [
        service.submit({ id: "a", content: "x" }),
        service.submit({ id: "a", content: "x" }, { expectedVersion: 0 }),
        service.submitMany(items(1)),
        service.delete("a"),
        service.deleteMany(["a"])
      ] as ReadonlyArray<Effect.Effect<unknown, unknown>>) {
        expect(yield* Effect.flip(write)).toMatchObject({
          _tag: "Backpressure",
          level: "Emergency",
          pressure: 0.95,
          retryAfterMs: 1000
        })
      }
      expect(yield* service.contains("fill.0.0")).toBe(true)
      expect((yield* service.health).acceptsQueries).toBe(true)
      expect(disk.entries).toHaveLength(95)

      archive.down = false
      yield* service.flush
      expect(yield* level).toBe("Normal")
      yield* service.submit({ id: "a", content: "x" })
    })
  )

  it.scoped("Shutdown refuses at 0.98 with a longer hint", () =>
    Effect.gen(function* () {
      const { disk, service } = yield* filling()
      yield* service.submitMany(items(98))
      expect(disk.entries).toHaveLength(98)
      expect(yield* Effect.flip(service.submit({ id: "a", content: "x" }))).toMatchObject({
        _tag: "Backpressure",
        level: "Shutdown",
        retryAfterMs: 5000
      })
    })
  )

  it.scoped("a level is left below its own mark, not at its threshold", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: {
          walMaxItems: 100,
          batchFlushInterval: 3_600_000,
          walDrainInterval: 3_600_000,
          batchFlushCount: 3
        }
      })
      archive.down = true
      yield* service.submitMany(items(95))
      // The flush that the full batches asked for has failed.
      yield* settle
      // Each call carries one batch of three, then the archive stumbles again.
      let commits = 0
      archive.down = false
      archive.stumbles = (call) => call.operation === "commit" && ++commits % 2 === 0
      const seen: Array<string> = []
      for (let round = 0; round < 7; round++) {
        const { backpressure } = yield* service.health
        seen.push(`${backpressure.pressure} ${backpressure.level}`)
        yield* Effect.flip(service.flush)
      }
      expect(seen).toEqual([
        "0.95 Emergency",
        "0.92 Critical",
        "0.89 Critical",
        "0.86 Throttle",
        "0.83 Throttle",
        "0.8 Throttle",
        "0.77 Throttle"
      ])
    })
  )

  it.scoped("a write that waits is refused when the gate closes meanwhile", () =>
    Effect.gen(function* () {
      const { fill, service } = yield* filling()
      yield* fill(90)
      const write = yield* beside(Effect.flip(service.submit({ id: "a", content: "x" })))
      yield* service.drain
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(write)).toMatchObject({ _tag: "GateClosed", phase: "draining" })
    })
  )
})

describe("a full log", () => {
  it.scoped("refuses a call that does not fit as a whole, and takes one that does", () =>
    Effect.gen(function* () {
      const { disk, service } = yield* filling()
      yield* service.submitMany(items(60))
      const results = yield* service.submitMany(items(41, "more."))
      expect(results).toHaveLength(41)
      for (const result of results) {
        expect(result).toMatchObject({
          _tag: "Rejected",
          error: { _tag: "LogFull", items: 60, maxItems: 100 }
        })
      }
      expect(disk.entries).toHaveLength(60)
      expect(yield* Effect.flip(service.get("more.0"))).toMatchObject({ _tag: "TierUnavailable" })
      expect(
        (yield* service.submitMany(items(40, "fits."))).every(({ _tag }) => _tag === "Acknowledged")
      ).toBe(true)
      expect(disk.entries).toHaveLength(100)
    })
  )

  it.scoped("is bounded by bytes too, at every durability", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { walMaxBytes: 10_000, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      const item = { id: "a", content: "x".repeat(11_000) }
      for (const durability of ["memory", "wal", "archive"] as const) {
        expect(yield* Effect.flip(service.submit(item, { durability }))).toMatchObject({
          _tag: "PayloadTooLarge",
          limit: "WAL_MAX_BYTES"
        })
      }
      expect((yield* service.status("a").pipe(Effect.flip))._tag).toBe("TierUnavailable")
      yield* service.submit({ id: "b", content: "x" })
    })
  )

  it.scoped("a batch over several turns: turns that fit are acknowledged, the rest is told one by one", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { walMaxItems: 100, batchFlushInterval: 3_600_000, batchFlushCount: 100_000 },
        limits: { itemsPerTurn: 30 }
      })
      archive.down = true
      const results = yield* service.submitMany(items(105))
      const tags = results.map((result) => (result._tag === "Rejected" ? result.error._tag : result._tag))
      expect(tags.slice(0, 90)).toEqual(new Array(90).fill("Acknowledged"))
      expect(new Set(tags.slice(90))).toEqual(new Set(["LogFull"]))
      expect((yield* service.stats).pending).toBe(90)
    })
  )
})

describe("an item that could never fit the log", () => {
  it.scoped("is refused for good, alone, and without a hint to try again", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ config: { walMaxBytes: 10_000, maxPayloadBytes: 10_000 } })
      const refused = yield* Effect.flip(service.submit({ id: "large", content: "x".repeat(9_990) }))
      expect(refused).toMatchObject({ _tag: "PayloadTooLarge", bytes: 9_990, limit: "WAL_MAX_BYTES" })
      expect("retryAfterMs" in refused).toBe(false)
      const { maxBytes } = refused as PayloadTooLarge
      const results = yield* service.submitMany([
        { id: "large", content: "x".repeat(9_990) },
        { id: "small", content: "x" }
      ])
      expect(results.map((result) => (result._tag === "Rejected" ? result.error._tag : "fits"))).toEqual([
        "PayloadTooLarge",
        "fits"
      ])
      yield* service.flush
      yield* service.submit({ id: "large", content: "x".repeat(maxBytes) })
    })
  )

  const kinds: ReadonlyArray<readonly [name: string, bytes: number, fewest: number]> = [
    ["many small ones: the index", 10, 800],
    ["few large ones: the contents on their way", 100_000, 8]
  ]
  it.scoped.each(kinds)("a bound on the process's own memory, %s", ([, bytes, fewest]) =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { pendingMaxBytes: 1024 * 1024, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      const content = "x".repeat(bytes)
      const write = (n: number) => service.submit({ id: `item.${n}`, content })
      // Critical slows down: the clock goes on by itself.
      yield* Effect.forkScoped(Effect.forever(Effect.zipRight(Effect.yieldNow(), TestClock.adjust(100))))
      const fill = Effect.gen(function* () {
        for (let n = 0; ; n++) if ((yield* Effect.either(write(n)))._tag === "Left") return n
      })
      const taken = yield* fill
      expect(taken).toBeGreaterThanOrEqual(fewest)
      expect(taken * (bytes + 900)).toBeLessThan(1.1 * 1024 * 1024)
      expect(yield* Effect.flip(write(taken))).toMatchObject({ _tag: "Backpressure", level: "Emergency" })
      archive.down = false
      yield* service.flush
      yield* write(taken)
      expect((yield* service.health).backpressure.pressure).toBeLessThan(0.2)
    })
  )
})
