/**
 * What is acknowledged and not archived yet, by id: where the log holds it, and which version it is. Contents
 * stay in memory or in the log; this index only says that they are there.
 *
 * @since 0.1.0
 */
import type { ItemHead, ItemRecord } from "../SyncItem.js"
import { compareVersions } from "../SyncItem.js"

/** @since 0.1.0 @category models */
export interface PendingEntry extends ItemHead {
  /** Where the log holds it; 0 while its group commit is under way (durability `memory`). */
  readonly sequence: number
  /** The record itself, only while the log cannot serve it yet. */
  readonly record: ItemRecord | undefined
  /** The caller gave its own version and nobody has compared it with the archive's yet. */
  readonly unchecked: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export class PendingIndex {
  private readonly entries = new Map<string, PendingEntry>()

  /** Ids that have a pending write. */
  get size(): number {
    return this.entries.size
  }

  get(id: string): PendingEntry | undefined {
    return this.entries.get(id)
  }

  /** Adds a write unless a newer one of the same id is pending already. */
  add(record: ItemRecord, sequence: number, unchecked: boolean): void {
    const known = this.entries.get(record.id)
    if (known !== undefined) {
      const order = compareVersions(known, record)
      if (order > 0) return
      // The same version twice: the later sequence number, because the entry must outlive the earlier's release.
      if (order === 0 && known.sequence > sequence) return
    }
    this.entries.set(record.id, {
      id: record.id,
      version: record.version,
      contentHash: record.contentHash,
      deleted: record.deleted,
      sequence,
      record: sequence === 0 ? record : undefined,
      unchecked
    })
  }

  /** The entry's version has been compared with the archive's. */
  markChecked(id: string): void {
    const known = this.entries.get(id)
    if (known?.unchecked) this.entries.set(id, { ...known, unchecked: false })
  }

  /** Forgets an id whose newest pending write is at or below this sequence number. */
  settle(id: string, upTo: number): PendingEntry | undefined {
    const known = this.entries.get(id)
    if (known === undefined || known.sequence === 0 || known.sequence > upTo) return undefined
    this.entries.delete(id)
    return known
  }

  /** Forgets an early (not yet durable) entry whose commit failed. */
  revoke(record: ItemRecord): void {
    const known = this.entries.get(record.id)
    if (known?.record === record) this.entries.delete(record.id)
  }

  /** Ids of pending writes that are not deletions. */
  *liveIds(): Generator<string> {
    for (const entry of this.entries.values()) if (!entry.deleted) yield entry.id
  }

  clear(): void {
    this.entries.clear()
  }
}
