/** The right to hold one of a bounded number of connections; who waits for it is served in turn. */
import { Effect } from "effect"

export interface SlotsOptions<E> {
  readonly size: number
  readonly waitMs: number
  readonly exhausted: () => E
  readonly closed: () => E
}

export class Slots<E> {
  private ended = false
  private taken = 0
  private readonly waiting = new Set<(error?: E) => void>()

  constructor(private readonly options: SlotsOptions<E>) {}

  /**
   * Takes one, in a region that cannot be interrupted; `restore` lets the wait be. What an interrupted wait has got is
   * given back, and only what it has got.
   */
  readonly take = (
    restore: (wait: Effect.Effect<void, E>) => Effect.Effect<void, E>
  ): Effect.Effect<void, E> =>
    Effect.suspend(() => {
      const { closed, exhausted, size, waitMs } = this.options
      if (this.ended) return Effect.fail(closed())
      if (this.taken < size) {
        this.taken++
        return Effect.void
      }
      let granted = false
      let leave = () => {}
      const wait = Effect.async<void, E>((resume) => {
        const end = (error?: E) => {
          leave()
          granted = error === undefined
          if (granted) this.taken++
          resume(error === undefined ? Effect.void : Effect.fail(error))
        }
        const timer = setTimeout(() => end(exhausted()), waitMs)
        this.waiting.add(end)
        leave = () => {
          clearTimeout(timer)
          this.waiting.delete(end)
        }
      })
      return Effect.onError(restore(wait), () =>
        Effect.sync(() => {
          leave()
          if (granted) this.giveBack()
        })
      )
    })

  giveBack(): void {
    this.taken--
    const [next] = this.waiting
    next?.()
  }

  /** From now on all are refused, also those who wait. */
  close(): void {
    this.ended = true
    for (const end of [...this.waiting]) end(this.options.closed())
  }
}
