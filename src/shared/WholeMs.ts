import { Duration } from "effect"

/** A duration as options give it, in whole milliseconds, at least one. */
export const wholeMs = (duration: Duration.DurationInput): number =>
  Math.max(1, Math.ceil(Duration.toMillis(duration)))
