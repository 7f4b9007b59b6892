/**
 * The log's binary form. A segment is a run of entries with consecutive sequence numbers, written as
 * `entry 0 … entry n-1, slot 0 … slot n-1`; a slot is where its entry ends (u32) and the entry's CRC-32 (u32),
 * so one entry can be found, and damage to it noticed, without decoding the others. Little-endian throughout.
 *
 * Pure: no I/O, no Effect.
 */
import { crc32 } from "node:zlib"
import type { ItemRecord } from "../SyncItem.js"
import { copyOfContent } from "../shared/ContentCopies.js"

/** Bytes of an entry's slot. */
export const slotBytes = 8

/**
 * Bytes of an entry before its texts and content: flags u8, unused u8, lengths of id, state and traceparent u16,
 * length of content u32, unused u32, version f64, updatedAt f64, content hash 32 bytes.
 */
export const entryHeaderBytes = 64

/** Bits of the flags byte. */
export const flags = { deleted: 1, json: 2 }

/** Length of a text that is not there. */
export const absent = 0xffff

const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength)

/** Where the slots stand, and where the entries end; that of index -1 at 0. */
const layoutOf = (data: Uint8Array, items: number) => {
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  const endOf = (index: number) => (index < 0 ? 0 : view.getUint32(slots + index * slotBytes, true))
  return { view, slots, endOf }
}

/** Writes the CRC-32 of every entry into its slot. */
export const stampChecksums = (data: Uint8Array, items: number): void => {
  const { endOf, slots, view } = layoutOf(data, items)
  for (let index = 0; index < items; index++) {
    const checksum = crc32(data.subarray(endOf(index - 1), endOf(index)))
    view.setUint32(slots + index * slotBytes + 4, checksum, true)
  }
}

/**
 * The index of the first entry whose bytes do not match their CRC-32 (or whose slot is senseless), or `undefined`
 * when all do.
 */
export const firstDamaged = (data: Uint8Array, items: number, from = 0, to = items): number | undefined => {
  const { endOf, slots, view } = layoutOf(data, items)
  if (slots < 0 || !Number.isInteger(items)) return 0
  let start = endOf(from - 1)
  for (let index = from; index < to; index++) {
    const end = endOf(index)
    if (end < start + entryHeaderBytes || end > slots) return index
    if (view.getUint32(slots + index * slotBytes + 4, true) !== crc32(data.subarray(start, end))) return index
    start = end
  }
  return to === items && start !== slots ? items - 1 : undefined
}

/** The encoded bytes of each entry, slots included. */
export const entrySizes = (data: Uint8Array, items: number): Uint32Array => {
  const { endOf } = layoutOf(data, items)
  return new Uint32Array(items).map((_, index) => endOf(index) - endOf(index - 1) + slotBytes)
}

/** The entries `from` (inclusive) to `to` (exclusive) as a segment of their own. */
export const cut = (data: Uint8Array, items: number, from: number, to: number): Uint8Array => {
  const { endOf, slots } = layoutOf(data, items)
  const start = endOf(from - 1)
  const length = endOf(to - 1) - start
  const out = new Uint8Array(length + (to - from) * slotBytes)
  out.set(data.subarray(start, start + length))
  out.set(data.subarray(slots + from * slotBytes, slots + to * slotBytes), length)
  const view = viewOf(out)
  for (let at = length; at < out.length; at += slotBytes) {
    view.setUint32(at, view.getUint32(at, true) - start, true)
  }
  return out
}

/**
 * Decodes the entries `from` (inclusive) to `to` (exclusive). Contents are copies, unless one is most of the segment:
 * a record does not keep many others in memory. Bytes are not checked here; `firstDamaged` does that.
 */
export const decode = (data: Uint8Array, items: number, from = 0, to = items): Array<ItemRecord> => {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const { endOf, view } = layoutOf(data, items)
  const out: Array<ItemRecord> = []
  for (let index = from; index < to; index++) {
    const start = endOf(index - 1)
    const bits = bytes[start]!
    const idAt = start + entryHeaderBytes
    const stateAt = idAt + view.getUint16(start + 2, true)
    const stateBytes = view.getUint16(start + 4, true)
    const traceAt = stateBytes === absent ? stateAt : stateAt + stateBytes
    const traceBytes = view.getUint16(start + 6, true)
    const contentAt = traceBytes === absent ? traceAt : traceAt + traceBytes
    const length = view.getUint32(start + 8, true)
    const alone = data.buffer.byteLength <= 2 * length
    out.push({
      id: bytes.toString("utf8", idAt, stateAt),
      version: view.getFloat64(start + 16, true),
      updatedAt: view.getFloat64(start + 24, true),
      contentType: (bits & flags.json) === 0 ? "binary" : "json",
      contentHash: bytes.toString("hex", start + 32, start + entryHeaderBytes),
      state: stateBytes === absent ? undefined : bytes.toString("utf8", stateAt, traceAt),
      content: alone
        ? new Uint8Array(data.buffer, data.byteOffset + contentAt, length)
        : copyOfContent(data.subarray(contentAt, contentAt + length)),
      traceparent: traceBytes === absent ? undefined : bytes.toString("utf8", traceAt, contentAt),
      deleted: (bits & flags.deleted) !== 0
    })
  }
  return out
}

const numbers = new Float64Array(8)
const numberBytes = new Uint8Array(numbers.buffer)

/** CRC-32 over the numbers (at most 8) and the bytes: what guards a row of the log's file. */
export const rowChecksum = (values: ReadonlyArray<number>, data: Uint8Array): number => {
  numbers.fill(0)
  numbers.set(values)
  return crc32(data, crc32(numberBytes))
}
