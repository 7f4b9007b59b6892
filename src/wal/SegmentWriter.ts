/** Writes segments; see `SegmentCodec` for their form. Pure: no I/O, no Effect. */
import type { ItemRecord } from "../SyncItem.js"
import { absent, entryHeaderBytes, flags, slotBytes, stampChecksums } from "./SegmentCodec.js"

/** A segment is closed when it holds this many bytes, unless its first entry alone is larger. */
export const maxSegmentBytes = 256 * 1024

/** A segment is closed when it holds this many entries. */
export const maxSegmentEntries = 4096

/** Larger contents are copied in pieces, each in a turn of the event loop. */
const pieceBytes = 1024 * 1024

const maxTextBytes = absent - 1

// The value of each hexadecimal digit by its character code; 255 marks what is none.
const digitValues = new Uint8Array(256).fill(255)
for (let value = 0; value < 16; value++) digitValues["0123456789abcdef".charCodeAt(value)] = value

/** A finished segment. */
export interface Segment {
  /** Sequence number of the first entry; the others follow without a gap. */
  readonly first: number
  readonly items: number
  /** Highest version number among the entries. */
  readonly maxVersion: number
  /** Entries and slots, at offset 0 of an array buffer of its own (which may be longer). */
  readonly data: Uint8Array
}

const textBytes = (field: string, text: string | undefined): number => {
  if (text === undefined) return 0
  const bytes = Buffer.byteLength(text, "utf8")
  if (bytes > maxTextBytes)
    throw new RangeError(`${field} has ${bytes} bytes; the log takes at most ${maxTextBytes}`)
  return bytes
}

/**
 * Bytes the record takes in the log, its slot included. Throws a `RangeError` for a record that has no form in the
 * log (a text above 65,534 bytes, a content of 4 GiB, a hash that is none).
 */
export const encodedBytes = (record: ItemRecord): number => {
  const content = record.content.length
  if (record.contentHash.length !== 64) throw new RangeError("contentHash is not 64 hexadecimal digits")
  if (content > 0xffff_ffff - 0x4_0000) throw new RangeError(`content has ${content} bytes`)
  return (
    slotBytes +
    entryHeaderBytes +
    textBytes("id", record.id) +
    textBytes("state", record.state) +
    textBytes("traceparent", record.traceparent) +
    content
  )
}

/** Builds one segment in a buffer that grows as needed. */
export class SegmentWriter {
  private buffer: Buffer
  private view: DataView
  private length = 0
  private readonly ends: Array<number> = []
  private maxVersion = 0
  /** A large content is copied later, in pieces. It stands alone: nothing else fits into its segment. */
  private missing: { readonly content: Uint8Array; readonly at: number; from: number } | undefined

  /** `first` is the sequence number of the first entry, `capacity` the expected bytes. */
  constructor(
    readonly first: number,
    capacity = 4096
  ) {
    this.buffer = Buffer.allocUnsafeSlow(capacity)
    this.view = new DataView(this.buffer.buffer)
  }

  get items(): number {
    return this.ends.length
  }

  /** Bytes of the segment if it were sealed now. */
  get bytes(): number {
    return this.length + this.ends.length * slotBytes
  }

  /** Whether an entry of this many bytes (slot included) belongs into this segment. */
  admits(bytes: number): boolean {
    return this.items === 0 || (this.items < maxSegmentEntries && this.bytes + bytes <= maxSegmentBytes)
  }

  /** The way back: what it returns forgets whatever was added since. */
  mark(): () => void {
    const { items, length, maxVersion } = this
    return () => {
      this.ends.length = items
      this.length = length
      this.maxVersion = maxVersion
    }
  }

  /**
   * Adds a record whose `encodedBytes` the caller has computed. Throws a `RangeError`, with nothing added, when
   * the content hash is not 64 lower-case hexadecimal digits.
   */
  add(record: ItemRecord, bytes: number): void {
    this.reserve(bytes)
    const { buffer, view } = this
    const start = this.length
    buffer[start] = (record.deleted ? flags.deleted : 0) | (record.contentType === "json" ? flags.json : 0)
    buffer[start + 1] = 0
    view.setUint32(start + 8, record.content.length, true)
    view.setUint32(start + 12, 0, true)
    view.setFloat64(start + 16, record.version, true)
    view.setFloat64(start + 24, record.updatedAt, true)
    writeHash(buffer, start + 32, record.contentHash)
    let at = start + entryHeaderBytes
    at = this.text(record.id, start + 2, at)
    at = this.text(record.state, start + 4, at)
    at = this.text(record.traceparent, start + 6, at)
    if (record.content.length <= pieceBytes) buffer.set(record.content, at)
    else this.missing = { content: record.content, at, from: 0 }
    this.length = at + record.content.length
    this.ends.push(this.length)
    if (record.version > this.maxVersion) this.maxVersion = record.version
  }

  /** Copies a piece of a large content. Whether the segment is whole then. */
  fill(): boolean {
    const { missing } = this
    if (missing === undefined) return true
    const { at, content, from } = missing
    missing.from = Math.min(content.length, from + pieceBytes)
    this.buffer.set(content.subarray(from, missing.from), at + from)
    if (missing.from === content.length) this.missing = undefined
    return this.missing === undefined
  }

  /** Finishes the segment; the writer must not be used afterwards. The CRCs are still to be stamped. */
  seal(): Segment {
    while (!this.fill());
    const items = this.items
    this.reserve(items * slotBytes)
    let at = this.length
    for (let index = 0; index < items; index++, at += slotBytes) {
      this.view.setUint32(at, this.ends[index]!, true)
      this.view.setUint32(at + 4, 0, true)
    }
    return { first: this.first, items, maxVersion: this.maxVersion, data: this.buffer.subarray(0, at) }
  }

  private text(text: string | undefined, lengthAt: number, at: number): number {
    if (text === undefined) {
      this.view.setUint16(lengthAt, absent, true)
      return at
    }
    const { buffer } = this
    const length = text.length
    // A call into the encoder costs more than a short ASCII text copied here.
    let index = 0
    for (; index < length; index++) {
      const code = text.charCodeAt(index)
      if (code > 0x7f) break
      buffer[at + index] = code
    }
    const bytes = index === length ? length : buffer.write(text, at, "utf8")
    this.view.setUint16(lengthAt, bytes, true)
    return at + bytes
  }

  private reserve(bytes: number): void {
    const needed = this.length + bytes
    if (needed <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(
      Math.max(needed, Math.min(this.buffer.length * 2, needed + maxSegmentBytes))
    )
    grown.set(this.buffer.subarray(0, this.length))
    this.buffer = grown
    this.view = new DataView(grown.buffer)
  }
}

const writeHash = (buffer: Buffer, at: number, hash: string): void => {
  let seen = hash.length === 64 ? 0 : 255
  for (let index = 0; index < 32; index++) {
    // A code above 255 finds no entry in the table, which turns the byte into a mark too.
    const high = digitValues[hash.charCodeAt(index * 2)] ?? 255
    const low = digitValues[hash.charCodeAt(index * 2 + 1)] ?? 255
    seen |= high | low
    buffer[at + index] = (high << 4) | low
  }
  if (seen > 15) throw new RangeError("contentHash is not 64 lower-case hexadecimal digits")
}

/** One record as a segment of its own, checksum stamped. */
export const encodeOne = (record: ItemRecord): Uint8Array => {
  const bytes = encodedBytes(record)
  const writer = new SegmentWriter(0, bytes)
  writer.add(record, bytes)
  const { data } = writer.seal()
  stampChecksums(data, 1)
  return data
}
