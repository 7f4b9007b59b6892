/**
 * The archive in MySQL or MariaDB, over `@effect/sql-mysql2`.
 *
 * @since 0.1.0
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ArchiveStartError } from "../EngineError.js"
import { Archive, ArchiveError } from "./Archive.js"
import * as MysqlDialect from "./MysqlDialect.js"
import * as MysqlSockets from "./MysqlSockets.js"
import * as MysqlUrl from "./MysqlUrl.js"
import { migrateAndVerify } from "./Schema.js"
import * as SqlArchive from "./SqlArchive.js"
import { tables as makeTables, type Tables } from "./SqlDialect.js"
import { start } from "./StartArchive.js"

/** @since 0.1.0 @category models */
export interface MysqlArchiveOptions {
  /** `mysql://user:password@host:port/database`, optionally `?tls=true`. */
  readonly url: Redacted.Redacted<string>
  /** Connections at most; 10 unless given. */
  readonly maxConnections?: number | undefined
  /** How long connecting and shaking hands may take; 5 seconds unless given. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * How long the server may leave a statement without a byte of an answer before its connection is given up;
   * 30 seconds unless given. A whole call, which may be several statements and a wait for a connection, fails
   * after twice that; `recompute` and `rebuildTree` take the time they need.
   */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /** Put before the name of every table; letters, digits and `_`. Empty unless given. */
  readonly tablePrefix?: string | undefined
}

/** What the server reserves in a packet besides the content: the other fields, lengths, the statement. */
const packetMargin = 64 * 1024

const withoutLimit = new Set(["recompute", "rebuildTree"])

// Waits for an answer in a fiber of its own: an interrupted or timed-out caller goes on at once, and the
// transaction behind is rolled back when the connection answers or is given up.
const bounded =
  (limit: Duration.Duration) =>
  <A>(operation: string, effect: Effect.Effect<A, ArchiveError>): Effect.Effect<A, ArchiveError> =>
    withoutLimit.has(operation)
      ? Effect.disconnect(effect)
      : Effect.timeoutFail(Effect.disconnect(effect), {
          duration: limit,
          onTimeout: () =>
            new ArchiveError({
              operation,
              kind: "transient",
              problem: `no answer within ${Duration.toMillis(limit)} ms`
            })
        })

/** The pool, closed in two seconds at most whatever the server does. */
const openPool = (
  target: MysqlUrl.MysqlTarget,
  maxConnections: number,
  connectTimeout: Duration.Duration,
  queryTimeout: Duration.Duration
) =>
  Effect.gen(function* () {
    const sockets = MysqlSockets.make({
      host: target.host,
      port: target.port,
      answerTimeoutMs: Duration.toMillis(queryTimeout)
    })
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) =>
      Scope.close(scope, exit).pipe(
        Effect.interruptible,
        Effect.disconnect,
        Effect.timeoutOption("2 seconds"),
        Effect.zipRight(Effect.sync(sockets.destroyAll))
      )
    )
    return yield* MysqlClient.make({
      host: target.host,
      port: target.port,
      database: target.database,
      ...(target.user === "" ? {} : { username: target.user }),
      password: Redacted.make(target.password),
      maxConnections,
      poolConfig: {
        stream: sockets.open,
        connectTimeout: Duration.toMillis(connectTimeout),
        queueLimit: 1_000,
        // As many as may be open: the pool then needs no timer, which would outlive a failed start.
        maxIdle: maxConnections,
        // Values stand in the text already; looking for placeholders would read every byte of it once more.
        queryFormat: textAlone,
        // No stack trace for every query.
        trace: false,
        ...(target.tls === "off"
          ? {}
          : {
              ssl: {
                rejectUnauthorized: target.tls === "verified",
                verifyIdentity: target.tls === "verified"
              }
            })
      }
    }).pipe(Scope.extend(scope))
  })

const textAlone = (text: string, values: unknown): string => {
  if (Array.isArray(values) && values.length > 0)
    throw new RangeError("a statement sent as text takes no values")
  return text
}

// One node migrates at a time. Polled, because a wait in the server would count as a statement without answer.
const oneNodeAtATime =
  (sql: SqlClient.SqlClient, tables: Tables) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) => {
    const name = `CONCAT('sync-engine:', MD5(CONCAT(DATABASE(), '.${tables.items}')))`
    const tryLock = sql.unsafe<{ locked: number | null }>(`SELECT GET_LOCK(${name}, 0) AS locked`).unprepared
    const lock = Effect.flatMap(tryLock, (rows) =>
      Number(rows[0]?.locked) === 1 ? Effect.void : Effect.fail("another node is migrating the tables")
    ).pipe(Effect.retry(Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(300))))
    const unlock = Effect.ignore(Effect.sandbox(sql.unsafe(`SELECT RELEASE_LOCK(${name})`).unprepared))
    return Effect.acquireUseRelease(
      Effect.interruptible(lock),
      () => effect,
      () => unlock
    )
  }

const refused = (problem: string) => new ArchiveStartError({ target: "mysql", kind: "refused", problem })

/**
 * Connects, brings the tables up to date and asks the server for its limits. A failed start leaves nothing
 * behind on this side; it may be tried again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: MysqlArchiveOptions
): Effect.Effect<
  Archive["Type"] & { readonly client: MysqlClient.MysqlClient },
  ArchiveStartError,
  Scope.Scope
> => {
  const parsed = MysqlUrl.parse(Redacted.value(options.url))
  if (Either.isLeft(parsed)) {
    return Effect.fail(refused(`the URL ${parsed.left}`))
  }
  const prefix = options.tablePrefix ?? ""
  if (!/^[A-Za-z0-9_]{0,32}$/.test(prefix)) {
    return Effect.fail(refused("the table prefix takes at most 32 letters, digits and _"))
  }
  const target = parsed.right
  const secrets = [target.password]
  const queryTimeout = Duration.decode(options.queryTimeout ?? "30 seconds")
  const connectTimeout = Duration.decode(options.connectTimeout ?? "5 seconds")
  const tables = makeTables(prefix)
  return start(
    target.label,
    secrets,
    Effect.gen(function* () {
      const client = yield* openPool(target, options.maxConnections ?? 10, connectTimeout, queryTimeout)
      const limits = yield* client.unsafe<{ packet: number }>("SELECT @@max_allowed_packet AS packet")
        .unprepared
      const packet = Number(limits[0]!.packet)
      const dialect = MysqlDialect.make({
        tables,
        maxStatementBytes: Math.min(packet / 2, 2 * 1024 * 1024),
        lockWaitSeconds: Math.max(1, Math.min(10, Math.floor(Duration.toSeconds(queryTimeout) / 2)))
      })
      yield* migrateAndVerify(client, dialect, tables, oneNodeAtATime(client, tables))
      const archive = SqlArchive.make({
        sql: client,
        dialect,
        tables,
        target: target.label,
        maxContentBytes: Math.max(0, packet - packetMargin),
        secrets,
        bounded: bounded(Duration.times(queryTimeout, 2))
      })
      return { ...archive, client }
    })
  )
}

/** @since 0.1.0 @category layers */
export const layer = (options: MysqlArchiveOptions): Layer.Layer<Archive, ArchiveStartError> =>
  Layer.scoped(Archive, make(options))
