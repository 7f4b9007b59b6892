/**
 * One at a time, in the order in which they came. A holder with long work passes its turn on between two pieces of
 * it and queues again, so that nobody waits longer than one piece for each one ahead.
 *
 * Effect's semaphore was rejected: who releases a permit and takes it again in the same step is served before those
 * who wait.
 */
import { Effect } from "effect"

interface Ticket {
  wake: () => void
}

export class Turns {
  private holder: Ticket | undefined
  private readonly waiting = new Set<Ticket>()

  /** Whether anybody waits for the holder. Synchronous. */
  get wanted(): boolean {
    return this.waiting.size > 0
  }

  /** Runs an effect when its turn has come; `pass` lets those who wait go first. */
  hold<A, E, R>(use: (pass: Effect.Effect<void>) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const ticket: Ticket = { wake: () => {} }
      const come = this.come(ticket)
      const pass = Effect.suspend(() => {
        if (!this.wanted) return Effect.void
        this.leave(ticket)
        return come
      })
      // Whatever ends the call, waiting or holding, the ticket goes back.
      return Effect.ensuring(
        Effect.zipRight(come, use(pass)),
        Effect.sync(() => this.leave(ticket))
      )
    })
  }

  private come(ticket: Ticket): Effect.Effect<void> {
    return Effect.async((resume) => {
      if (this.holder === undefined) {
        this.holder = ticket
        return resume(Effect.void)
      }
      ticket.wake = () => resume(Effect.void)
      this.waiting.add(ticket)
    })
  }

  private leave(ticket: Ticket): void {
    if (this.holder !== ticket) {
      this.waiting.delete(ticket)
      return
    }
    const [next] = this.waiting
    this.holder = next
    if (next === undefined) return
    this.waiting.delete(next)
    next.wake()
  }
}
