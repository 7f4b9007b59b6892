/**
 * The archive in MySQL or MariaDB.
 *
 * @since 0.1.0
 */

import { createHash } from "node:crypto"
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { MysqlClient } from "@effect/sql-mysql2/MysqlClient"
import { Duration, Effect, Either, Layer, Redacted, Schedule, type Scope } from "effect"
import * as MysqlUrl from "../../config/MysqlUrl.js"
import { ArchiveStartError } from "../../EngineError.js"
import type { OpenArchive } from "../Archive.js"
import { Archive } from "../Archive.js"
import { migrateAndVerify } from "../sql/Schema.js"
import * as SqlArchive from "../sql/SqlArchive.js"
import { tables as makeTables, type Tables } from "../sql/SqlDialect.js"
import { type Run, runAnywhere, runOn } from "../sql/SqlSession.js"
import { start } from "../sql/StartArchive.js"
import * as MysqlDialect from "./MysqlDialect.js"
import * as MysqlPool from "./MysqlPool.js"
import * as MysqlSharedClient from "./MysqlSharedClient.js"

/**
 * Where the server is, and the limits of the pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface MysqlArchiveOptions {
  /** `mysql://user:password@host:port/database`, optionally `?tls=true`. */
  readonly url: Redacted.Redacted<string>
  /** Connections at most; 10 unless given. */
  readonly maxConnections?: number | undefined
  /** How long connecting and shaking hands may take; 5 seconds unless given. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * How long a statement may take until its answer is whole, and a caller may wait for a connection; the
   * connection is destroyed then. 30 seconds unless given. A whole call, which may be several statements, fails
   * after twice that; `rebuildTree` takes the time it needs.
   */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /** Put before the name of every table; letters, digits and `_`. Empty unless given. */
  readonly tablePrefix?: string | undefined
}

/** What the server reserves in a packet besides the content: the other fields, lengths, the statement. */
const packetMargin = 64 * 1024

// One node migrates at a time, on one connection, to which the lock belongs. Polled, because a wait in the server
// would count as a statement without answer; for ten seconds, and only while another node has it.
const oneNodeAtATime =
  (sql: SqlClient.SqlClient, tables: Tables) =>
  <E>(migration: (run: Run) => Effect.Effect<void, E>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const run = runOn(yield* sql.reserve)
        const ask = (text: string) => run({ text, params: [] })
        const busy = new Error("another node is migrating the tables")
        const [row] = yield* ask("SELECT DATABASE() AS name")
        // At most 64 characters, whatever the database is called.
        const digest = createHash("sha256").update(`${row?.name}.${tables.items}`).digest("hex")
        const name = `'sync-engine:${digest.slice(0, 40)}'`
        yield* Effect.flatMap(ask(`SELECT GET_LOCK(${name}, 0) AS locked`), (rows) =>
          Number(rows[0]?.locked) === 1 ? Effect.void : Effect.fail(busy)
        ).pipe(
          Effect.retry({
            schedule: Schedule.spaced("100 millis"),
            times: 100,
            while: (error) => error === busy
          })
        )
        yield* Effect.ensuring(migration(run), Effect.ignore(ask(`SELECT RELEASE_LOCK(${name})`)))
      })
    )

// The transaction that has held rows for longest, of those that wait for nobody.
const lockHolder = (sql: SqlClient.SqlClient): Effect.Effect<string, SqlError> =>
  sql
    .unsafe<Record<string, unknown>>(
      "SELECT t.trx_mysql_thread_id AS id, p.user, p.host, p.command, p.time " +
        "FROM information_schema.innodb_trx t LEFT JOIN information_schema.processlist p " +
        "ON p.id = t.trx_mysql_thread_id WHERE t.trx_rows_locked > 0 AND t.trx_state <> 'LOCK WAIT' " +
        "AND t.trx_mysql_thread_id <> CONNECTION_ID() ORDER BY t.trx_started LIMIT 1"
    )
    .unprepared.pipe(
      Effect.map(([found]) =>
        found === undefined
          ? "it has ended meanwhile"
          : `connection ${found.id} of ${found.user}@${found.host}, in state ${found.command} for ${found.time} s`
      ),
      Effect.catchIf(
        ({ cause }) => (cause as { readonly errno?: number } | undefined)?.errno === 1227,
        () => Effect.succeed("whose it is may be seen with the PROCESS privilege alone")
      )
    )

const refused = (problem: string) => new ArchiveStartError({ target: "mysql", kind: "refused", problem })

interface Over {
  readonly label: string
  readonly prefix: string | undefined
  readonly secrets: ReadonlyArray<string>
  readonly queryTimeout: Duration.Duration
  readonly pool: Effect.Effect<MysqlPool.MysqlPool, SqlError, Scope.Scope | Reactivity.Reactivity>
}

const openOver = ({ label, pool, prefix = "", queryTimeout, secrets }: Over) =>
  start(
    label,
    secrets,
    Effect.gen(function* () {
      if (!/^[A-Za-z0-9_]{0,32}$/.test(prefix))
        return yield* refused("the table prefix takes at most 32 letters, digits and _")
      const tables = makeTables(prefix)
      const { client, maxPacket } = yield* pool
      const dialect = MysqlDialect.make({
        tables,
        maxStatementBytes: Math.min(maxPacket / 8, 2 * 1024 * 1024)
      })
      yield* migrateAndVerify(dialect, tables, runAnywhere(client), oneNodeAtATime(client, tables))
      const archive = SqlArchive.make({
        sql: client,
        dialect,
        tables,
        target: label,
        maxContentBytes: maxPacket - packetMargin,
        secrets,
        timeLimit: Duration.times(queryTimeout, 2),
        lockHolder: lockHolder(client)
      })
      return { ...archive, client }
    })
  )

/**
 * Connects, brings the tables up to date and asks the server for its limits. A failed start leaves nothing
 * behind on this side; it may be tried again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: MysqlArchiveOptions
): Effect.Effect<OpenArchive & { readonly client: SqlClient.SqlClient }, ArchiveStartError, Scope.Scope> => {
  const parsed = MysqlUrl.parse(Redacted.value(options.url))
  if (Either.isLeft(parsed)) return Effect.fail(refused(`the URL ${parsed.left}`))
  const target = parsed.right
  const queryTimeout = Duration.decode(options.queryTimeout ?? "30 seconds")
  return openOver({
    label: target.label,
    prefix: options.tablePrefix,
    secrets: [target.password],
    queryTimeout,
    pool: MysqlPool.make({
      target,
      maxConnections: options.maxConnections ?? 10,
      connectTimeoutMs: Duration.toMillis(options.connectTimeout ?? "5 seconds"),
      answerTimeoutMs: Duration.toMillis(queryTimeout)
    })
  })
}

/**
 * The archive in MySQL or MariaDB with a pool of its own. Nothing is connected before the engine starts.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: MysqlArchiveOptions): Layer.Layer<Archive> =>
  Layer.sync(Archive, () => ({ open: make(options) }))

/**
 * What the archive may use of the application's client.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedSqlClientOptions {
  /**
   * How many of the client's connections the archive takes at once; 4 unless given, at least 2. The others are the
   * application's: a transaction of its own that waits for the engine needs one besides.
   */
  readonly maxConnections?: number | undefined
  /**
   * A whole call, which may be several statements, fails after twice that; 30 seconds unless given. The server is
   * told to end a statement after that time. A statement to a server that hangs keeps its connection until the
   * client gives it up: the pool is the application's, and so are its time limits.
   */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /** Put before the name of every table; letters, digits and `_`. Empty unless given. */
  readonly tablePrefix?: string | undefined
}

const makeShared = (sql: SqlClient.SqlClient, options: SharedSqlClientOptions) => {
  const queryTimeout = Duration.decode(options.queryTimeout ?? "30 seconds")
  const isMysql = sql.onDialectOrElse({ mysql: () => true, orElse: () => false })
  if (!isMysql) return Effect.fail(refused("the application's SqlClient is not one for MySQL or MariaDB"))
  // For messages alone; a client that tells nothing of itself has nothing to hide.
  const { password, url } = (sql as Partial<Pick<MysqlClient, "config">>).config ?? {}
  const parsed = url === undefined ? undefined : Either.getOrUndefined(MysqlUrl.parse(Redacted.value(url)))
  const secrets = [password === undefined ? "" : Redacted.value(password), parsed?.password ?? ""]
  const shared = MysqlSharedClient.make(sql, {
    maxConnections: Math.max(2, options.maxConnections ?? 4),
    answerTimeoutMs: Duration.toMillis(queryTimeout)
  })
  return openOver({
    label: parsed?.label ?? "the application's SqlClient",
    prefix: options.tablePrefix,
    secrets,
    queryTimeout,
    pool: shared
  })
}

/**
 * The archive in MySQL or MariaDB over the application's own client, sharing its pool. The settings of a session are
 * set when a connection is taken and set back when it returns, and no call runs in a transaction of the application.
 * That costs four round trips a call: where throughput matters take {@link layer}, with a pool of its own.
 *
 * @example
 * ```ts
 * import { SyncEngine } from "effect-sync-engine"
 * import * as MysqlArchive from "effect-sync-engine/MysqlArchive"
 *
 * // Requires the application's SqlClient.
 * const engine = SyncEngine.layer({}, MysqlArchive.layerSqlClient())
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSqlClient = (
  options: SharedSqlClientOptions = {}
): Layer.Layer<Archive, never, SqlClient.SqlClient> =>
  Layer.effect(
    Archive,
    Effect.map(SqlClient.SqlClient, (sql) => ({ open: makeShared(sql, options) }))
  )
