/** Plain reads of rows and of the stored tree, on the connection of a snapshot or anywhere. */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { nodeDigest } from "../../merkle/Digest.js"
import { splitPath } from "../../merkle/TreeDelta.js"
import type { ArchiveReader, StoredNode } from "../Archive.js"
import type { ArchiveError } from "../ArchiveError.js"
import { leafOf, type Shape, totalOf } from "./SqlRows.js"
import type { Row, Run } from "./SqlTransaction.js"
import { leafPage, readTotal } from "./SqlTree.js"

export const makeReader = (options: {
  readonly run: Run
  readonly shape: Shape
  readonly consistent: boolean
  /** Bounds one read and types its failure. */
  readonly call: <A>(operation: string, effect: Effect.Effect<A, SqlError>) => Effect.Effect<A, ArchiveError>
}): ArchiveReader => {
  const { call, consistent, run, shape } = options
  const { columns, dialect, tables } = shape

  const nodes = (paths: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const found: Array<StoredNode> = []
      for (let at = 0; at < paths.length; at += dialect.idsPerStatement) {
        const params: Array<unknown> = []
        const some = dialect.isOneOf(params, "path", paths.slice(at, at + dialect.idsPerStatement))
        const text = `SELECT ${columns.total}, ${dialect.asText("parent")} AS parent FROM ${tables.tree} WHERE ${some}`
        for (const row of yield* run({ text, params })) {
          const node = nodeOf(row)
          if ((row.parent ?? undefined) === splitPath(node.path).parent) found.push(node)
        }
      }
      return found
    })

  return {
    consistent,
    root: call(
      "root",
      Effect.map(
        Effect.suspend(() => readTotal(run, shape, "")),
        ({ count, sum }) => nodeDigest("", count, sum)
      )
    ),
    leaves: (after, limit) =>
      call(
        "leaves",
        Effect.map(leafPage(run, shape, after, limit), (rows) => rows.map(leafOf))
      ),
    nodes: (paths) => call("nodes", nodes(paths)),
    nodeCount: call(
      "nodeCount",
      Effect.suspend(() => {
        const params: Array<unknown> = []
        const text = `SELECT COUNT(*) AS count FROM ${tables.tree} WHERE path > ${dialect.bind(params, "")}`
        return Effect.map(run({ text, params }), (rows) => Number(rows[0]?.count ?? 0))
      })
    ),
    nodePaths: (after, limit) =>
      call(
        "nodePaths",
        Effect.suspend(() => {
          const params: Array<unknown> = []
          const text =
            `SELECT ${dialect.asText("path")} AS path FROM ${tables.tree} WHERE ${tables.tree}.path > ` +
            `${dialect.bind(params, after)} ORDER BY ${tables.tree}.path LIMIT ${dialect.bind(params, limit)}`
          return Effect.map(run({ text, params }), (rows) => rows.map((row) => row.path as string))
        })
      )
  }
}

const nodeOf = (row: Row): StoredNode => {
  const { count, sum } = totalOf(row)
  return { path: row.path as string, count, sum }
}
