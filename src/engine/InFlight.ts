/**
 * Writes whose group commit is under way, by id. One id can have several, and any of them may fail.
 *
 * @since 0.1.0
 */
import type { ItemRecord } from "../SyncItem.js"
import { compareVersions } from "../SyncItem.js"
import type { Prepared } from "./Preparation.js"

/**
 * @since 0.1.0
 * @category models
 */
export class InFlight {
  // Nearly always one write an id, so that one stands without an array.
  private readonly writes = new Map<string, Prepared | Array<Prepared>>()

  has(id: string): boolean {
    return this.writes.has(id)
  }

  /** The newest one of an id. */
  newest(id: string): Prepared | undefined {
    const known = this.writes.get(id)
    if (!Array.isArray(known)) return known
    return known.reduce((a, b) => (compareVersions(a.record, b.record) > 0 ? a : b))
  }

  /** Adding the same write again changes nothing. */
  add(write: Prepared): void {
    const { id } = write.record
    const known = this.writes.get(id)
    if (known === undefined) this.writes.set(id, write)
    else if (Array.isArray(known)) {
      if (!known.includes(write)) known.push(write)
    } else if (known !== write) this.writes.set(id, [known, write])
  }

  /** True when this was the last one of its id. */
  remove(write: Prepared): boolean {
    const { id } = write.record
    const known = this.writes.get(id)
    if (Array.isArray(known)) {
      const rest = known.filter((other) => other !== write)
      if (rest.length > 0) {
        this.writes.set(id, rest)
        return false
      }
    } else if (known !== write) return false
    this.writes.delete(id)
    return true
  }

  *records(): Generator<ItemRecord> {
    for (const known of this.writes.values()) {
      if (Array.isArray(known)) for (const write of known) yield write.record
      else yield known.record
    }
  }
}
