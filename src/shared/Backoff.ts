/** Pauses between attempts at what fails for a time: they double, up to a longest one. */
import { Duration, Schedule } from "effect"

/** The pause after so many failures in a row, without jitter; 0 after none. For a state of its own. */
export const backoffMs = (failures: number, firstMs: number, longestMs: number): number =>
  failures === 0 ? 0 : Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30))

/**
 * Recurs for ever. Each pause is made shorter or longer by up to a fifth, so that those who failed together do not come
 * again together. In whole milliseconds: `TestClock` cannot tell a fraction of one in nanoseconds.
 */
export const backoff = (first: Duration.DurationInput, longest: Duration.DurationInput) =>
  Schedule.exponential(first).pipe(
    Schedule.union(Schedule.spaced(longest)),
    Schedule.jittered,
    Schedule.modifyDelay((_, pause) => Duration.millis(Math.round(Duration.toMillis(pause))))
  )
