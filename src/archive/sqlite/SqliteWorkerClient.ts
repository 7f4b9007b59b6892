/**
 * A `SqlClient` for SQLite whose connections live in worker threads, so that neither a statement nor an fsync
 * stalls the main thread: one writer for transactions, and one reader (WAL mode) that never waits for it.
 */

import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { Effect, type Scope, Stream } from "effect"
import { damageAdvice } from "../../shared/files/OpenedFiles.js"
import { join } from "../../shared/Pieces.js"
import {
  type PackedValues,
  type PlainError,
  type SqliteReply,
  type SqliteRequest,
  type SqliteWorkerData,
  unmix,
  unpack
} from "./SqliteProtocol.js"

export interface SqliteWorkerClientOptions {
  /** The database file. Its directory must exist; the file is made when there is none. */
  readonly path: string
  /** How long a statement waits for another process's lock, in milliseconds; 5,000 unless given. */
  readonly busyTimeoutMs?: number | undefined
}

const failure = (message: string, { code, invalidValue, message: text }: PlainError): SqlError => {
  const cause = invalidValue === true ? new RangeError(text) : new Error(text)
  return new SqlError({ message, cause: code === undefined ? cause : Object.assign(cause, { code }) })
}

interface Waiting {
  readonly done: (reply: Extract<SqliteReply, { columns: unknown }>) => void
  readonly fail: (error: SqlError) => void
}

/** One thread and the requests it has not answered yet. */
class Thread {
  readonly exited: Promise<void>
  lost: SqlError | undefined
  private readonly worker: Worker
  private readonly waiting = new Map<number, Waiting>()
  private nextId = 1

  constructor(
    data: SqliteWorkerData,
    opened: Waiting,
    /** What is told of an error that is none of a statement's alone. */
    private readonly damageOf: (error: PlainError) => SqlError | undefined
  ) {
    this.waiting.set(0, opened)
    const file = createRequire(import.meta.url).resolve("#workers/archive/sqlite/SqliteWorker")
    this.worker = new Worker(file, { workerData: data, execArgv: [], name: `sqlite-${data.role}` })
    this.worker.on("message", (reply: SqliteReply) => this.receive(reply))
    this.worker.on("error", (error) => {
      this.lose({ message: `the SQLite thread failed: ${error.message}`, code: "SQLITE_WORKER_LOST" })
    })
    this.exited = new Promise((resolve) => {
      this.worker.on("exit", () => {
        this.lose({ message: "the SQLite thread has ended", code: "SQLITE_WORKER_LOST" })
        resolve()
      })
    })
  }

  private receive(reply: SqliteReply): void {
    const waiting = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    if ("columns" in reply) {
      waiting?.done(reply)
      return
    }
    const error =
      this.damageOf(reply.error) ??
      failure(reply.id === 0 ? "Failed to open database" : "Failed to execute statement", reply.error)
    waiting?.fail(error)
    if (reply.id === 0) this.lose(reply.error)
  }

  private lose(error: PlainError): void {
    if (this.lost !== undefined) return
    this.lost = failure("Connection lost", error)
    const waiting = [...this.waiting.values()]
    this.waiting.clear()
    for (const { fail } of waiting) fail(this.lost)
  }

  post(request: SqliteRequest): void {
    if (this.lost !== undefined) return
    const bytes = request.kind === "statement" ? request.params.bytes : undefined
    this.worker.postMessage(request, bytes === undefined ? [] : [bytes])
  }

  run(sql: string, params: PackedValues, waiting: Waiting): void {
    if (this.lost !== undefined) {
      waiting.fail(this.lost)
      return
    }
    const id = this.nextId++
    this.waiting.set(id, waiting)
    this.post({ kind: "statement", id, sql, params })
  }

  async close(): Promise<void> {
    this.post({ kind: "close" })
    await this.exited
  }

  async kill(): Promise<void> {
    await this.worker.terminate()
  }
}

type Rows = ReadonlyArray<Record<string, unknown>>

const rowsOf = (reply: Extract<SqliteReply, { columns: unknown }>): Array<Array<unknown>> => {
  const cells = unpack(reply.cells, true)
  const rows: Array<Array<unknown>> = []
  const width = reply.columns.length
  for (let at = 0; at < cells.length; at += width) rows.push(cells.slice(at, at + width))
  return rows
}

const objectsOf = (reply: Extract<SqliteReply, { columns: unknown }>): Rows => {
  const cells = unpack(reply.cells, true)
  const { columns } = reply
  const rows: Array<Record<string, unknown>> = []
  for (let at = 0; at < cells.length; at += columns.length) {
    const row: Record<string, unknown> = {}
    for (let i = 0; i < columns.length; i++) row[columns[i]!] = cells[at + i]
    rows.push(row)
  }
  return rows
}

const packed = (params: ReadonlyArray<unknown>): Effect.Effect<PackedValues> =>
  Effect.suspend(() => {
    const { parts, places, values } = unmix(params ?? [])
    if (parts.length === 0) return Effect.succeed({ values, places, bytes: undefined })
    return Effect.map(join(parts), ({ buffer }): PackedValues => ({ values, places, bytes: buffer }))
  })

/** A connection over whatever thread `thread` returns at the time of the call, unless it is refused then. */
const connectionOver = (thread: () => Thread, refused: () => SqlError | undefined): Connection => {
  const request = <A>(
    sql: string,
    params: ReadonlyArray<unknown>,
    map: (reply: Extract<SqliteReply, { columns: unknown }>) => A
  ) =>
    Effect.flatMap(packed(params), (values) =>
      Effect.async<A, SqlError>((resume) => {
        const refusal = refused()
        if (refusal !== undefined) return resume(Effect.fail(refusal))
        try {
          thread().run(sql, values, {
            done: (reply) => resume(Effect.succeed(map(reply))),
            fail: (error) => resume(Effect.fail(error))
          })
        } catch (cause) {
          resume(Effect.fail(new SqlError({ cause, message: "Failed to send statement" })))
        }
      })
    )
  const execute: Connection["execute"] = (sql, params, transformRows) =>
    request(sql, params, (reply) => {
      const rows = objectsOf(reply)
      return transformRows === undefined
        ? rows
        : transformRows(rows as ReadonlyArray<object & (typeof rows)[0]>)
    })
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) =>
      request(sql, params, (reply) => ({ rows: objectsOf(reply), changes: reply.changes })),
    executeValues: (sql, params) => request(sql, params, rowsOf),
    executeStream: (sql, params, transformRows) =>
      Stream.unwrap(Effect.map(execute(sql, params, transformRows), Stream.fromIterable))
  }
}

/**
 * Opens the database, writer first. A thread that dies fails what it was doing; the next call opens a new one.
 * When the scope closes both connections are closed and their threads have ended.
 */
export const make = (
  options: SqliteWorkerClientOptions
): Effect.Effect<SqliteWorkerClient, SqlError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const threads: { reader?: Thread; writer?: Thread } = {}
    let closed = false
    /** Whichever thread finds the damage: both stand on the same file. */
    let damaged: SqlError | undefined
    const damageOf = ({ code, damaged: found, message }: PlainError) => {
      if (found !== true) return undefined
      damaged ??= failure("Damaged database", {
        code,
        message: `${options.path} is damaged: ${message}; ${damageAdvice}`
      })
      return damaged
    }

    const start = (role: "reader" | "writer", opened: Waiting): Thread => {
      const data = { path: options.path, role, busyTimeoutMs: options.busyTimeoutMs ?? 5_000 }
      const thread = new Thread(data, opened, damageOf)
      threads[role] = thread
      return thread
    }

    const thread = (role: "reader" | "writer"): Thread => {
      const current = threads[role]
      if (current !== undefined && (closed || current.lost === undefined)) return current
      // Should it not open, the statements sent to it fail with the reason.
      return start(role, { done: () => undefined, fail: () => undefined })
    }

    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        closed = true
        // The last connection to close folds the write-ahead log into the database.
        await threads.reader?.close()
        await threads.writer?.close()
      })
    )

    const open = (role: "reader" | "writer") =>
      Effect.async<void, SqlError>((resume) => {
        start(role, {
          done: () => resume(Effect.void),
          fail: (error) => resume(Effect.fail(error))
        })
      })
    yield* open("writer")
    yield* open("reader")

    const reading = connectionOver(
      () => thread("reader"),
      () => damaged
    )
    const turn = Effect.unsafeMakeSemaphore(1)

    // A transaction stays with the thread it began on: on a new one its statements would run on their own.
    const transactionAcquirer = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* restore(turn.take(1))
        const own = thread("writer")
        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => {
            own.post({ kind: "reset" })
            return turn.release(1)
          })
        )
        return connectionOver(
          () => own,
          () => damaged
        )
      })
    )

    const client = yield* SqlClient.make({
      acquirer: Effect.succeed(reading),
      transactionAcquirer,
      compiler: Statement.makeCompilerSqlite(),
      beginTransaction: "BEGIN IMMEDIATE",
      spanAttributes: [["db.system.name", "sqlite"]]
    })
    return Object.assign(client, {
      kill: (role: "reader" | "writer") =>
        Effect.promise(async () => {
          await threads[role]?.kill()
        })
    })
  })

export interface SqliteWorkerClient extends SqlClient.SqlClient {
  /** Ends a thread as a crash would; for tests of what follows. */
  readonly kill: (role: "reader" | "writer") => Effect.Effect<void>
}
