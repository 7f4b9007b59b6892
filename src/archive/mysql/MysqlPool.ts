/**
 * A `SqlClient` over a bounded number of MySQL connections. The session of each is set and checked before its
 * first use; the first statement after each taking asks the server, in the same packet, whether it has become
 * read-only: an old primary after a failover would serve its past, and a privileged user could even write to it.
 *
 * Statements are compiled by `@effect/sql-mysql2`; its pool is not used, because a connection that is stalled in the
 * middle of an answer counts as idle there and cannot be taken out.
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import { makeCompiler } from "@effect/sql-mysql2/MysqlClient"
import { Effect, type Scope, Stream } from "effect"
import { MysqlConnection, type MysqlConnectionOptions } from "./MysqlConnection.js"
import { idleSeconds, prepareSession } from "./MysqlSession.js"
import { Slots } from "./Slots.js"

export interface MysqlPoolOptions extends MysqlConnectionOptions {
  readonly maxConnections: number
}

export interface MysqlPool {
  readonly client: SqlClient.SqlClient
  /** The packets that every connection so far can carry. */
  readonly maxPacket: number
}

const problem = (code: string, message: string): SqlError =>
  new SqlError({ cause: Object.assign(new Error(message), { code }), message })

export const poolSlots = ({
  answerTimeoutMs,
  maxConnections
}: Pick<MysqlPoolOptions, "answerTimeoutMs" | "maxConnections">): Slots<SqlError> => {
  const late = `none of the ${maxConnections} connections became free within ${answerTimeoutMs} ms`
  return new Slots({
    size: maxConnections,
    waitMs: answerTimeoutMs,
    exhausted: () => problem("POOL_EXHAUSTED", late),
    closed: () => problem("POOL_CLOSED", "the connections are closed")
  })
}

export const readOnlyServer = problem(
  "SERVER_READ_ONLY",
  "the server is read-only: a replica, or a primary that was replaced; trying again reaches the new one once its address leads there"
)

/** The connections: those that are free, and slots for those that may be taken. */
class Connections {
  readonly all = new Set<MysqlConnection>()
  free: Array<MysqlConnection> = []
  closed = false
  readonly slots: Slots<SqlError>
  private onEmpty: (() => void) | undefined

  constructor(private readonly options: MysqlPoolOptions) {
    this.slots = poolSlots(options)
  }

  take(): MysqlConnection | undefined {
    while (this.free.length > 0) {
      const connection = this.free.pop()!
      if (connection.lost !== undefined) continue
      connection.quitWhenIdle(0)
      return connection
    }
    return undefined
  }

  /** Takes a connection back once it has done what it was asked. */
  readonly release = (connection: MysqlConnection): void =>
    connection.whenQuiet(() => {
      if (this.closed) connection.quit()
      else if (connection.lost === undefined) {
        // Before the server does it: a connection that ends while it is taken would fail its taker.
        connection.quitWhenIdle(idleSeconds(this.options) * 500)
        this.free = this.free.filter(({ lost }) => lost === undefined)
        this.free.push(connection)
      }
      this.slots.giveBack()
    })

  open(): MysqlConnection {
    const connection = new MysqlConnection(this.options, (gone) => {
      this.all.delete(gone)
      if (this.all.size === 0) this.onEmpty?.()
    })
    this.all.add(connection)
    return connection
  }

  /** Drops what is free: it leads to the same server. */
  dropFree(reason: Error): void {
    for (const connection of this.free) connection.lose(reason)
    this.free = []
  }

  /** Says goodbye on all, and ends them two seconds later whatever the server does. */
  readonly close = Effect.async<void>((resume) => {
    this.closed = true
    this.slots.close()
    for (const connection of this.free) connection.quit()
    if (this.all.size === 0) return resume(Effect.void)
    const timer = setTimeout(() => {
      for (const connection of this.all) connection.lose(new Error("the connections are closed"))
    }, 2_000)
    this.onEmpty = () => {
      clearTimeout(timer)
      resume(Effect.void)
    }
  })
}

const guard = "SELECT @@GLOBAL.read_only AS readOnly"

const rowsOf = <A = Record<string, unknown>>(result: unknown): ReadonlyArray<A> =>
  Array.isArray(result) ? result : []

/** A connection as it was just taken. */
const justTaken = (connection: MysqlConnection, connections: Connections): Connection => {
  let guarded = false

  const checked = (answer: unknown): Effect.Effect<void, SqlError> => {
    const [readOnly] = Object.values(rowsOf(answer)[0] ?? {}).map(String)
    if (readOnly === "0" || readOnly === "OFF") return Effect.void
    connection.lose(readOnlyServer)
    connections.dropFree(readOnlyServer)
    return Effect.fail(readOnlyServer)
  }

  // Lazily: what is run first is first, not what is described first.
  const query = (sql: string, rowsAsArray = false): Effect.Effect<unknown, SqlError> =>
    Effect.suspend(() => {
      if (guarded) return connection.query(sql, rowsAsArray)
      guarded = true
      return Effect.flatMap(connection.query(`${guard}; ${sql}`, rowsAsArray), (answers) => {
        const [first, ...rest] = answers as ReadonlyArray<unknown>
        return Effect.as(checked(first), rest.length === 1 ? rest[0] : rest)
      })
    })

  const execute = (sql: string, params: ReadonlyArray<unknown>, rowsAsArray = false) =>
    Effect.suspend(() => {
      const run = connection.execute(sql, params, rowsAsArray)
      if (guarded) return run
      guarded = true
      return Effect.zipRight(Effect.flatMap(connection.query(guard), checked), run)
    })

  const rows = (run: Effect.Effect<unknown, SqlError>, transform: Parameters<Connection["execute"]>[2]) =>
    Effect.map(run, (result) => (transform === undefined ? rowsOf(result) : transform(rowsOf(result))))

  return {
    execute: (sql, params, transform) => rows(execute(sql, params), transform),
    executeUnprepared: (sql, params, transform) =>
      rows(params.length === 0 ? query(sql) : execute(sql, params), transform),
    executeRaw: execute,
    executeValues: (sql, params) =>
      Effect.map(params.length === 0 ? query(sql, true) : execute(sql, params, true), rowsOf<Array<unknown>>),
    executeStream: (sql, params, transform) =>
      Stream.unwrap(Effect.map(rows(execute(sql, params), transform), Stream.fromIterable))
  }
}

/**
 * The client whose connections `take` takes. One is taken at once, to learn what packets the server takes; `carries`
 * has to be asked about every other one.
 */
export const poolOver = Effect.fnUntraced(function* (
  take: (
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
    carries: (packet: number) => Effect.Effect<void, SqlError>
  ) => Effect.Effect<Connection, SqlError, Scope.Scope>
): Effect.fn.Return<MysqlPool, SqlError, Scope.Scope | Reactivity.Reactivity> {
  let maxPacket: number | undefined
  const carries = (packet: number): Effect.Effect<void, SqlError> => {
    maxPacket ??= packet
    if (packet >= maxPacket) return Effect.void
    const text = `max_allowed_packet was ${maxPacket} at the start and is ${packet} now; start again, or set it back`
    return problem("POOL_PACKET", text)
  }
  const acquirer = Effect.uninterruptibleMask((restore) => take(restore, carries))
  yield* Effect.scoped(acquirer)
  const spanAttributes = [["db.system.name", "mysql"]] as const
  const client = yield* SqlClient.make({ acquirer, compiler: makeCompiler(), spanAttributes })
  return { client, maxPacket: maxPacket! }
})

/** Opens the pool: one connection at once, whose session is set and checked; further ones when they are needed. */
export const make = Effect.fnUntraced(function* (options: MysqlPoolOptions) {
  const connections = new Connections(options)
  yield* Effect.addFinalizer(() => connections.close)
  return yield* poolOver((restore, carries) =>
    Effect.gen(function* () {
      yield* connections.slots.take(restore)
      const open = Effect.suspend(() => {
        const connection = connections.open()
        return connection.open(prepareSession((text) => connection.query(text), options)).pipe(
          Effect.flatMap((session) => carries(session.maxPacket)),
          Effect.as(connection),
          Effect.onError(() => Effect.sync(() => connection.lose(new Error("not taken into use"))))
        )
      })
      const connection =
        connections.take() ??
        (yield* Effect.onError(restore(open), () => Effect.sync(() => connections.slots.giveBack())))
      yield* Effect.addFinalizer(() => Effect.sync(() => connections.release(connection)))
      return justTaken(connection, connections)
    })
  )
})
