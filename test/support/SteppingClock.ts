import { Clock, Effect } from "effect"

/** The current clock with a wall that can be moved; what only goes on is left alone. */
export const steppingClock = Effect.map(Effect.clock, (inner) => {
  let offsetMs = 0
  const wall = () => inner.unsafeCurrentTimeMillis() + offsetMs
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: wall,
    unsafeCurrentTimeNanos: () => inner.unsafeCurrentTimeNanos(),
    currentTimeMillis: Effect.sync(wall),
    currentTimeNanos: inner.currentTimeNanos,
    sleep: (duration) => inner.sleep(duration)
  }
  return {
    clock,
    step: (ms: number): void => {
      offsetMs += ms
    }
  }
})
