/** Writes that were handed to the log and whose group commit has not ended, oldest first. */
import { Effect } from "effect"
import { LogUnavailable } from "../../EngineError.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import { gateRetryAfterMs } from "./Gate.js"

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
      fail(new LogUnavailable({ path, operation: "append", problem, retryAfterMs: gateRetryAfterMs }))
    }
  }
}
