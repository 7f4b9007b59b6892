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

/** What is left of a budget: mutable, one per call. */
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

  /**
   * Reads a list to its end, each page behind the last id of the one before; false when the budget ended it. A page
   * that is not full is the last, unless its bytes may have cut it short.
   */
  readonly eachPage = <A extends string | { readonly id: string }, E1, E2>(
    most: number,
    read: (after: string | undefined, limit: number) => Effect.Effect<ReadonlyArray<A>, E1>,
    use: (page: ReadonlyArray<A>) => Effect.Effect<unknown, E2>,
    { cutByBytes = false } = {}
  ): Effect.Effect<boolean, E1 | E2> =>
    Effect.gen(this, function* () {
      let after: string | undefined
      for (;;) {
        const limit = yield* this.nextPage(most)
        if (limit === 0) return false
        const page = yield* read(after, limit)
        const last = page[page.length - 1]
        if (last === undefined) return true
        yield* use(page)
        this.rows -= page.length
        if (page.length < limit && !cutByBytes) return true
        after = typeof last === "string" ? last : last.id
      }
    })

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
