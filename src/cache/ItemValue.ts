/**
 * An item as it stands in Redis: one string, a head of 58 bytes and what follows it.
 *
 * | at | bytes | holds |
 * |---|---|---|
 * | 0 | 4 | checksum of the id and of all of the head but the epoch |
 * | 4 | 1 | kind: 0 JSON, 1 binary, 2 tombstone; 4 more where a traceparent follows |
 * | 5 | 1 | bytes of state, 0 without one |
 * | 6 | 4 | epoch of the tree that counts the item; 0 outside of the tree (tombstones, items with a time to live) |
 * | 10 | 8 | version |
 * | 18 | 8 | updatedAt |
 * | 26 | 32 | content hash |
 * | 58 | | traceparent (55) and state, where there are any; then the content |
 *
 * Numbers are big-endian. The 52 bytes from the epoch on are the item's *stamp*: what a writer compares, and all that a
 * leaf of the tree is made of. The leaf's digest is not stored: 32 bytes an item more, and whoever needs it has the stamp.
 * With 256 bytes of content the value just fits into what the allocator gives for 320.
 */
import {
  contentHashOf,
  emptyContent,
  emptyContentHash,
  type ItemRecord,
  type ItemVersion,
  versionProblem
} from "../SyncItem.js"
import { copyOfContent } from "../shared/ContentCopies.js"

export const headBytes = 58
export const stampAt = 6
export const stampBytes = headBytes - stampAt
export const traceBytes = 55
const kinds = ["json", "binary", "tombstone"] as const
const hasTrace = 4

/** What a stamp says. */
export interface Stamp {
  /** 0 outside of the tree. */
  readonly epoch: number
  readonly version: number
  readonly updatedAt: number
  readonly contentHash: string
}

/** What a value says beside its content. */
export interface ValueHead extends Stamp, ItemVersion {
  readonly traceparent: string | undefined
}

// Each step is one to one in what it takes in: a single wrong word is always noticed.
const mixed = (sum: number, word: number): number => {
  const product = Math.imul(sum ^ word, 0x9e3779b1)
  return product ^ (product >>> 15)
}

/** Over the id and the head that begins at `at` and ends at `end`. Damage is noticed, not an attacker. */
const checksum = (id: string, bytes: Buffer, at: number, end: number): number => {
  let sum = id.length
  for (let i = 0; i < id.length; i++) sum = mixed(sum, id.charCodeAt(i))
  sum = mixed(sum, bytes.readUInt16BE(at + 4))
  for (let i = at + 10; i < at + headBytes; i += 4) sum = mixed(sum, bytes.readInt32BE(i))
  for (let i = at + headBytes; i < end; i++) sum = mixed(sum, bytes[i]!)
  return sum >>> 0
}

const writeUint64 = (bytes: Buffer, value: number, at: number): number => {
  const high = Math.floor(value / 0x1_0000_0000)
  return bytes.writeUInt32BE(value - high * 0x1_0000_0000, bytes.writeUInt32BE(high, at))
}

const readUint64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)

/** Writes a stamp; returns where it ends. */
export const writeStamp = (bytes: Buffer, at: number, stamp: Omit<Stamp, "epoch">, epoch: number): number => {
  const end = writeUint64(
    bytes,
    stamp.updatedAt,
    writeUint64(bytes, stamp.version, bytes.writeUInt32BE(epoch, at))
  )
  if (bytes.write(stamp.contentHash, end, "hex") !== 32) {
    throw new RangeError("a content hash must have 64 hexadecimal digits")
  }
  return end + 32
}

/** Bytes that a value takes at most. */
export const valueBound = ({ content, state }: ItemRecord): number =>
  headBytes + traceBytes + (state === undefined ? 0 : state.length * 3) + content.length

/**
 * Writes the value of a record; returns where it ends. A traceparent or state of a length that no write can have brought
 * is left out: one damaged row must not keep all the others out.
 */
export const writeValue = (bytes: Buffer, at: number, record: ItemRecord, epoch: number): number => {
  const { content, contentType, deleted, id, state, traceparent } = record
  let end = writeStamp(bytes, at + stampAt, record, epoch)
  const traced = traceparent?.length === traceBytes
  if (traced) end += bytes.write(traceparent, end, "latin1")
  const written = state === undefined ? 0 : bytes.write(state, end, "utf8")
  const stateBytes = written > 255 ? 0 : written
  end += stateBytes
  bytes[at + 4] = (deleted ? 2 : contentType === "json" ? 0 : 1) + (traced ? hasTrace : 0)
  bytes[at + 5] = stateBytes
  bytes.writeUInt32BE(checksum(id, bytes, at, end), at)
  bytes.set(content, end)
  return end + content.length
}

/** The stamp in a value, whether or not the rest makes sense; none in what has no sensible one. */
export const stampIn = (value: Buffer): Stamp | undefined => {
  if (value.length < headBytes) return undefined
  const version = readUint64(value, 10)
  const updatedAt = readUint64(value, 18)
  if (versionProblem(version) !== undefined || !Number.isSafeInteger(updatedAt)) return undefined
  return {
    epoch: value.readUInt32BE(stampAt),
    version,
    updatedAt,
    contentHash: value.toString("hex", 26, headBytes)
  }
}

/** The bytes of a value's stamp as they stand. */
export const stampOf = (value: Buffer): Buffer => value.subarray(stampAt, headBytes)

const headEnd = (value: Buffer): number => headBytes + (value[4]! >= hasTrace ? traceBytes : 0) + value[5]!

/** What a value says beside its content, with or without that; none when it is damaged or another item's. */
export const valueHeadIn = (id: string, value: Buffer): ValueHead | undefined => {
  const stamp = stampIn(value)
  if (stamp === undefined) return undefined
  const end = headEnd(value)
  const kind = kinds[value[4]! % hasTrace]
  const { epoch, updatedAt, version } = stamp
  if (
    end > value.length ||
    value[4]! >= 2 * hasTrace ||
    kind === undefined ||
    checksum(id, value, 0, end) !== value.readUInt32BE(0) ||
    (kind === "tombstone" && (stamp.contentHash !== emptyContentHash || epoch !== 0))
  ) {
    return undefined
  }
  const stateAt = end - value[5]!
  return {
    id,
    epoch,
    version,
    updatedAt,
    contentHash: stamp.contentHash,
    contentType: kind === "json" ? "json" : "binary",
    state: stateAt === end ? undefined : value.toString("utf8", stateAt, end),
    traceparent: stateAt === headBytes ? undefined : value.toString("latin1", headBytes, stateAt),
    deleted: kind === "tombstone"
  }
}

/**
 * The record in a value, and the epoch of the tree that counts it; none when it is damaged: the head is not what was
 * written for this id, or the content does not match its hash. The content is copied, so that it does not keep the
 * whole network buffer alive.
 */
export const recordIn = (
  id: string,
  value: Buffer
): { readonly record: ItemRecord; readonly epoch: number } | undefined => {
  const head = valueHeadIn(id, value)
  if (head === undefined) return undefined
  const content = value.subarray(headEnd(value))
  if (contentHashOf(content) !== head.contentHash) return undefined
  return {
    epoch: head.epoch,
    // By name: a spread costs more than the rest of it.
    record: {
      id,
      version: head.version,
      updatedAt: head.updatedAt,
      contentType: head.contentType,
      contentHash: head.contentHash,
      state: head.state,
      content: content.length === 0 ? emptyContent : copyOfContent(content),
      traceparent: head.traceparent,
      deleted: head.deleted
    }
  }
}
