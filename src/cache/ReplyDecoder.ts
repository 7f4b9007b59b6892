/**
 * Turns what the scripts return into records, heads and nodes. Whatever was stored may be damaged: a value that
 * is not whole is told apart from one that is not there.
 */
import { sumToHex } from "../merkle/Digest.js"
import type { Total } from "../merkle/TreeDelta.js"
import {
  contentHashOf,
  emptyContent,
  emptyContentHash,
  type ItemHead,
  type ItemRecord,
  versionProblem
} from "../SyncItem.js"
import { copyOfContent } from "../shared/ContentCopies.js"

/** A field of a reply: bytes, a number, or nothing. */
export type Field = Buffer | number | null | undefined

export const textIn = (field: Field): string => (field instanceof Buffer ? field.toString("utf8") : "")

const lineForm = /^(\d{1,16}) (\d{1,16}) ([jbd]) ([0-9a-f]{64}) (\S{1,64}) (.*)$/s

// The line as `lineOf` writes it; none when it is damaged.
const lineIn = (field: Field) => {
  const match = lineForm.exec(textIn(field))
  if (match === null) return undefined
  const version = Number(match[1])
  const updatedAt = Number(match[2])
  if (versionProblem(version) !== undefined || !Number.isSafeInteger(updatedAt)) return undefined
  return {
    version,
    updatedAt,
    kind: match[3]!,
    contentHash: match[4]!,
    traceparent: match[5] === "-" ? undefined : match[5]!,
    state: match[6] === "" ? undefined : match[6]!
  }
}

/**
 * The record in a line and a content, `"absent"` when neither is there, or `"corrupted"` when the content does not
 * match its hash or the line makes no sense. The content is copied, so that it does not keep the whole network
 * buffer alive.
 */
export const recordIn = (id: string, m: Field, c: Field): ItemRecord | "absent" | "corrupted" => {
  if (m == null && c == null) return "absent"
  const line = lineIn(m)
  if (line === undefined) return "corrupted"
  const deleted = line.kind === "d"
  if (
    deleted
      ? line.contentHash !== emptyContentHash
      : !(c instanceof Buffer) || contentHashOf(c) !== line.contentHash
  ) {
    return "corrupted"
  }
  return {
    id,
    version: line.version,
    updatedAt: line.updatedAt,
    contentType: line.kind === "j" ? "json" : "binary",
    contentHash: line.contentHash,
    state: line.state,
    content: !deleted && c instanceof Buffer && c.length > 0 ? copyOfContent(c) : emptyContent,
    traceparent: line.traceparent,
    deleted
  }
}

/** The head in a line, `"absent"` or `"corrupted"`. */
export const headIn = (id: string, m: Field): ItemHead | "absent" | "corrupted" => {
  if (m == null) return "absent"
  const line = lineIn(m)
  if (line === undefined) return "corrupted"
  return { id, version: line.version, contentHash: line.contentHash, deleted: line.kind === "d" }
}

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

/** The digest in 32 bytes; zeros for anything else (listed, but not there). */
export const digestIn = (field: Field): string =>
  field instanceof Buffer && field.length === 32 ? field.toString("hex") : sumToHex(0n)
