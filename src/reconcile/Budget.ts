/**
 * How much a long check may read and how long it may take.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import { yieldToEventLoop } from "../shared/YieldToEventLoop.js"

/**
 * Both bounds count from the call; without them there is none.
 *
 * @since 0.1.0
 * @category models
 */
export interface BudgetOptions {
  /** Rows, leaves and nodes read, at least 1. What is read for two checks counts twice. */
  readonly rows?: number | undefined
  /** At least 1. Looked at between pages. */
  readonly milliseconds?: number | undefined
}

/** Only goes on, whatever happens to the wall clock. */
const elapsedMs = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/**
 * What is left of a budget. Mutable; one a call.
 *
 * @since 0.1.0
 * @category models
 */
export class Budget {
  /** Whether it was what ended a check. */
  exhausted = false
  private rows: number

  private constructor(
    options: BudgetOptions,
    private readonly deadline: number
  ) {
    this.rows = options.rows ?? Number.POSITIVE_INFINITY
  }

  /** Begins to count. */
  static begin(options: BudgetOptions = {}): Effect.Effect<Budget> {
    return Effect.map(
      elapsedMs,
      (now) => new Budget(options, now + (options.milliseconds ?? Number.POSITIVE_INFINITY))
    )
  }

  /** How many rows the next page may have, at most `most`, after giving way to I/O; 0 when the budget is spent. */
  readonly nextPage = (most: number): Effect.Effect<number> =>
    Effect.zipRight(
      yieldToEventLoop,
      Effect.map(elapsedMs, (now) => {
        const page = now >= this.deadline ? 0 : Math.min(most, Math.max(0, this.rows))
        if (page === 0) this.exhausted = true
        return page
      })
    )

  /** Whether the time is up; what was read may be made use of when the rows are. */
  readonly isOver: Effect.Effect<boolean> = Effect.map(elapsedMs, (now) => {
    if (now >= this.deadline) this.exhausted = true
    return now >= this.deadline
  })

  /** Waits; false, at once, when the budget ends before. */
  readonly pause = (milliseconds: number): Effect.Effect<boolean> =>
    Effect.flatMap(elapsedMs, (now) => {
      if (now + milliseconds < this.deadline) return Effect.as(Effect.sleep(milliseconds), true)
      this.exhausted = true
      return Effect.succeed(false)
    })

  /** So many rows were read. */
  spend(rows: number): void {
    this.rows -= rows
  }
}
