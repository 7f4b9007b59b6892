/**
 * Vitest's setup of the projects under the test's clock. Before each sleeper that it wakes, `TestClock.adjust` waits for
 * three timers of a millisecond, so that whoever was woken last comes as far as he can. Here it gives way to the event
 * loop instead, until nobody else has asked to go on: as far, in microseconds.
 */
import { Effect, TestClock, TestContext } from "effect"

/** So many turns of the loop in which nobody else asked for one; and at most so many in all, beside one who always asks. */
const enough = 4
const atMost = 100
const clock = await Effect.runPromise(Effect.provide(TestClock.testClock(), TestContext.TestContext))
/** Who waits here: they are not waited for. */
let waiting = 0
const others = () =>
  process.getActiveResourcesInfo().reduce((count, kind) => count + (kind === "Immediate" ? 1 : 0), -waiting)

const settled = Effect.async<void>((resume) => {
  let turns = 0
  let quiet = 0
  const wait = () => {
    waiting++
    setImmediate(next)
  }
  const next = () => {
    waiting--
    quiet = others() > 0 ? 0 : quiet + 1
    if (quiet < enough && ++turns < atMost) wait()
    else resume(Effect.void)
  }
  wait()
})

Object.getPrototypeOf(clock).awaitSuspended = () => settled
