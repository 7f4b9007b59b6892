/**
 * Where SQLite and MySQL/MariaDB differ: how values stand in statements, how rows are locked, how upserts are
 * written. Everything else is said once, in `SqlArchive`.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { Total } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import type { StoredHead } from "../CommitPlan.js"

/** A statement ready to run. */
export interface Query {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  /** Run through the binary protocol; only for constant texts, each is kept prepared. */
  readonly prepared?: boolean
  /** Each row as an array of its columns. */
  readonly arrays?: boolean
}

/** What may stand for a value in a statement. */
export type Value = string | number | Uint8Array | null

/**
 * Writes a statement, from left to right: `bind` returns what stands for a value, `isOneOf` the condition
 * `column IN (these texts)`.
 */
export type QueryText = (
  bind: (value: Value) => string,
  isOneOf: (column: string, texts: ReadonlyArray<string>) => string
) => string

/** One row of the tree to be added to. */
export interface TreeChange extends Total {
  readonly path: string
}

/** Why a statement made by `failIf` has failed; a guarded update fails as `stale`. */
export type Refusal = "held" | "stale"

/** What commits are made of, besides what is written. An update fails when a row is not what it replaces. */
export interface CommitStatements {
  /** As `Dialect.begin`, and it waits while `keepOut` stands. */
  readonly begin: string
  /** In a transaction that writes the whole tree: waits for the commits under way, and no other one begins. */
  readonly keepOut: string
  /** A statement that fails while a condition holds: what is sent behind it is not run. */
  readonly failIf: (condition: string, refusal: Refusal) => string
  /** For which of these reasons a statement may have failed; a trigger can fail in the same way. */
  readonly refusal: (error: SqlError) => Refusal | undefined
}

export interface Dialect {
  readonly name: "sqlite" | "mysql"
  /** Opens a transaction that sees what others have committed and waits for their locks. */
  readonly begin: string
  /** Where commits are made statement by statement. */
  readonly commits?: CommitStatements
  /** Opens a transaction whose plain reads all see the state at the first of them. */
  readonly beginSnapshot: string
  /** Whether a long read may keep such a transaction open without keeping others waiting. */
  readonly readsInSnapshot: boolean
  /** Appended to a read that must lock its rows. */
  readonly forUpdate: string
  /** How many bytes of statements without parameters go out together; 0: each goes by itself. */
  readonly packetBytes: number
  /** How many ids one statement may name. */
  readonly idsPerStatement: number
  /** How many bounded sub-selects one statement may unite. */
  readonly gapsPerStatement: number
  /** A statement of its text and the values that the text was given. */
  readonly query: (build: QueryText) => Query
  /** The columns of a leaf, as `leafIn` reads them: where the driver has bytes, nothing is converted for it. */
  readonly leaf: string
  /** A column of bytes as lower-case hexadecimal text. */
  readonly asHex: (column: string) => string
  /** A column of UTF-8 bytes as text. */
  readonly asText: (column: string) => string
  /** The limbs of a tree row as one text, because their totals may leave the integers JavaScript has. */
  readonly limbs: string
  /** Inserts rows that do not exist; fails when one does. */
  readonly inserts: (records: ReadonlyArray<ItemRecord>) => Iterable<Query>
  /** Replaces rows that exist, whose heads are these. */
  readonly updates: (
    records: ReadonlyArray<ItemRecord>,
    before: ReadonlyMap<string, StoredHead>
  ) => Iterable<Query>
  /** Adds to tree rows without reading them, in this order, making those that are missing. The top's row keeps the highest version. */
  readonly addToTree: (changes: ReadonlyArray<TreeChange>, topVersion: number) => Iterable<Query>
}

/** Names of the tables, with an optional prefix before them. */
export interface Tables {
  readonly items: string
  readonly tree: string
  readonly itemsJson: string
  readonly writers: string
  readonly lineage: string
  readonly migrations: string
}

export const tables = (prefix = ""): Tables => ({
  items: `${prefix}items`,
  tree: `${prefix}tree`,
  itemsJson: `${prefix}items_json`,
  writers: `${prefix}writers`,
  lineage: `${prefix}lineage`,
  migrations: `${prefix}archive_migrations`
})

/** The columns of a row, in the order of every insert. */
export const itemColumns = [
  "id",
  "version",
  "updated_at",
  "content_type",
  "content_hash",
  "state",
  "deleted",
  "tombstone_at",
  "traceparent",
  "content"
] as const

/** The values of a row, in the order of its columns. */
export const itemValues = (record: ItemRecord, contentHash: Value): Array<Value> => [
  record.id,
  record.version,
  record.updatedAt,
  record.contentType,
  contentHash,
  record.state ?? null,
  record.deleted ? 1 : 0,
  record.deleted ? record.updatedAt : null,
  record.traceparent ?? null,
  record.content
]

/** In MySQL: where an update says what it replaces. Always NULL in a stored row. */
export const expectedColumns = [
  "expected_version",
  "expected_updated_at",
  "expected_deleted",
  "expected_hash"
] as const

/** Upserts of items write all columns but the key again. */
export const updatedColumns = itemColumns.slice(1)

export const limbColumns = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"] as const

export const treeColumns = ["path", "parent", "count", ...limbColumns, "top_version"] as const

export const writerColumns = ["node", "token", "beat", "lease_ms"] as const

/** A whole number for the text of a statement. */
export const integer = (value: number): string => {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`)
  return String(value)
}
