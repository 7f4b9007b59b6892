/** A filter as it is kept between two runs: with the root it was proven against and a checksum over everything. */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import type { Digest } from "../merkle/Tree.js"
import { yieldToEventLoop } from "../shared/YieldToEventLoop.js"
import { CuckooFilter } from "./CuckooFilter.js"

export interface FilterSnapshot {
  readonly filter: CuckooFilter
  /** The root over all items whose ids the filter holds. */
  readonly root: Digest
  /** How many items that root covers. */
  readonly entryCount: number
}

const magic = 0x5346_4553 // "SEFS" in little-endian order
const formatVersion = 1
const rootAt = 8
const entryCountAt = rootAt + 32
const filterLengthAt = entryCountAt + 8
const filterAt = filterLengthAt + 8
const checksumBytes = 32
const rootPattern = /^[0-9a-f]{64}$/

/** Hashed in one go before other work gets its turn: about 1.5 ms. */
const pieceBytes = 1024 * 1024

/**
 * The snapshot as bytes, all numbers little-endian: magic and format version (32 bits each), the root's 32 bytes,
 * the entry count and the length of the filter (64 bits each), the filter, and the SHA-256 of all that. The filter is
 * copied at once, as it is now; the effect hashes the copy in pieces. Throws a `RangeError` for a root that is no
 * digest or a count that is no whole number.
 */
export const encodeFilterSnapshot = (snapshot: FilterSnapshot): Effect.Effect<Uint8Array> => {
  if (!rootPattern.test(snapshot.root)) throw new RangeError(`root is not a digest: ${snapshot.root}`)
  if (!Number.isSafeInteger(snapshot.entryCount) || snapshot.entryCount < 0) {
    throw new RangeError(`entryCount must be a whole number, 0 or more; got ${snapshot.entryCount}`)
  }
  const bytes = snapshot.filter.toBytes(filterAt, checksumBytes)
  const end = bytes.byteLength - checksumBytes
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic, true)
  view.setUint32(4, formatVersion, true)
  bytes.set(Buffer.from(snapshot.root, "hex"), rootAt)
  view.setBigUint64(entryCountAt, BigInt(snapshot.entryCount), true)
  view.setBigUint64(filterLengthAt, BigInt(end - filterAt), true)
  return Effect.gen(function* () {
    const hash = createHash("sha256")
    for (let at = 0; at < end; at += pieceBytes) {
      yield* yieldToEventLoop
      hash.update(bytes.subarray(at, Math.min(end, at + pieceBytes)))
    }
    bytes.set(hash.digest(), end)
    return bytes
  })
}

/**
 * The snapshot that `encodeFilterSnapshot` wrote, or what is wrong with the bytes: damage anywhere, a cut, a
 * format of another version. Never throws.
 */
export const decodeFilterSnapshot = (bytes: Uint8Array): FilterSnapshot | string => {
  const end = bytes.byteLength - checksumBytes
  if (end < filterAt) return "the snapshot is shorter than its header"
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== magic) return "the bytes are not a filter snapshot"
  const version = view.getUint32(4, true)
  if (version !== formatVersion) return `the snapshot has format ${version}, not ${formatVersion}`
  if (view.getBigUint64(filterLengthAt, true) !== BigInt(end - filterAt)) {
    return "the snapshot's length is not the one it states"
  }
  if (!sha256(bytes.subarray(0, end)).equals(bytes.subarray(end)))
    return "the snapshot's checksum does not match"
  const entryCount = view.getBigUint64(entryCountAt, true)
  if (entryCount > BigInt(Number.MAX_SAFE_INTEGER)) return "the snapshot's entry count is impossible"
  const filter = CuckooFilter.fromBytes(bytes.subarray(filterAt, end))
  if (typeof filter === "string") return `the snapshot's filter ${filter}`
  const root = Buffer.from(bytes.subarray(rootAt, entryCountAt)).toString("hex")
  return { filter, root, entryCount: Number(entryCount) }
}

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest()
