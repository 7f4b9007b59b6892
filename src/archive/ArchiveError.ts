/**
 * How the archive fails.
 *
 * @since 0.1.0
 */
import { Data } from "effect"

/**
 * Any failure of the archive, defects of the driver included. `transient`: the archive or the way to it is
 * down, overloaded or gave up on a lock; the same call may succeed later. `permanent`: this very data is
 * refused and always will be.
 *
 * @since 0.1.0
 * @category errors
 */
export class ArchiveError extends Data.TaggedError("ArchiveError")<{
  readonly operation: string
  readonly kind: "transient" | "permanent"
  /** What the driver said, secrets removed. */
  readonly problem: string
  /** The time for it was over: less at once may fit into it. */
  readonly overdue?: boolean
  /** The driver's error where there was one: its code, number and stack; secrets and the statement removed. */
  readonly cause?: unknown
}> {
  override get message() {
    return `archive ${this.operation}: ${this.problem} (${this.kind})`
  }
}
