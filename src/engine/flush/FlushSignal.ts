/** Requests to flush at once: a full batch, a writer that waits for the archive. */
import { Effect } from "effect"

type Kind = "full" | "forced"

export class FlushSignal {
  private asked: Kind | undefined
  private readonly latch = Effect.unsafeMakeLatch(false)

  /** Asks for a flush. Synchronous; requests that come before the flush has started are one, the most urgent. */
  ask(kind: Kind): void {
    if (this.asked !== "forced") this.asked = kind
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
