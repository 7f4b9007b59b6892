/** The cache's queues: intrusive doubly linked lists, so that any entry leaves in constant time. */
import type { ItemRecord } from "../SyncItem.js"

/** What the cache keeps for an id: the record and its place in a queue. */
export class CacheEntry {
  /** Uses since it entered its queue, saturating at 3: the two bits of S3-FIFO. */
  frequency = 0
  queue: FifoQueue | undefined = undefined
  newer: CacheEntry | undefined = undefined
  older: CacheEntry | undefined = undefined

  constructor(
    public record: ItemRecord,
    /** `recordBytes(record)`, computed once. */
    public bytes: number,
    /** 32-bit hash of the id, by which the ghost queue knows it. */
    readonly hash: number
  ) {}
}

/** First in, first out, with a count of bytes. */
export class FifoQueue {
  bytes = 0
  newest: CacheEntry | undefined = undefined
  oldest: CacheEntry | undefined = undefined

  /** Enters an entry that is in no queue. */
  push(entry: CacheEntry): void {
    entry.queue = this
    entry.newer = undefined
    entry.older = this.newest
    if (this.newest === undefined) this.oldest = entry
    else this.newest.newer = entry
    this.newest = entry
    this.bytes += entry.bytes
  }

  /** Takes an entry out of this queue, wherever it stands. */
  remove(entry: CacheEntry): void {
    if (entry.newer === undefined) this.newest = entry.older
    else entry.newer.older = entry.older
    if (entry.older === undefined) this.oldest = entry.newer
    else entry.older.newer = entry.newer
    entry.queue = undefined
    entry.newer = undefined
    entry.older = undefined
    this.bytes -= entry.bytes
  }
}
