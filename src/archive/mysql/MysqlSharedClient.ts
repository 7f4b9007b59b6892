/**
 * The application's own MySQL client, its connections lent to the archive. Each is set for the archive when it is
 * taken and set back before it returns; one that cannot be set back is ended at the server, so that the application
 * never gets it. Every call takes a connection for itself: nothing here runs in a transaction of the application.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, type Scope } from "effect"
import { poolOver, poolSlots, readOnlyServer } from "./MysqlPool.js"
import { prepareSession, type SessionOptions, settingText } from "./MysqlSession.js"

export interface MysqlSharedClientOptions extends SessionOptions {
  /** How many connections may be taken at once. */
  readonly maxConnections: number
}

// What `prepareSession` changes before it looks.
const before =
  "SELECT CONNECTION_ID() AS id, @@GLOBAL.read_only AS readOnly, @@SESSION.sql_big_selects AS sql_big_selects, " +
  "@@SESSION.sql_select_limit AS sql_select_limit /*M!, @@SESSION.max_statement_time AS max_statement_time */"

/** Sets the session of a connection that was just taken; closing the scope sets it back. */
const lend = (
  connection: Connection,
  options: SessionOptions
): Effect.Effect<number, SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const ask = (text: string) => connection.executeUnprepared(text, [], undefined)
    // What a broken transaction of the application has left open would hide what others have committed since.
    yield* ask("ROLLBACK")
    const [{ id, readOnly, ...own } = {}] = yield* ask(before)
    const end = Effect.ignore(Effect.sandbox(ask(`KILL ${Number(id)}`)))
    if (Number(readOnly) !== 0) return yield* readOnlyServer
    const { changed, maxPacket } = yield* Effect.onError(prepareSession(ask, options), () => end)
    const was = Object.entries({ ...Object.fromEntries(changed), ...own })
    const setBack = was.map(([name, value]) => `SESSION ${name} = ${settingText(name, String(value))}`).join()
    yield* Effect.addFinalizer(() =>
      Effect.catchAllCause(Effect.zipRight(ask("ROLLBACK"), ask(`SET ${setBack}`)), () => end)
    )
    return maxPacket
  })

/** The same connection, whose rows as arrays are no reason to prepare a statement that is never run again. */
const unprepared = (connection: Connection): Connection => ({
  execute: (...args) => connection.execute(...args),
  executeRaw: (...args) => connection.executeRaw(...args),
  executeStream: (...args) => connection.executeStream(...args),
  executeUnprepared: (...args) => connection.executeUnprepared(...args),
  executeValues: (sql, params) =>
    params.length > 0
      ? connection.executeValues(sql, params)
      : Effect.map(connection.executeUnprepared(sql, params, undefined), (rows) => rows.map(Object.values))
})

/** Takes one connection to learn the server's limits; further ones when they are needed. */
export const make = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  options: MysqlSharedClientOptions
) {
  const slots = poolSlots(options)
  yield* Effect.addFinalizer(() => Effect.sync(() => slots.close()))
  return yield* poolOver((restore, carries) =>
    Effect.gen(function* () {
      yield* slots.take(restore)
      yield* Effect.addFinalizer(() => Effect.sync(() => slots.giveBack()))
      const connection = yield* sql.reserve
      yield* carries(yield* lend(connection, options))
      return unprepared(connection)
    })
  )
})
