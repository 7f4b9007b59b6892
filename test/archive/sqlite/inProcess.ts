/** The SQLite archive without its threads: the same statements through the same code, where thousands of files are opened. */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { Effect, type Scope } from "effect"
import type { OpenArchive } from "../../../src/archive/Archive.js"
import { migrateAndVerify } from "../../../src/archive/sql/Schema.js"
import * as SqlArchive from "../../../src/archive/sql/SqlArchive.js"
import { tables as makeTables } from "../../../src/archive/sql/SqlDialect.js"
import { runAnywhere, transaction } from "../../../src/archive/sql/SqlSession.js"
import { packRecords } from "../../../src/archive/sqlite/PackedRecords.js"
import * as SqliteDialect from "../../../src/archive/sqlite/SqliteDialect.js"
import { openSqliteFile } from "../../../src/archive/sqlite/SqliteFile.js"
import { pack, type SqliteOperations, unpack } from "../../../src/archive/sqlite/SqliteProtocol.js"
import { resultOf } from "../../../src/archive/sqlite/SqliteWorkerClient.js"
import type { ItemRecord } from "../../../src/SyncItem.js"

const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to execute statement" })

const contentsOf = (records: ReadonlyArray<ItemRecord>): ArrayBuffer =>
  new Uint8Array(Buffer.concat(records.map(({ content }) => content))).buffer

const connectionOver = (file: SqliteOperations): Connection => {
  const rowsOf = <A>(
    sql: string,
    params: ReadonlyArray<unknown>,
    rowOf: (row: ReadonlyArray<unknown>, columns: ReadonlyArray<string>) => A
  ) =>
    Effect.try({
      try: () => {
        const { cells, columns } = file.statement(sql, pack(params ?? []))
        const values = unpack(cells, true)
        return Array.from({ length: values.length / columns.length || 0 }, (_, row) =>
          rowOf(values.slice(row * columns.length, (row + 1) * columns.length), columns)
        )
      },
      catch: failed
    })
  const execute: Connection["execute"] = (sql, params) =>
    rowsOf(sql, params, (row, columns) => Object.fromEntries(columns.map((name, i) => [name, row[i]])))
  const unused = () => Effect.dieMessage("not used by the archive")
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: unused,
    executeValues: (sql, params) => rowsOf(sql, params, (row) => row),
    executeStream: unused as never
  }
}

/** Opens the file as `SqliteArchive.make` does. */
export const openInProcess = (path: string): Effect.Effect<OpenArchive, SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const open = (role: "reader" | "writer") =>
      Effect.acquireRelease(
        Effect.try({ try: () => openSqliteFile({ path, role, busyTimeoutMs: 0 }), catch: failed }),
        (file) => Effect.sync(() => file.close())
      )
    const writer = yield* open("writer")
    const reader = yield* open("reader")
    const writing = Effect.acquireRelease(Effect.succeed(connectionOver(writer)), () =>
      Effect.sync(() => writer.reset())
    )
    const sql = yield* SqlClient.make({
      acquirer: Effect.succeed(connectionOver(reader)),
      transactionAcquirer: writing,
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: []
    }).pipe(Effect.provide(Reactivity.layer))
    const tables = makeTables()
    const dialect = SqliteDialect.make(tables)
    yield* migrateAndVerify(dialect, tables, runAnywhere(sql), (migration) =>
      transaction(sql, dialect.begin, migration)
    )
    return SqlArchive.make({
      sql,
      dialect,
      tables,
      target: `sqlite:${path}`,
      maxContentBytes: 1e8,
      commit: (records, node) =>
        Effect.flatMap(
          Effect.try({
            try: () => writer.commit(packRecords(records), contentsOf(records), node),
            catch: failed
          }),
          (reply) => resultOf(records, reply)
        ),
      damage: Effect.map(connectionOver(reader).execute(SqliteDialect.damageQuery, [], undefined), (rows) =>
        SqliteDialect.damageIn(rows as ReadonlyArray<Record<string, unknown>>)
      ),
      secrets: []
    })
  })
