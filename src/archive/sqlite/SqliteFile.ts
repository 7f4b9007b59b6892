/** A connection to an archive's SQLite file: opening it, and its statements. Synchronous, in a worker thread. */
import Database from "better-sqlite3"
import { OpenedFiles } from "../../shared/files/OpenedFiles.js"
import { privateDatabase } from "../../shared/files/PrivateFiles.js"
import { tables as makeTables } from "../sql/SqlDialect.js"
import type { WalState } from "./Checkpoints.js"
import { unpackRecords } from "./PackedRecords.js"
import { SqliteCommit } from "./SqliteCommit.js"
import {
  pack,
  type SqliteOperations,
  type SqliteWorkerData,
  type StatementResult,
  unpack
} from "./SqliteProtocol.js"

const maxStatements = 64

const busyPauseMs = 5
const pause = new Int32Array(new SharedArrayBuffer(4))

/**
 * Waits for another process's lock here and not in SQLite: when the process exits while a thread waits in there,
 * the driver aborts it, and its exit code is lost.
 */
const waitingFor =
  (busyTimeoutMs: number) =>
  <A>(attempt: () => A): A => {
    for (let waitedMs = 0; ; waitedMs += busyPauseMs) {
      try {
        return attempt()
      } catch (error) {
        const code = error instanceof Database.SqliteError ? error.code : undefined
        const isBusy = code === "SQLITE_BUSY" || code === "SQLITE_BUSY_RECOVERY"
        if (!isBusy || waitedMs >= busyTimeoutMs) throw error
        Atomics.wait(pause, 0, 0, busyPauseMs)
      }
    }
  }

const open = ({ busyTimeoutMs, path, role }: SqliteWorkerData): Database.Database => {
  const patiently = waitingFor(busyTimeoutMs)
  if (role === "writer") privateDatabase(path)
  const database = new Database(path, { timeout: 0 })
  try {
    if (role === "writer") {
      const mode = patiently(() => database.pragma("journal_mode = WAL", { simple: true }))
      if (mode !== "wal") throw new Error(`the file system does not allow write-ahead logging (mode ${mode})`)
      database.pragma("synchronous = FULL")
      database.pragma("cache_size = -65536")
      // See `Checkpoints`; a file that a long reader has let grow is cut when it begins anew.
      database.pragma("wal_autocheckpoint = 0")
      database.pragma(`journal_size_limit = ${64 * 1024 * 1024}`)
    } else {
      database.pragma("query_only = ON")
      database.pragma("cache_size = -32768")
    }
    // Reads a page, so that a file which is no database is found out here.
    patiently(() => database.pragma("schema_version"))
  } catch (error) {
    database.close()
    throw error
  }
  return database
}

interface Prepared {
  readonly statement: Database.Statement
  readonly columns: ReadonlyArray<string>
}

const rollBack = (database: Database.Database): void => {
  try {
    if (database.inTransaction) database.exec("ROLLBACK")
  } catch {
    // A connection in an unknown state must not be used again: this ends the thread.
    process.exit(1)
  }
}

const walState = (database: Database.Database): WalState => {
  const [state] = database.pragma("wal_checkpoint(NOOP)") as [{ log: number; checkpointed: number }]
  return { pages: state.log, folded: state.checkpointed }
}

/** Opens the file, and runs statements on it. */
export const openSqliteFile = (data: SqliteWorkerData): SqliteOperations => {
  const database = open(data)
  const { busyTimeoutMs, path, role } = data
  const patiently = waitingFor(busyTimeoutMs)
  const files = new OpenedFiles(path)
  // A Map iterates in insertion order: re-inserting on use makes the first key the least recently used.
  const cache = new Map<string, Prepared>()

  const prepare = (sql: string): Prepared => {
    let prepared = cache.get(sql)
    if (prepared === undefined) {
      const statement = database.prepare(sql)
      if (statement.reader) statement.raw(true)
      prepared = { statement, columns: statement.reader ? statement.columns().map((c) => c.name) : [] }
      if (cache.size >= maxStatements) cache.delete(cache.keys().next().value!)
    } else {
      cache.delete(sql)
    }
    cache.set(sql, prepared)
    return prepared
  }

  // Numbers outside 32 bits would be bound as floating point, and stay it where no column's type says otherwise.
  const bindable = (value: unknown): unknown => {
    if (typeof value === "number") {
      return Number.isInteger(value) && (value | 0) !== value ? BigInt(value) : value
    }
    if (typeof value === "boolean") return value ? 1 : 0
    return value === undefined ? null : value
  }

  // A database that has lost its file takes and gives everything, and nobody ever finds it.
  const assertOwn = () => {
    const lost = files.problem()
    if (lost !== undefined) throw new Error(lost)
  }

  const statement = (sql: string, packed: Parameters<typeof unpack>[0]): StatementResult => {
    if (!database.inTransaction || sql === "COMMIT") assertOwn()
    // A page that is remembered hides what was written over it. After a commit the reader reads everything again anyway.
    if (role === "reader" && files.wasWritten()) database.pragma("shrink_memory")
    const params = unpack(packed, false).map(bindable)
    const { columns, statement } = patiently(() => prepare(sql))
    if (!statement.reader) {
      const { changes } = patiently(() => statement.run(params))
      return { columns, cells: pack([]), changes }
    }
    const rows = patiently(() => statement.all(params)) as Array<Array<unknown>>
    return { columns, cells: pack(rows.flat()), changes: 0 }
  }

  const reset = () => {
    rollBack(database)
    return walState(database)
  }

  let commits: SqliteCommit | undefined
  const commit: SqliteOperations["commit"] = (packed, contents, node) => {
    assertOwn()
    const records = unpackRecords(packed, contents)
    // Not sooner: the tables are made by the first start.
    commits ??= patiently(() => new SqliteCommit(database, makeTables()))
    patiently(() => database.exec("BEGIN IMMEDIATE"))
    try {
      const reply = commits.commit(records, node)
      if (reply === undefined) return undefined
      assertOwn()
      database.exec("COMMIT")
      return { ...reply, wal: walState(database) }
    } finally {
      rollBack(database)
    }
  }

  return { statement, commit, reset, close: () => database.close() }
}
