import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, TestClock } from "effect"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { recordOf, recordsOf } from "./support.js"

const everything = { after: 0, maxItems: 1000, maxBytes: 1_000_000 }

describe("MemoryLog", () => {
  it.scoped("commits after its delay, everything that waits together", () =>
    Effect.gen(function* () {
      const { disk, log } = yield* MemoryLog.open({ commitDelay: Effect.sleep("10 millis") })
      const first = yield* Effect.fork(log.append([recordOf(1)]))
      yield* TestClock.adjust("5 millis")
      const others = yield* Effect.fork(
        Effect.forEach(recordsOf(2, 9), (record) => log.append([record]), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("4 millis")
      expect(log.usage()).toMatchObject({ items: 10, committed: 0 })
      expect(yield* log.read(everything)).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(first)).toEqual({ first: 1, count: 1 })
      expect(log.usage().committed).toBe(1)
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(others)
      expect(log.usage().committed).toBe(10)
      expect(disk.commits).toBe(2)
    })
  )

  it.scoped("loses exactly what was not committed in a crash", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { log } = yield* MemoryLog.open({ disk, commitDelay: Effect.sleep("10 millis") })
      yield* Effect.fork(log.append(recordsOf(1, 3)))
      yield* TestClock.adjust("10 millis")
      const lost = yield* Effect.fork(Effect.either(log.append(recordsOf(4, 3))))
      const mark = yield* Effect.fork(Effect.either(log.release(2)))
      yield* TestClock.adjust("9 millis")
      MemoryLog.crash(disk)
      const next = yield* MemoryLog.open({ disk })
      yield* TestClock.adjust("1 second")
      expect(Either.isLeft(yield* Fiber.join(lost))).toBe(true)
      expect(Either.isLeft(yield* Fiber.join(mark))).toBe(true)
      expect(next.log.usage()).toMatchObject({ items: 3, committed: 3, released: 0 })
      expect((yield* Effect.flip(log.append([recordOf(9)])))._tag).toBe("LogUnavailable")
      yield* next.log.append([recordOf(4)])
      expect((yield* next.log.read(everything)).map(({ record }) => record)).toStrictEqual(recordsOf(1, 4))
    })
  )

  it.scoped("fails as often as its disk is told to, and no more", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const { log } = yield* MemoryLog.open({ disk })
      disk.faults.commits = 1
      expect((yield* Effect.flip(log.append([recordOf(1)])))._tag).toBe("LogUnavailable")
      expect(log.usage()).toMatchObject({ items: 0, bytes: 0, committed: 0 })
      expect(yield* log.append([recordOf(2)])).toEqual({ first: 2, count: 1 })
      disk.faults.reads = 1
      disk.faults.writes = 1
      expect((yield* Effect.flip(log.read(everything)))._tag).toBe("LogUnavailable")
      expect((yield* Effect.flip(log.release(2)))._tag).toBe("LogUnavailable")
      expect((yield* log.read(everything)).length).toBe(1)
      yield* log.release(2)
      expect(log.usage()).toMatchObject({ items: 0, released: 2 })
      MemoryLog.crash(disk)
      disk.faults.opens = 1
      expect((yield* Effect.flip(Effect.asVoid(MemoryLog.open({ disk })))).kind).toBe("cannot-open")
      const again = yield* MemoryLog.open({ disk })
      expect(again.log.usage().committed).toBe(2)
    })
  )
})
