import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scheduler, TestClock } from "effect"
import { textOf } from "../../../src/SyncItem.js"
import { beside, ended, settle, start } from "../support.js"

/** A scheduler that holds its fiber up after so many steps, until it is let go. */
const holdingUp = () => {
  let left = -1
  let holds = false
  let held: (() => void) | undefined
  const scheduler: Scheduler.Scheduler = {
    shouldYield: () => {
      if (left < 0 || left-- > 0) return false
      holds = true
      return 0
    },
    scheduleTask: (task, priority) => {
      const go = () => Scheduler.defaultScheduler.scheduleTask(task, priority)
      if (!holds) return go()
      holds = false
      held = go
    }
  }
  return {
    scheduler,
    after: (steps: number) =>
      Effect.sync(() => {
        left = steps
      }),
    /** Returns whether the fiber is held up; if it is not, it will not be. */
    isHeld: () => {
      left = -1
      return held !== undefined
    },
    letGo: () => held?.()
  }
}

describe("getOrInsertWith inside make", () => {
  const made = (content: string) => Effect.succeed({ content })

  it.scoped(
    "of the same id is an error instead of waiting for itself, however deep and in whatever fiber",
    () =>
      Effect.gen(function* () {
        const { service } = yield* start()
        const again = service.getOrInsertWith("a", made("inner"))
        const through = service.getOrInsertWith("b", Effect.as(again, { content: "b" }))
        const nested: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          again,
          Effect.timeout(again, "1 hour"),
          Effect.flatMap(Effect.fork(again), Fiber.join),
          Effect.all([again, made("x")], { concurrency: 2 }),
          through,
          Effect.forEach([1, 2], () => through, { concurrency: 2 })
        ]
        for (const inner of nested) {
          const outer = service.getOrInsertWith("a", Effect.as(inner, { content: "outer" }))
          const fiber = yield* beside(outer)
          expect(yield* ended(fiber)).toBe(true)
          expect(yield* Effect.flip(fiber)).toMatchObject({ _tag: "InvalidRequest", argument: "make" })
        }
        // Nothing is left behind.
        expect(textOf(yield* service.getOrInsertWith("a", made("at last")))).toBe("at last")
        expect(textOf(yield* service.getOrInsertWith("b", made("b too")))).toBe("b too")
      })
  )

  it.scoped("two that wait for each other: the second to ask gets the error, and the first goes on", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const one = yield* Effect.fork(
        service.getOrInsertWith(
          "a",
          Effect.zipRight(
            Effect.sleep("1 second"),
            Effect.as(service.getOrInsertWith("b", made("b of one")), { content: "a" })
          )
        )
      )
      const two = yield* Effect.fork(
        service.getOrInsertWith(
          "b",
          Effect.as(service.getOrInsertWith("a", made("a of two")), { content: "b" })
        )
      )
      yield* settle
      const exits = yield* Effect.fork(Effect.all([Fiber.await(one), Fiber.await(two)]))
      yield* TestClock.adjust("2 seconds")
      const [first, second] = yield* Fiber.join(exits)
      expect(Exit.isSuccess(first)).not.toBe(Exit.isSuccess(second))
      expect([first, second].find(Exit.isFailure)).toMatchObject({
        cause: { error: { _tag: "InvalidRequest" } }
      })
    })
  )

  it.scoped("also when one of them is held up between any two steps", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      let isHeld = true
      for (let steps = 0; isHeld; steps++) {
        const [first, second] = [yield* Effect.makeLatch(), yield* Effect.makeLatch()]
        const hold = holdingUp()
        const crossing = (id: string, other: string, before: Effect.Effect<void>) => {
          const inner = service.getOrInsertWith(`${other}.${steps}`, made(other))
          const making = Effect.as(Effect.zipRight(before, inner), { content: id })
          return Effect.exit(service.getOrInsertWith(`${id}.${steps}`, making))
        }
        const one = crossing("a", "b", Effect.zipRight(first.await, hold.after(steps)))
        const fibers = [
          yield* beside(Effect.withScheduler(one, hold.scheduler)),
          yield* beside(crossing("b", "a", second.await))
        ]
        yield* Effect.zipRight(first.open, settle)
        isHeld = hold.isHeld()
        yield* Effect.zipRight(second.open, settle)
        hold.letGo()
        yield* settle
        expect([steps, ...(yield* Effect.forEach(fibers, ended))]).toEqual([steps, true, true])
        const exits = yield* Effect.forEach(fibers, Fiber.join)
        expect(exits.find(Exit.isFailure)).toMatchObject({ cause: { error: { _tag: "InvalidRequest" } } })
      }
    })
  )

  it.scoped("of other ids, and of the same id afterwards, is fine", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const inner = service.getOrInsertWith("parts.a", made("part"))
      const outer = service.getOrInsertWith(
        "whole",
        Effect.map(Effect.all([inner, inner], { concurrency: 2 }), (parts) => ({
          content: parts.map(textOf).join()
        }))
      )
      const both = yield* Effect.all([outer, outer, inner], { concurrency: "unbounded" })
      expect(both.map(textOf)).toEqual(["part,part", "part,part", "part"])
      // A fiber that outlives its make asks like anybody else.
      let late: Fiber.Fiber<unknown, unknown> | undefined
      yield* service.getOrInsertWith(
        "c",
        Effect.gen(function* () {
          late = yield* Effect.forkDaemon(
            Effect.zipRight(Effect.yieldNow(), Effect.delay(service.getOrInsertWith("c", made("late")), 0))
          )
          return { content: "c" }
        })
      )
      yield* settle
      expect(textOf(yield* service.getOrInsertWith("c", made("x")))).toBe("c")
      yield* Effect.ignore(Fiber.join(late!))
    })
  )

  it.scoped("an interrupted insertion leaves nothing behind", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const hanging = yield* beside(service.getOrInsertWith("a", Effect.never))
      const waiter = yield* beside(service.getOrInsertWith("a", made("waiter")))
      expect(yield* ended(waiter)).toBe(false)
      yield* Fiber.interrupt(hanging)
      expect(textOf(yield* Fiber.join(waiter))).toBe("waiter")
    })
  )
})
