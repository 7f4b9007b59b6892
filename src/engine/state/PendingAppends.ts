/** Writes that were handed to the log and whose group commit has not ended, oldest first. */
import { Effect } from "effect"
import { LogUnavailable } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"

/** What a record takes beside its content. */
export const recordMemory = 512

interface Append {
  readonly records: number
  readonly memory: number
  readonly fail: (error: LogUnavailable) => void
}

export class PendingAppends {
  private readonly appends = new Map<number, Append>()

  constructor(private readonly here: { readonly tiers: { readonly log: OpenLog } | undefined }) {}

  /** Open while none is under way: no caller is left without an answer then. */
  readonly settled = Effect.unsafeMakeLatch(true)
  /** The last one that was begun. */
  last = 0
  /** What they take of the process's memory, about. */
  memory = 0

  get size(): number {
    return this.appends.size
  }

  /** How many have ended so far; for the watchdog. */
  get ended(): number {
    return this.last - this.appends.size
  }

  get records(): number {
    let records = 0
    for (const append of this.appends.values()) records += append.records
    return records
  }

  get oldest(): number | undefined {
    const [oldest] = this.appends.keys()
    return oldest
  }

  /** To be ended with its group commit. `fail` is called instead when nobody waits for that any more. */
  begin(records: number, bytes: number, fail: Append["fail"]): number {
    // The record itself, and its copy in the log's segment.
    const memory = 2 * bytes + records * recordMemory
    this.memory += memory
    this.settled.unsafeClose()
    this.appends.set(++this.last, { records, memory, fail })
    return this.last
  }

  /** False when it has ended before. */
  end(append: number): boolean {
    this.memory -= this.appends.get(append)?.memory ?? 0
    const isOpen = this.appends.delete(append)
    if (this.appends.size === 0) this.settled.unsafeOpen()
    return isOpen
  }

  /** Nobody waits for the log any more; what became of them is not known. */
  giveUp(): void {
    const path = this.here.tiers?.log.path ?? ""
    const problem = "the shutdown waits no longer; whether the log has the write is not known"
    for (const { fail } of [...this.appends.values()]) {
      fail(new LogUnavailable({ path, operation: "append", problem, retryAfterMs: 1000 }))
    }
  }
}

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
          this.waiters.push({ calls: this.calls, wake: () => resume(Effect.void) })
        })
  )

  /** Acknowledged writes were not committed: the one loss that this level allows. */
  lose(writes: number): void {
    this.lost += writes
    Metrics.lost(writes)
    this.losses.unsafeOpen()
  }
}
