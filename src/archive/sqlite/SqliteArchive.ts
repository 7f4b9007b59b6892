/**
 * The archive in a SQLite file: the embedded default.
 *
 * @since 0.1.0
 */

import { Duration, Effect, Layer, Schedule, type Scope } from "effect"
import type { ArchiveStartError } from "../../EngineError.js"
import type { OpenArchive } from "../Archive.js"
import { Archive } from "../Archive.js"
import { sqliteAdvice } from "../ArchiveErrors.js"
import { migrateAndVerify } from "../sql/Schema.js"
import * as SqlArchive from "../sql/SqlArchive.js"
import { tables as makeTables } from "../sql/SqlDialect.js"
import { runAnywhere, transaction } from "../sql/SqlSession.js"
import { start } from "../sql/StartArchive.js"
import * as SqliteDialect from "./SqliteDialect.js"
import * as SqliteWorkerClient from "./SqliteWorkerClient.js"

/**
 * Where the file is, and how long to wait for another process.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqliteArchiveOptions {
  /** The database file. Its directory must exist; the file is made when there is none. */
  readonly path: string
  /** How long a statement waits for another process's lock; 5 seconds unless given. */
  readonly busyTimeout?: Duration.DurationInput | undefined
}

/** Far below SQLite's own limit of 1 GB, so that a content is never what a thread runs out of memory for. */
const maxContentBytes = 256 * 1024 * 1024

/** A reader in the middle of a statement is in the way for a moment. */
const checkpointRetries = Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(50))

const checkpoint = (client: SqliteWorkerClient.SqliteWorkerClient) =>
  Effect.scoped(
    Effect.flatMap(client.reserve, (writer) =>
      // What this archive folds in by itself would be in the way as well, for as long as it takes.
      Effect.zipRight(
        client.folded,
        writer.executeUnprepared("PRAGMA wal_checkpoint(TRUNCATE)", [], undefined)
      )
    )
  ).pipe(
    Effect.filterOrFail(
      ([row]) => Number(row?.busy) === 0,
      () => "somebody is reading or writing it"
    ),
    Effect.asVoid,
    Effect.retry({ schedule: checkpointRetries, while: (error) => typeof error === "string" })
  )

/**
 * Opens the database in worker threads and brings its tables up to date. A failed start leaves nothing
 * behind but, possibly, an empty file; it may be tried again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: SqliteArchiveOptions
): Effect.Effect<
  OpenArchive & { readonly client: SqliteWorkerClient.SqliteWorkerClient },
  ArchiveStartError,
  Scope.Scope
> =>
  start(
    `sqlite:${options.path}`,
    [],
    Effect.gen(function* () {
      if (options.path === "" || options.path === ":memory:") {
        return yield* Effect.fail("the SQLite archive needs a file; there is an in-memory archive for tests")
      }
      const client = yield* SqliteWorkerClient.make({
        path: options.path,
        busyTimeoutMs: Duration.toMillis(options.busyTimeout ?? "5 seconds")
      })
      const tables = makeTables()
      const dialect = SqliteDialect.make(tables)
      yield* migrateAndVerify(dialect, tables, runAnywhere(client), (migration) =>
        transaction(client, dialect.begin, migration)
      )
      const archive = SqlArchive.make({
        sql: client,
        dialect,
        tables,
        target: `sqlite:${options.path}`,
        maxContentBytes,
        commit: client.commit,
        checkpoint: checkpoint(client),
        damage: Effect.map(client.aside(SqliteDialect.damageQuery), SqliteDialect.damageIn),
        secrets: []
      })
      return { ...archive, client }
    }),
    sqliteAdvice
  )

/**
 * The archive in a SQLite file. Nothing is opened before the engine starts.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteArchiveOptions): Layer.Layer<Archive> =>
  Layer.sync(Archive, () => ({ open: make(options) }))
