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
    return newestOf(this.here.inFlight.newest(id)?.record, this.shown(id))
  }

  /** The newest version of an id that readers may be shown: a commit under way may fail. */
  shown(id: string): ItemVersion | undefined {
    return newestOf(this.here.pending.get(id), this.here.memory.peek(id))
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
    const newest = pending.add(record, sequence, unchecked)
    watches.touch(record.id)
    // A later write may be visible already, acknowledged before its commit, and memory may have evicted it.
    if (!sameVersion(newest, record)) return
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

/**
 * Dead letters that were put back into the log in this life. Readers do not see such a letter before the archive has
 * taken it, because it may be older than what was acknowledged since; so it is not among the pending writes, and nothing
 * here would show that the archive's version of the id has changed. From the first attempt to commit it until the
 * outcome has been settled the id is *in doubt*: memory and cache are not believed, pending writes count as not compared,
 * and the archive is asked. Rejected: telling readers when the commit returns. Its answer may be lost, and memory would
 * serve what the archive has replaced until the next attempt.
 */
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

const perChunk = 1024

/** A set of sequence numbers that costs a bit each where they stand close together, as those of a log do. */
export class SequenceSet {
  private readonly chunks = new Map<number, Uint8Array>()

  add(sequence: number): void {
    const index = Math.floor(sequence / perChunk)
    const chunk = this.chunks.get(index) ?? new Uint8Array(perChunk / 8)
    this.chunks.set(index, chunk)
    const bit = sequence % perChunk
    chunk[bit >> 3]! |= 1 << (bit & 7)
  }

  has(sequence: number): boolean {
    const chunk = this.chunks.get(Math.floor(sequence / perChunk))
    const bit = sequence % perChunk
    return chunk !== undefined && (chunk[bit >> 3]! & (1 << (bit & 7))) !== 0
  }

  /** What stands up to here will not be asked for again. */
  forget(upTo: number): void {
    for (const index of this.chunks.keys()) {
      if ((index + 1) * perChunk - 1 <= upTo) this.chunks.delete(index)
    }
  }
}
