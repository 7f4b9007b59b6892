/**
 * The binary form in which batches travel to the scripts: one argument per chunk instead of ten per item, because
 * the client's cost is per argument. The scripts take it apart with `struct.unpack`; numbers are big-endian, texts
 * carry their length before them.
 */
import { leafDigest } from "../merkle/Digest.js"
import { type ItemRecord, maxIdBytes, maxStateBytes } from "../SyncItem.js"
import type { CacheChange, Removal } from "./Cache.js"

/** One script argument and how many records it carries. */
export interface Chunk {
  readonly data: Buffer
  readonly count: number
}

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

/** Where the next chunk of records ends: by count, by bytes (one record always fits), and before an id comes again. */
const chunkEnd = (
  records: ReadonlyArray<ItemRecord>,
  from: number,
  maxItems: number,
  maxBytes: number
): number => {
  const ids = new Set<string>()
  let bytes = 0
  let to = from
  while (to < records.length && to - from < maxItems) {
    const record = records[to]!
    bytes += record.content.length + 200
    if (to > from && (bytes > maxBytes || ids.has(record.id))) break
    ids.add(record.id)
    to += 1
  }
  return to
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

/**
 * Packs records from position `from` on, as many as fit into one chunk. With `inTree` the leaf digests are
 * computed; tombstones have none.
 */
export const packRecords = (
  records: ReadonlyArray<ItemRecord>,
  from: number,
  limits: { readonly maxItems: number; readonly maxBytes: number },
  inTree: boolean
): Chunk => {
  const to = chunkEnd(records, from, limits.maxItems, limits.maxBytes)
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
  return { data: out.done, count: to - from }
}

/** Packs ids `from` to `to` (exclusive). */
export const packIds = (ids: ReadonlyArray<string>, from: number, to: number): Buffer => {
  let bound = 0
  for (let i = from; i < to; i++) bound += 2 + ids[i]!.length * 3
  const out = new Writer(bound)
  for (let i = from; i < to; i++) out.long(ids[i]!)
  return out.done
}

/** Packs removals `from` to `to` (exclusive). */
export const packRemovals = (targets: ReadonlyArray<Removal>, from: number, to: number): Buffer => {
  let bound = 0
  for (let i = from; i < to; i++) bound += 2 + targets[i]!.id.length * 3 + 21
  const out = new Writer(bound)
  for (let i = from; i < to; i++) {
    const { id, version } = targets[i]!
    out.long(id)
    out.short(version === undefined ? "" : String(version))
  }
  return out.done
}

/** Packs change entries `from` to `to` (exclusive). */
export const packChanges = (entries: ReadonlyArray<CacheChange>, from: number, to: number): Buffer => {
  let bound = 0
  for (let i = from; i < to; i++) bound += 1 + 2 + entries[i]!.id.length * 3 + 21 + 64 + 21
  const out = new Writer(bound)
  for (let i = from; i < to; i++) {
    const entry = entries[i]!
    out.byte(entry.operation === "DELETE" ? 1 : 0)
    out.long(entry.id)
    out.short(String(entry.version))
    out.ascii(entry.contentHash)
    out.short(String(entry.sequence))
  }
  return out.done
}
