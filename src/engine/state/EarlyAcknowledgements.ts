/**
 * Calls acknowledged before their commit (durability `memory`), and those of their writes that were lost.
 *
 * The protocol: `LogAppend` hands the records to the log and shows them to readers in the same synchronous step, without
 * a sequence number; `PendingIndex` keeps them apart, with their contents, because the log cannot serve them yet. When
 * the commit ends well, the logged entry takes their place; when it fails, they are taken back: readers see what was
 * there before, and the loss is counted and told (`tellLosses`). Commits end in the order in which calls began, so two
 * counters are enough to wait for "everything acknowledged so far is in the log", which a flush does first. Rejected:
 * showing them as ordinary pending writes, which a failed commit could not take back without losing an older write of
 * the id; and waiting for the log's own end, which never comes while others write.
 */
import { Effect } from "effect"
import * as Metrics from "../../Metrics.js"

export class EarlyAcknowledgements {
  private calls = 0
  private ended = 0
  private waiters: Array<{ readonly calls: number; readonly wake: () => void }> = []
  /** Writes whose commit failed since the start. */
  lost = 0
  /** How many of them somebody was told of. */
  lossesTold = 0
  /** Open while there are losses of which nobody was told. */
  readonly losses = Effect.unsafeMakeLatch(false)

  /** A call has been acknowledged before its commit. */
  begin(): void {
    this.calls++
  }

  /** The commit of the oldest such call has ended. */
  end(): void {
    this.ended++
    while (this.waiters.length > 0 && this.waiters[0]!.calls <= this.ended) this.waiters.shift()!.wake()
  }

  /** Waits until everything acknowledged so far is in the log, or has failed there. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    this.ended === this.calls
      ? Effect.void
      : Effect.async<void>((resume) => {
          if (this.ended === this.calls) resume(Effect.void)
          else this.waiters.push({ calls: this.calls, wake: () => resume(Effect.void) })
        })
  )

  /** Acknowledged writes were not committed: the one loss that this level allows. */
  lose(writes: number): void {
    this.lost += writes
    Metrics.lost(writes)
    this.losses.unsafeOpen()
  }
}
