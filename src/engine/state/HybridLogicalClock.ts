/**
 * The hybrid logical clock that assigns versions: wall-clock milliseconds in the upper bits, a counter in the
 * lower ten. Versions rise strictly, also when the wall clock steps backwards and (fed with what the log and
 * the archive have seen) across restarts.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014), reduced to one safe integer.
 */

/** Versions a millisecond; more in one millisecond run ahead of the wall clock. */
export const versionsPerMillisecond = 1024

/**
 * What others have stored above this (past the engine, or before own versions were bounded) does not advance the
 * clock: 2^40 versions are left for everybody else. Such an item gets the next number above its own, while there is
 * one.
 */
export const maxObservedVersion = Number.MAX_SAFE_INTEGER - 2 ** 40

/** The last millisecond whose versions the clock can assign. */
export const maxWallMs = Math.floor(maxObservedVersion / versionsPerMillisecond)

export class HybridLogicalClock {
  /** The highest version assigned or observed. */
  latest = 0

  constructor(private readonly nowMs: () => number) {}

  /** Takes notice of a version seen elsewhere. */
  observe(version: number): void {
    const upTo = Math.min(version, maxObservedVersion)
    if (upTo > this.latest) this.latest = upTo
  }

  /** A version above all seen ones and `floor` (the item's own newest); `undefined` when no safe integer is left. */
  next(floor = 0): number | undefined {
    const physical = Math.min(maxObservedVersion, Math.floor(this.nowMs()) * versionsPerMillisecond)
    const version = Math.max(1, this.latest + 1, physical)
    if (version > floor && version <= Number.MAX_SAFE_INTEGER) {
      this.latest = version
      return version
    }
    if (floor >= Number.MAX_SAFE_INTEGER || version > Number.MAX_SAFE_INTEGER) return undefined
    this.observe(floor + 1)
    return floor + 1
  }
}
