/**
 * Dead letters that were put back into the log in this life. Readers do not see such a letter before the archive has
 * taken it, because it may be older than what was acknowledged since; so it is not among the pending writes, and nothing
 * here would show that the archive's version of the id has changed. From the first attempt to commit it until the
 * outcome has been settled the id is *in doubt*: memory and cache are not believed, pending writes count as not compared,
 * and the archive is asked. Rejected: telling readers when the commit returns. Its answer may be lost, and memory would
 * serve what the archive has replaced until the next attempt.
 */
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import { SequenceSet } from "./SequenceSet.js"

export class RetriedLetters {
  private readonly sequences = new SequenceSet()
  private last = 0
  /** The last letter of each id in doubt. */
  private readonly inDoubt = new Map<string, number>()

  add(first: number, count: number): void {
    for (let n = 0; n < count; n++) this.sequences.add(first + n)
    this.last = first + count - 1
  }

  has(sequence: number): boolean {
    return sequence <= this.last && this.sequences.has(sequence)
  }

  /** The archive is asked to take these entries; returns the ids that are in doubt from now on. */
  committing(entries: ReadonlyArray<LogEntry>): ReadonlyArray<string> {
    if (entries.length === 0 || entries[0]!.sequence > this.last) return []
    const letters = entries.filter(({ sequence }) => this.sequences.has(sequence))
    for (const { record, sequence } of letters) this.inDoubt.set(record.id, sequence)
    return letters.map(({ record }) => record.id)
  }

  isInDoubt(id: string): boolean {
    return this.inDoubt.size > 0 && this.inDoubt.has(id)
  }

  /** What became of everything up to here is known. */
  settle(upTo: number): void {
    this.sequences.forget(upTo)
    for (const [id, sequence] of this.inDoubt) if (sequence <= upTo) this.inDoubt.delete(id)
  }
}
