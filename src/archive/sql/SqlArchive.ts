/** The archive over any `SqlClient` of the two dialects: said once, in terms of `SqlDialect`. */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Option, Schedule } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { makeNode, nodeDigest } from "../../merkle/Digest.js"
import { needsNormalising, toLimbs } from "../../merkle/Limbs.js"
import { subtract, type Total, zero } from "../../merkle/TreeDelta.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { CommitResult, OpenArchive, ScanRange } from "../Archive.js"
import { ArchiveError } from "../ArchiveError.js"
import { classify, reasonOf, refail } from "../ArchiveErrors.js"
import {
  type CommitPlan,
  CommitPlanner,
  inLockOrder,
  type NotTaken,
  notTaken,
  type StoredHead,
  type StoredRecord
} from "../CommitPlan.js"
import { Committer } from "../Writers.js"
import { scanPlan } from "./Ranges.js"
import { type Dialect, limbColumns, type Tables } from "./SqlDialect.js"
import { makeReader } from "./SqlReader.js"
import * as Rows from "./SqlRows.js"
import { type Row, type Run, runAnywhere, transaction } from "./SqlTransaction.js"
import * as Tree from "./SqlTree.js"
import * as SqlWriters from "./SqlWriters.js"

export interface SqlArchiveOptions {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Dialect
  readonly tables: Tables
  readonly target: string
  readonly maxContentBytes: number
  /** Texts that must not show in any error. */
  readonly secrets: ReadonlyArray<string>
  /** See `Archive.checkpoint`. */
  readonly checkpoint?: Effect.Effect<void, SqlError | string>
  /** Wraps every call of the service, for time limits. */
  readonly bounded?: <A>(
    operation: string,
    effect: Effect.Effect<A, ArchiveError>
  ) => Effect.Effect<A, ArchiveError>
  /** Says who holds what a transaction has waited for in vain. */
  readonly lockHolder?: Effect.Effect<string, SqlError>
}

// Stored contents that one commit hands over to whoever lost against them, in bytes.
const adoptedBytes = 16 * 1024 * 1024

// A long batch gives way between pieces of this many records: about two milliseconds each.
const recordsPerPiece = 1_000

const chunksOf = <A>(values: ReadonlyArray<A>, size: number): Array<ReadonlyArray<A>> => {
  const chunks: Array<ReadonlyArray<A>> = []
  for (let at = 0; at < values.length; at += size) chunks.push(values.slice(at, at + size))
  return chunks
}

// Ten waits of 10 ms to 2 s, each doubled and jittered by a fifth.
const contentionSchedule = Schedule.exponential("10 millis").pipe(
  Schedule.union(Schedule.spaced("2 seconds")),
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(10))
)

const retryContention = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.sandbox,
    Effect.retry({
      schedule: contentionSchedule,
      while: (cause) => {
        const found = reasonOf(cause)
        return found !== undefined && classify(found.reason).contention
      }
    }),
    Effect.unsandbox
  )

export const make = (options: SqlArchiveOptions): OpenArchive => {
  const { dialect, secrets, sql, tables } = options
  const shape: Rows.Shape = { dialect, tables, columns: Rows.columns(dialect) }
  const { columns } = shape
  const { items, tree } = tables
  const anywhere = runAnywhere(sql)

  const call = <A, E>(operation: string, effect: Effect.Effect<A, E>): Effect.Effect<A, ArchiveError> => {
    const typed = refail(operation, secrets)(effect)
    return options.bounded === undefined ? typed : options.bounded(operation, typed)
  }

  const nameHolder = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | ArchiveError> =>
    Effect.catchAllCause(effect, (cause): Effect.Effect<never, E | ArchiveError> => {
      const failure = classify(reasonOf(cause)?.reason)
      if (!failure.lockWait || options.lockHolder === undefined) return Effect.failCause(cause)
      return Effect.flatMap(
        Effect.orElseSucceed(options.lockHolder, () => "whose it is cannot be seen"),
        (holder) => {
          const problem = `gave up waiting for a lock of another transaction: ${holder} (${failure.problem})`
          return new ArchiveError({ operation: "transaction", kind: "transient", problem })
        }
      )
    })

  const transact = <A, E>(body: (run: Run) => Effect.Effect<A, E>) =>
    nameHolder(retryContention(transaction(sql, dialect.begin, body)))

  const committer = new Committer()
  const writers = SqlWriters.make({ shape, committer, transact, call })

  const rowsOfIds = (run: Run, selected: string, ids: ReadonlyArray<string>, suffix = "") =>
    Effect.gen(function* () {
      const rows: Array<Row> = []
      for (const chunk of chunksOf(ids, dialect.idsPerStatement)) {
        const params: Array<unknown> = []
        const where = dialect.isOneOf(params, `${items}.id`, chunk)
        const found = yield* run({ text: `SELECT ${selected} FROM ${items} WHERE ${where}${suffix}`, params })
        for (const row of found) rows.push(row)
      }
      return rows
    })

  // The stored total of the top after a commit. Digits that have drifted far are stored again.
  const settledTop = (run: Run) =>
    Effect.gen(function* () {
      const top = yield* Tree.readTotal(run, shape, "")
      if (needsNormalising(top.limbs)) {
        const params: Array<unknown> = []
        const set = toLimbs(top.sum).map((limb, i) => `${limbColumns[i]} = ${dialect.bind(params, limb)}`)
        yield* run({
          text: `UPDATE ${tree} SET ${set.join()} WHERE path = ${dialect.bind(params, "")}`,
          params
        })
      }
      return top
    })

  const changeTree = (run: Run, delta: ReadonlyMap<string, Total>, topVersion: number) =>
    Effect.gen(function* () {
      const changes = Array.from(delta, ([path, { count, sum }]) => ({ path, count, sum }))
      // The top is always among them: it keeps the highest version, also when no leaf changed.
      if (!delta.has("")) changes.push({ path: "", ...zero })
      changes.sort((a, b) => compareBytes(a.path, b.path))
      for (const query of dialect.addToTree(changes, topVersion)) yield* run(query)
      const shrunk = changes.filter(({ count, path }) => count < 0 && path !== "").map(({ path }) => path)
      for (const chunk of chunksOf(shrunk, dialect.idsPerStatement)) {
        const params: Array<unknown> = []
        const where = dialect.isOneOf(params, "path", chunk)
        yield* run({ text: `DELETE FROM ${tree} WHERE ${where} AND count = 0`, params })
      }
    })

  /** What is stored in place of the records that a commit leaves out. */
  const notTakenIn = (run: Run, plan: CommitPlan): Effect.Effect<NotTaken, SqlError> =>
    Effect.gen(function* () {
      const { equal, losers } = plan
      const stored = new Map<string, StoredRecord>()
      const read = (selected: string, records: ReadonlyArray<ItemRecord>) =>
        Effect.map(
          rowsOfIds(
            run,
            selected,
            records.map(({ id }) => id)
          ),
          (rows) => {
            for (const row of rows) stored.set(row.id as string, Rows.storedOf(row))
          }
        )
      if (equal.length > 0) yield* read(`${columns.version}, traceparent`, equal)
      if (losers.length > 0) {
        const most = Math.floor(adoptedBytes / losers.length)
        const content = `CASE WHEN LENGTH(content) <= ${most} THEN content END AS content`
        yield* read(`${columns.version}, traceparent, ${content}`, losers)
      }
      return notTaken(plan, stored)
    })

  const commitIn = (records: ReadonlyArray<ItemRecord>, node: string | undefined) => (run: Run) =>
    Effect.gen(function* () {
      const ids = records.map((record) => record.id)
      const lock = dialect.forUpdate === "" ? "" : ` ORDER BY ${items}.id${dialect.forUpdate}`
      const stored = new Map<string, StoredHead>()
      for (const row of yield* rowsOfIds(run, columns.head, ids, lock)) {
        const head = Rows.headOf(row)
        stored.set(head.id, head)
      }
      const planner = new CommitPlanner()
      for (let at = 0; at < records.length; at += recordsPerPiece) {
        if (at > 0) yield* yieldToEventLoop
        planner.decide(records.slice(at, at + recordsPerPiece), stored)
      }
      const plan = planner.plan()
      const applied = plan.inserts.length + plan.updates.length
      if (applied > 0) {
        for (const query of dialect.inserts(plan.inserts)) yield* run(query)
        for (const query of dialect.updates(plan.updates)) yield* run(query)
        yield* changeTree(run, plan.delta, plan.maxVersion)
        yield* SqlWriters.refuseOthers(run, shape, node)
      }
      const after = yield* settledTop(run)
      const before = subtract(after, plan.delta.get("") ?? zero)
      const result: CommitResult = {
        applied,
        ...(yield* notTakenIn(run, plan)),
        rootBefore: nodeDigest("", before.count, before.sum),
        rootAfter: nodeDigest("", after.count, after.sum),
        topVersion: after.topVersion
      }
      return result
    })

  // Refused here, for good, before a server would drop the connection over it.
  const tooLarge = (records: ReadonlyArray<ItemRecord>): ArchiveError | undefined => {
    const record = records.find(({ content }) => content.byteLength > options.maxContentBytes)
    if (record === undefined) return undefined
    const problem = `content of ${record.content.byteLength} bytes; at most ${options.maxContentBytes} fit`
    return new ArchiveError({ operation: "commit", kind: "permanent", problem })
  }

  const top = Effect.suspend(() => Tree.readTotal(anywhere, shape, ""))
  const lineage = Effect.flatMap(
    anywhere({
      text: `SELECT ${dialect.asText("name")} AS name FROM ${tables.lineage} WHERE id = 1`,
      params: []
    }),
    ([row]) =>
      row === undefined ? Effect.fail("the archive has no lineage") : Effect.succeed(row.name as string)
  )
  const root = Effect.map(top, ({ count, sum }) => nodeDigest("", count, sum))

  // The live rows of a range, ascending: the item that bears the prefix, then what lies below.
  const select = (
    range: ScanRange,
    selected: string,
    limit: number | undefined,
    bound?: { readonly lastId: string }
  ) =>
    Effect.gen(function* () {
      const plan = scanPlan(range)
      const rows: Array<Row> = []
      const read = (conditions: (params: Array<unknown>) => Array<string>) => {
        const params: Array<unknown> = []
        const where = [...conditions(params), "deleted = 0"]
        if (range.state !== undefined) where.push(`state = ${dialect.bind(params, range.state)}`)
        if (bound !== undefined) where.push(`${items}.id <= ${dialect.bind(params, bound.lastId)}`)
        const paged =
          limit === undefined
            ? ""
            : ` ORDER BY ${items}.id LIMIT ${dialect.bind(params, limit - rows.length)}`
        return Effect.map(
          anywhere({ text: `SELECT ${selected} FROM ${items} WHERE ${where.join(" AND ")}${paged}`, params }),
          (found) => {
            for (const row of found) rows.push(row)
          }
        )
      }
      const { point, span } = plan
      if (point !== undefined && (limit === undefined || limit > 0)) {
        yield* read((params) => [`${items}.id = ${dialect.bind(params, point)}`])
      }
      if (span !== undefined && (limit === undefined || rows.length < limit)) {
        yield* read((params) => [
          `${items}.id ${span.fromInclusive ? ">=" : ">"} ${dialect.bind(params, span.from)}`,
          ...(span.to === undefined ? [] : [`${items}.id < ${dialect.bind(params, span.to)}`])
        ])
      }
      return rows
    })

  const scan = (
    range: ScanRange,
    page: { readonly limit: number; readonly maxBytes: number }
  ): Effect.Effect<ReadonlyArray<SyncItem>, SqlError> =>
    Effect.gen(function* () {
      const limit = Math.max(1, page.limit)
      const sizes = yield* select(range, `${dialect.asText("id")} AS id, LENGTH(content) AS bytes`, limit)
      let bytes = 0
      let fitting = 0
      for (const row of sizes) {
        bytes += Number(row.bytes)
        if (fitting > 0 && bytes > page.maxBytes) break
        fitting++
      }
      if (fitting === 0) return []
      const lastId = sizes[fitting - 1]!.id as string
      const rows = yield* select(range, columns.record, limit, { lastId })
      // An empty page means the end; when all rows went in between, what comes next is not known yet.
      return rows.length > 0 ? rows.map(Rows.itemOf) : yield* scan({ ...range, after: lastId }, page)
    })

  const count = (range: ScanRange) =>
    Effect.gen(function* () {
      if (range.state !== undefined || range.after !== undefined) {
        const rows = yield* select(range, "COUNT(*) AS count", undefined)
        return rows.reduce((total, row) => total + Number(row.count), 0)
      }
      // The tree knows how many live items lie below; one statement, so that both parts are of one state.
      const params: Array<unknown> = []
      const node = `COALESCE((SELECT count FROM ${tree} WHERE path = ${dialect.bind(params, range.prefix)}), 0)`
      const self = `(SELECT COUNT(*) FROM ${items} WHERE id = ${dialect.bind(params, range.prefix)} AND deleted = 0)`
      const rows = yield* anywhere({ text: `SELECT ${node} + ${self} AS count`, params })
      return Number(rows[0]!.count)
    })

  const purge = (before: number, limit: number) =>
    transact((run) =>
      Effect.gen(function* () {
        const params: Array<unknown> = []
        const candidates = yield* run({
          text:
            `SELECT ${dialect.asText("id")} AS id FROM ${items} WHERE tombstone_at < ${dialect.bind(params, before)} ` +
            `ORDER BY tombstone_at, ${items}.id LIMIT ${dialect.bind(params, limit)}`,
          params
        })
        const ids = candidates.map((row) => row.id as string).sort(compareBytes)
        let purged = 0
        for (const chunk of chunksOf(ids, dialect.idsPerStatement)) {
          const locking: Array<unknown> = []
          const where = dialect.isOneOf(locking, `${items}.id`, chunk)
          const old = ` AND tombstone_at < ${dialect.bind(locking, before)}`
          const lock = dialect.forUpdate === "" ? "" : ` ORDER BY ${items}.id${dialect.forUpdate}`
          const locked = yield* run({
            text: `SELECT ${dialect.asText("id")} AS id FROM ${items} WHERE ${where}${old}${lock}`,
            params: locking
          })
          if (locked.length === 0) continue
          const removing: Array<unknown> = []
          const gone = dialect.isOneOf(
            removing,
            "id",
            locked.map((row) => row.id as string)
          )
          yield* run({ text: `DELETE FROM ${items} WHERE ${gone}`, params: removing })
          purged += locked.length
        }
        return purged
      })
    )

  return {
    dialect: dialect.name,
    target: options.target,
    maxContentBytes: options.maxContentBytes,
    commit: (records) =>
      call(
        "commit",
        Effect.suspend((): Effect.Effect<CommitResult, ArchiveError | SqlError> => {
          if (records.length === 0) {
            return Effect.map(top, ({ count, sum, topVersion }) => {
              const digest = nodeDigest("", count, sum)
              return {
                applied: 0,
                superseded: [],
                repeated: [],
                rootBefore: digest,
                rootAfter: digest,
                topVersion
              }
            })
          }
          const refused = tooLarge(records)
          return refused === undefined
            ? transact(commitIn(inLockOrder(records), committer.node))
            : Effect.fail(refused)
        })
      ),
    getMany: (ids) =>
      call(
        "getMany",
        Effect.map(rowsOfIds(anywhere, columns.record, ids), (rows) => rows.map(Rows.recordOf))
      ),
    heads: (ids) =>
      call(
        "heads",
        Effect.map(rowsOfIds(anywhere, columns.version, ids), (rows) => rows.map(Rows.versionOf))
      ),
    sizes: (ids) =>
      call(
        "sizes",
        Effect.map(
          rowsOfIds(anywhere, `${dialect.asText("id")} AS id, LENGTH(content) AS bytes`, ids),
          (rows) => new Map(rows.map((row) => [row.id as string, Number(row.bytes)]))
        )
      ),
    scan: (range, page) => call("scan", scan(range, page)),
    scanIds: (range, limit) =>
      call(
        "scanIds",
        Effect.map(select(range, `${dialect.asText("id")} AS id`, limit), (rows) =>
          rows.map((row) => row.id as string)
        )
      ),
    count: (range) => call("count", count(range)),
    root: call("root", root),
    node: (path) =>
      call(
        "node",
        Effect.map(
          Effect.suspend(() => Tree.readTotal(anywhere, shape, path)),
          (total) => (total.count === 0 ? Option.none() : Option.some(makeNode(path, total)))
        )
      ),
    branches: (path, page) => call("branches", Tree.branchesOf(anywhere, shape, path, page)),
    children: (path, page) => call("children", Tree.children(anywhere, shape, path, page)),
    recompute: call(
      "recompute",
      dialect.readsInSnapshot
        ? transaction(sql, dialect.beginSnapshot, (run) => Tree.recompute(run, shape))
        : Tree.recompute(anywhere, shape)
    ),
    reading: (use) => {
      const reader = (run: Run, consistent: boolean) => makeReader({ run, shape, consistent, call })
      return refail(
        "reading",
        secrets
      )(
        dialect.readsInSnapshot
          ? transaction(sql, dialect.beginSnapshot, (run) => use(reader(run, true)))
          : use(reader(anywhere, false))
      )
    },
    rebuildTree: call(
      "rebuildTree",
      retryContention(transaction(sql, dialect.beginSnapshot, (run) => Tree.rebuild(run, shape)))
    ),
    purgeTombstones: (before, limit) => call("purgeTombstones", purge(before, limit)),
    maxVersion: call(
      "maxVersion",
      Effect.map(top, ({ topVersion }) => topVersion)
    ),
    writers,
    lineage: call("lineage", lineage),
    checkpoint: call("checkpoint", options.checkpoint ?? Effect.void),
    // Reads a row: a server, or a file, that can give nothing of the archive any more is not well.
    ping: call("ping", Effect.asVoid(lineage))
  }
}
