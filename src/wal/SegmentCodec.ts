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

/** Writes the CRC-32 of every entry into its slot. */
export const stampChecksums = (data: Uint8Array, items: number): void => {
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  let start = 0
  for (let at = slots; at < data.length; at += slotBytes) {
    const end = view.getUint32(at, true)
    view.setUint32(at + 4, crc32(data.subarray(start, end)), true)
    start = end
  }
}

/**
 * The index of the first entry whose bytes do not match their CRC-32 (or whose slot is senseless), or `undefined`
 * when all do.
 */
export const firstDamaged = (data: Uint8Array, items: number, from = 0, to = items): number | undefined => {
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  if (slots < 0 || !Number.isInteger(items)) return 0
  let start = from === 0 ? 0 : view.getUint32(slots + (from - 1) * slotBytes, true)
  for (let index = from; index < to; index++) {
    const at = slots + index * slotBytes
    const end = view.getUint32(at, true)
    if (end < start + entryHeaderBytes || end > slots) return index
    if (view.getUint32(at + 4, true) !== crc32(data.subarray(start, end))) return index
    start = end
  }
  return to === items && start !== slots ? items - 1 : undefined
}

/** The encoded bytes of each entry, slots included. */
export const entrySizes = (data: Uint8Array, items: number): Uint32Array => {
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  const sizes = new Uint32Array(items)
  let start = 0
  for (let index = 0; index < items; index++) {
    const end = view.getUint32(slots + index * slotBytes, true)
    sizes[index] = end - start + slotBytes
    start = end
  }
  return sizes
}

/** The entries `from` (inclusive) to `to` (exclusive) as a segment of their own. */
export const cut = (data: Uint8Array, items: number, from: number, to: number): Uint8Array => {
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  const endOf = (index: number) => (index < 0 ? 0 : view.getUint32(slots + index * slotBytes, true))
  const start = endOf(from - 1)
  const length = endOf(to - 1) - start
  const out = new Uint8Array(length + (to - from) * slotBytes)
  out.set(data.subarray(start, start + length))
  out.set(data.subarray(slots + from * slotBytes, slots + to * slotBytes), length)
  const outView = viewOf(out)
  for (let at = length; at < out.length; at += slotBytes) {
    outView.setUint32(at, outView.getUint32(at, true) - start, true)
  }
  return out
}

/**
 * Decodes the entries `from` (inclusive) to `to` (exclusive). Contents are copies, unless one is most of the segment:
 * a record does not keep many others in memory. Bytes are not checked here; `firstDamaged` does that.
 */
export const decode = (data: Uint8Array, items: number, from = 0, to = items): Array<ItemRecord> => {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const view = viewOf(data)
  const slots = data.length - items * slotBytes
  const out: Array<ItemRecord> = []
  let start = from === 0 ? 0 : view.getUint32(slots + (from - 1) * slotBytes, true)
  for (let index = from; index < to; index++) {
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
    start = view.getUint32(slots + index * slotBytes, true)
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
