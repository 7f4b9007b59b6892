/**
 * The writers' register in SQL. The protocol, and why it holds, is told in `filter/WriterLease`: what matters here
 * is that tokens are only ever set under the lock of the tree's top row, which every commit that changes something
 * holds when it looks for them.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { nodeDigest } from "../../merkle/Digest.js"
import { zero } from "../../merkle/TreeDelta.js"
import type { ArchiveError } from "../ArchiveError.js"
import { type HeartbeatReply, tokenFor, type WriterRegister, type WriterRow } from "../WriterLease.js"
import { type Committer, heldByAnother, refusedRequest } from "../Writers.js"
import { writerColumns } from "./SqlDialect.js"
import type { Shape } from "./SqlRows.js"
import type { Row, Run } from "./SqlTransaction.js"
import * as Tree from "./SqlTree.js"

export interface SqlWritersOptions {
  readonly shape: Shape
  readonly committer: Committer
  /** Runs a body in a transaction, again when another one was in the way. */
  readonly transact: <A, E>(
    body: (run: Run) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | SqlError | ArchiveError>
  /** Makes every failure of an operation an `ArchiveError`. */
  readonly call: <A, E>(operation: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, ArchiveError>
}

const writerOf = (row: Row): WriterRow => ({
  node: row.node as string,
  token: (row.token as string | null) ?? undefined,
  heartbeat: row.beat as string,
  leaseMs: Number(row.lease_ms)
})

export const make = ({ call, committer, shape, transact }: SqlWritersOptions): WriterRegister => {
  const { dialect } = shape
  const { writers } = shape.tables
  const selected =
    `SELECT ${dialect.asText("node")} AS node, ${dialect.asText("token")} AS token, ` +
    `${dialect.asText("beat")} AS beat, lease_ms FROM ${writers}${dialect.forUpdate}`

  const change = (text: (bind: (value: string | number | null) => string) => string) => (run: Run) => {
    const params: Array<unknown> = []
    return run({ text: text((value) => dialect.bind(params, value)), params })
  }

  return {
    heartbeat: (request) =>
      call(
        "heartbeat",
        Effect.suspend((): Effect.Effect<HeartbeatReply, ArchiveError | SqlError> => {
          const { fresh, lapsed, leaseMs, node } = request
          const refused = refusedRequest(request) ?? committer.enter(node)
          if (refused !== undefined) return Effect.fail(refused)
          return transact((run) =>
            Effect.gen(function* () {
              for (const query of dialect.addToTree([{ path: "", ...zero }], 0)) yield* run(query)
              for (const gone of lapsed) {
                if (gone.node === node) continue
                yield* change(
                  (bind) =>
                    `DELETE FROM ${writers} WHERE node = ${bind(gone.node)} AND beat = ${bind(gone.heartbeat)}`
                )(run)
              }
              const rows = (yield* run({ text: selected, params: [] })).map(writerOf)
              const own = rows.find((row) => row.node === node)
              const others = rows.filter((row) => row !== own)
              const token = tokenFor(own, others.length, request)
              // REPLACE: the one upsert that both dialects write alike.
              yield* change(
                (bind) =>
                  `REPLACE INTO ${writers}(${writerColumns.join()}) VALUES ` +
                  `(${bind(node)},${bind(token ?? null)},${bind(fresh)},${bind(leaseMs)})`
              )(run)
              const top = yield* Tree.readTotal(run, shape, "")
              const { count: entries, sum, topVersion } = top
              return { token, others, root: nodeDigest("", entries, sum), entries, topVersion }
            })
          )
        })
      ),
    release: ({ node, token }) =>
      call(
        "release",
        Effect.asVoid(
          transact(
            change(
              (bind) =>
                `UPDATE ${writers} SET token = NULL WHERE node = ${bind(node)} AND token = ${bind(token)}`
            )
          )
        )
      ),
    leave: ({ node, token }) =>
      call(
        "leave",
        transact(
          change((bind) => {
            const own = token === undefined ? "" : ` OR token = ${bind(token)}`
            return `DELETE FROM ${writers} WHERE (token IS NULL${own}) AND node = ${bind(node)}`
          })
        ).pipe(Effect.zipRight(Effect.sync(() => committer.left(node))))
      )
  }
}

/**
 * Fails a commit of `node` while another node is the sole writer; of nobody, while anyone is. To be run once the
 * tree's top row is locked.
 */
export const refuseOthers = (
  run: Run,
  { dialect, tables }: Shape,
  node: string | undefined
): Effect.Effect<void, SqlError | ArchiveError> => {
  const params: Array<unknown> = []
  const another = node === undefined ? "" : ` AND node <> ${dialect.bind(params, node)}`
  const text = `SELECT 1 AS held FROM ${tables.writers} WHERE token IS NOT NULL${another} LIMIT 1`
  return Effect.flatMap(
    run({ text, params }),
    (rows): Effect.Effect<void, ArchiveError> =>
      rows.length === 0 ? Effect.void : Effect.fail(heldByAnother())
  )
}
