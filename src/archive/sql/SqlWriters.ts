/**
 * The writers' register in SQL. The protocol, and why it holds, is told in `WriterLease`: what matters here
 * is that tokens are only ever set under the lock of the tree's top row, which every commit that changes something
 * holds when it looks for them.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { nodeDigest } from "../../merkle/Digest.js"
import { zero } from "../../merkle/TreeDelta.js"
import type { Untyped } from "../TypedCalls.js"
import {
  type Committer,
  type HeartbeatReply,
  type HeartbeatRequest,
  refusedRequest,
  tokenFor,
  type WriterRegister,
  type WriterRow
} from "../WriterLease.js"
import { type CommitStatements, type Query, writerColumns } from "./SqlDialect.js"
import type { Row } from "./SqlRows.js"
import type { SqlSession } from "./SqlSession.js"
import { readTotal } from "./SqlTree.js"

const writerOf = (row: Row): WriterRow => ({
  node: row.node as string,
  token: (row.token as string | null) ?? undefined,
  heartbeat: row.beat as string,
  leaseMs: Number(row.lease_ms)
})

const heartbeat = (session: SqlSession, request: HeartbeatRequest): Effect.Effect<HeartbeatReply, SqlError> =>
  Effect.gen(function* () {
    const { fresh, lapsed, leaseMs, node } = request
    const { dialect } = session
    const { writers } = session.tables
    yield* session.runAll(dialect.addToTree([{ path: "", ...zero }], 0))
    for (const gone of lapsed) {
      if (gone.node === node) continue
      yield* session.rows(
        (bind) => `DELETE FROM ${writers} WHERE node = ${bind(gone.node)} AND beat = ${bind(gone.heartbeat)}`
      )
    }
    const texts = ["node", "token", "beat"].map((column) => `${dialect.asText(column)} AS ${column}`)
    const rows = yield* session.rows(
      () => `SELECT ${texts.join()}, lease_ms FROM ${writers}${dialect.forUpdate}`
    )
    const others = rows.map(writerOf)
    const at = others.findIndex((row) => row.node === node)
    const [own] = at === -1 ? [] : others.splice(at, 1)
    const token = tokenFor(own, others.length, request)
    // REPLACE: the one upsert that both dialects write alike.
    yield* session.rows(
      (bind) =>
        `REPLACE INTO ${writers}(${writerColumns.join()}) VALUES ` +
        `(${bind(node)},${bind(token ?? null)},${bind(fresh)},${bind(leaseMs)})`
    )
    const { count: entries, sum, topVersion } = yield* readTotal(session, "")
    return { token, others, root: nodeDigest("", entries, sum), entries, topVersion }
  })

/** `transact` runs a body in a transaction, again when another one was in the way. */
export const writersOf = (
  committer: Committer,
  transact: <A, E>(body: (session: SqlSession) => Effect.Effect<A, E>) => Effect.Effect<A, unknown>
): Untyped<WriterRegister> => ({
  heartbeat: (request) => {
    const refused = refusedRequest(request) ?? committer.enter(request.node)
    return refused ?? transact((session) => heartbeat(session, request))
  },
  release: ({ node, token }) =>
    Effect.asVoid(
      transact((session) =>
        session.rows(
          (bind) =>
            `UPDATE ${session.tables.writers} SET token = NULL WHERE node = ${bind(node)} AND token = ${bind(token)}`
        )
      )
    ),
  leave: ({ node, token }) =>
    Effect.map(
      transact((session) =>
        session.rows((bind) => {
          const own = token === undefined ? "" : ` OR token = ${bind(token)}`
          return `DELETE FROM ${session.tables.writers} WHERE (token IS NULL${own}) AND node = ${bind(node)}`
        })
      ),
      () => committer.left(node)
    )
})

const soleOther = (
  { tables }: SqlSession,
  node: string | undefined,
  bind: (value: string) => string
): string => {
  const another = node === undefined ? "" : ` AND node <> ${bind(node)}`
  return `SELECT 1 FROM ${tables.writers} WHERE token IS NOT NULL${another}`
}

/**
 * Fails (as `held`) a commit of `node` while another node is the sole writer; of nobody, while anyone is. A statement
 * of its own, once the tree's top row is locked: in one that waits for that lock it would see the register of before.
 */
export const refuseOthers = (
  session: SqlSession,
  { failIf }: CommitStatements,
  node: string | undefined
): Query => session.dialect.query((bind) => failIf(`EXISTS (${soleOther(session, node, bind)})`, "held"))

/** Whether it was that which failed: what a commit of `node` was refused for stands until its transaction ends. */
export const isHeld = (session: SqlSession, node: string | undefined): Effect.Effect<boolean, SqlError> =>
  Effect.map(
    session.rows((bind) => soleOther(session, node, bind)),
    (rows) => rows.length > 0
  )
