/**
 * A `SqlClient` for SQLite whose connections live in worker threads, so that neither a statement nor an fsync
 * stalls the main thread: one writer for transactions, one reader (WAL mode) that never waits for it, and one that
 * folds the -wal file in.
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { Effect, Either, type Scope, Stream } from "effect"
import type { ItemRecord } from "../../SyncItem.js"
import { damageAdvice } from "../../shared/files/OpenedFiles.js"
import { join } from "../../shared/Pieces.js"
import { type Done, WorkerChannel, type WorkerFailure } from "../../shared/WorkerChannel.js"
import type { CommitResult } from "../Archive.js"
import type { ArchiveError } from "../ArchiveError.js"
import { notTaken } from "../CommitPlan.js"
import { heldByAnother } from "../WriterLease.js"
import { Checkpoints, type FoldIn } from "./Checkpoints.js"
import { packRecords } from "./PackedRecords.js"
import {
  type CommitReply,
  type PackedValues,
  type SqliteOperations,
  type SqliteWorkerData,
  type StatementResult,
  unmix,
  unpack
} from "./SqliteProtocol.js"

export interface SqliteWorkerClientOptions {
  /** The database file. Its directory must exist; the file is made when there is none. */
  readonly path: string
  /** How long a statement waits for another process's lock. */
  readonly busyTimeoutMs: number
  /** Pages of the -wal file at which a commit waits; see `Checkpoints`. */
  readonly walPages?: number
}

const failureOf = (message: string, { code, invalidValue, message: text }: WorkerFailure): SqlError => {
  const cause = invalidValue === true ? new RangeError(text) : new Error(text)
  if (code === undefined) return new SqlError({ message, cause })
  const known = code === "WORKER_LOST" ? "SQLITE_WORKER_LOST" : code
  return new SqlError({ message, cause: Object.assign(cause, { code: known }) })
}

/** Each row as what `rowOf` makes of the cells from a position on. */
const rowsOf = <A>(result: StatementResult, rowOf: (cells: Array<unknown>, at: number) => A): Array<A> => {
  const cells = unpack(result.cells, true)
  const rows: Array<A> = []
  for (let at = 0; at < cells.length; at += result.columns.length) rows.push(rowOf(cells, at))
  return rows
}

const objectsOf = (result: StatementResult): ReadonlyArray<Record<string, unknown>> => {
  const { columns } = result
  return rowsOf(result, (cells, at) => {
    const row: Record<string, unknown> = {}
    for (let i = 0; i < columns.length; i++) row[columns[i]!] = cells[at + i]
    return row
  })
}

const packed = (params: ReadonlyArray<unknown>): Effect.Effect<PackedValues> =>
  Effect.suspend(() => {
    const { parts, places, values } = unmix(params ?? [])
    if (parts.length === 0) return Effect.succeed({ values, places, bytes: undefined })
    return Effect.map(join(parts), ({ buffer }): PackedValues => ({ values, places, bytes: buffer }))
  })

type Role = SqliteWorkerData["role"] | "checkpointer"
type Thread = WorkerChannel<SqliteOperations>

/** Folds the -wal file in by this thread, as far as nobody is in the way; `told` says of a failure what is to be told. */
export const foldInBy =
  (thread: Thread, told: (failure: WorkerFailure) => string | undefined): FoldIn =>
  (done) => {
    const nothing: PackedValues = { values: [], places: [], bytes: undefined }
    thread.request("statement", ["PRAGMA wal_checkpoint(PASSIVE)", nothing], (outcome) => {
      if (Either.isRight(outcome)) {
        const [, pages, folded] = outcome.right.cells.values as [number, number, number]
        return done(Either.right({ pages, folded }))
      }
      const problem = told(outcome.left)
      done(problem === undefined ? undefined : Either.left(problem))
    })
  }

/** The threads. One that has died is replaced at the next call; the checkpointer begins with the first one. */
class Threads {
  private readonly running: { [R in Role]?: Thread } = {}
  private closed = false
  /** Whichever thread finds the damage: all stand on the same file. */
  private damaged: SqlError | undefined

  constructor(private readonly options: SqliteWorkerClientOptions) {}

  open(role: Role): Effect.Effect<unknown, SqlError> {
    return Effect.async((resume) => {
      this.start(role, (outcome) =>
        resume(Either.mapLeft(outcome, (failure) => this.failed("Failed to open database", failure)))
      )
    })
  }

  of(role: Role): Thread {
    const current = this.running[role]
    // Should a new one not open, the statements sent to it fail with the reason.
    return current !== undefined && (this.closed || current.lost === undefined)
      ? current
      : this.start(role, () => {})
  }

  run<A>(
    thread: () => Thread,
    sql: string,
    params: ReadonlyArray<unknown>,
    map: (result: StatementResult) => A
  ): Effect.Effect<A, SqlError> {
    const sent = Effect.flatMap(packed(params), (values) =>
      this.request(thread, "statement", [sql, values], values.bytes === undefined ? [] : [values.bytes])
    )
    return Effect.map(sent, map)
  }

  request<K extends keyof SqliteOperations>(
    thread: () => Thread,
    operation: K,
    parameters: Parameters<SqliteOperations[K]>,
    transfer: ReadonlyArray<ArrayBuffer>
  ): Effect.Effect<ReturnType<SqliteOperations[K]>, SqlError> {
    return Effect.async((resume) => {
      if (this.damaged !== undefined) return resume(this.damaged)
      try {
        const at = thread()
        const done: Done<ReturnType<SqliteOperations[K]>> = (outcome) =>
          resume(
            Either.mapLeft(outcome, (failure) =>
              this.failed(at.lost === undefined ? "Failed to execute statement" : "Connection lost", failure)
            )
          )
        at.request(operation, parameters, done, transfer)
      } catch (cause) {
        resume(new SqlError({ cause, message: "Failed to send statement" }))
      }
    })
  }

  /** The last connection to close folds the write-ahead log into the database. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closed = true
    const roles: ReadonlyArray<Role> = ["reader", "checkpointer", "writer"]
    return Effect.forEach(roles, (role) => this.running[role]?.close ?? Effect.void, { discard: true })
  })

  readonly kill = (role: Role): Effect.Effect<void> =>
    Effect.suspend(() => this.running[role]?.terminate ?? Effect.void)

  /** Runs a long statement in a thread of its own, which reads, so that nobody waits for it. */
  aside(sql: string): Effect.Effect<ReadonlyArray<Record<string, unknown>>, SqlError> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.threadFor("reader", () => {})),
      (thread) => this.run(() => thread, sql, [], objectsOf),
      (thread) => thread.terminate
    )
  }

  readonly foldIn: FoldIn = (done) => {
    if (this.closed || this.damaged !== undefined) return done(undefined)
    foldInBy(this.of("checkpointer"), (failure) => {
      // Damage fails every call from now on, as if another thread had found it.
      this.failed("Failed to fold in the -wal file", failure)
      return this.closed || this.damaged !== undefined ? undefined : failure.message
    })(done)
  }

  private start(role: Role, opened: Done<unknown>): Thread {
    const thread = this.threadFor(role, opened)
    this.running[role] = thread
    return thread
  }

  private threadFor(role: Role, opened: Done<unknown>): Thread {
    const { busyTimeoutMs, path } = this.options
    const data: SqliteWorkerData = { path, role: role === "writer" ? "writer" : "reader", busyTimeoutMs }
    return new WorkerChannel("archive/sqlite/SqliteWorker", data, opened)
  }

  private failed(message: string, failure: WorkerFailure): SqlError {
    if (failure.damaged !== true) return failureOf(message, failure)
    const told = `${this.options.path} is damaged: ${failure.message}; ${damageAdvice}`
    this.damaged ??= failureOf("Damaged database", { code: failure.code, message: told })
    return this.damaged
  }
}

/** Over whatever thread `thread` returns at the time of the call. */
const connectionOver = (threads: Threads, thread: () => Thread): Connection => {
  const execute: Connection["execute"] = (sql, params, transformRows) =>
    threads.run(thread, sql, params, (result) => {
      const rows = objectsOf(result)
      return transformRows === undefined
        ? rows
        : transformRows(rows as ReadonlyArray<object & (typeof rows)[0]>)
    })
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) =>
      threads.run(thread, sql, params, (result) => ({ rows: objectsOf(result), changes: result.changes })),
    executeValues: (sql, params) =>
      threads.run(thread, sql, params, (result) =>
        rowsOf(result, (cells, at) => cells.slice(at, at + result.columns.length))
      ),
    executeStream: (sql, params, transformRows) =>
      Stream.unwrap(Effect.map(execute(sql, params, transformRows), Stream.fromIterable))
  }
}

/** What a thread's reply means for the records that it was sent. */
export const resultOf = (
  records: ReadonlyArray<ItemRecord>,
  reply: CommitReply | undefined
): Effect.Effect<CommitResult, ArchiveError> => {
  if (reply === undefined) return heldByAnother()
  const { equal, losers, stored, wal: _, ...result } = reply
  const left = { equal: equal.map((at) => records[at]!), losers: losers.map((at) => records[at]!) }
  return Effect.succeed({
    ...result,
    ...notTaken(left, new Map(stored.map((record) => [record.id, record])))
  })
}

/**
 * Opens the database, writer first. A thread that dies fails what it was doing; the next call opens a new one.
 * When the scope closes the connections are closed and their threads have ended.
 */
export const make = (
  options: SqliteWorkerClientOptions
): Effect.Effect<SqliteWorkerClient, SqlError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const threads = new Threads(options)
    yield* Effect.addFinalizer(() => threads.close)
    yield* threads.open("writer")
    yield* threads.open("reader")
    const turn = Effect.unsafeMakeSemaphore(1)
    const checkpoints = new Checkpoints(threads.foldIn, options.walPages)

    // A transaction stays with the thread it began on: on a new one its statements would run on their own.
    const transactionAcquirer = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* restore(Effect.zipRight(checkpoints.room, turn.take(1)))
        const own = threads.of("writer")
        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => {
            own.request("reset", [], (outcome) => {
              if (Either.isRight(outcome)) checkpoints.note(outcome.right)
            })
            return turn.release(1)
          })
        )
        return connectionOver(threads, () => own)
      })
    )

    const client = yield* SqlClient.make({
      acquirer: Effect.succeed(connectionOver(threads, () => threads.of("reader"))),
      transactionAcquirer,
      compiler: Statement.makeCompilerSqlite(),
      beginTransaction: "BEGIN IMMEDIATE",
      spanAttributes: [["db.system.name", "sqlite"]]
    })
    const commit: SqliteWorkerClient["commit"] = (records, node) =>
      Effect.gen(function* () {
        const { buffer } = yield* join(records.map(({ content }) => content))
        const packed = packRecords(records)
        const writer = () => threads.of("writer")
        // In a turn of its own: not within a transaction of several messages.
        const reply = yield* turn.withPermits(1)(
          Effect.zipRight(
            checkpoints.room,
            Effect.suspend(() => threads.request(writer, "commit", [packed, buffer, node], [buffer]))
          ).pipe(
            // Before the turn ends: the next one may be of a checkpoint, which waits for what begins here.
            Effect.tap((reply) => {
              if (reply !== undefined) checkpoints.note(reply.wal)
            })
          )
        )
        return yield* resultOf(records, reply)
      })
    const aside = (sql: string) => threads.aside(sql)
    return Object.assign(client, { commit, folded: checkpoints.ended, kill: threads.kill, aside })
  })

export interface SqliteWorkerClient extends SqlClient.SqlClient {
  /** Commits a batch in one message; see `Archive.commit`. */
  readonly commit: (
    records: ReadonlyArray<ItemRecord>,
    node: string | undefined
  ) => Effect.Effect<CommitResult, SqlError | ArchiveError>
  /** Waits while the -wal file is folded in beside the commits. */
  readonly folded: Effect.Effect<void>
  /** Ends a thread as a crash would; for tests. */
  readonly kill: (role: Role) => Effect.Effect<void>
  /** Runs a long statement that only reads in a thread of its own. */
  readonly aside: (sql: string) => Effect.Effect<ReadonlyArray<Record<string, unknown>>, SqlError>
}
