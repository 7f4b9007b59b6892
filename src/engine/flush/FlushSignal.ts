/** Requests to flush at once: a full batch, a writer that waits for the archive, an archive that is back. */
import { Effect } from "effect"

type Kind = "full" | "forced" | "recovery"

const urgency: Readonly<Record<Kind, number>> = { full: 0, forced: 1, recovery: 2 }

export class FlushSignal {
  private asked: Kind | undefined
  private readonly latch = Effect.unsafeMakeLatch(false)

  /** Asks for a flush. Synchronous; requests that come before the flush has started are one, the most urgent. */
  ask(kind: Kind): void {
    if (this.asked === undefined || urgency[kind] > urgency[this.asked]) this.asked = kind
    this.latch.unsafeOpen()
  }

  /** Waits for the next request. */
  readonly next = Effect.map(this.latch.await, (): Kind => {
    const kind = this.asked ?? "full"
    this.asked = undefined
    this.latch.unsafeClose()
    return kind
  })
}
