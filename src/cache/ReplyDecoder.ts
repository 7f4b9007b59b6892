/** Turns what the scripts return into texts, values and nodes. Whatever was stored may be damaged. */
import type { Total } from "../merkle/TreeDelta.js"

/** A field of a reply: bytes, a number, or nothing. */
export type Field = Buffer | number | null | undefined

export const textIn = (field: Field): string => (field instanceof Buffer ? field.toString("utf8") : "")

const nothing = Buffer.alloc(0)

/** The bytes of a field; empty for anything else. */
export const bytesIn = (field: Field): Buffer => (field instanceof Buffer ? field : nothing)

/**
 * The count and sum in a stored node of 40 bytes; none for anything else. A count below zero, which only damage
 * can cause, reads as zero: the sum still tells that something is wrong.
 */
export const totalIn = (node: Field): Total | undefined => {
  if (!(node instanceof Buffer) || node.length !== 40) return undefined
  const count = node.readDoubleBE(0)
  return {
    count: Number.isSafeInteger(count) && count > 0 ? count : 0,
    sum: BigInt(`0x${node.toString("hex", 8)}`)
  }
}
