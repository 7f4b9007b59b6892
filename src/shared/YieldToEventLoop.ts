/** Giving way to I/O in long synchronous work. */
import { Context, Effect } from "effect"

// Those who wait go on one after the other, and in one turn of the event loop only as many as fit, so that a turn does
// not grow with their number. Who waits again is for a later turn.
const waiting = new Set<() => void>()
const turnMs = 3
let arranged = false

const arrange = (): void => {
  arranged = true
  setImmediate(() => goOn(waiting.size, performance.now() + turnMs))
}

const goOn = (left: number, until: number): void => {
  const [next] = waiting
  if (next === undefined) {
    arranged = false
    return
  }
  waiting.delete(next)
  next()
  // Behind the work of the one who went on, which is a microtask.
  queueMicrotask(() => {
    if (left > 1 && performance.now() < until) goOn(left - 1, until)
    else if (waiting.size > 0) arrange()
    else arranged = false
  })
}

const toTheEventLoop: Effect.Effect<void> = Effect.async((resume) => {
  const next = () => resume(Effect.void)
  waiting.add(next)
  if (!arranged) arrange()
  return Effect.sync(() => {
    waiting.delete(next)
  })
})

/**
 * How long synchronous work gives way; through the event loop unless replaced. A simulation, which has no event
 * loop, gives its own turns.
 */
export class YieldToEventLoop extends Context.Reference<YieldToEventLoop>()("effect-sync-engine/GiveWay", {
  defaultValue: () => toTheEventLoop
}) {}

/** Lets timers and I/O run before going on (`Effect.yieldNow` is a microtask and does not). */
export const yieldToEventLoop: Effect.Effect<void> = Effect.flatten(YieldToEventLoop)
