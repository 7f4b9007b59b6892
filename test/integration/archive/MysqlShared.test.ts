/** The archive over the application's own client. */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import { MysqlClient } from "@effect/sql-mysql2"
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { describe, expect, inject } from "vitest"
import { Archive } from "../../../src/archive/Archive.js"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { describeArchive, put } from "../../archive/suite.js"
import { openedIn } from "../../support/components.js"
import { freshDatabase } from "./mysql.js"

const over = (sql: SqlClient.SqlClient, options: MysqlArchive.SharedSqlClientOptions = {}) =>
  openedIn(Archive).pipe(
    Effect.provide(
      Layer.provide(MysqlArchive.layerSqlClient(options), Layer.succeed(SqlClient.SqlClient, sql))
    )
  )

const clientOf = (url: Redacted.Redacted<string>, maxConnections: number) =>
  Effect.provide(MysqlClient.make({ url, maxConnections }), Reactivity.layer)

describeArchive(
  "MySQL archive over the application's client",
  Effect.gen(function* () {
    const url = yield* freshDatabase(inject("mysqlUrl"))
    const sql = yield* clientOf(url, 6)
    return {
      archive: yield* over(sql),
      another: MysqlArchive.make({ url }),
      damage: (id) => Effect.orDie(sql`UPDATE items SET updated_at = updated_at + 1 WHERE id = ${id}`)
    }
  }),
  { timeout: 120_000 }
)

describe("a client shared with the application", () => {
  const settings = [
    "sql_mode",
    "time_zone",
    "sql_select_limit",
    "sql_big_selects",
    "max_statement_time",
    "tx_isolation",
    "character_set_results",
    "autocommit",
    "wait_timeout"
  ]
  const own =
    "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+05:00', sql_select_limit = 7, sql_big_selects = 0, " +
    "max_statement_time = 9, tx_isolation = 'SERIALIZABLE', character_set_results = NULL, wait_timeout = 1234"
  const shown = (sql: SqlClient.SqlClient) =>
    sql.unsafe<Record<string, unknown>>(
      `SELECT CONNECTION_ID() AS id, ${settings.map((name) => `@@SESSION.${name} AS ${name}`).join()}`
    ).unprepared

  it.scopedLive("gets its sessions back as they were, also from calls that failed or were interrupted", () =>
    Effect.gen(function* () {
      const sql = yield* clientOf(yield* freshDatabase(inject("mysqlUrl")), 1)
      yield* sql.unsafe(own).unprepared
      const before = yield* shown(sql)
      const archive = yield* over(sql)
      yield* archive.commit([put("a", 1), put("b", 1)])
      expect(yield* archive.scanIds({ prefix: "" }, 10)).toEqual(["a", "b"])
      yield* sql.unsafe("ALTER TABLE items ADD CONSTRAINT small CHECK (version < 100)").unprepared
      expect(yield* Effect.flip(archive.commit([put("c", 100)]))).toMatchObject({ kind: "permanent" })
      const working = yield* Effect.fork(
        archive.commit(Array.from({ length: 500 }, (_, n) => put(`d.${n}`, 1)))
      )
      yield* Effect.sleep("5 millis")
      yield* Fiber.interrupt(working)
      expect(yield* shown(sql)).toEqual(before)
    })
  )

  it.scopedLive("is one pool, and no call runs in the application's transaction", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const sql = yield* clientOf(url, 4)
      const archive = yield* over(sql, { maxConnections: 2 })
      yield* sql`CREATE TABLE notes (id INTEGER PRIMARY KEY)`
      const undone = yield* sql
        .withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO notes (id) VALUES (1)`
            yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => archive.commit([put(`n.${n}`, n)]), {
              concurrency: "unbounded"
            })
            // On the transaction's own connection this would be seen, and undone with it.
            expect(yield* archive.count({ prefix: "n" })).toBe(6)
            return yield* Effect.fail("undone")
          })
        )
        .pipe(Effect.flip)
      expect(undone).toBe("undone")
      expect(yield* sql`SELECT id FROM notes`).toEqual([])
      expect(yield* archive.count({ prefix: "n" })).toBe(6)
      const processes = yield* sql<{ readonly db: string | null }>`SHOW PROCESSLIST`
      const database = new URL(Redacted.value(url)).pathname.slice(1)
      expect(processes.filter(({ db }) => db === database).length).toBeLessThanOrEqual(3)
    })
  )

  it.scopedLive("says when it is exhausted, and fails a call in time", () =>
    Effect.gen(function* () {
      const sql = yield* clientOf(yield* freshDatabase(inject("mysqlUrl")), 1)
      const archive = yield* over(sql, { queryTimeout: "300 millis" })
      const error = yield* sql.withTransaction(
        Effect.zipRight(sql`SELECT 1`, Effect.flip(archive.getMany(["a"])))
      )
      expect(error).toMatchObject({ kind: "transient", overdue: true })
      expect(yield* archive.getMany(["a"])).toEqual([])
    })
  )
})
