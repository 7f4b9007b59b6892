/** From the drivers' rows to records, and the queries that select them. */
import { fromLimbs } from "../../merkle/Limbs.js"
import type { Leaf } from "../../merkle/Tree.js"
import type { ContentType, ItemRecord, ItemVersion, SyncItem } from "../../SyncItem.js"
import type { StoredHead, StoredRecord } from "../CommitPlan.js"
import type { Dialect, Tables } from "./SqlDialect.js"
import type { Row } from "./SqlTransaction.js"

export const headOf = (row: Row): StoredHead => ({
  id: row.id as string,
  version: Number(row.version),
  updatedAt: Number(row.updated_at),
  contentHash: row.content_hash as string,
  deleted: Number(row.deleted) === 1
})

export const leafOf = (row: Row): Leaf => ({
  id: row.id as string,
  version: Number(row.version),
  updatedAt: Number(row.updated_at),
  contentHash: row.content_hash as string
})

export const versionOf = (row: Row): ItemVersion => ({
  id: row.id as string,
  version: Number(row.version),
  contentHash: row.content_hash as string,
  deleted: Number(row.deleted) === 1,
  contentType: row.content_type as ContentType,
  state: (row.state as string | null) ?? undefined
})

export const storedOf = (row: Row): StoredRecord =>
  row.content == null
    ? {
        ...versionOf(row),
        updatedAt: Number(row.updated_at),
        traceparent: (row.traceparent as string | null) ?? undefined,
        content: undefined
      }
    : recordOf(row)

export const itemOf = (row: Row): SyncItem => {
  const content = row.content as Uint8Array
  return {
    id: row.id as string,
    version: Number(row.version),
    updatedAt: Number(row.updated_at),
    contentType: row.content_type as ContentType,
    contentHash: row.content_hash as string,
    state: (row.state as string | null) ?? undefined,
    // Drivers hand out Buffers, which would compare and print differently from what was submitted.
    content:
      content.constructor === Uint8Array
        ? content
        : new Uint8Array(content.buffer as ArrayBuffer, content.byteOffset, content.byteLength),
    traceparent: (row.traceparent as string | null) ?? undefined
  }
}

export const recordOf = (row: Row): ItemRecord => ({ ...itemOf(row), deleted: Number(row.deleted) === 1 })

export interface StoredTotal {
  readonly count: number
  readonly limbs: ReadonlyArray<bigint>
  readonly sum: bigint
  /** Of the top's row: the highest version that was ever stored. */
  readonly topVersion: number
}

/** The count and limbs of a tree row; the limbs are one text. */
export const totalOf = (row: Row): StoredTotal => {
  const limbs = (row.limbs as string).split(",").map(BigInt)
  return { count: Number(row.count), limbs, sum: fromLimbs(limbs), topVersion: Number(row.top_version) }
}

/** The column lists of the reads. */
export const columns = (dialect: Dialect) => {
  const leaf = `${dialect.asText("id")} AS id, version, updated_at, ${dialect.asHex("content_hash")} AS content_hash`
  const head = `${leaf}, deleted`
  const version = `${head}, content_type, ${dialect.asText("state")} AS state`
  const record = `${version}, traceparent, content`
  const total = `${dialect.asText("path")} AS path, count, ${dialect.limbs} AS limbs, top_version`
  return { leaf, head, version, record, total }
}

/** Everything the parts of the SQL archive share. */
export interface Shape {
  readonly dialect: Dialect
  readonly tables: Tables
  readonly columns: ReturnType<typeof columns>
}
