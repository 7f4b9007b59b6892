/** What changes the archive: commits of batches and the removal of old tombstones. */
import { SqlError } from "@effect/sql/SqlError"
import { type Cause, Effect } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { nodeDigest } from "../../merkle/Digest.js"
import { subtract, type Total, zero } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { CommitResult } from "../Archive.js"
import type { ArchiveError } from "../ArchiveError.js"
import { reasonOf } from "../ArchiveErrors.js"
import { adoptedBytes, CommitPlan, notTaken, type StoredHead } from "../CommitPlan.js"
import type { Guess } from "../KnownHeads.js"
import { heldByAnother } from "../WriterLease.js"
import type { CommitStatements, Query } from "./SqlDialect.js"
import * as Rows from "./SqlRows.js"
import type { SqlSession } from "./SqlSession.js"
import { changing, readTotal, totalIn, totalQuery } from "./SqlTree.js"
import { isHeld, refuseOthers } from "./SqlWriters.js"

// A long batch gives way between pieces of this many records: about two milliseconds each.
const recordsPerPiece = 1_000

/** Appended to a read of items that locks them, by ascending id. */
const lockSuffix = ({ dialect, tables }: SqlSession): string =>
  dialect.forUpdate === "" ? "" : ` ORDER BY ${tables.items}.id${dialect.forUpdate}`

const idsOf = (records: ReadonlyArray<ItemRecord>) => records.map(({ id }) => id)

/** Decides by the heads that are guessed, if any; the others are read, and locked. */
const planIn = Effect.fnUntraced(function* (
  session: SqlSession,
  records: ReadonlyArray<ItemRecord>,
  guess: Guess
) {
  const stored = new Map<string, StoredHead>()
  const unknown: Array<string> = []
  for (const record of records) {
    const head = guess(record)
    if (head === undefined) unknown.push(record.id)
    else if (head !== "absent") stored.set(record.id, head)
  }
  if (unknown.length > 0) {
    const rows = yield* session.items(unknown, session.columns.head, lockSuffix(session))
    for (const row of rows) {
      const head = Rows.headOf(row)
      stored.set(head.id, head)
    }
  }
  const plan = new CommitPlan()
  for (let at = 0; at < records.length; at += recordsPerPiece) {
    if (at > 0) yield* yieldToEventLoop
    plan.decide(records.slice(at, at + recordsPerPiece), stored)
  }
  return { plan, guessed: unknown.length < records.length }
})

/** What is stored in place of the records that a commit leaves out. */
const notTakenIn = Effect.fnUntraced(function* (session: SqlSession, plan: CommitPlan) {
  const { equal, losers } = plan
  const heads = `${session.columns.version}, traceparent`
  const most = Math.floor(adoptedBytes / losers.length)
  const contents = `${heads}, CASE WHEN LENGTH(content) <= ${most} THEN content END AS content`
  const rows = [
    ...(yield* session.items(idsOf(equal), heads)),
    ...(yield* session.items(idsOf(losers), contents))
  ]
  return notTaken(plan, new Map(rows.map((row) => [row.id as string, Rows.storedOf(row)])))
})

const command = (text: string): Query => ({ text, params: [] })

/** What writes a plan, up to COMMIT. Whatever of it fails, what comes behind is not reached. */
function* writing(
  session: SqlSession,
  statements: CommitStatements,
  plan: CommitPlan,
  delta: ReadonlyMap<string, Total>,
  node: string | undefined
): Generator<Query> {
  const { dialect } = session
  if (plan.inserts.length + plan.updates.length > 0) {
    yield* dialect.inserts(plan.inserts)
    yield* dialect.updates(plan.updates, plan.before)
    yield* changing(session, delta, plan.maxVersion)
    yield refuseOthers(session, statements, node)
  }
  yield totalQuery(session, "")
  yield command("COMMIT")
}

/** "Record has changed since last read": the same commit can be made again at once. */
const staleGuess = Object.assign(new Error("a row is not what it was thought to be"), { errno: 1020 })

/** Whether a commit has failed as if a guess had been wrong. */
export const isStale = (cause: Cause.Cause<unknown>): boolean => {
  const reason = reasonOf(cause)?.reason
  return reason instanceof SqlError && reason.cause === staleGuess
}

/** What a commit has failed with. A trigger of the application can fail by the numbers of the own conditions. */
const failureOf = (
  error: SqlError,
  session: SqlSession,
  statements: CommitStatements,
  node: string | undefined,
  guessed: boolean
): Effect.Effect<never, SqlError | ArchiveError> => {
  const refusal = statements.refusal(error)
  if (refusal === "stale" && guessed) return new SqlError({ cause: staleGuess, message: "stale" })
  if (refusal !== "held") return Effect.fail(error)
  return Effect.flatMap(
    Effect.orElseSucceed(isHeld(session, node), () => false),
    (held) => Effect.fail(held ? heldByAnother() : error)
  )
}

/** What is to be committed, its records by ascending id. */
export interface Commit {
  readonly records: ReadonlyArray<ItemRecord>
  readonly node: string | undefined
  readonly guess: Guess
}

/**
 * Commits records in the transaction of this session, and ends it. A guess that was
 * wrong counts as contention; where none was made, everything that is replaced stands under lock, and a failure is what
 * it says.
 */
export const commit = Effect.fnUntraced(function* (
  session: SqlSession,
  statements: CommitStatements,
  { guess, node, records }: Commit
) {
  const { guessed, plan } = yield* planIn(session, records, guess)
  const untaken = yield* notTakenIn(session, plan)
  const { change } = plan
  const results = yield* session.together(writing(session, statements, plan, change.delta, node)).pipe(
    Effect.uninterruptible,
    Effect.catchAll((error) => failureOf(error, session, statements, node, guessed))
  )
  const after = totalIn(results[results.length - 2]!)
  const before = subtract(after, change.delta.get("") ?? zero)
  const result: CommitResult = {
    applied: plan.inserts.length + plan.updates.length,
    change,
    ...untaken,
    rootBefore: nodeDigest("", before.count, before.sum),
    rootAfter: nodeDigest("", after.count, after.sum),
    topVersion: after.topVersion
  }
  return { plan, result }
})

/** What a commit of nothing returns. */
export const commitNothing = (session: SqlSession): Effect.Effect<CommitResult, SqlError> =>
  Effect.map(readTotal(session, ""), ({ count, sum, topVersion }) => {
    const root = nodeDigest("", count, sum)
    return { applied: 0, superseded: [], repeated: [], rootBefore: root, rootAfter: root, topVersion }
  })

/** Removes tombstones in the transaction of this session; returns how many. */
export const purge = Effect.fnUntraced(function* (session: SqlSession, before: number, limit: number) {
  const { columns, tables } = session
  const { items } = tables
  const candidates = yield* session.rows(
    (bind) =>
      `SELECT ${columns.id} FROM ${items} WHERE tombstone_at < ${bind(before)} AND deleted = 1 ` +
      `ORDER BY tombstone_at, ${items}.id LIMIT ${bind(limit)}`
  )
  const locked = yield* session.rowsOfIds(
    candidates.map((row) => row.id as string).sort(compareBytes),
    (ids) => (bind, isOneOf) =>
      `SELECT ${columns.id} FROM ${items} WHERE ${isOneOf(`${items}.id`, ids)} AND tombstone_at < ${bind(before)}` +
      lockSuffix(session)
  )
  yield* session.rowsOfIds(
    locked.map((row) => row.id as string),
    (ids) => (_, isOneOf) => `DELETE FROM ${items} WHERE ${isOneOf("id", ids)}`
  )
  return locked.length
})
