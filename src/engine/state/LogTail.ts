/**
 * The in-memory fast path of the log: committed entries on their way to the archive, in log order, bounded by
 * bytes. Beyond the bound entries are not kept (they *spill*: the log has them) until the consumer has caught up
 * by reading the log.
 */
import type { ItemRecord } from "../../SyncItem.js"
import { lowerBound } from "../../shared/LowerBound.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"

/** What one entry adds to a batch's bytes: content, id and a fixed allowance for the row. */
export const entryBytes = (record: ItemRecord): number => record.content.byteLength + record.id.length + 96

export class LogTail {
  private entries: Array<LogEntry> = []
  private head = 0
  /** Of the entries kept in memory. */
  bytes = 0
  /** Highest sequence number that was not kept; the log must be read up to here. */
  spilled: number

  /** `consumed` and `committed` as the log says at its opening: what lies between has to be read from it. */
  constructor(
    private readonly maxBytes: number,
    /** Everything up to this sequence number has been consumed. */
    public consumed: number,
    committed: number
  ) {
    this.spilled = committed > consumed ? committed : 0
  }

  /** Entries kept in memory. */
  get size(): number {
    return this.entries.length - this.head
  }

  /** Whether anything is left to consume, in memory or in the log. */
  get isEmpty(): boolean {
    return this.isEmptyAfter(this.consumed)
  }

  /** Takes freshly committed records, in log order. */
  push(first: number, records: ReadonlyArray<ItemRecord>): void {
    const last = first + records.length - 1
    if (this.spilled > this.consumed || this.bytes > this.maxBytes) {
      this.spilled = last
      return
    }
    for (let index = 0; index < records.length; index++) {
      const record = records[index]!
      this.entries.push({ sequence: first + index, record })
      this.bytes += entryBytes(record)
    }
  }

  /**
   * The next entries in memory, at least one if there is any, at most `maxItems` and about `maxBytes`; they stay
   * until {@link consume}. `after`: what has been taken already and not been consumed yet is passed over.
   */
  peek(maxItems: number, maxBytes: number, after = this.consumed): ReadonlyArray<LogEntry> {
    const start = this.positionAfter(after)
    const end = Math.min(this.entries.length, start + maxItems)
    let bytes = 0
    let index = start
    while (index < end) {
      bytes += entryBytes(this.entries[index]!.record)
      if (bytes > maxBytes && index > start) break
      index++
    }
    return this.entries.slice(start, index)
  }

  /** Where the first entry above this sequence number stands. */
  private positionAfter(sequence: number): number {
    const first = this.entries[this.head]
    if (first === undefined || first.sequence > sequence) return this.head
    return lowerBound(this.head, this.entries.length, (index) => this.entries[index]!.sequence <= sequence)
  }

  /** Entries in memory behind this sequence number. */
  sizeAfter(sequence: number): number {
    return this.entries.length - this.positionAfter(sequence)
  }

  /** Bytes of the entries in memory behind this sequence number. */
  bytesAfter(sequence: number): number {
    let bytes = this.bytes
    const start = this.positionAfter(sequence)
    for (let index = this.head; index < start; index++) bytes -= entryBytes(this.entries[index]!.record)
    return bytes
  }

  /** Whether what comes behind this sequence number has to be read from the log. */
  mustReadLogAfter(sequence: number): boolean {
    return this.sizeAfter(sequence) === 0 && this.spilled > Math.max(sequence, this.consumed)
  }

  /** Whether anything is left behind this sequence number, in memory or in the log. */
  isEmptyAfter(sequence: number): boolean {
    return this.sizeAfter(sequence) === 0 && this.spilled <= Math.max(sequence, this.consumed)
  }

  /** The log holds nothing from the cursor up to here, although it was counted as spilled (gaps after failed commits). */
  caughtUp(spilled: number): void {
    if (spilled > this.consumed) this.consumed = spilled
  }

  /** Everything up to this sequence number has been archived or put aside. */
  consume(upTo: number): void {
    if (upTo > this.consumed) this.consumed = upTo
    while (this.head < this.entries.length && this.entries[this.head]!.sequence <= upTo) {
      this.bytes -= entryBytes(this.entries[this.head]!.record)
      this.head++
    }
    if (this.head === this.entries.length) {
      this.entries = []
      this.head = 0
    } else if (this.head > 4096 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
  }
}
