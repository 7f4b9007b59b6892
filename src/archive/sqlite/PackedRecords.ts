/**
 * A batch of records as one message to a thread: one text, one array of numbers, and one buffer that is handed over.
 * To clone them as objects costs more than to write their rows. Imports nothing of Effect.
 */
import type { ItemRecord } from "../../SyncItem.js"

/** Records without their contents, which go into one buffer, one behind the other. */
export interface PackedRecords {
  /** Ids, hashes, states and traceparents, one behind the other. */
  readonly text: string
  readonly numbers: Float64Array
}

// Version, time, flags, the lengths of id, hash, state and traceparent (-1: none) and of the content.
const numbersEach = 8
const flags = { deleted: 1, json: 2 }

const lengthOf = (text: string | undefined): number => (text === undefined ? -1 : text.length)

export const packRecords = (records: ReadonlyArray<ItemRecord>): PackedRecords => {
  const numbers = new Float64Array(records.length * numbersEach)
  let text = ""
  let at = 0
  for (const record of records) {
    const { content, contentHash, contentType, deleted, id, state, traceparent } = record
    numbers[at++] = record.version
    numbers[at++] = record.updatedAt
    numbers[at++] = (deleted ? flags.deleted : 0) | (contentType === "json" ? flags.json : 0)
    numbers[at++] = id.length
    numbers[at++] = contentHash.length
    numbers[at++] = lengthOf(state)
    numbers[at++] = lengthOf(traceparent)
    numbers[at++] = content.byteLength
    text += id + contentHash
    if (state !== undefined) text += state
    if (traceparent !== undefined) text += traceparent
  }
  return { text, numbers }
}

/** The records again; their contents are views of the buffer. */
export const unpackRecords = (
  { numbers, text }: PackedRecords,
  contents: ArrayBuffer | undefined
): Array<ItemRecord> => {
  const bytes = contents ?? new ArrayBuffer(0)
  const records: Array<ItemRecord> = []
  let textAt = 0
  let bytesAt = 0
  const take = (length: number) => {
    textAt += length
    return text.slice(textAt - length, textAt)
  }
  const takeSome = (length: number) => (length < 0 ? undefined : take(length))
  for (let at = 0; at < numbers.length; at += numbersEach) {
    const bits = numbers[at + 2]!
    const length = numbers[at + 7]!
    records.push({
      id: take(numbers[at + 3]!),
      version: numbers[at]!,
      updatedAt: numbers[at + 1]!,
      contentType: (bits & flags.json) === 0 ? "binary" : "json",
      contentHash: take(numbers[at + 4]!),
      state: takeSome(numbers[at + 5]!),
      content: new Uint8Array(bytes, bytesAt, length),
      traceparent: takeSome(numbers[at + 6]!),
      deleted: (bits & flags.deleted) !== 0
    })
    bytesAt += length
  }
  return records
}
