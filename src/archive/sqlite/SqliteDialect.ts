/**
 * SQLite's side of the dialects: parameters everywhere, and few distinct statements, because each is kept
 * prepared by the worker that runs it.
 */
import { toLimbs } from "../../merkle/Limbs.js"
import { splitPath } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import {
  type Dialect,
  itemColumns,
  itemValues,
  limbColumns,
  type Query,
  type Tables,
  type TreeChange,
  treeColumns,
  updatedColumns
} from "../sql/SqlDialect.js"

// Twelve values a row times 1,000 stays below SQLite's 32,766 parameters.
const rowsPerStatement = [1_000, 250, 50, 10, 1]

/** What stands for a value of a column of items. */
export const placeOf = (column: string): string => (column === "content_hash" ? "unhex(?)" : "?")

const itemRow = `(${itemColumns.map(placeOf).join()})`
const treeRow = `(${treeColumns.map(() => "?").join(",")})`
export const limbs = limbColumns.join(" || ',' || ")

/** The values of a row of items, in the order of its statements. */
export const itemParams = (record: ItemRecord) => itemValues(record, record.contentHash)

/** The values of a row of the tree. */
export const treeParams = ({ count, path, sum }: TreeChange, topVersion: number) => [
  path,
  splitPath(path).parent ?? null,
  count,
  ...toLimbs(sum),
  path === "" ? topVersion : 0
]

/** Cuts rows into statements of the fixed sizes. */
function* statements<A>(
  rows: ReadonlyArray<A>,
  text: (size: number) => string,
  params: (row: A) => Array<unknown>
): Generator<Query> {
  let at = 0
  while (at < rows.length) {
    const size = rowsPerStatement.find((size) => size <= rows.length - at)!
    yield { text: text(size), params: rows.slice(at, at + size).flatMap(params) }
    at += size
  }
}

const cached = (make: (size: number) => string): ((size: number) => string) => {
  const texts = new Map(rowsPerStatement.map((size) => [size, make(size)]))
  return (size) => texts.get(size)!
}

const rows = (row: string, size: number): string => new Array<string>(size).fill(row).join(",")

/** Asks SQLite for the first thing that is wrong with its file. */
export const damageQuery = "PRAGMA integrity_check(1)"

/** What it says, if anything is. */
export const damageIn = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>): string | undefined => {
  const found = rows.map(({ integrity_check }) => String(integrity_check)).join("; ")
  return found === "ok" ? undefined : found.replaceAll("\n", " ")
}

/** The texts of the writing statements for so many rows. */
export const textsOf = ({ items, tree }: Tables) => {
  const insert = (size: number) => `INSERT INTO ${items}(${itemColumns.join()}) VALUES ${rows(itemRow, size)}`
  return {
    insert,
    // Unguarded: the transaction is the only one, and has decided by the rows that are here.
    update: (size: number) =>
      `${insert(size)} ON CONFLICT(id) DO UPDATE SET ${updatedColumns.map((c) => `${c} = excluded.${c}`).join()}`,
    addToTree: (size: number) =>
      `INSERT INTO ${tree}(${treeColumns.join()}) VALUES ${rows(treeRow, size)} ON CONFLICT(path) DO UPDATE SET ` +
      ["count", ...limbColumns].map((column) => `${column} = ${column} + excluded.${column}`).join() +
      ", top_version = max(top_version, excluded.top_version)"
  }
}

export const make = (tables: Tables): Dialect => {
  const texts = textsOf(tables)
  const insert = cached(texts.insert)
  const update = cached(texts.update)
  const addToTree = cached(texts.addToTree)
  return {
    name: "sqlite",
    begin: "BEGIN IMMEDIATE",
    // The writer's own transaction is a snapshot: nobody else can write meanwhile.
    beginSnapshot: "BEGIN IMMEDIATE",
    readsInSnapshot: false,
    forUpdate: "",
    packetBytes: 0,
    idsPerStatement: 10_000,
    gapsPerStatement: 16,
    query: (build) => {
      const params: Array<unknown> = []
      const bind = (value: unknown) => {
        params.push(value)
        return "?"
      }
      const text = build(
        bind,
        (column, texts) => `${column} IN (SELECT value FROM json_each(${bind(JSON.stringify(texts))}))`
      )
      return { text, params }
    },
    // Bytes would travel aside, each by itself.
    leaf: "id, version, updated_at, lower(hex(content_hash))",
    asHex: (column) => `lower(hex(${column}))`,
    asText: (column) => column,
    limbs,
    inserts: (records) => statements(records, insert, itemParams),
    updates: (records) => statements(records, update, itemParams),
    addToTree: (changes, topVersion) =>
      statements(changes, addToTree, (change) => treeParams(change, topVersion))
  }
}
