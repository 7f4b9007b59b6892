/**
 * What is acknowledged and not archived yet, by id: where the log holds it, and which version it is. Contents
 * stay in memory or in the log; this index only says that they are there.
 */
import type { ItemRecord, ItemVersion } from "../../SyncItem.js"
import { compareVersions, sameVersion } from "../../SyncItem.js"
import { NewestPerId } from "./NewestPerId.js"
import { PendingOrder } from "./PendingOrder.js"

export interface PendingEntry extends ItemVersion {
  /** Where the log holds it; 0 while its group commit is under way (durability `memory`). */
  readonly sequence: number
  /** The record itself, only while the log cannot serve it yet. */
  readonly record: ItemRecord | undefined
  /** So that pages by size need no content. */
  readonly bytes: number
  /** The caller gave its own version and nobody has compared it with the archive's yet. */
  readonly unchecked: boolean
}

const entryOf = (record: ItemRecord, sequence: number, unchecked: boolean): PendingEntry => ({
  id: record.id,
  version: record.version,
  contentHash: record.contentHash,
  deleted: record.deleted,
  contentType: record.contentType,
  state: record.state,
  sequence,
  record: sequence === 0 ? record : undefined,
  bytes: record.content.byteLength,
  unchecked
})

/** Id, hash, entry and its places in the index and in the order; measured, and rounded up. */
const memoryOf = (id: string): number => 400 + 2 * id.length

export class PendingIndex {
  /** What the log holds. */
  private readonly logged = new Map<string, PendingEntry>()
  /** What was acknowledged before its commit. Apart from the others: its commit may fail, and they count again then. */
  private readonly early = new NewestPerId<ItemRecord | undefined, PendingEntry>(
    (entry) => entry.record,
    (entry) => entry
  )
  private loggedMemory = 0
  private readonly watching = new Set<Map<string, PendingEntry>>()
  /** The ids in byte order. */
  readonly order = new PendingOrder(this)

  /** How many ids are pending. */
  get size(): number {
    return this.logged.size + this.early.size
  }

  /** What the index takes of the process's memory, about, in bytes; contents are not part of it. */
  get memory(): number {
    return this.loggedMemory + this.early.size * memoryOf("")
  }

  has(id: string): boolean {
    return this.logged.has(id) || this.early.has(id)
  }

  /** Some perhaps twice. Early ones first: whoever goes on while writes are committed finds them in one place or the other. */
  *ids(): Generator<string> {
    yield* this.early.keys
    yield* this.logged.keys()
  }

  /** The newest pending write of an id. */
  get(id: string): PendingEntry | undefined {
    const logged = this.logged.get(id)
    const early = this.early.size === 0 ? undefined : this.early.newest(id)
    if (early === undefined || logged === undefined) return early ?? logged
    return compareVersions(early, logged) > 0 ? early : logged
  }

  /**
   * Adds a write unless the log holds a newer one of the same id. With sequence number 0 its commit is still under way.
   * Returns the newest pending one of the id, as {@link get}.
   */
  add(record: ItemRecord, sequence: number, unchecked: boolean): PendingEntry {
    this.order.add(record.id)
    if (sequence === 0) {
      this.early.add(entryOf(record, 0, unchecked))
      return this.get(record.id)!
    }
    this.revoke(record)
    const logged = this.log(record, sequence, unchecked)
    return this.early.size === 0 ? logged : this.get(record.id)!
  }

  private log(record: ItemRecord, sequence: number, unchecked: boolean): PendingEntry {
    const known = this.logged.get(record.id)
    if (known !== undefined) {
      const order = compareVersions(known, record)
      if (order > 0) return known
      // The same version twice: the later sequence number, because the entry must outlive the earlier's release.
      // Of one number the version that the archive is asked first stays.
      if (order === 0 && known.sequence > sequence === sameVersion(known, record)) return known
    }
    if (known === undefined) this.loggedMemory += memoryOf(record.id)
    const entry = entryOf(record, sequence, unchecked)
    this.logged.set(record.id, entry)
    return entry
  }

  /** The archive holds this version of the id, or none: pending writes that are not older have been compared with it. */
  compared(id: string, stored: ItemVersion | undefined): void {
    const known = this.logged.get(id)
    if (!known?.unchecked) return
    if (stored === undefined || compareVersions(known, stored) > 0 || sameVersion(known, stored)) {
      this.logged.set(id, { ...known, unchecked: false })
    }
  }

  /** The archive has this version, of which nobody here knew: a pending write that is older has to be compared again. */
  doubt(stored: ItemVersion): void {
    const known = this.logged.get(stored.id)
    if (known !== undefined && compareVersions(known, stored) <= 0) {
      this.logged.set(stored.id, { ...known, unchecked: true })
    }
  }

  /** Forgets an id whose newest write in the log is at or below this sequence number. */
  settle(id: string, upTo: number): PendingEntry | undefined {
    const known = this.logged.get(id)
    if (known === undefined || known.sequence > upTo) return undefined
    this.logged.delete(id)
    this.loggedMemory -= memoryOf(id)
    for (const settled of this.watching) settled.set(id, known)
    return known
  }

  /** From now on collects what is settled, until {@link unwatch}: an answer of the archive may be from before that. */
  watch(): Map<string, PendingEntry> {
    const settled = new Map<string, PendingEntry>()
    this.watching.add(settled)
    return settled
  }

  unwatch(settled: Map<string, PendingEntry>): void {
    this.watching.delete(settled)
  }

  /** Forgets an early write: its commit has ended. */
  revoke(record: ItemRecord): void {
    if (this.early.size > 0) this.early.remove(record.id, record)
  }

  /** Ids of pending writes that are not deletions. */
  *liveIds(): Generator<string> {
    for (const entry of this.logged.values()) if (!entry.deleted) yield entry.id
    for (const entry of this.early.values()) if (!entry.deleted) yield entry.id
  }
}
