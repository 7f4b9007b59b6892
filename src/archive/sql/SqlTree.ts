/** The stored tree: reading nodes and children, recomputing and rebuilding it from the rows. */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { leafSum, nodeDigest } from "../../merkle/Digest.js"
import { compareChildren, leafChild } from "../../merkle/MerkleTree.js"
import { NodeStream } from "../../merkle/NodeStream.js"
import type { TreeChild } from "../../merkle/Tree.js"
import { joinPath, splitPath, type Total, zero } from "../../merkle/TreeDelta.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { RecomputedRoot } from "../Archive.js"
import { below } from "./Ranges.js"
import { limbColumns, type TreeChange } from "./SqlDialect.js"
import { leafOf, type Shape, totalOf } from "./SqlRows.js"
import type { Row, Run } from "./SqlTransaction.js"

/** Reads a node's total; zero when there is no row. */
export const readTotal = (run: Run, shape: Shape, path: string) => {
  const params: Array<unknown> = []
  const text = `SELECT ${shape.columns.total} FROM ${shape.tables.tree} WHERE path = ${shape.dialect.bind(params, path)}`
  return Effect.map(run({ text, params }), (rows) =>
    rows[0] === undefined ? { ...zero, limbs: [], topVersion: 0 } : totalOf(rows[0])
  )
}

interface Gap {
  readonly from: string
  readonly inclusive: boolean
  readonly to: string | undefined
}

// The ids that may be leaves of a path, without the ranges of the branches that are known.
const gapsBetween = (whole: Gap, branches: ReadonlyArray<string>): Array<Gap> => {
  const skipped = branches.map(below).sort((a, b) => compareBytes(a.from, b.from))
  const gaps: Array<Gap> = []
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
  run: Run,
  shape: Shape,
  path: string,
  page: { readonly after?: string | undefined; readonly limit: number }
): Effect.Effect<ReadonlyArray<TreeChild>, SqlError> =>
  Effect.suspend(() => {
    const { columns, dialect, tables } = shape
    const { after, limit } = page
    const params: Array<unknown> = []
    const parent = `parent = ${dialect.bind(params, path)}`
    const above = after === undefined ? "" : ` AND path > ${dialect.bind(params, joinPath(path, after))}`
    const text =
      `SELECT ${columns.total} FROM ${tables.tree} WHERE ${parent}${above} AND count > 0 ` +
      // With the table's name: the bare one is the selected text, which MySQL sorts by its collation.
      `ORDER BY ${tables.tree}.parent, ${tables.tree}.path LIMIT ${dialect.bind(params, limit)}`
    return Effect.map(run({ text, params }), (rows) =>
      rows.map((row): TreeChild => {
        const { count, sum } = totalOf(row)
        const at = row.path as string
        return { name: splitPath(at).name, kind: "branch", count, digest: nodeDigest(at, count, sum) }
      })
    )
  })

/**
 * A page of the children of a path. Branches are rows of the tree. Leaves are items: their ids are read in the
 * gaps between the branches, so that what lies below the branches is skipped and not read.
 */
export const children = (
  run: Run,
  shape: Shape,
  path: string,
  page: {
    readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
    readonly limit: number
  }
): Effect.Effect<ReadonlyArray<TreeChild>, SqlError> =>
  Effect.gen(function* () {
    const { columns, dialect, tables } = shape
    const { after, limit } = page
    if (limit <= 0) return []
    const branches = yield* branchesOf(run, shape, path, { after: after?.name, limit })

    const range = below(path)
    const last = branches.length === limit ? branches[limit - 1] : undefined
    const gaps = gapsBetween(
      {
        from: after === undefined ? range.from : joinPath(path, after.name),
        inclusive: after === undefined || after.kind === "branch",
        // A full page ends with its last branch at the latest.
        to: last === undefined ? range.to : joinPath(path, last.name)
      },
      branches.map((branch) => joinPath(path, branch.name))
    )
    const leaves: Array<TreeChild> = []
    // One gap often fills the page; only where gaps prove small are many read at once.
    let atOnce = 1
    while (gaps.length > 0 && leaves.length < limit) {
      const some = gaps.splice(0, atOnce)
      atOnce = Math.min(atOnce * 4, dialect.gapsPerStatement)
      const params: Array<unknown> = []
      const selects = some.map((gap, i) => {
        const from = `id ${gap.inclusive ? ">=" : ">"} ${dialect.bind(params, gap.from)}`
        const to = gap.to === undefined ? "" : ` AND id < ${dialect.bind(params, gap.to)}`
        const size = dialect.bind(params, limit - leaves.length)
        return (
          `SELECT * FROM (SELECT ${columns.leaf} FROM ${tables.items} WHERE ${from}${to} AND deleted = 0 ` +
          `ORDER BY ${tables.items}.id LIMIT ${size}) AS gap${i}`
        )
      })
      const rows = yield* run({ text: selects.join(" UNION ALL "), params })
      const found = rows.map(leafOf).sort((a, b) => compareBytes(a.id, b.id))
      for (const leaf of found) {
        const end = leaf.id.indexOf(".", path === "" ? 0 : path.length + 1)
        if (end === -1) {
          leaves.push(leafChild(leaf))
          continue
        }
        // Below a branch that was not on the page: go on behind it, and leave the other rows for then.
        const branch = below(leaf.id.slice(0, end)).to!
        const rest = some.filter((gap) => gap.to === undefined || compareBytes(branch, gap.to) < 0)
        gaps.unshift(
          ...rest.map((gap) =>
            compareBytes(gap.from, branch) < 0 ? { ...gap, from: branch, inclusive: true } : gap
          )
        )
        break
      }
    }
    return [...branches, ...leaves].sort(compareChildren).slice(0, limit)
  })

const rowsPerPage = 2_000

/** A page of live rows by ascending id. */
export const leafPage = (run: Run, shape: Shape, after: string, limit: number) => {
  const { columns, dialect, tables } = shape
  const params: Array<unknown> = []
  return run({
    text:
      `SELECT ${columns.leaf} FROM ${tables.items} WHERE ${tables.items}.id > ${dialect.bind(params, after)} ` +
      `AND deleted = 0 ORDER BY ${tables.items}.id LIMIT ${dialect.bind(params, limit)}`,
    params
  })
}

// Every live row by ascending id, page by page; `visit` must be synchronous and short.
const eachPage = <E>(
  run: Run,
  shape: Shape,
  visit: (rows: ReadonlyArray<Row>) => Effect.Effect<void, E>
): Effect.Effect<void, E | SqlError> =>
  Effect.gen(function* () {
    let after = ""
    while (true) {
      const rows = yield* leafPage(run, shape, after, rowsPerPage)
      yield* visit(rows)
      if (rows.length < rowsPerPage) return
      after = rows[rows.length - 1]!.id as string
      yield* yieldToEventLoop
    }
  })

/** Reads every live row and adds up the root they should have. */
export const recompute = (run: Run, shape: Shape): Effect.Effect<RecomputedRoot, SqlError> =>
  Effect.suspend(() => {
    let count = 0
    let sum = 0n
    const visit = (rows: ReadonlyArray<Row>) =>
      Effect.sync(() => {
        for (const row of rows) sum += leafSum(leafOf(row))
        count += rows.length
        sum = BigInt.asUintN(256, sum)
      })
    return Effect.map(eachPage(run, shape, visit), () => ({ root: nodeDigest("", count, sum), rows: count }))
  })

/**
 * Writes the tree again from the rows; has to run in a transaction. The top's row is locked first: every commit
 * adds to it before any other row of the tree, so whoever is under way waits, and adds to the new tree then.
 */
export const rebuild = (run: Run, shape: Shape): Effect.Effect<RecomputedRoot, SqlError> =>
  Effect.gen(function* () {
    const { dialect, tables } = shape
    const write = (changes: ReadonlyArray<TreeChange>, topVersion: number) =>
      Effect.gen(function* () {
        for (const query of dialect.addToTree(changes, topVersion)) yield* run(query)
      })
    yield* write([{ path: "", ...zero }], 0)
    const versions = yield* run({ text: `SELECT MAX(version) AS version FROM ${tables.items}`, params: [] })
    const topVersion = Number(versions[0]?.version ?? 0)
    const params: Array<unknown> = []
    yield* run({ text: `DELETE FROM ${tables.tree} WHERE path > ${dialect.bind(params, "")}`, params })
    const zeros = limbColumns.map((column) => `${column} = 0`).join()
    const top: Array<unknown> = []
    yield* run({
      text: `UPDATE ${tables.tree} SET count = 0, ${zeros} WHERE path = ${dialect.bind(top, "")}`,
      params: top
    })

    const nodes = new NodeStream()
    let pending: Array<TreeChange> = []
    let root: Total = zero
    yield* eachPage(run, shape, (rows) => {
      for (const row of rows) {
        const leaf = leafOf(row)
        for (const node of nodes.next(leaf.id, leafSum(leaf))) pending.push(node)
      }
      if (pending.length < 1_000) return Effect.void
      const ready = pending
      pending = []
      return write(ready, 0)
    })
    for (const node of nodes.end()) {
      pending.push(node)
      if (node.path === "") root = node
    }
    if (pending.length === 0) pending.push({ path: "", ...zero })
    yield* write(pending, topVersion)
    return { root: nodeDigest("", root.count, root.sum), rows: root.count }
  })
