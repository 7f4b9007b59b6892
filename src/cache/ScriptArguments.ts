/**
 * The binary form in which batches travel to the scripts: one argument per chunk instead of ten per item, because
 * the client's cost is per argument. The scripts take it apart with `struct.unpack`; numbers are big-endian, texts
 * carry their length before them.
 */
import { leafDigest } from "../merkle/Digest.js"
import { type ItemRecord, maxIdBytes, maxStateBytes } from "../SyncItem.js"
import type { CacheChange, Removal } from "./Cache.js"

// Id, line (two numbers, kind, hash, traceparent, state), leaf and the length of the content, at their longest.
const recordBound = 2 + maxIdBytes + 2 + (20 + 20 + 2 + 65 + 56 + maxStateBytes + 10) + 32 + 4

/**
 * What a cache keeps of a record beside its content: one line of text, `version updatedAt kind hash traceparent`
 * and, when there is one, the state, which may hold spaces.
 */
export const lineOf = (record: ItemRecord): string => {
  const kind = record.deleted ? "d" : record.contentType === "json" ? "j" : "b"
  const line = `${record.version} ${record.updatedAt} ${kind} ${record.contentHash} ${record.traceparent ?? "-"} `
  return record.state === undefined ? line : line + record.state
}

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
  digest(hex: string | undefined): void {
    if (hex === undefined) this.buffer.fill(0, this.at, this.at + 32)
    else this.buffer.write(hex, this.at, "hex")
    this.at += 32
  }
  bytes(content: Uint8Array): void {
    this.at = this.buffer.writeUInt32BE(content.length, this.at)
    this.buffer.set(content, this.at)
    this.at += content.length
  }
  get done(): Buffer {
    return this.buffer.subarray(0, this.at)
  }
}

/** Records `from` to `to` (exclusive). With `inTree` the leaf digests are computed; tombstones have none. */
export const encodeRecords = (
  records: ReadonlyArray<ItemRecord>,
  from: number,
  to: number,
  inTree: boolean
): Buffer => {
  let bound = 0
  for (let i = from; i < to; i++) bound += recordBound + records[i]!.content.length
  const out = new Writer(bound)
  for (let i = from; i < to; i++) {
    const record = records[i]!
    out.long(record.id)
    out.long(lineOf(record))
    out.digest(inTree && !record.deleted ? leafDigest(record) : undefined)
    out.bytes(record.content)
  }
  return out.done
}

/** Bytes that these ids take at most, each with so many more. */
const boundOf = (some: ReadonlyArray<{ readonly id: string }>, more: number): number =>
  some.reduce((bound, { id }) => bound + 2 + id.length * 3 + more, 0)

export const encodeIds = (ids: ReadonlyArray<string>): Buffer => {
  const out = new Writer(ids.reduce((bound, id) => bound + 2 + id.length * 3, 0))
  for (const id of ids) out.long(id)
  return out.done
}

export const encodeRemovals = (targets: ReadonlyArray<Removal>): Buffer => {
  const out = new Writer(boundOf(targets, 21))
  for (const { id, version } of targets) {
    out.long(id)
    out.short(version === undefined ? "" : String(version))
  }
  return out.done
}

export const encodeChanges = (entries: ReadonlyArray<CacheChange>): Buffer => {
  const out = new Writer(boundOf(entries, 1 + 21 + 64 + 21))
  for (const entry of entries) {
    out.byte(entry.operation === "DELETE" ? 1 : 0)
    out.long(entry.id)
    out.short(String(entry.version))
    out.ascii(entry.contentHash)
    out.short(String(entry.sequence))
  }
  return out.done
}
