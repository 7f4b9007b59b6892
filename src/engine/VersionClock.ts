/**
 * The hybrid logical clock that assigns versions: wall-clock milliseconds in the upper bits, a counter in the
 * lower ten. Versions rise strictly, also when the wall clock steps backwards and (fed with what the log and
 * the archive have seen) across restarts.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014), reduced to one safe integer.
 *
 * @since 0.1.0
 */

/** Versions a millisecond; more in one millisecond run ahead of the wall clock. @since 0.1.0 @category constants */
export const versionsPerMillisecond = 1024

/**
 * Callers' own versions above this bound do not advance the clock: otherwise one absurd version would leave no
 * room for all others. They still count for their own item. The wall clock reaches it in the year 2213.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxObservedVersion = Number.MAX_SAFE_INTEGER - 2 ** 50

/**
 * @example
 * ```ts
 * const clock = new VersionClock(() => Date.now())
 * clock.observe(stored.version)
 * const version = clock.next()
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export class VersionClock {
  private last = 0

  constructor(private readonly nowMs: () => number) {}

  /** The highest version assigned or observed. */
  get latest(): number {
    return this.last
  }

  /** Takes notice of a version seen elsewhere. */
  observe(version: number): void {
    if (version > this.last && version <= maxObservedVersion) this.last = version
  }

  /**
   * A version above all assigned and observed ones and above `floor` (the item's own newest version);
   * `undefined` when `floor` leaves no safe integer above it.
   */
  next(floor = 0): number | undefined {
    const physical = Math.max(1, Math.floor(this.nowMs()) * versionsPerMillisecond)
    const version = Math.max(this.last + 1, physical)
    if (version > floor) {
      this.last = version
      return version
    }
    if (floor >= Number.MAX_SAFE_INTEGER) return undefined
    this.observe(floor + 1)
    return floor + 1
  }
}
