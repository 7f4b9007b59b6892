import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Turns } from "../../src/shared/Turns.js"
import { beside, settle } from "../engine/support.js"

describe("turns", () => {
  it.scoped("go in the order in which they were asked for, also past somebody who passes his on", () =>
    Effect.gen(function* () {
      const turns = new Turns()
      const seen: Array<string> = []
      const gate = Effect.unsafeMakeLatch(false)
      const long = yield* beside(
        turns.hold((pass) =>
          Effect.gen(function* () {
            yield* gate.await
            for (const piece of ["long 1", "long 2", "long 3"]) {
              seen.push(piece)
              yield* pass
            }
          })
        )
      )
      const short = (name: string) => beside(turns.hold(() => Effect.sync(() => seen.push(name))))
      const first = yield* short("a")
      const second = yield* short("b")
      expect(turns.wanted).toBe(true)
      yield* gate.open
      yield* Fiber.joinAll([first, second])
      yield* Fiber.join(long)
      expect(seen).toEqual(["long 1", "a", "b", "long 2", "long 3"])
      expect(turns.wanted).toBe(false)
    })
  )

  it.scoped("an interruption gives the turn on, waiting, holding or passing", () =>
    Effect.gen(function* () {
      const turns = new Turns()
      const holder = yield* beside(turns.hold((pass) => Effect.forever(Effect.zipRight(settle, pass))))
      const hanging = yield* beside(turns.hold(() => Effect.never))
      const waiter = yield* beside(turns.hold(() => Effect.never))
      yield* Fiber.interruptAll([waiter, holder, hanging])
      expect(yield* turns.hold(() => Effect.succeed("mine"))).toBe("mine")
    })
  )
})
