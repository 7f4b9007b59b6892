import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Option, TestClock } from "effect"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { PlayedArchive, settle, start } from "../support.js"

describe("a log that takes no writes", () => {
  it.scoped("closes the gate after the first failure, says so, and opens it when it takes writes again", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { lifecycle, service } = yield* start({ disk })
      yield* service.submit({ id: "a", content: "1" })
      expect((yield* service.health).acceptsWrites).toBe(true)
      disk.faults.commits = 1_000_000
      expect((yield* Effect.flip(service.submit({ id: "b", content: "1" })))._tag).toBe("LogUnavailable")

      const before = disk.faults.commits
      for (const attempt of [
        service.submit({ id: "c", content: "1" }),
        service.submit({ id: "c", content: "1" }, { durability: "memory" }),
        service.delete("a"),
        service.submitMany([{ id: "c", content: "1" }])
      ]) {
        const error = yield* Effect.flip<
          unknown,
          { readonly _tag: string; readonly retryAfterMs?: number },
          never
        >(attempt as never)
        expect(error._tag).toBe("LogUnavailable")
        expect(error.retryAfterMs).toBeGreaterThan(0)
      }
      // Refused at the gate: the log was not asked.
      expect(disk.faults.commits).toBe(before)
      const health = yield* service.health
      expect(health.acceptsWrites).toBe(false)
      expect(health.degraded.map(({ component }) => component)).toEqual(["log"])
      expect(lifecycle.acceptsQueries()).toBe(true)
      expect(Option.isSome(yield* service.get("a"))).toBe(true)

      yield* TestClock.adjust("10 seconds")
      expect((yield* service.health).acceptsWrites).toBe(false)
      disk.faults.commits = 0
      yield* TestClock.adjust("2 seconds")
      expect((yield* service.health).degraded).toEqual([])
      yield* service.submit({ id: "b", content: "2" })
    })
  )

  it.scoped("is noticed within one health interval when nobody writes, and at the start", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { service } = yield* start({ disk, config: { healthInterval: 5000 } })
      disk.faults.commits = 1_000_000
      yield* TestClock.adjust("6 seconds")
      expect((yield* service.health).degraded.map(({ component }) => component)).toEqual(["log"])
      yield* service.shutdown
      const next = yield* start({ disk })
      expect((yield* next.service.health).acceptsWrites).toBe(false)
    })
  )

  it.scoped("and cannot release holds up neither the flush nor the answers of a healthy archive", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const archive = new PlayedArchive()
      const { service } = yield* start({ disk, archive: archive.options, config: { batchFlushCount: 10 } })
      disk.faults.writes = 1_000_000
      yield* service.submitMany(Array.from({ length: 95 }, (_, n) => ({ id: `item.${n}`, content: "x" })))
      expect(Either.isRight(yield* Effect.either(service.flush))).toBe(true)
      expect(archive.live().length).toBe(95)
      expect(disk.entries.length).toBe(95)
      const { degraded } = yield* service.health
      expect(degraded.map(({ component }) => component)).toEqual(["log"])
      expect((yield* service.stats).pending).toBe(0)

      disk.faults.writes = 0
      yield* TestClock.adjust("2 seconds")
      yield* settle
      expect(disk.entries.length).toBe(0)
      expect((yield* service.health).degraded).toEqual([])
    })
  )
})

describe("an explicit flush and a drain", () => {
  it.scoped("end with a checkpoint of archive and log, so that a copy of their files is complete", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { batchFlushInterval: 3_600_000 }
      })
      yield* service.submit({ id: "a", content: "1" })
      yield* service.flush
      expect(archive.seen("checkpoint")).toHaveLength(1)
      yield* service.submit({ id: "b", content: "2" })
      yield* service.drain
      yield* settle
      expect(archive.live()).toEqual(["a", "b"])
      expect(archive.seen("checkpoint")).toHaveLength(2)
      expect(archive.calls.at(-1)!.operation).toBe("checkpoint")
    })
  )
})
