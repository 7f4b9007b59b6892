/** Writes whose group commit is under way, by id. One id can have several, and any of them may fail. */
import { Effect } from "effect"
import type { ItemRecord } from "../../SyncItem.js"
import { NewestPerId } from "./NewestPerId.js"
import type { Prepared } from "./PreparedWrite.js"

export class InFlightWrites {
  private readonly writes = new NewestPerId<Prepared, Prepared>(
    (write) => write,
    ({ record }) => record
  )
  private readonly waiting = new Map<Prepared, Array<() => void>>()

  /** The newest one of an id. */
  newest(id: string): Prepared | undefined {
    return this.writes.newest(id)
  }

  /** Adding the same write again changes nothing. */
  add(write: Prepared): void {
    this.writes.add(write)
  }

  /** The commit of this write has ended, well or badly. Once for each write that was added. */
  remove(write: Prepared): void {
    if (!this.writes.remove(write.record.id, write)) return
    const waiting = this.waiting.get(write)
    if (waiting === undefined) return
    this.waiting.delete(write)
    for (const wake of waiting) wake()
  }

  /**
   * Calls `wake` when the present newest commit of this id has ended, and with it all before it: what readers see and
   * what writers compare with agree then, unless there is something newer still. Not when none is under way any more:
   * an id that is written all the time would be waited for without end.
   */
  whenLanded(id: string, wake: () => void): void {
    const newest = this.writes.newest(id)
    const waiting = newest === undefined ? undefined : this.waiting.get(newest)
    if (newest === undefined) wake()
    else if (waiting === undefined) this.waiting.set(newest, [wake])
    else waiting.push(wake)
  }

  /** Waits for that. */
  landed(id: string): Effect.Effect<void> {
    return Effect.async((resume) => this.whenLanded(id, () => resume(Effect.void)))
  }

  *records(): Generator<ItemRecord> {
    for (const { record } of this.writes.values()) yield record
  }
}
