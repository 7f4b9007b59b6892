/**
 * One connection to a MySQL or MariaDB server. The driver's own time limit for a statement only tells who asked: the
 * statement stays at the head of the connection's queue until its answer is whole, and with a server that hangs or a
 * network that swallows packets all that is asked next would wait behind it for ever. Here every wait has a limit of
 * its own, on a timer that no uninterruptible region can hold back: what was asked fails then, and the connection is
 * destroyed.
 */
import { connect, type Socket } from "node:net"
import { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import * as Mysql from "mysql2"
import type { MysqlTarget } from "../../config/MysqlUrl.js"

export interface MysqlConnectionOptions {
  readonly target: MysqlTarget
  /** How long connecting and shaking hands may take. */
  readonly connectTimeoutMs: number
  /** How long a statement may take until its answer is whole. */
  readonly answerTimeoutMs: number
}

const textAlone = (text: string, values: unknown): string => {
  if (Array.isArray(values) && values.length > 0)
    throw new RangeError("a statement sent as text takes no values")
  return text
}

const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code })

const sqlError = (cause: unknown): SqlError => new SqlError({ cause, message: "Failed to execute statement" })

type Done = (error: (Error & { readonly fatal?: boolean }) | null, result?: unknown) => void

export class MysqlConnection {
  /** Why it is of no use any more. */
  lost: Error | undefined
  private readonly socket: Socket
  private readonly driver: Mysql.Connection
  private readonly asked = new Set<(error: unknown) => void>()
  private onQuiet: (() => void) | undefined

  constructor(
    private readonly options: MysqlConnectionOptions,
    closed: (connection: MysqlConnection) => void
  ) {
    const { target } = options
    this.socket = connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 10_000
    })
    const verified = target.tls === "verified"
    this.driver = Mysql.createConnection({
      stream: () => this.socket,
      host: target.host,
      port: target.port,
      database: target.database,
      password: target.password,
      ...(target.user === "" ? {} : { user: target.user }),
      ...(target.tls === "off" ? {} : { ssl: { rejectUnauthorized: verified, verifyIdentity: verified } }),
      connectTimeout: 0,
      charset: "utf8mb4",
      multipleStatements: true,
      supportBigNumbers: true,
      // Values stand in the text already; looking for placeholders would read every byte of it once more.
      queryFormat: textAlone,
      // No stack trace for every query.
      trace: false
    } as Mysql.ConnectionOptions)
    this.driver.on("error", (error: Error) => this.lose(error))
    this.socket.on("error", (error) => this.lose(error))
    this.socket.on("close", () => {
      this.lose(failure("PROTOCOL_CONNECTION_LOST", "the server closed the connection"))
      closed(this)
    })
    this.socket.on("timeout", () => this.quit())
  }

  /** Waits until the server has let this connection in and `prepare` is done, both within one limit. */
  open<A>(prepare: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    const { connectTimeoutMs } = this.options
    const late = () => failure("ETIMEDOUT", `connect ETIMEDOUT: not ready within ${connectTimeoutMs} ms`)
    return Effect.suspend(() => {
      const timer = setTimeout(() => this.lose(late()), connectTimeoutMs)
      return this.ask(connectTimeoutMs, late, (done) => this.driver.connect(done)).pipe(
        Effect.zipRight(prepare),
        Effect.ensuring(Effect.sync(() => clearTimeout(timer)))
      )
    })
  }

  /** Runs statements as text; the result of one is its rows or what it changed, of several a list of these. */
  query(sql: string, rowsAsArray = false): Effect.Effect<unknown, SqlError> {
    return this.answered((done) => this.driver.query({ sql, rowsAsArray }, done))
  }

  /** Runs one statement through the binary protocol. */
  execute(
    sql: string,
    values: ReadonlyArray<unknown>,
    rowsAsArray = false
  ): Effect.Effect<unknown, SqlError> {
    return this.answered((done) => this.driver.execute({ sql, rowsAsArray, values: [...values] }, done))
  }

  /** Destroys the connection; whoever waits for an answer gets this error. */
  lose(error: Error): void {
    if (this.lost !== undefined) return
    this.lost = error
    this.socket.destroy()
    for (const fail of [...this.asked]) fail(error)
  }

  /** Says goodbye; the socket is gone a second later at the latest. */
  quit(): void {
    if (this.lost !== undefined) return
    this.lost = failure("PROTOCOL_CONNECTION_LOST", "the connection is closed")
    this.driver.end()
    const timer = setTimeout(() => this.socket.destroy(), 1_000)
    this.socket.once("close", () => clearTimeout(timer))
  }

  /** Calls once nothing is being asked: what an interrupted caller left behind still runs on the server. */
  whenQuiet(call: () => void): void {
    if (this.asked.size === 0) call()
    else this.onQuiet = call
  }

  /** Says goodbye by itself once it was idle for so long; 0 for never. */
  quitWhenIdle(idleMs: number): void {
    this.socket.setTimeout(idleMs)
  }

  private answered(send: (done: Done) => void): Effect.Effect<unknown, SqlError> {
    const { answerTimeoutMs } = this.options
    return this.ask(
      answerTimeoutMs,
      () => failure("ANSWER_OVERDUE", `no whole answer within ${answerTimeoutMs} ms`),
      send
    )
  }

  private ask(
    limitMs: number,
    late: () => Error,
    send: (done: Done) => void
  ): Effect.Effect<unknown, SqlError> {
    return Effect.async((resume) => {
      if (this.lost !== undefined) {
        resume(Effect.fail(sqlError(this.lost)))
        return
      }
      const end = (answer: Effect.Effect<unknown, SqlError>) => {
        if (!this.asked.delete(fail)) return
        clearTimeout(timer)
        resume(answer)
        if (this.asked.size > 0) return
        const { onQuiet } = this
        this.onQuiet = undefined
        onQuiet?.()
      }
      const fail = (error: unknown) => end(Effect.fail(sqlError(error)))
      const timer = setTimeout(() => this.lose(late()), limitMs)
      this.asked.add(fail)
      try {
        send((error, result) => {
          if (error === null || error === undefined) end(Effect.succeed(result))
          else if (error.fatal === true) this.lose(error)
          else fail(error)
        })
      } catch (error) {
        fail(error)
      }
    })
  }
}
