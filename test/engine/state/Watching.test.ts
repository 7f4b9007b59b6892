import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FiberId } from "effect"
import { ControlledScheduler } from "effect/Scheduler"
import type { Watch } from "../../../src/engine/state/Watching.js"
import { settledMeanwhile, touchedMeanwhile } from "../../../src/engine/state/Watching.js"

const steps = 60

/** Runs an effect up to one of its steps and interrupts it there. */
const interruptedAt = (step: number, effect: Effect.Effect<unknown>) => {
  const scheduler = new ControlledScheduler()
  let taken = 0
  scheduler.shouldYield = () => (taken++ === step ? 0 : false)
  const fiber = Effect.runFork(effect, { scheduler })
  scheduler.step()
  fiber.unsafeInterruptAsFork(FiberId.none)
  for (let more = 0; more < 10; more++) scheduler.step()
  return Fiber.await(fiber)
}

describe("a watch", () => {
  it.effect("over what is settled ends with its use, wherever it is interrupted", () =>
    Effect.gen(function* () {
      let open = 0
      let used = 0
      const pending = {
        watch: () => {
          open++
          return new Map()
        },
        unwatch: () => void open--
      }
      const use = () => Effect.sync(() => used++)
      const exits: Array<boolean> = []
      for (let step = 0; step < steps; step++) {
        exits.push(Exit.isSuccess(yield* interruptedAt(step, settledMeanwhile({ pending }, use))))
        expect({ step, open }).toEqual({ step, open: 0 })
      }
      expect([used > 0, exits.includes(true), exits.includes(false)]).toEqual([true, true, true])
    })
  )

  it.effect("over ids ends with its use, wherever it is interrupted, also where an id is named twice", () =>
    Effect.gen(function* () {
      const open: Array<string> = []
      const watches = {
        watch: (id: string): Watch => {
          open.push(id)
          return { dirty: false, watchers: 1 }
        },
        unwatch: (id: string) => void open.splice(open.indexOf(id), 1)
      }
      let used = 0
      const use = (watches: ReadonlyMap<string, Watch>) =>
        Effect.sync(() => {
          used++
          expect([...watches.keys()]).toEqual(["a", "b"])
        })
      for (let step = 0; step < steps; step++) {
        yield* interruptedAt(step, touchedMeanwhile({ watches }, ["a", "b", "a"], use))
        expect({ step, open }).toEqual({ step, open: [] })
      }
      expect(used).toBeGreaterThan(0)
    })
  )
})
