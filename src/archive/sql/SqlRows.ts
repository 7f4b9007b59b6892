/** From the drivers' rows to records. */
import { fromLimbs } from "../../merkle/Limbs.js"
import type { Leaf } from "../../merkle/Tree.js"
import type { ContentType, ItemRecord, ItemVersion, SyncItem } from "../../SyncItem.js"
import type { StoredHead, StoredRecord } from "../CommitPlan.js"

export type Row = Readonly<Record<string, unknown>>

const textOf = (value: unknown): string | undefined => (value as string | null) ?? undefined

const isDeleted = (row: Row): boolean => Number(row.deleted) === 1

export const leafOf = (row: Row): Leaf => ({
  id: row.id as string,
  version: Number(row.version),
  updatedAt: Number(row.updated_at),
  contentHash: row.content_hash as string
})

/** A leaf in the columns that the dialect selects for one; bytes as they are. */
export const leafIn = ([id, version, updatedAt, hash]: ReadonlyArray<unknown>): Leaf => ({
  id: typeof id === "string" ? id : (id as Buffer).toString(),
  version: Number(version),
  updatedAt: Number(updatedAt),
  contentHash: typeof hash === "string" ? hash : (hash as Buffer).toString("hex")
})

/** A row of raw columns: converting them here is cheaper than on the server. */
export const headOf = (row: Row): StoredHead => ({
  ...leafIn([row.id, row.version, row.updated_at, row.content_hash]),
  deleted: isDeleted(row)
})

export const versionOf = (row: Row): ItemVersion => ({
  id: row.id as string,
  version: Number(row.version),
  contentHash: row.content_hash as string,
  deleted: isDeleted(row),
  contentType: row.content_type as ContentType,
  state: textOf(row.state)
})

export const itemOf = (row: Row): SyncItem => {
  const content = row.content as Uint8Array
  return {
    ...leafOf(row),
    contentType: row.content_type as ContentType,
    state: textOf(row.state),
    // Drivers hand out Buffers, which would compare and print differently from what was submitted.
    content:
      content.constructor === Uint8Array
        ? content
        : new Uint8Array(content.buffer as ArrayBuffer, content.byteOffset, content.byteLength),
    traceparent: textOf(row.traceparent)
  }
}

export const recordOf = (row: Row): ItemRecord => ({ ...itemOf(row), deleted: isDeleted(row) })

/** A row that may have been selected without its content. */
export const storedOf = (row: Row): StoredRecord => {
  if (row.content != null) return recordOf(row)
  const traceparent = textOf(row.traceparent)
  return { ...versionOf(row), updatedAt: Number(row.updated_at), traceparent, content: undefined }
}

export interface StoredTotal {
  readonly count: number
  readonly sum: bigint
  /** Of the top's row: the highest version that was ever stored. */
  readonly topVersion: number
}

/** The count and limbs of a tree row; the limbs are one text. */
export const totalOf = (row: Row): StoredTotal => {
  const limbs = (row.limbs as string).split(",").map(BigInt)
  return { count: Number(row.count), sum: fromLimbs(limbs), topVersion: Number(row.top_version) }
}
