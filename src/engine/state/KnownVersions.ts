/**
 * Which version of an id is the newest here, and what readers are shown.
 *
 * Unchecked versions. A version that the engine assigned is above everything this node knew. A caller's own version is
 * compared with the archive before it is acknowledged (`VersionComparison`); where the archive cannot say, or a write of
 * the id came between, the write is taken all the same and marked *unchecked*: the archive may hold something newer. So
 * are all writes that a start finds in the log. An unchecked version is pending like any other, but memory does not hold
 * it: reads take the newest of log and archive, and clear the mark when the archive has nothing newer; compare-and-set
 * asks as well. Its commit decides at last, and who lost is told. Ids in doubt (`RetriedLetters`) are treated alike.
 * Rejected: refusing own versions while the archive is unavailable, because acknowledging without it is what the log is
 * for; and showing them from memory at once, because a newer archived version would be hidden by an older write.
 */
import type { MemoryCache } from "../../memory/MemoryCache.js"
import type { ItemHead, ItemRecord, ItemVersion } from "../../SyncItem.js"
import { compareVersions, sameVersion } from "../../SyncItem.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import type { InFlightWrites } from "./InFlightWrites.js"
import type { PendingIndex } from "./PendingIndex.js"
import type { RetriedLetters } from "./RetriedLetters.js"
import type { Watches } from "./Watching.js"

export class KnownVersions {
  constructor(
    private readonly here: {
      readonly inFlight: InFlightWrites
      readonly letters: RetriedLetters
      readonly memory: MemoryCache
      readonly pending: PendingIndex
      readonly watches: Watches
    }
  ) {}

  /** The newest version of an id that memory, log or a commit under way know of, without I/O. */
  newest(id: string): ItemVersion | undefined {
    return newestOf(this.pending(id), this.here.memory.peek(id))
  }

  /** The newest version of an id that is not archived yet, its commit under way or done. */
  pending(id: string): ItemVersion | undefined {
    return newestOf(this.here.inFlight.newest(id)?.record, this.here.pending.get(id))
  }

  /** Whether nobody has compared this {@link newest} version with the archive's yet. */
  isUnchecked(known: ItemHead): boolean {
    const { inFlight, letters, pending } = this.here
    if (letters.isInDoubt(known.id)) return true
    const flying = inFlight.newest(known.id)
    if (flying?.record === known) return flying.unchecked
    const entry = pending.get(known.id)
    return entry === known && entry.unchecked
  }

  /** Makes a durable (or, for durability `memory`, an accepted) write visible to readers. */
  show(record: ItemRecord, sequence: number, unchecked: boolean): void {
    const { memory, pending, watches } = this.here
    pending.add(record, sequence, unchecked)
    watches.touch(record.id)
    // A later write may be visible already, acknowledged before its commit, and memory may have evicted it.
    if (!sameVersion(pending.get(record.id) ?? record, record)) return
    if (unchecked) memory.remove(record.id)
    else this.keep(record)
  }

  /** Gives memory what is the newest of its id, unless nobody knows that. */
  keep(record: ItemRecord): void {
    if (this.here.letters.isInDoubt(record.id)) this.here.memory.remove(record.id)
    else this.here.memory.put(record)
  }

  /** The archive is asked to take these entries. */
  committing(entries: ReadonlyArray<LogEntry>): void {
    for (const id of this.here.letters.committing(entries)) {
      this.here.memory.remove(id)
      this.here.watches.touch(id)
    }
  }

  /** The archive has taken this record, which readers were not shown before. */
  takenUnseen(record: ItemRecord): void {
    const { memory, pending, watches } = this.here
    const held = memory.peek(record.id)
    if (held !== undefined && compareVersions(held, record) <= 0 && !sameVersion(held, record)) {
      memory.remove(record.id)
    }
    pending.doubt(record)
    watches.touch(record.id)
  }
}

/** The newer of two versions of an item; the first when they are of the same number. */
export const newestOf = <A extends ItemHead, B extends ItemHead>(
  a: A | undefined,
  b: B | undefined
): A | B | undefined => (a === undefined ? b : b === undefined ? a : compareVersions(a, b) >= 0 ? a : b)
