/**
 * Writes whose group commit is under way, by id. One id can have several, and any of them may fail.
 *
 * Landings. Writers compare with what is on its way already; readers do not see it before it is durable. So whoever was
 * refused because of a write on its way, and would read why, has to wait until that write has *landed*: committed or
 * failed. It waits for the newest one of the id at that moment, and with it for all before it, because commits end in the
 * order in which they began; then readers and writers agree, unless there is something newer still. Rejected: waiting
 * until none is under way, because an id that is written all the time would be waited for without end.
 */
import { Effect } from "effect"
import type { ItemRecord } from "../../SyncItem.js"
import { NewestPerId } from "./NewestPerId.js"

/** A write ready for the log. */
export interface Prepared {
  readonly _tag: "Prepared"
  readonly record: ItemRecord
  /** The version it replaces, as far as is known without asking the archive. */
  readonly previousVersion: number | undefined
  /** The caller's own version, not yet compared with the archive's. */
  readonly unchecked: boolean
  /** Not written once more when it loses: the version is the caller's, or what has won is to stay. */
  readonly final: boolean
  /** The version that had to be the current one, if the caller named it. */
  readonly expected: number | undefined
  /** Known to be newer than what the archive holds, as far as that can be known before the commit. */
  readonly compared: boolean
}

/** Bytes of contents in these records. */
export const contentBytes = (records: ReadonlyArray<ItemRecord>): number =>
  records.reduce((sum, record) => sum + record.content.byteLength, 0)

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
    if (this.waiting.size === 0) return
    const waiting = this.waiting.get(write) ?? []
    this.waiting.delete(write)
    for (const wake of waiting) wake()
  }

  /** Waits until the newest commit of this id that is under way now has ended. */
  landed(id: string): Effect.Effect<void> {
    return Effect.async((resume) => {
      const newest = this.writes.newest(id)
      if (newest === undefined) return resume(Effect.void)
      this.waiting.set(newest, [...(this.waiting.get(newest) ?? []), () => resume(Effect.void)])
    })
  }

  *records(): Generator<ItemRecord> {
    for (const { record } of this.writes.values()) yield record
  }
}
