/**
 * L1: the records a process keeps in its own memory, bounded by bytes.
 *
 * Eviction is S3-FIFO (J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi: "FIFO queues are all you need for cache
 * eviction", SOSP 2023). A new id enters the small queue, a tenth of the bytes. At its end, what was used more
 * than once moves on to the main queue; the rest leaves, and its hash enters the ghost queue. An id that comes
 * back while it is a ghost goes straight to the main queue. At the end of the main queue a used entry is
 * entered again with one use less; an unused one leaves. A read changes one counter and moves nothing.
 */
import { compareVersions, type ItemRecord } from "../SyncItem.js"
import { ContentCopies, copyOfContent, pinsMemory, SharedRest } from "../shared/ContentCopies.js"
import { IdHash } from "../shared/IdHash.js"
import { CacheEntry, FifoQueue } from "./FifoQueue.js"
import { GhostQueue } from "./GhostQueue.js"

/**
 * What a record costs beyond its content and strings, in bytes: the record object and its numbers, the headers
 * of its strings and of its byte array, the cache's entry, its share of the map and of the ghost queue's table.
 * Measured with Node 20 on a 64-bit machine: about 450 bytes on V8's heap and, for the bytes of a content, about
 * 190 outside it.
 */
export const recordOverheadBytes = 640

/**
 * The bytes a record is accounted with: its content, two bytes for each UTF-16 unit of id and state, one for each
 * character of the content hash and the traceparent, and `recordOverheadBytes`.
 */
export const recordBytes = (record: ItemRecord): number =>
  recordOverheadBytes +
  record.content.byteLength +
  2 * record.id.length +
  record.contentHash.length +
  (record.state === undefined ? 0 : 2 * record.state.length) +
  (record.traceparent === undefined ? 0 : record.traceparent.length)

export interface MemoryCacheStats {
  /** `get`s that found a record (tombstones included). */
  readonly hits: number
  readonly misses: number
  /** Records that left to make room, not those removed, replaced or cleared. */
  readonly evictions: number
  /** Records that entered under an id the cache did not hold. */
  readonly insertions: number
  readonly bytes: number
  readonly maxBytes: number
  readonly items: number
}

const maxFrequency = 3
const smallShare = 0.1
// The paper's rule: what has been used more than once on its way through the small queue has earned the main one.
const usesToEnterMain = 2
// Bounds the time of one eviction when everything is in use; the paper passes on until something is unused.
const maxSecondChances = 128
const ghostSeed = 0x53336f66

/**
 * A bounded map from ids to their newest known records, tombstones included. Plain and synchronous: every
 * method returns with `bytes <= maxBytes`. All operations take constant time, evictions amortized.
 *
 * The cache shares the record it is given. A content that is a window on a large buffer is copied, since
 * keeping it would pin bytes that nobody counts (slices of network packets), and one that stays for long.
 *
 * @example
 * ```ts
 * const cache = new MemoryCache({ maxBytes: 256 * 1024 * 1024 })
 * cache.put(record)
 * cache.get(record.id) // record
 * ```
 */
export class MemoryCache {
  readonly #entries = new Map<string, CacheEntry>()
  #small = new FifoQueue()
  #main = new FifoQueue()
  #ghosts = new GhostQueue()
  readonly #mainContents = new ContentCopies()
  #sharedRest = new SharedRest()
  readonly #hash = new IdHash(ghostSeed)
  #maxBytes: number
  #hits = 0
  #misses = 0
  #evictions = 0
  #insertions = 0

  /** `maxBytes` as in `setMaxBytes`. */
  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = checkedMaxBytes(options.maxBytes)
  }

  /** Accounted bytes of the records held and of the buffers that their contents share, at most `maxBytes`. */
  get bytes(): number {
    return this.#small.bytes + this.#main.bytes + this.#sharedRest.bytes
  }

  get maxBytes(): number {
    return this.#maxBytes
  }

  /** Records held, tombstones included. */
  get size(): number {
    return this.#entries.size
  }

  /** The record of an id, counted as a hit or a miss and as a use. */
  get(id: string): ItemRecord | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined) {
      this.#misses++
      return undefined
    }
    this.#hits++
    if (entry.frequency < maxFrequency) entry.frequency++
    return entry.record
  }

  /** The record of an id, without counting anything. */
  peek(id: string): ItemRecord | undefined {
    return this.#entries.get(id)?.record
  }

  /**
   * Keeps a record unless the cache holds a newer one of this id. Returns `false` only in that case; an equal
   * one returns `true` and changes nothing. A record above `maxBytes` is not kept, but drives out the older one,
   * so that the cache never returns what it knows to be outdated. A replacement counts as a use.
   */
  put(record: ItemRecord): boolean {
    const known = this.#entries.get(record.id)
    if (known !== undefined) {
      const order = compareVersions(record, known.record)
      if (order <= 0) return order === 0
      this.#replace(known, record)
      return true
    }
    const bytes = recordBytes(record)
    if (bytes > this.#maxBytes) return true
    this.#hash.of(record.id)
    const entry = new CacheEntry(withoutExcess(record), bytes, this.#hash.low)
    // Asked before room is made: making room lets ghosts grow old.
    const queue = this.#ghosts.take(entry.hash, this.#ghostLimit()) ? this.#main : this.#small
    this.#makeRoom(bytes)
    queue.push(entry)
    this.#sharedRest.enter(entry.record.content)
    this.#entries.set(record.id, entry)
    this.#insertions++
    this.#makeRoom(0)
    return true
  }

  /** Drops the record of an id; `true` when there was one. */
  remove(id: string): boolean {
    const entry = this.#entries.get(id)
    if (entry === undefined) return false
    this.#drop(entry)
    return true
  }

  /** Drops every record and ghost; the counters stay. */
  clear(): void {
    this.#entries.clear()
    this.#small = new FifoQueue()
    this.#main = new FifoQueue()
    this.#ghosts = new GhostQueue()
    this.#sharedRest = new SharedRest()
  }

  /**
   * Changes the bound (bytes, not negative; 0 keeps nothing) and evicts at once what no longer fits. Throws a
   * `RangeError` for anything else.
   */
  setMaxBytes(maxBytes: number): void {
    this.#maxBytes = checkedMaxBytes(maxBytes)
    this.#makeRoom(0)
  }

  stats(): MemoryCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
      insertions: this.#insertions,
      bytes: this.bytes,
      maxBytes: this.#maxBytes,
      items: this.#entries.size
    }
  }

  #replace(entry: CacheEntry, record: ItemRecord): void {
    const bytes = recordBytes(record)
    if (bytes > this.#maxBytes) {
      this.#drop(entry)
      return
    }
    if (entry.frequency < maxFrequency) entry.frequency++
    const queue = entry.queue!
    this.#sharedRest.leave(entry.record.content)
    // Out of its queue while room is made, lest it make room for itself.
    const fits = this.bytes - entry.bytes + bytes <= this.#maxBytes
    if (fits) queue.bytes += bytes - entry.bytes
    else {
      queue.remove(entry)
      this.#makeRoom(bytes)
    }
    entry.record = withoutExcess(record)
    entry.bytes = bytes
    if (!fits) queue.push(entry)
    this.#sharedRest.enter(entry.record.content)
    this.#makeRoom(0)
  }

  #drop(entry: CacheEntry): void {
    entry.queue!.remove(entry)
    this.#sharedRest.leave(entry.record.content)
    this.#entries.delete(entry.record.id)
  }

  /** The paper gives the ghost queue as many entries as the main queue can hold, here nine tenths of the items. */
  #ghostLimit(): number {
    return Math.ceil(this.#entries.size * (1 - smallShare))
  }

  #makeRoom(bytes: number): void {
    const smallTarget = this.#maxBytes * smallShare
    const small = this.#small
    const main = this.#main
    let secondChances = maxSecondChances
    while (this.bytes + bytes > this.#maxBytes) {
      const fromSmall =
        small.oldest !== undefined && (small.bytes >= smallTarget || main.oldest === undefined)
      const entry = (fromSmall ? small : main).oldest!
      if (fromSmall ? entry.frequency >= usesToEnterMain : entry.frequency > 0 && secondChances > 0) {
        entry.queue!.remove(entry)
        entry.frequency = fromSmall ? 0 : entry.frequency - 1
        if (!fromSmall) secondChances--
        this.#enterMain(entry)
      } else {
        this.#drop(entry)
        this.#evictions++
        if (fromSmall) this.#ghosts.add(entry.hash, this.#ghostLimit())
        secondChances = maxSecondChances
      }
    }
  }

  /** Its content moves beside what enters with it: of those that it came with, most are gone. */
  #enterMain(entry: CacheEntry): void {
    const { content } = entry.record
    if (content.byteLength < content.buffer.byteLength) {
      this.#sharedRest.leave(content)
      entry.record = { ...entry.record, content: this.#mainContents.copy(content) }
      this.#sharedRest.enter(entry.record.content)
    }
    this.#main.push(entry)
  }
}

const checkedMaxBytes = (maxBytes: number): number => {
  if (!(maxBytes >= 0) || maxBytes === Number.POSITIVE_INFINITY) {
    throw new RangeError(`maxBytes must be a finite number of bytes, 0 or more; got ${maxBytes}`)
  }
  return maxBytes
}

const withoutExcess = (record: ItemRecord): ItemRecord =>
  pinsMemory(record.content) ? { ...record, content: copyOfContent(record.content) } : record
