/**
 * Transactions that end. `SqlClient.withTransaction` turns a failed COMMIT into a defect and may leave the
 * connection inside the transaction; here every way out - failure, defect, interruption, a COMMIT that
 * fails - is followed by a ROLLBACK on the same connection, and fails with what went wrong first.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Exit } from "effect"
import type { Query } from "./SqlDialect.js"

export type Row = Readonly<Record<string, unknown>>

/** Runs a statement and returns its rows. */
export type Run = (query: Query) => Effect.Effect<ReadonlyArray<Row>, SqlError>

/** Runs statements on one connection. */
export const runOn =
  (connection: Connection): Run =>
  ({ params, prepared, text }) =>
    prepared === true
      ? connection.execute(text, params, undefined)
      : connection.executeUnprepared(text, params, undefined)

/**
 * Runs statements wherever the client likes, each on its own. Their texts hold the application's data, so they
 * are not traced.
 */
export const runAnywhere =
  (sql: SqlClient.SqlClient): Run =>
  ({ params, text }) =>
    Effect.withTracerEnabled(sql.unsafe<Row>(text, params).unprepared, false)

/** Runs `body` between `begin` and COMMIT. Statements of the client itself go to the same connection meanwhile. */
export const transaction = <A, E, R>(
  sql: SqlClient.SqlClient,
  begin: string,
  body: (run: Run) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.scoped(
      Effect.gen(function* () {
        const connection = yield* restore(sql.reserve)
        const run = runOn(connection)
        const command = (text: string) => run({ text, params: [] })
        const rollback = Effect.ignore(Effect.sandbox(command("ROLLBACK")))
        const work = Effect.zipRight(
          command(begin),
          Effect.suspend(() => body(run))
        )
        const exit = yield* work.pipe(
          Effect.provideService(SqlClient.TransactionConnection, [connection, 0]),
          restore,
          Effect.exit
        )
        if (Exit.isFailure(exit)) {
          yield* rollback
          return yield* exit
        }
        const committed = yield* Effect.exit(command("COMMIT"))
        if (Exit.isFailure(committed)) {
          yield* rollback
          return yield* Exit.failCause(committed.cause)
        }
        return exit.value
      })
    )
  )
