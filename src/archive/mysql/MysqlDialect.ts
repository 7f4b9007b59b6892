/**
 * MySQL's and MariaDB's side of the dialects. Statements go through the text protocol with every value
 * written out: texts and bytes as hexadecimal literals, which no SQL mode and no character set can misread.
 * Only contents too large for that go through the binary protocol.
 */
import { toLimbs } from "../../merkle/Limbs.js"
import { splitPath } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import {
  type Dialect,
  integer,
  itemColumns,
  itemValues,
  limbColumns,
  type Query,
  type Tables,
  type TreeChange,
  treeColumns,
  updatedColumns,
  type Value
} from "../sql/SqlDialect.js"

/** Contents from this size on travel as they are, in a statement of their own. */
const largeContent = 256 * 1024

const literal = (text: string): string => `X'${Buffer.from(text, "utf8").toString("hex")}'`

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const hashPattern = /^[0-9a-f]{64}$/

const itemRow = (record: ItemRecord): string => {
  if (!hashPattern.test(record.contentHash))
    throw new RangeError("a content hash must have 64 hexadecimal digits")
  return `(${itemValues(record, Buffer.from(record.contentHash, "hex")).map(bind).join()})`
}

/** Texts as their bytes too: ids and states stand in columns of bytes. */
const itemParams = (record: ItemRecord): Array<unknown> =>
  itemValues(record, Buffer.from(record.contentHash, "hex")).map((value) =>
    typeof value === "string" ? Buffer.from(value) : value instanceof Uint8Array ? bufferOf(value) : value
  )

export interface MysqlDialectOptions {
  readonly tables: Tables
  /** Statements of many rows are cut at about this many bytes. */
  readonly maxStatementBytes: number
}

const maxRows = 1_000

const bind = (value: Value): string => {
  if (value === null) return "NULL"
  if (typeof value === "number") return integer(value)
  return typeof value === "string" ? literal(value) : `X'${bufferOf(value).toString("hex")}'`
}

const isOneOf = (column: string, texts: ReadonlyArray<string>): string =>
  texts.length === 0 ? "FALSE" : `${column} IN (${texts.map(literal).join()})`

/** Many rows in few statements, each of at most about `maxBytes`. */
function* inStatements(
  rows: Iterable<string>,
  [head, tail]: readonly [string, string],
  maxBytes: number
): Generator<Query> {
  let texts: Array<string> = []
  let bytes = 0
  for (const row of rows) {
    if (texts.length >= maxRows || (texts.length > 0 && bytes + row.length > maxBytes)) {
      yield { text: head + texts.join() + tail, params: [] }
      texts = []
      bytes = 0
    }
    texts.push(row)
    bytes += row.length + 1
  }
  if (texts.length > 0) yield { text: head + texts.join() + tail, params: [] }
}

function* texts<A>(values: Iterable<A>, textOf: (value: A) => string): Generator<string> {
  for (const value of values) yield textOf(value)
}

export const make = ({ maxStatementBytes, tables }: MysqlDialectOptions): Dialect => {
  const { items, tree } = tables
  const head = `INSERT INTO ${items}(${itemColumns.join()}) VALUES `
  const one = `(${itemColumns.map(() => "?").join()})`
  // Unguarded: the rows are locked since the transaction has read them and decided by them.
  const onDuplicate = ` ON DUPLICATE KEY UPDATE ${updatedColumns
    .map((column) => `${column} = VALUES(${column})`)
    .join()}`
  const treeHead = `INSERT INTO ${tree}(${treeColumns.join()}) VALUES `
  const treeTail =
    ` ON DUPLICATE KEY UPDATE ${["count", ...limbColumns].map((c) => `${c} = ${c} + VALUES(${c})`).join()}` +
    ", top_version = GREATEST(top_version, VALUES(top_version))"

  // The rows stay in ascending order of ids, whatever way they travel: it is the order of locks.
  function* upserts(records: ReadonlyArray<ItemRecord>, tail: string): Generator<Query> {
    let from = 0
    for (let at = 0; at <= records.length; at++) {
      const record = records[at]
      if (record !== undefined && record.content.byteLength < largeContent) continue
      yield* inStatements(texts(records.slice(from, at), itemRow), [head, tail], maxStatementBytes)
      if (record !== undefined) yield { text: head + one + tail, params: itemParams(record), prepared: true }
      from = at + 1
    }
  }

  return {
    name: "mysql",
    // A transaction left open by whoever had this connection before would be committed by START.
    begin: "ROLLBACK; START TRANSACTION",
    beginSnapshot: "ROLLBACK; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION",
    readsInSnapshot: true,
    forUpdate: " FOR UPDATE",
    // From 1,000 on MariaDB turns a list into a join with a table of its own.
    idsPerStatement: 500,
    gapsPerStatement: 16,
    query: (build) => ({ text: build(bind, isOneOf), params: [] }),
    leaf: "id, version, updated_at, content_hash",
    asHex: (column) => `LOWER(HEX(${column}))`,
    asText: (column) => `CONVERT(${column} USING utf8mb4)`,
    limbs: `CONCAT_WS(',', ${limbColumns.join()})`,
    inserts: (records) => upserts(records, ""),
    updates: (records) => upserts(records, onDuplicate),
    addToTree: (changes, topVersion) => {
      const rowOf = ({ count, path, sum }: TreeChange) =>
        `(${bind(path)},${bind(splitPath(path).parent ?? null)},${integer(count)},` +
        `${toLimbs(sum).join()},${path === "" ? integer(topVersion) : 0})`
      return inStatements(texts(changes, rowOf), [treeHead, treeTail], maxStatementBytes)
    }
  }
}
