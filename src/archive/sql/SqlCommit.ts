/** What changes the archive: commits of batches and the removal of old tombstones. */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { nodeDigest } from "../../merkle/Digest.js"
import { needsNormalising, toLimbs } from "../../merkle/Limbs.js"
import { subtract, type Total, zero } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { CommitResult } from "../Archive.js"
import { adoptedBytes, CommitPlan, notTaken } from "../CommitPlan.js"
import { limbColumns } from "./SqlDialect.js"
import * as Rows from "./SqlRows.js"
import type { SqlSession } from "./SqlSession.js"
import { readTotal } from "./SqlTree.js"
import { refuseOthers } from "./SqlWriters.js"

// A long batch gives way between pieces of this many records: about two milliseconds each.
const recordsPerPiece = 1_000

/** Appended to a read of items that locks them, in the one order. */
const lockSuffix = ({ dialect, tables }: SqlSession): string =>
  dialect.forUpdate === "" ? "" : ` ORDER BY ${tables.items}.id${dialect.forUpdate}`

const idsOf = (records: ReadonlyArray<ItemRecord>) => records.map(({ id }) => id)

const planIn = Effect.fnUntraced(function* (session: SqlSession, records: ReadonlyArray<ItemRecord>) {
  const rows = yield* session.items(idsOf(records), session.columns.head, lockSuffix(session))
  const stored = new Map(rows.map((row) => [row.id as string, Rows.headOf(row)]))
  const plan = new CommitPlan()
  for (let at = 0; at < records.length; at += recordsPerPiece) {
    if (at > 0) yield* yieldToEventLoop
    plan.decide(records.slice(at, at + recordsPerPiece), stored)
  }
  return plan
})

const changeTree = Effect.fnUntraced(function* (
  session: SqlSession,
  delta: ReadonlyMap<string, Total>,
  maxVersion: number
) {
  const changes = Array.from(delta, ([path, { count, sum }]) => ({ path, count, sum }))
  // The top is always among them: it keeps the highest version, also when no leaf changed.
  if (!delta.has("")) changes.push({ path: "", ...zero })
  changes.sort((a, b) => compareBytes(a.path, b.path))
  yield* session.runAll(session.dialect.addToTree(changes, maxVersion))
  const shrunk = changes.filter(({ count, path }) => count < 0 && path !== "").map(({ path }) => path)
  yield* session.rowsOfIds(
    shrunk,
    (some) => (_, isOneOf) =>
      `DELETE FROM ${session.tables.tree} WHERE ${isOneOf("path", some)} AND count = 0`
  )
})

/** The stored total of the top after a commit. Digits that have drifted far are stored again. */
const normalisedTop = Effect.fnUntraced(function* (session: SqlSession) {
  const top = yield* readTotal(session, "")
  if (needsNormalising(top.limbs)) {
    yield* session.rows((bind) => {
      const set = toLimbs(top.sum).map((limb, i) => `${limbColumns[i]} = ${bind(limb)}`)
      return `UPDATE ${session.tables.tree} SET ${set.join()} WHERE path = ${bind("")}`
    })
  }
  return top
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

/** Commits records, which are in the order of locks, in the transaction of this session. */
export const commit = Effect.fnUntraced(function* (
  session: SqlSession,
  records: ReadonlyArray<ItemRecord>,
  node: string | undefined
) {
  const plan = yield* planIn(session, records)
  const { change } = plan
  const { delta } = change
  const applied = plan.inserts.length + plan.updates.length
  if (applied > 0) {
    yield* session.runAll(session.dialect.inserts(plan.inserts))
    yield* session.runAll(session.dialect.updates(plan.updates))
    yield* changeTree(session, delta, plan.maxVersion)
    yield* refuseOthers(session, node)
  }
  const after = yield* normalisedTop(session)
  const before = subtract(after, delta.get("") ?? zero)
  return {
    applied,
    change,
    ...(yield* notTakenIn(session, plan)),
    rootBefore: nodeDigest("", before.count, before.sum),
    rootAfter: nodeDigest("", after.count, after.sum),
    topVersion: after.topVersion
  }
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
      `SELECT ${columns.id} FROM ${items} WHERE tombstone_at < ${bind(before)} ` +
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
