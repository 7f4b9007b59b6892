import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Exit, Fiber, FiberId } from "effect"
import { ControlledScheduler } from "effect/Scheduler"
import { Slots } from "../../../src/archive/mysql/Slots.js"

const taken = (slots: Slots<string>) => Effect.uninterruptibleMask((restore) => slots.take(restore))

const slotsOf = (size: number, waitMs: number) =>
  new Slots({ size, waitMs, exhausted: () => "exhausted", closed: () => "closed" })

/** A fiber that goes on only when the scheduler is stepped. */
const waiterOf = (slots: Slots<string>, scheduler: ControlledScheduler) => {
  const fiber = Effect.runFork(taken(slots), { scheduler })
  scheduler.step()
  return fiber
}

describe("slots", () => {
  it.live("serve those who wait in turn, refuse them after the wait, and all once they are closed", () =>
    Effect.gen(function* () {
      const hasty = slotsOf(1, 1)
      yield* taken(hasty)
      expect(yield* Effect.either(taken(hasty))).toEqual(Either.left("exhausted"))
      const slots = slotsOf(1, 60_000)
      yield* taken(slots)
      const order: Array<string> = []
      const waits = (name: string) =>
        Effect.fork(
          Effect.zipRight(
            taken(slots),
            Effect.sync(() => order.push(name))
          )
        )
      const first = yield* waits("first")
      const second = yield* waits("second")
      yield* Effect.yieldNow()
      slots.giveBack()
      yield* Fiber.join(first)
      slots.giveBack()
      yield* Fiber.join(second)
      expect(order).toEqual(["first", "second"])
      const third = yield* Effect.fork(taken(slots))
      yield* Effect.yieldNow()
      slots.close()
      expect(yield* Effect.either(Fiber.join(third))).toEqual(Either.left("closed"))
      expect(yield* Effect.either(taken(slots))).toEqual(Either.left("closed"))
    })
  )

  it.live("are not given back by a wait that was refused and interrupted before it heard of it", () =>
    Effect.gen(function* () {
      const slots = slotsOf(1, 1)
      yield* taken(slots)
      const scheduler = new ControlledScheduler()
      const waiter = waiterOf(slots, scheduler)
      // Refused by now, which it has not been told: it does not run.
      yield* Effect.sleep("50 millis")
      waiter.unsafeInterruptAsFork(FiberId.none)
      scheduler.step()
      expect(Exit.isInterrupted(yield* Fiber.await(waiter))).toBe(true)
      expect(yield* Effect.either(taken(slots))).toEqual(Either.left("exhausted"))
    })
  )

  it.live("are given back by a wait that got one and was interrupted before it heard of it", () =>
    Effect.gen(function* () {
      const slots = slotsOf(1, 60_000)
      yield* taken(slots)
      const scheduler = new ControlledScheduler()
      const waiter = waiterOf(slots, scheduler)
      slots.giveBack()
      waiter.unsafeInterruptAsFork(FiberId.none)
      scheduler.step()
      expect(Exit.isInterrupted(yield* Fiber.await(waiter))).toBe(true)
      expect(yield* Effect.either(taken(slots))).toEqual(Either.right(undefined))
    })
  )
})
