/**
 * MySQL's and MariaDB's side of the dialects. Statements go through the text protocol with every value
 * written out: texts and bytes as hexadecimal literals, which no SQL mode and no character set can misread.
 * Only contents too large for that go through the binary protocol.
 */
import { toLimbs } from "../../merkle/Limbs.js"
import { splitPath } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import type { StoredHead } from "../CommitPlan.js"
import {
  type Dialect,
  expectedColumns,
  integer,
  itemColumns,
  itemValues,
  limbColumns,
  type Query,
  type Refusal,
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

const hashLiteral = (hash: string): string => {
  if (!hashPattern.test(hash)) throw new RangeError("a content hash must have 64 hexadecimal digits")
  return `X'${hash}'`
}

const optional = (text: string | undefined): string => (text === undefined ? "NULL" : literal(text))

/** The values of a row, written out at once: this is most of what a commit costs here. */
const itemText = (record: ItemRecord): string => {
  const { content, contentHash, contentType, deleted, id, state, traceparent, updatedAt, version } = record
  return (
    `${literal(id)},${integer(version)},${integer(updatedAt)},'${contentType}',${hashLiteral(contentHash)},` +
    `${optional(state)},${deleted ? `1,${updatedAt}` : "0,NULL"},${optional(traceparent)},X'${bufferOf(content).toString("hex")}'`
  )
}

/** Of a head that was read or kept as bytes: its hash is hexadecimal by that. */
const expectedText = ({ contentHash, deleted, updatedAt, version }: StoredHead): string =>
  `,${integer(version)},${integer(updatedAt)},${deleted ? 1 : 0},X'${contentHash}'`

/** Texts as their bytes too: ids and states stand in columns of bytes. */
const itemParams = (record: ItemRecord): Array<unknown> =>
  itemValues(record, Buffer.from(record.contentHash, "hex")).map((value) =>
    typeof value === "string" ? Buffer.from(value) : value instanceof Uint8Array ? bufferOf(value) : value
  )

const expectedParams = ({ contentHash, deleted, updatedAt, version }: StoredHead): Array<unknown> => [
  version,
  updatedAt,
  deleted ? 1 : 0,
  Buffer.from(contentHash, "hex")
]

export interface MysqlDialectOptions {
  readonly tables: Tables
  /** Statements of many rows are cut at about this many bytes; four of them fit in half a packet. */
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

/** How rows are written: what stands before and behind them, and what follows a statement of so many. */
interface Upsert {
  readonly head: string
  readonly one: string
  readonly tail: string
  readonly check?: (rows: number) => Query
}

/** Many rows in few statements, each of at most about `maxBytes`. */
function* inStatements(
  rows: Iterable<string>,
  { check, head, tail }: Omit<Upsert, "one">,
  maxBytes: number
): Generator<Query> {
  let texts: Array<string> = []
  let bytes = 0
  function* statement(): Generator<Query> {
    if (texts.length === 0) return
    yield { text: head + texts.join() + tail, params: [] }
    if (check !== undefined) yield check(texts.length)
    texts = []
    bytes = 0
  }
  for (const row of rows) {
    if (texts.length >= maxRows || bytes + row.length > maxBytes) yield* statement()
    texts.push(row)
    bytes += row.length + 1
  }
  yield* statement()
}

function* texts<A>(values: Iterable<A>, textOf: (value: A) => string): Generator<string> {
  for (const value of values) yield textOf(value)
}

// An error that the server raises only when it works the statement out, whatever its settings: a number that is too
// large, and a value that is two.
const failing = {
  stale: (condition: string) => `SELECT ~0 + (${condition})`,
  held: (condition: string) => `SELECT IF(${condition}, (SELECT 1 UNION ALL SELECT 2), 0)`
}

// Not ours alone: a trigger can fail by the same numbers.
const refusals = new Map<unknown, Refusal>([
  [1242, "held"], // subquery returns more than one row
  [1690, "stale"], // value out of range: `failIf`
  [1048, "stale"], // column cannot be null: a guarded update
  [1062, "stale"] // duplicate entry: a row that was not there
])

const upsertsOf = ({ items }: Tables): { readonly insert: Upsert; readonly update: Upsert } => {
  const into = (columns: ReadonlyArray<string>) => ({
    head: `INSERT INTO ${items}(${columns.join()}) VALUES `,
    one: `(${columns.map(() => "?").join()})`
  })
  // First the version, while the others are still what they were. NULL, which it must not be, ends the statement; a row
  // that is not there any more is inserted, and counts less than one that was changed.
  const same = expectedColumns.map((column, i) => `${guarded[i]} = VALUES(${column})`).join(" AND ")
  const others = updatedColumns
    .filter((column) => column !== "version")
    .map((column) => `${column} = VALUES(${column})`)
  const tail = ` ON DUPLICATE KEY UPDATE version = IF(${same}, VALUES(version), NULL),${others.join()}`
  const check = (rows: number): Query => ({ text: failing.stale(`ROW_COUNT() <> ${rows * 2}`), params: [] })
  return {
    insert: { ...into(itemColumns), tail: "" },
    update: { ...into([...itemColumns, ...expectedColumns]), tail, check }
  }
}

// As `headOf` reads them: a row that says neither 0 nor 1 is found as it was read.
const guarded = ["version", "updated_at", "(deleted = 1)", "content_hash"] as const

export const make = ({ maxStatementBytes, tables }: MysqlDialectOptions): Dialect => {
  const { lineage, tree } = tables
  const { insert, update } = upsertsOf(tables)
  const treeUpsert = {
    head: `INSERT INTO ${tree}(${treeColumns.join()}) VALUES `,
    tail:
      ` ON DUPLICATE KEY UPDATE ${["count", ...limbColumns].map((c) => `${c} = ${c} + VALUES(${c})`).join()}` +
      ", top_version = GREATEST(top_version, VALUES(top_version))"
  }

  // The rows stay in ascending order of ids, whatever way they travel: so are they locked.
  function* upserts(
    records: ReadonlyArray<ItemRecord>,
    upsert: Upsert,
    before?: ReadonlyMap<string, StoredHead>
  ): Generator<Query> {
    let from = 0
    for (let at = 0; at <= records.length; at++) {
      const record = records[at]
      if (record !== undefined && record.content.byteLength < largeContent) continue
      const rows = texts(records.slice(from, at), (some) => {
        const was = before?.get(some.id)
        return `(${itemText(some)}${was === undefined ? "" : expectedText(was)})`
      })
      yield* inStatements(rows, upsert, maxStatementBytes)
      if (record !== undefined) {
        const was = before?.get(record.id)
        const params = [...itemParams(record), ...(was === undefined ? [] : expectedParams(was))]
        yield { text: upsert.head + upsert.one + upsert.tail, params, prepared: true }
        if (upsert.check !== undefined) yield upsert.check(1)
      }
      from = at + 1
    }
  }

  // A transaction left open by whoever had this connection before would be committed by START.
  const begin = "ROLLBACK; START TRANSACTION"
  const gate = `SELECT 1 FROM ${lineage} WHERE id = 1`

  return {
    name: "mysql",
    begin,
    commits: {
      begin: `${begin}; ${gate} LOCK IN SHARE MODE`,
      keepOut: `${gate} FOR UPDATE`,
      failIf: (condition, refusal) => failing[refusal](condition),
      refusal: ({ cause }) => refusals.get((cause as { readonly errno?: number } | undefined)?.errno)
    },
    beginSnapshot: "ROLLBACK; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION",
    readsInSnapshot: true,
    forUpdate: " FOR UPDATE",
    packetBytes: 4 * maxStatementBytes,
    // From 1,000 on MariaDB turns a list into a join with a table of its own.
    idsPerStatement: 500,
    gapsPerStatement: 16,
    query: (build) => ({ text: build(bind, isOneOf), params: [] }),
    leaf: "id, version, updated_at, content_hash",
    asHex: (column) => `LOWER(HEX(${column}))`,
    asText: (column) => `CONVERT(${column} USING utf8mb4)`,
    limbs: `CONCAT_WS(',', ${limbColumns.join()})`,
    inserts: (records) => upserts(records, insert),
    updates: (records, before) => upserts(records, update, before),
    addToTree: (changes, topVersion) => {
      const rowOf = ({ count, path, sum }: TreeChange) =>
        `(${bind(path)},${bind(splitPath(path).parent ?? null)},${integer(count)},` +
        `${toLimbs(sum).join()},${path === "" ? integer(topVersion) : 0})`
      return inStatements(texts(changes, rowOf), treeUpsert, maxStatementBytes)
    }
  }
}
