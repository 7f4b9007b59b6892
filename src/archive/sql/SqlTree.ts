/** The stored tree: reading nodes and children, and rebuilding it from the rows. */
import { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { leafDigest, leafSum, nodeDigest } from "../../merkle/Digest.js"
import { compareChildren, leafChild } from "../../merkle/MerkleTree.js"
import type { LeafHead } from "../../merkle/Source.js"
import type { Digest, Leaf, TreeChild } from "../../merkle/Tree.js"
import { joinPath, NodeStream, splitPath, type Total, zero } from "../../merkle/TreeDelta.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { OpenArchive } from "../Archive.js"
import { below, type IdRange, isIn } from "./Ranges.js"
import { limbColumns, type Query, type TreeChange } from "./SqlDialect.js"
import { type Row, type StoredTotal, totalOf } from "./SqlRows.js"
import type { SqlSession } from "./SqlSession.js"

/** Asks for a node's total. */
export const totalQuery = ({ columns, dialect, tables }: SqlSession, path: string): Query =>
  dialect.query((bind) => `SELECT ${columns.total} FROM ${tables.tree} WHERE path = ${bind(path)}`)

/** Zero when there is no row. */
export const totalIn = ([row]: ReadonlyArray<Row>): StoredTotal =>
  row === undefined ? { ...zero, topVersion: 0 } : totalOf(row)

/** Reads a node's total. */
export const readTotal = (session: SqlSession, path: string): Effect.Effect<StoredTotal, SqlError> =>
  Effect.map(
    Effect.suspend(() => session.run(totalQuery(session, path))),
    totalIn
  )

/** The digest at the top of the stored tree. */
export const readRoot = (session: SqlSession): Effect.Effect<Digest, SqlError> =>
  Effect.map(readTotal(session, ""), ({ count, sum }) => nodeDigest("", count, sum))

// The ids that may be leaves of a path, without the ranges of the branches that are known.
const gapsBetween = (whole: IdRange, skipped: Array<ReturnType<typeof below>>): Array<IdRange> => {
  skipped.sort((a, b) => compareBytes(a.from, b.from))
  const gaps: Array<IdRange> = []
  let { from, inclusive } = whole
  for (const skip of skipped) {
    if (skip.to === undefined || compareBytes(skip.to, from) <= 0) continue
    if (compareBytes(from, skip.from) < 0) gaps.push({ from, inclusive, to: skip.from })
    from = skip.to
    inclusive = true
  }
  if (whole.to === undefined || compareBytes(from, whole.to) < 0) gaps.push({ from, inclusive, to: whole.to })
  return gaps
}

/** A page of the branches of a path: rows of the tree. */
export const branchesOf = (
  session: SqlSession,
  ...[path, { after, limit }]: Parameters<OpenArchive["branches"]>
): Effect.Effect<ReadonlyArray<TreeChild>, SqlError> => {
  const { columns, tables } = session
  const found = session.rows((bind) => {
    const parent = `parent = ${bind(path)}`
    const above = after === undefined ? "" : ` AND path > ${bind(joinPath(path, after))}`
    return (
      `SELECT ${columns.total} FROM ${tables.tree} WHERE ${parent}${above} AND count > 0 ` +
      // With the table's name: the bare one is the selected text, which MySQL sorts by its collation.
      `ORDER BY ${tables.tree}.parent, ${tables.tree}.path LIMIT ${bind(limit)}`
    )
  })
  return Effect.map(found, (rows) =>
    rows.map((row): TreeChild => {
      const { count, sum } = totalOf(row)
      const at = row.path as string
      return { name: splitPath(at).name, kind: "branch", count, digest: nodeDigest(at, count, sum) }
    })
  )
}

/** The rows in some of these gaps, in ascending order; of each gap at most `limit`. */
const rowsInGaps = (session: SqlSession, gaps: ReadonlyArray<IdRange>, limit: number) => {
  const { dialect, tables } = session
  const found = session.leaves((bind) => {
    const selects = gaps.map(
      (gap) =>
        `SELECT ${dialect.leaf} FROM ${tables.items} WHERE ${isIn("id", gap, bind)} AND deleted = 0 ` +
        `ORDER BY ${tables.items}.id LIMIT ${bind(limit)}`
    )
    return selects.length === 1
      ? selects[0]!
      : selects.map((select, i) => `SELECT * FROM (${select}) AS gap${i}`).join(" UNION ALL ")
  })
  if (gaps.length === 1) return found
  return Effect.map(found, (leaves) => [...leaves].sort((a, b) => compareBytes(a.id, b.id)))
}

/**
 * A page of the leaves of a path: their ids are read in the gaps between the branches, so that what lies below the
 * branches is skipped and not read.
 */
const leavesIn = Effect.fnUntraced(function* (
  session: SqlSession,
  path: string,
  gaps: Array<IdRange>,
  limit: number
) {
  const leaves: Array<TreeChild> = []
  // One gap often fills the page; only where gaps prove small are many read at once.
  let atOnce = 1
  while (gaps.length > 0 && leaves.length < limit) {
    const some = gaps.splice(0, atOnce)
    atOnce = Math.min(atOnce * 4, session.dialect.gapsPerStatement)
    for (const leaf of yield* rowsInGaps(session, some, limit - leaves.length)) {
      const end = leaf.id.indexOf(".", path === "" ? 0 : path.length + 1)
      if (end === -1) {
        leaves.push(leafChild(leaf))
        continue
      }
      // Below a branch that was not on the page: go on behind it, and leave the other rows for then.
      const branch = below(leaf.id.slice(0, end)).to!
      const rest = some.filter(({ to }) => to === undefined || compareBytes(branch, to) < 0)
      const behind = (gap: IdRange) =>
        compareBytes(gap.from, branch) < 0 ? { ...gap, from: branch, inclusive: true } : gap
      gaps.unshift(...rest.map(behind))
      break
    }
  }
  return leaves
})

/** A page of the children of a path: branches, which are rows of the tree, and leaves, which are items. */
export const childrenOf = Effect.fnUntraced(function* (
  session: SqlSession,
  path: string,
  { after, limit }: Parameters<OpenArchive["children"]>[1]
) {
  if (limit <= 0) return []
  const branches = yield* branchesOf(session, path, { after: after?.name, limit })
  const range = below(path)
  const last = branches.length === limit ? branches[limit - 1] : undefined
  const whole: IdRange = {
    from: after === undefined ? range.from : joinPath(path, after.name),
    inclusive: after === undefined || after.kind === "branch",
    // A full page ends with its last branch at the latest.
    to: last === undefined ? range.to : joinPath(path, last.name)
  }
  const skipped = branches.map((branch) => below(joinPath(path, branch.name)))
  const leaves = yield* leavesIn(session, path, gapsBetween(whole, skipped), limit)
  return [...branches, ...leaves].sort(compareChildren).slice(0, limit)
})

/**
 * A page of the leaves of a path. Below a path with very many there is mostly nothing else, so they are read as one
 * range; where that meets a branch, on with pages of children, which step over what lies below.
 */
export const leavesOf = Effect.fnUntraced(function* (
  session: SqlSession,
  path: string,
  { after, limit, upTo }: Parameters<OpenArchive["leaves"]>[1]
) {
  const found: Array<LeafHead> = []
  if (limit <= 0) return found
  const { from, to } = below(path)
  const range: IdRange = {
    from: after === undefined ? from : joinPath(path, after),
    inclusive: after === undefined,
    to: upTo === undefined ? to : `${joinPath(path, upTo)}\u0000`
  }
  const start = path === "" ? 0 : path.length + 1
  const rows = yield* rowsInGaps(session, [range], limit)
  for (const leaf of rows) {
    const name = leaf.id.slice(start)
    if (name.includes(".")) break
    found.push({ name, digest: leafDigest(leaf) })
  }
  if (found.length === rows.length) return found
  const last = found.at(-1)?.name ?? after
  let place: Parameters<OpenArchive["children"]>[1]["after"] =
    last === undefined ? undefined : { name: last, kind: "leaf" }
  while (found.length < limit) {
    const most = limit - found.length
    const children: ReadonlyArray<TreeChild> = yield* childrenOf(session, path, { after: place, limit: most })
    for (const { digest, kind, name } of children) {
      if (upTo !== undefined && compareBytes(name, upTo) > 0) return found
      if (kind === "leaf") found.push({ name, digest })
    }
    if (children.length < most) return found
    place = children[children.length - 1]!
  }
  return found
})

/**
 * A page of rows that begin behind an id, where they do. An id that is no UTF-8 is read as another one, which may stand
 * before it: pages that go on from there would bring it again and again.
 */
export const advanced = <A extends { readonly id?: unknown }>(
  after: string | undefined,
  page: ReadonlyArray<A>
): Effect.Effect<ReadonlyArray<A>, SqlError> => {
  const last = page[page.length - 1]?.id as string | undefined
  if (after === undefined || last === undefined || compareBytes(after, last) < 0) return Effect.succeed(page)
  const cause = new Error(`a row at or behind ${JSON.stringify(last)} has an id or path that is no UTF-8`)
  return new SqlError({ cause, message: cause.message })
}

/** A page of live rows by ascending id. */
export const leafPage = (
  session: SqlSession,
  after: string,
  limit: number
): Effect.Effect<ReadonlyArray<Leaf>, SqlError> => {
  const { items } = session.tables
  const found = session.leaves(
    (bind) =>
      `SELECT ${session.dialect.leaf} FROM ${items} WHERE ${items}.id > ${bind(after)} ` +
      `AND deleted = 0 ORDER BY ${items}.id LIMIT ${bind(limit)}`
  )
  return Effect.flatMap(found, (leaves) => advanced(after, leaves))
}

const rowsPerPage = 2_000

/** Changes of nodes in the one order in which their rows are locked: the top, which every commit changes, last. */
export const inTreeOrder = (changes: Iterable<TreeChange>): ReadonlyArray<TreeChange> =>
  [...changes].sort((a, b) => (a.path === "" ? 1 : b.path === "" ? -1 : compareBytes(a.path, b.path)))

/** What adds this to the stored nodes, and to the top in any case: it keeps the highest version. */
export function* changing(
  { dialect, tables }: SqlSession,
  delta: ReadonlyMap<string, Total>,
  topVersion: number
): Generator<Query> {
  const changes = Array.from(new Map([["", zero], ...delta]), ([path, { count, sum }]) => ({
    path,
    count,
    sum
  }))
  const shrunk = changes.filter(({ count, path }) => count < 0 && path !== "").map(({ path }) => path)
  yield* dialect.addToTree(inTreeOrder(changes), topVersion)
  for (let at = 0; at < shrunk.length; at += dialect.idsPerStatement) {
    const some = shrunk.slice(at, at + dialect.idsPerStatement)
    yield dialect.query(
      (_, isOneOf) => `DELETE FROM ${tables.tree} WHERE ${isOneOf("path", some)} AND count = 0`
    )
  }
}

/**
 * Writes the tree again from the rows; has to run in a transaction. Commits are kept out first, before the rows are
 * seen: whoever is under way is waited for, and whoever comes adds to the new tree.
 */
export const rebuild = Effect.fnUntraced(function* (session: SqlSession) {
  const { dialect, tables } = session
  const write = (changes: ReadonlyArray<TreeChange>, topVersion = 0) =>
    session.runAll(dialect.addToTree(changes, topVersion))
  const { commits } = dialect
  if (commits !== undefined) yield* session.rows(() => commits.keepOut)
  const [versions] = yield* session.rows(() => `SELECT MAX(version) AS version FROM ${tables.items}`)
  const top = Math.max(0, Math.min(Number(versions?.version ?? 0), Number.MAX_SAFE_INTEGER))
  yield* session.rows((bind) => `DELETE FROM ${tables.tree} WHERE path > ${bind("")}`)
  yield* write([{ path: "", ...zero }])
  const zeros = limbColumns.map((column) => `${column} = 0`).join()
  yield* session.rows((bind) => `UPDATE ${tables.tree} SET count = 0, ${zeros} WHERE path = ${bind("")}`)

  const nodes = new NodeStream()
  let pending: Array<TreeChange> = []
  for (let after: string | undefined = ""; after !== undefined; ) {
    const leaves: ReadonlyArray<Leaf> = yield* leafPage(session, after, rowsPerPage)
    for (const leaf of leaves) pending.push(...nodes.next(leaf.id, leafSum(leaf)))
    if (pending.length >= 1_000) {
      yield* write(pending)
      pending = []
    }
    after = leaves.length < rowsPerPage ? undefined : leaves[leaves.length - 1]!.id
    yield* yieldToEventLoop
  }
  pending.push(...nodes.end())
  const last = pending[pending.length - 1]
  // The top is the last node; an empty archive has none.
  const root: Total = last ?? zero
  yield* write(last === undefined ? [{ path: "", ...zero }] : pending, top)
  return { root: nodeDigest("", root.count, root.sum), rows: root.count }
})
