/** Reads of rows: by id, by range, and for whoever proves that rows and tree agree. */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { splitPath } from "../../merkle/TreeDelta.js"
import type { SyncItem } from "../../SyncItem.js"
import type { ArchiveReader, OpenArchive, ScanRange, StoredNode } from "../Archive.js"
import type { Untyped } from "../TypedCalls.js"
import { isIn, scanPlan } from "./Ranges.js"
import type { QueryText } from "./SqlDialect.js"
import * as Rows from "./SqlRows.js"
import type { SqlSession } from "./SqlSession.js"
import { advanced, leafPage, readRoot } from "./SqlTree.js"

const idOf = (row: Rows.Row): string => row.id as string

/** The live rows of a range, ascending: the item that bears the prefix, then what lies below. */
const select = Effect.fnUntraced(function* (
  session: SqlSession,
  range: ScanRange,
  selected: string,
  limit = Number.POSITIVE_INFINITY,
  lastId?: string
) {
  const { items } = session.tables
  const { point, span } = scanPlan(range)
  const rows: Array<Rows.Row> = []
  const read = (condition: QueryText) =>
    session.rows((bind, isOneOf) => {
      const where = [condition(bind, isOneOf), "deleted = 0"]
      if (range.state !== undefined) where.push(`state = ${bind(range.state)}`)
      if (lastId !== undefined) where.push(`${items}.id <= ${bind(lastId)}`)
      const paged = Number.isFinite(limit) ? ` ORDER BY ${items}.id LIMIT ${bind(limit - rows.length)}` : ""
      return `SELECT ${selected} FROM ${items} WHERE ${where.join(" AND ")}${paged}`
    })
  if (point !== undefined && limit > 0) rows.push(...(yield* read((bind) => `${items}.id = ${bind(point)}`)))
  if (span !== undefined && rows.length < limit) {
    for (const row of yield* read((bind) => isIn(`${items}.id`, span, bind))) rows.push(row)
  }
  return rows
})

const scan = (
  session: SqlSession,
  ...[range, page]: Parameters<OpenArchive["scan"]>
): Effect.Effect<ReadonlyArray<SyncItem>, SqlError> =>
  Effect.gen(function* () {
    const { id, record } = session.columns
    const limit = Math.max(1, page.limit)
    const found = yield* select(session, range, `${id}, LENGTH(content) AS bytes`, limit)
    const sizes = yield* advanced(range.after, found)
    let bytes = 0
    let fitting = 0
    for (const row of sizes) {
      bytes += Number(row.bytes)
      if (fitting > 0 && bytes > page.maxBytes) break
      fitting++
    }
    if (fitting === 0) return []
    const lastId = idOf(sizes[fitting - 1]!)
    const rows = yield* select(session, range, record, limit, lastId)
    // An empty page means the end; when all rows went in between, what comes next is not known yet.
    return rows.length > 0 ? rows.map(Rows.itemOf) : yield* scan(session, { ...range, after: lastId }, page)
  })

const count = (session: SqlSession, range: ScanRange): Effect.Effect<number, SqlError> => {
  const { items, tree } = session.tables
  const { after, prefix, state } = range
  const counted =
    state !== undefined || after !== undefined
      ? select(session, range, "COUNT(*) AS count")
      : // The tree knows how many live items lie below; one statement, so that both parts are of one state.
        session.rows(
          (bind) =>
            `SELECT COALESCE((SELECT count FROM ${tree} WHERE path = ${bind(prefix)}), 0) + ` +
            `(SELECT COUNT(*) FROM ${items} WHERE id = ${bind(prefix)} AND deleted = 0) AS count`
        )
  return Effect.map(counted, (rows) => rows.reduce((total, row) => total + Number(row.count), 0))
}

export const readsOf = (
  session: SqlSession
): Untyped<Pick<OpenArchive, "getMany" | "heads" | "sizes" | "scan" | "scanIds" | "count">> => {
  const { id, record, version } = session.columns
  return {
    getMany: (ids) => Effect.map(session.items(ids, record), (rows) => rows.map(Rows.recordOf)),
    heads: (ids) => Effect.map(session.items(ids, version), (rows) => rows.map(Rows.versionOf)),
    sizes: (ids) =>
      Effect.map(
        session.items(ids, `${id}, LENGTH(content) AS bytes`),
        (rows) => new Map(rows.map((row) => [idOf(row), Number(row.bytes)]))
      ),
    scan: (range, page) => scan(session, range, page),
    scanIds: (range, limit) =>
      select(session, range, id, limit).pipe(
        Effect.flatMap((rows) => advanced(range.after, rows)),
        Effect.map((rows) => rows.map(idOf))
      ),
    count: (range) => count(session, range)
  }
}

export const readerOf = (session: SqlSession): Untyped<Omit<ArchiveReader, "consistent">> => {
  const { columns, dialect, tables } = session
  const { tree } = tables
  return {
    root: readRoot(session),
    leaves: (after, limit) => leafPage(session, after, limit),
    nodes: (paths) => {
      const parent = `${dialect.asText("parent")} AS parent`
      const found = session.rowsOfIds(
        paths,
        (some) => (_, isOneOf) =>
          `SELECT ${columns.total}, ${parent} FROM ${tree} WHERE ${isOneOf("path", some)}`
      )
      return Effect.map(found, (rows) =>
        rows.flatMap((row): ReadonlyArray<StoredNode> => {
          const path = row.path as string
          if ((row.parent ?? undefined) !== splitPath(path).parent) return []
          const { count, sum } = Rows.totalOf(row)
          return [{ path, count, sum }]
        })
      )
    },
    nodeCount: Effect.map(
      session.rows((bind) => `SELECT COUNT(*) AS count FROM ${tree} WHERE path > ${bind("")}`),
      ([row]) => Number(row?.count ?? 0)
    ),
    nodePaths: (after, limit) => {
      const found = session.rows(
        (bind) =>
          `SELECT ${dialect.asText("path")} AS id FROM ${tree} WHERE ${tree}.path > ${bind(after)} ` +
          `ORDER BY ${tree}.path LIMIT ${bind(limit)}`
      )
      return Effect.map(
        Effect.flatMap(found, (rows) => advanced(after, rows)),
        (rows) => rows.map(idOf)
      )
    }
  }
}
