/** The archive over any `SqlClient` of the two dialects: said once, in terms of `SqlDialect`. */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { type Cause, Duration, Effect, Option, Schedule } from "effect"
import { makeNode } from "../../merkle/Digest.js"
import type { ItemRecord } from "../../SyncItem.js"
import { backoff } from "../../shared/Backoff.js"
import type { ArchiveReader, CommitResult, OpenArchive } from "../Archive.js"
import { ArchiveError } from "../ArchiveError.js"
import { archiveError, classify, reasonOf, refail } from "../ArchiveErrors.js"
import { inLockOrder } from "../CommitPlan.js"
import { KnownHeads, noGuess } from "../KnownHeads.js"
import { type CallGuard, type OpenArchiveCalls, typed, type Untyped } from "../TypedCalls.js"
import { Committer, type WriterRegister } from "../WriterLease.js"
import * as Commit from "./SqlCommit.js"
import type { Dialect, Tables } from "./SqlDialect.js"
import { readerOf, readsOf } from "./SqlReads.js"
import { outsideTransaction, runAnywhere, SqlSession, transaction } from "./SqlSession.js"
import * as Tree from "./SqlTree.js"
import { writersOf } from "./SqlWriters.js"

export interface SqlArchiveOptions {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Dialect
  readonly tables: Tables
  readonly target: string
  readonly maxContentBytes: number
  /** Texts that must not show in any error. */
  readonly secrets: ReadonlyArray<string>
  /** Commits a batch as a whole, where that is not done statement by statement; by the node that makes this service's commits. */
  readonly commit?: (
    records: ReadonlyArray<ItemRecord>,
    node: string | undefined
  ) => Effect.Effect<CommitResult, SqlError | ArchiveError>
  /** See `Archive.checkpoint`. */
  readonly checkpoint?: Effect.Effect<void, SqlError | string>
  /** See `Archive.damage`. */
  readonly damage?: Effect.Effect<string | undefined, SqlError>
  /** How long a call may take; those that read or write the whole archive take the time they need. */
  readonly timeLimit?: Duration.Duration
  /** Says who holds what a transaction has waited for in vain. */
  readonly lockHolder?: Effect.Effect<string, SqlError>
}

const contentionSchedule = Schedule.intersect(backoff("10 millis", "2 seconds"), Schedule.recurs(10))

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

const withoutLimit = new Set(["rebuildTree", "damage"])

/**
 * The one way in which a call is bounded. It runs in a fiber of its own, outside a transaction of the caller. Whoever
 * waits for it goes on when the limit is over, also in an uninterruptible region; the transaction behind is rolled
 * back when the connection returns something or is given up.
 */
const guardOf =
  ({ secrets, timeLimit }: SqlArchiveOptions): CallGuard =>
  (operation, call) => {
    const alone = outsideTransaction(refail(operation, secrets)(call))
    if (timeLimit === undefined) return alone
    const detached = Effect.disconnect(Effect.interruptible(alone))
    if (withoutLimit.has(operation)) return detached
    return Effect.timeoutFail(Effect.interruptible(detached), {
      duration: timeLimit,
      onTimeout: () => {
        const problem = `no answer within ${Duration.toMillis(timeLimit)} ms`
        return new ArchiveError({ operation, kind: "transient", overdue: true, problem })
      }
    })
  }

/** Names who holds the lock that a transaction has waited for in vain. */
const nameHolder =
  ({ lockHolder, secrets }: SqlArchiveOptions) =>
  <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | ArchiveError> =>
    Effect.catchAllCause(effect, (cause): Effect.Effect<never, E | ArchiveError> => {
      const reason = reasonOf(cause)?.reason
      if (lockHolder === undefined || !classify(reason).lockWait) return Effect.failCause(cause)
      return Effect.flatMap(
        Effect.orElseSucceed(lockHolder, () => "whose it is cannot be seen"),
        (holder) => {
          const failed = archiveError("transaction", reason, secrets)
          const problem = `gave up waiting for a lock of another transaction: ${holder} (${failed.problem})`
          return new ArchiveError({
            operation: "transaction",
            kind: "transient",
            problem,
            cause: failed.cause
          })
        }
      )
    })

/** A record that no statement can hold: refused here, for good, before a server would drop the connection over it. */
const tooLarge = (records: ReadonlyArray<ItemRecord>, maxContentBytes: number): ArchiveError | undefined => {
  const record = records.find(({ content }) => content.byteLength > maxContentBytes)
  if (record === undefined) return undefined
  const problem = `content of ${record.content.byteLength} bytes; at most ${maxContentBytes} fit`
  return new ArchiveError({ operation: "commit", kind: "permanent", problem })
}

type Committing = (
  records: ReadonlyArray<ItemRecord>,
  node: string | undefined,
  absent: ReadonlySet<string> | undefined
) => Effect.Effect<CommitResult, unknown>

/** Commits by what is thought to be stored, where a server can be asked to check that. */
const committing = (
  { commit, dialect: { commits }, sql }: SqlArchiveOptions,
  session: SqlSession,
  again: <A, E>(attempt: Effect.Effect<A, E>) => Effect.Effect<A, unknown>
): Committing => {
  if (commit !== undefined) return (records, node) => again(commit(records, node))
  if (commits === undefined) throw new Error("this dialect commits nothing by itself")
  const heads = new KnownHeads()
  return (records, node, absent) => {
    const sorted = inLockOrder(records)
    let guess = heads.guess(absent)
    let stale = false
    const attempt = Effect.suspend(() =>
      transaction(
        sql,
        commits.begin,
        (run) => Commit.commit(session.on(run), commits, { records: sorted, node, guess }),
        "itself"
      )
    )
    // Whatever was in the way: what is read under lock is right.
    const failed = (cause: Cause.Cause<unknown>) =>
      Effect.sync(() => {
        stale ||= Commit.isStale(cause)
        guess = noGuess
      })
    return again(Effect.tapErrorCause(attempt, failed)).pipe(
      Effect.tap(({ plan }) =>
        Effect.sync(() => {
          // It was the guess: somebody else writes, and more of what is known may be old.
          if (stale) heads.clear()
          heads.learn(plan)
        })
      ),
      // Perhaps it was made all the same: of other ids it has changed nothing.
      Effect.onError(() => Effect.sync(() => heads.forget(records))),
      Effect.map(({ result }) => result)
    )
  }
}

export const make = (options: SqlArchiveOptions): OpenArchive => {
  const { dialect, maxContentBytes, secrets, sql, tables, target } = options
  const session = new SqlSession(dialect, tables, runAnywhere(sql))
  const guard = guardOf(options)
  const committer = new Committer()

  const within = <A, E>(begin: string, body: (session: SqlSession) => Effect.Effect<A, E>) =>
    transaction(sql, begin, (run) => body(session.on(run)))
  const again = <A, E>(transaction: Effect.Effect<A, E>) => nameHolder(options)(retryContention(transaction))
  const transact = <A, E>(body: (session: SqlSession) => Effect.Effect<A, E>) =>
    again(within(dialect.begin, body))

  const commit = committing(options, session, again)

  const lineage = Effect.flatMap(
    session.rows(() => `SELECT ${dialect.asText("name")} AS name FROM ${tables.lineage} WHERE id = 1`),
    ([row]) =>
      row === undefined ? Effect.fail("the archive has no lineage") : Effect.succeed(row.name as string)
  )

  const calls: Untyped<OpenArchiveCalls> = {
    ...readsOf(session),
    commit: (records, absent) => {
      if (records.length === 0) return Commit.commitNothing(session)
      return tooLarge(records, maxContentBytes) ?? commit(records, committer.node, absent)
    },
    purgeTombstones: (before, limit) => transact((writing) => Commit.purge(writing, before, limit)),
    root: Tree.readRoot(session),
    node: (path) =>
      Effect.map(Tree.readTotal(session, path), (total) =>
        total.count === 0 ? Option.none() : Option.some(makeNode(path, total))
      ),
    branches: (path, page) => Tree.branchesOf(session, path, page),
    leaves: (path, page) => Tree.leavesOf(session, path, page),
    children: (path, page) => Tree.childrenOf(session, path, page),
    rebuildTree: retryContention(within(dialect.beginSnapshot, Tree.rebuild)),
    maxVersion: Effect.map(Tree.readTotal(session, ""), ({ topVersion }) => topVersion),
    lineage,
    damage: options.damage ?? Effect.succeed(undefined),
    checkpoint: options.checkpoint ?? Effect.void,
    // Reads a row: a server, or a file, that can give nothing of the archive any more is not well.
    ping: Effect.asVoid(lineage)
  }

  const reader = (reading: SqlSession, consistent: boolean): ArchiveReader => ({
    consistent,
    ...typed<Omit<ArchiveReader, "consistent">>(readerOf(reading), guard)
  })

  return {
    dialect: dialect.name,
    target,
    maxContentBytes,
    ...typed<OpenArchiveCalls>(calls, guard),
    reading: (use) =>
      (dialect.readsInSnapshot
        ? within(dialect.beginSnapshot, (snapshot) => use(reader(snapshot, true)))
        : use(reader(session, false))
      ).pipe(refail("reading", secrets), outsideTransaction),
    writers: typed<WriterRegister>(writersOf(committer, transact), guard)
  }
}
