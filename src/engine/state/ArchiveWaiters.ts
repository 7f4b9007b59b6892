/** Writers that asked for durability `archive`, waiting for their entries to be archived. */

import type { ItemVersion } from "../../SyncItem.js"
import { lowerBound } from "../../shared/LowerBound.js"

/** What became of one entry. */
export type ArchiveOutcome =
  | { readonly _tag: "Archived" }
  /** The archive could not be reached; the entry is durable in the log. */
  | { readonly _tag: "InLog" }
  | { readonly _tag: "Rejected"; readonly problem: string }
  /** The archive has something else, and keeps it. */
  | {
      readonly _tag: "Superseded"
      readonly stored: ItemVersion
      /** This node has a later write of the id. */
      readonly followed: boolean
    }

interface Waiter {
  readonly first: number
  readonly outcomes: Array<ArchiveOutcome>
  readonly done: (outcomes: ReadonlyArray<ArchiveOutcome>) => void
}

const archived: ArchiveOutcome = { _tag: "Archived" }
const inLog: ArchiveOutcome = { _tag: "InLog" }

export class ArchiveWaiters {
  // In log order, because calls are committed in call order.
  private waiters: Array<Waiter> = []
  private closed = false

  get size(): number {
    return this.waiters.length
  }

  /** Waits for the entries `first .. first + count - 1`. */
  add(first: number, count: number, done: Waiter["done"]): void {
    const outcomes = new Array<ArchiveOutcome>(count).fill(this.closed ? inLog : archived)
    if (this.closed) done(outcomes)
    else this.waiters.push({ first, outcomes, done })
  }

  /** This entry was not archived. Returns whether somebody waits for it. */
  decide(sequence: number, outcome: ArchiveOutcome): boolean {
    const { waiters } = this
    const waiter = waiters[lowerBound(0, waiters.length, (index) => waiters[index]!.first <= sequence) - 1]
    if (waiter === undefined || sequence >= waiter.first + waiter.outcomes.length) return false
    waiter.outcomes[sequence - waiter.first] = outcome
    return true
  }

  /** Everything up to here is archived or rejected. `early`: readers do not see it yet, and whoever lost waits for that. */
  settle(upTo: number, early = false): void {
    const ready: Array<Waiter> = []
    const kept: Array<Waiter> = []
    for (const waiter of this.waiters) {
      if (waiter.first + waiter.outcomes.length - 1 > upTo) break
      const waits = early && waiter.outcomes.some((outcome) => outcome._tag !== "Archived")
      ;(waits ? kept : ready).push(waiter)
    }
    if (ready.length === 0) return
    this.waiters = [...kept, ...this.waiters.slice(kept.length + ready.length)]
    for (const waiter of ready) waiter.done(waiter.outcomes)
  }

  /** As {@link release}; and whoever comes later learns it at once. */
  close(upTo: number): void {
    this.closed = true
    this.release(upTo)
  }

  /**
   * The archive cannot be reached now: everybody learns that the log is as far as the write got. What was decided
   * beyond `upTo` is about to be settled, and told then.
   */
  release(upTo: number): void {
    const all = this.waiters
    this.waiters = all.filter(
      ({ first, outcomes }) =>
        !this.closed && outcomes.some((outcome, index) => outcome._tag !== "Archived" && first + index > upTo)
    )
    const kept = new Set(this.waiters)
    for (const waiter of all) {
      if (kept.has(waiter)) continue
      waiter.done(
        waiter.outcomes.map((outcome, index) =>
          outcome._tag !== "Archived" || waiter.first + index <= upTo ? outcome : inLog
        )
      )
    }
  }
}
