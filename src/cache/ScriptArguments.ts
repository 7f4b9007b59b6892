/**
 * The binary form in which batches travel to the scripts: one argument per chunk instead of ten per item, because
 * the client's cost is per argument. The scripts take it apart with `struct.unpack`; numbers are big-endian, texts
 * carry their length before them.
 */
import type { ItemRecord } from "../SyncItem.js"
import type { CacheChange } from "./Cache.js"

/** Bounds of one write command. */
export interface ChunkLimits {
  readonly maxItems: number
  /** A larger record travels alone. */
  readonly maxBytes: number
}

/** Where chunks of records begin: cut by count, by bytes, and before an id comes again. */
export const chunkStarts = (
  records: ReadonlyArray<ItemRecord>,
  { maxBytes, maxItems }: ChunkLimits
): Array<number> => {
  const starts: Array<number> = []
  let ids = new Set<string>()
  let bytes = 0
  for (const [index, { content, id }] of records.entries()) {
    bytes += content.length + 200
    if (index === 0 || ids.size === maxItems || bytes > maxBytes || ids.has(id)) {
      starts.push(index)
      ids = new Set()
      bytes = content.length + 200
    }
    ids.add(id)
  }
  return starts
}

class Writer {
  private at = 0
  private readonly buffer: Buffer
  constructor(bound: number) {
    this.buffer = Buffer.allocUnsafe(bound)
  }
  byte(value: number): void {
    this.buffer[this.at++] = value
  }
  short(text: string): void {
    const length = this.buffer.write(text, this.at + 1, "utf8")
    this.buffer[this.at] = length
    this.at += length + 1
  }
  long(text: string): void {
    const length = this.buffer.write(text, this.at + 2, "utf8")
    this.buffer.writeUInt16BE(length, this.at)
    this.at += length + 2
  }
  ascii(text: string): void {
    this.at += this.buffer.write(text, this.at, "latin1")
  }
  get done(): Buffer {
    return this.buffer.subarray(0, this.at)
  }
}

export const encodeIds = (ids: ReadonlyArray<string>): Buffer => {
  const out = new Writer(ids.reduce((bound, id) => bound + 2 + id.length * 3, 0))
  for (const id of ids) out.long(id)
  return out.done
}

export const encodeChanges = (entries: ReadonlyArray<CacheChange>): Buffer => {
  const out = new Writer(entries.reduce((bound, { id }) => bound + 2 + id.length * 3 + 1 + 21 + 64 + 21, 0))
  for (const entry of entries) {
    out.byte(entry.operation === "DELETE" ? 1 : 0)
    out.long(entry.id)
    out.short(String(entry.version))
    out.ascii(entry.contentHash)
    out.short(String(entry.sequence))
  }
  return out.done
}
