/**
 * Writers that asked for durability `archive`, waiting for their entries to be archived.
 *
 * @since 0.1.0
 */

import type { ItemVersion } from "../SyncItem.js"

/** What became of one entry. @since 0.1.0 @category models */
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

/**
 * @since 0.1.0
 * @category models
 */
export class ArchiveWaiters {
  // In log order, because calls are committed in call order.
  private waiters: Array<Waiter> = []
  private closed = false

  get size(): number {
    return this.waiters.length
  }

  /** Waits for the entries `first .. first + count - 1`. */
  add(first: number, count: number, done: Waiter["done"]): void {
    if (this.closed) {
      done(new Array<ArchiveOutcome>(count).fill(inLog))
      return
    }
    this.waiters.push({ first, outcomes: new Array<ArchiveOutcome>(count).fill(archived), done })
  }

  /** This entry was not archived. Returns whether somebody waits for it. */
  decide(sequence: number, outcome: ArchiveOutcome): boolean {
    let low = 0
    let high = this.waiters.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.waiters[middle]!.first <= sequence) low = middle + 1
      else high = middle
    }
    const waiter = this.waiters[low - 1]
    if (waiter === undefined || sequence >= waiter.first + waiter.outcomes.length) return false
    waiter.outcomes[sequence - waiter.first] = outcome
    return true
  }

  /** Everything up to this sequence number has been archived or rejected. */
  settle(upTo: number): void {
    let settled = 0
    while (settled < this.waiters.length) {
      const waiter = this.waiters[settled]!
      if (waiter.first + waiter.outcomes.length - 1 > upTo) break
      settled++
    }
    if (settled === 0) return
    const ready = this.waiters.slice(0, settled)
    this.waiters = this.waiters.slice(settled)
    for (const waiter of ready) waiter.done(waiter.outcomes)
  }

  /** As {@link release}; and whoever comes later learns it at once. */
  close(upTo: number): void {
    this.closed = true
    this.release(upTo)
  }

  /** The archive cannot be reached now: everybody learns that the log is as far as the write got. */
  release(upTo: number): void {
    const all = this.waiters
    this.waiters = []
    for (const waiter of all) {
      waiter.done(
        waiter.outcomes.map((outcome, index) =>
          outcome._tag !== "Archived" || waiter.first + index <= upTo ? outcome : inLog
        )
      )
    }
  }
}
