/**
 * The messages between the SQLite client and its worker threads. Binary values of a message travel together
 * in one transferred buffer: cloning them one by one costs more than the statement.
 */

import { copyOfContent, pinsMemory } from "../../shared/ContentCopies.js"
import type { CommitResult } from "../Archive.js"
import type { NotTaken, StoredRecord } from "../CommitPlan.js"
import type { WalState } from "./Checkpoints.js"
import type { PackedRecords } from "./PackedRecords.js"

export interface SqliteWorkerData {
  readonly path: string
  readonly role: "reader" | "writer"
  readonly busyTimeoutMs: number
}

/** Values with their bytes packed aside: `places` holds triples of index, offset and length. */
export interface PackedValues {
  readonly values: Array<unknown>
  readonly bytes: ArrayBuffer | undefined
  readonly places: ReadonlyArray<number>
}

export interface StatementResult {
  readonly columns: ReadonlyArray<string>
  /** Row after row. */
  readonly cells: PackedValues
  readonly changes: number
}

/** What a commit did; the records that it did not write by their place in the batch, and what is stored instead. */
export interface CommitReply extends Omit<CommitResult, keyof NotTaken> {
  readonly equal: ReadonlyArray<number>
  readonly losers: ReadonlyArray<number>
  readonly stored: ReadonlyArray<StoredRecord>
  /** The -wal file afterwards. */
  readonly wal: WalState
}

export interface SqliteOperations {
  readonly statement: (sql: string, params: PackedValues) => StatementResult
  /** One transaction; nothing is written when another node than this one is the sole writer. */
  readonly commit: (
    records: PackedRecords,
    contents: ArrayBuffer,
    node: string | undefined
  ) => CommitReply | undefined
  /** Rolls back whatever transaction is still open; returns what the -wal file holds then. */
  readonly reset: () => WalState
  readonly close: () => void
}

/** Takes the bytes out of these values: what `parts` holds goes into one buffer. */
export const unmix = (
  input: ReadonlyArray<unknown>
): Omit<PackedValues, "bytes"> & { readonly parts: ReadonlyArray<Uint8Array> } => {
  const values = Array.from(input)
  const places: Array<number> = []
  const parts: Array<Uint8Array> = []
  let offset = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (!(value instanceof Uint8Array)) continue
    parts.push(value)
    values[i] = null
    places.push(i, offset, value.byteLength)
    offset += value.byteLength
  }
  return { values, places, parts }
}

/** As {@link unmix}, with the buffer, made at once. */
export const pack = (input: ReadonlyArray<unknown>): PackedValues => {
  const { parts, places, values } = unmix(input)
  if (parts.length === 0) return { values, places, bytes: undefined }
  const bytes = new Uint8Array(places[places.length - 2]! + places[places.length - 1]!)
  for (const [index, part] of parts.entries()) bytes.set(part, places[index * 3 + 1])
  return { values, places, bytes: bytes.buffer }
}

/**
 * Puts the bytes back, in place. Copies, unless a value is most of the message: whoever keeps a small value must
 * not keep the whole message alive.
 */
export const unpack = (packed: PackedValues, copy: boolean): Array<unknown> => {
  const { bytes, places, values } = packed
  if (bytes === undefined) return values
  for (let i = 0; i < places.length; i += 3) {
    const view = new Uint8Array(bytes, places[i + 1]!, places[i + 2]!)
    values[places[i]!] = copy && pinsMemory(view) ? copyOfContent(view) : view
  }
  return values
}
