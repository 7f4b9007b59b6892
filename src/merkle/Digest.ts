/**
 * The digests of the tree: leaves and nodes hash with different first bytes, and every field has a fixed
 * place or its length before it, so that no two things that differ can hash the same input.
 *
 * - leaf: SHA-256(0x00, u16 length of id, id, u64 version, u64 updatedAt, 32 bytes content hash)
 * - node: SHA-256(0x01, u16 length of path, path, u64 count, 32 bytes sum)
 *
 * Numbers are big-endian, texts are UTF-8. What no write has brought and stands in a row all the same (a number below
 * nothing or beyond all safe ones, half a hash) has a digest too: else one such row could be neither found nor replaced.
 */
import { hash } from "node:crypto"
import type { Digest, Leaf, TreeNode } from "./Tree.js"

const leafDomain = 0x00
const nodeDomain = 0x01

// A text of 65,535 bytes, its length, two numbers, a hash and the domain byte. Digests are computed without
// giving way, so one buffer serves them all.
const input = Buffer.alloc(65_535 + 64)

const writeText = (text: string): number => {
  const length = input.write(text, 3, "utf8")
  if (length > 65_535) throw new RangeError(`a path has ${length} bytes; at most 65535 can be hashed`)
  input[1] = length >>> 8
  input[2] = length & 0xff
  return 3 + length
}

const writeUint64 = (value: number, at: number): number => {
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
    return input.writeBigUInt64BE(BigInt.asUintN(64, BigInt(Math.trunc(value) || 0)), at)
  }
  const high = Math.floor(value / 0x1_0000_0000)
  const next = input.writeUInt32BE(high, at)
  return input.writeUInt32BE(value - high * 0x1_0000_0000, next)
}

/** The bits of a sum, as 64 hexadecimal digits. */
export const sumToHex = (sum: bigint): string => BigInt.asUintN(256, sum).toString(16).padStart(64, "0")

/** The digest of a live item. */
export const leafDigest = (leaf: Leaf): Digest => {
  input[0] = leafDomain
  let at = writeText(leaf.id)
  at = writeUint64(leaf.version, at)
  at = writeUint64(leaf.updatedAt, at)
  const written = input.write(leaf.contentHash, at, 32, "hex")
  if (written < 32) input.fill(0, at + written, at + 32)
  return hash("sha256", input.subarray(0, at + 32), "hex")
}

/** The digest of a live item as the number that the sums above it add up. */
export const leafSum = (leaf: Leaf): bigint => BigInt(`0x${leafDigest(leaf)}`)

/** The digest of an interior node. */
export const nodeDigest = (path: string, count: number, sum: bigint): Digest => {
  input[0] = nodeDomain
  const at = writeUint64(count, writeText(path))
  input.write(sumToHex(sum), at, "hex")
  return hash("sha256", input.subarray(0, at + 32), "hex")
}

/** The root of a tree without leaves. */
export const emptyRoot: Digest = nodeDigest("", 0, 0n)

/** A node with its digest. */
export const makeNode = (
  path: string,
  total: { readonly count: number; readonly sum: bigint }
): TreeNode => ({
  path,
  count: total.count,
  sum: BigInt.asUintN(256, total.sum),
  digest: nodeDigest(path, total.count, total.sum)
})
