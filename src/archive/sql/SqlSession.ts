/**
 * Where the archive's statements run: each wherever the client likes, or all on the connection of a transaction.
 *
 * Transactions that end. `SqlClient.withTransaction` turns a failed COMMIT into a defect and may leave the
 * connection inside the transaction; here every way out - failure, defect, interruption, a COMMIT that
 * fails - is followed by a ROLLBACK on the same connection, and fails with what went wrong first.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import { Context, Effect, Exit } from "effect"
import type { Leaf } from "../../merkle/Tree.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { Dialect, Query, QueryText, Tables } from "./SqlDialect.js"
import { leafIn, type Row } from "./SqlRows.js"

// A longer statement took long enough to write that others get their turn.
const bytesPerTurn = 128 * 1024

/** Runs a statement and returns its rows. */
export type Run = (query: Query) => Effect.Effect<ReadonlyArray<Row>, SqlError>

// Arrays know their columns by position: only who has asked for them reads them.
const asRows = (rows: Effect.Effect<unknown, SqlError>) => rows as ReturnType<Run>

/** Runs statements on one connection. */
export const runOn =
  (connection: Connection): Run =>
  ({ arrays, params, prepared, text }) => {
    if (arrays === true) return asRows(connection.executeValues(text, params))
    return prepared === true
      ? connection.execute(text, params, undefined)
      : connection.executeUnprepared(text, params, undefined)
  }

/**
 * Runs statements wherever the client likes, each on its own. Their texts hold the application's data, so they
 * are not traced.
 */
export const runAnywhere =
  (sql: SqlClient.SqlClient): Run =>
  ({ arrays, params, text }) => {
    const statement = sql.unsafe<Row>(text, params)
    const rows = arrays === true ? asRows(statement.values) : statement.unprepared
    return Effect.withTracerEnabled(rows, false)
  }

/**
 * Keeps what runs here out of a transaction in which the caller's fiber may be: that is the application's, on its
 * own connection and perhaps in its own database.
 */
export const outsideTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<R>) =>
      Context.omit(SqlClient.TransactionConnection)(context) as Context.Context<R>
  )

/** Runs `body` between `begin` and COMMIT; one that is told to `end` it sends COMMIT itself. */
export const transaction = <A, E, R>(
  sql: SqlClient.SqlClient,
  begin: string,
  body: (run: Run) => Effect.Effect<A, E, R>,
  end: "itself" | "here" = "here"
): Effect.Effect<A, E | SqlError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.scoped(
      Effect.gen(function* () {
        const run = runOn(yield* restore(sql.reserve))
        const command = (text: string) => run({ text, params: [] })
        const exit = yield* command(begin).pipe(
          Effect.zipRight(Effect.suspend(() => body(run))),
          restore,
          Effect.zipLeft(end === "here" ? command("COMMIT") : Effect.void),
          Effect.exit
        )
        if (Exit.isFailure(exit)) yield* Effect.ignore(Effect.sandbox(command("ROLLBACK")))
        return yield* exit
      })
    )
  )

/** The archive's tables, in one dialect, and where statements about them run. */
export class SqlSession {
  readonly columns: ReturnType<typeof columnsOf>

  constructor(
    readonly dialect: Dialect,
    readonly tables: Tables,
    readonly run: Run
  ) {
    this.columns = columnsOf(dialect)
  }

  /** The same tables elsewhere. */
  on(run: Run): SqlSession {
    return new SqlSession(this.dialect, this.tables, run)
  }

  /** Runs one statement. */
  rows(build: QueryText): Effect.Effect<ReadonlyArray<Row>, SqlError> {
    return Effect.suspend(() => this.run(this.dialect.query(build)))
  }

  /** Runs one statement that selects the columns of leaves. */
  leaves(build: QueryText): Effect.Effect<ReadonlyArray<Leaf>, SqlError> {
    return Effect.suspend(() =>
      Effect.map(this.run({ ...this.dialect.query(build), arrays: true }), (rows) =>
        (rows as ReadonlyArray<unknown> as ReadonlyArray<ReadonlyArray<unknown>>).map(leafIn)
      )
    )
  }

  /** Runs statements one after the other; each is written when it is its turn. */
  readonly runAll = Effect.fnUntraced(function* (this: SqlSession, queries: Iterable<Query>) {
    for (const query of queries) yield* this.run(query)
  })

  /**
   * Runs statements in as few packets as they fit in, and returns what each returns; each is written when it is its
   * turn.
   */
  readonly together = Effect.fnUntraced(function* (this: SqlSession, queries: Iterable<Query>) {
    const { packetBytes } = this.dialect
    const results: Array<ReadonlyArray<Row>> = []
    let texts: Array<string> = []
    let bytes = 0
    const send = Effect.suspend(() => {
      const sent = texts
      if (sent.length === 0) return Effect.void
      texts = []
      bytes = 0
      return Effect.map(this.run({ text: sent.join(";"), params: [] }), (found) => {
        if (sent.length === 1) results.push(found)
        else results.push(...(found as unknown as ReadonlyArray<ReadonlyArray<Row>>))
      })
    })
    for (const query of queries) {
      const { params, text } = query
      if (params.length > 0 || bytes + text.length > packetBytes) yield* send
      if (params.length > 0) results.push(yield* this.run(query))
      else {
        texts.push(text)
        bytes += text.length
        if (text.length > bytesPerTurn) yield* yieldToEventLoop
      }
    }
    yield* send
    return results
  })

  /** Runs one statement for each group of ids that fits, and returns all rows. */
  readonly rowsOfIds = Effect.fnUntraced(function* (
    this: SqlSession,
    ids: ReadonlyArray<string>,
    build: (ids: ReadonlyArray<string>) => QueryText
  ) {
    const size = this.dialect.idsPerStatement
    const queries: Array<Query> = []
    for (let at = 0; at < ids.length; at += size)
      queries.push(this.dialect.query(build(ids.slice(at, at + size))))
    const [first = [], ...others] = yield* this.together(queries)
    return others.length === 0 ? first : first.concat(...others)
  })

  /** Rows of items by their ids, perhaps locked. */
  items(
    ids: ReadonlyArray<string>,
    selected: string,
    suffix = ""
  ): Effect.Effect<ReadonlyArray<Row>, SqlError> {
    const { items } = this.tables
    return this.rowsOfIds(
      ids,
      (some) => (_, isOneOf) =>
        `SELECT ${selected} FROM ${items} WHERE ${isOneOf(`${items}.id`, some)}${suffix}`
    )
  }
}

/** The column lists of the reads. */
const columnsOf = (dialect: Dialect) => {
  const id = `${dialect.asText("id")} AS id`
  const leaf = `${id}, version, updated_at, ${dialect.asHex("content_hash")} AS content_hash`
  const head = "id, version, updated_at, content_hash, deleted"
  const version = `${leaf}, deleted, content_type, ${dialect.asText("state")} AS state`
  const record = `${version}, traceparent, content`
  const total = `${dialect.asText("path")} AS path, count, ${dialect.limbs} AS limbs, top_version`
  return { id, leaf, head, version, record, total }
}
