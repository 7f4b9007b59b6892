/**
 * An application that has a MySQL client already: a table of its own, and the sync engine's archive, over one pool.
 * `npm run example -- shared-sql` in the repository runs it against a MariaDB of its own, or against `MYSQL_URL`.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as SqlClient from "@effect/sql/SqlClient"
import { MysqlClient } from "@effect/sql-mysql2"
import { Config, Effect, Layer, Option } from "effect"
import { SyncEngine, textOf } from "effect-sync-engine"
import { Cache } from "effect-sync-engine/Cache"
import { ExistenceFilter } from "effect-sync-engine/ExistenceFilter"
import * as MysqlArchive from "effect-sync-engine/MysqlArchive"
import * as SqliteLog from "effect-sync-engine/SqliteLog"

const poolSize = 6

/** The application's one client. Everything below shares this layer, so it is built once. */
const Sql = MysqlClient.layerConfig(
  Config.all({ url: Config.redacted("MYSQL_URL"), maxConnections: Config.succeed(poolSize) })
)

const engineOver = (dataDir: string) =>
  SyncEngine.layer(
    { dataDir },
    Layer.mergeAll(
      SqliteLog.layer({ path: join(dataDir, "wal.db") }),
      MysqlArchive.layerSqlClient({ maxConnections: 3 }),
      Cache.layerNone,
      ExistenceFilter.layer
    )
  )

const archived = { durability: "archive" } as const

const check = (holds: boolean, claim: string) =>
  holds ? Effect.log(`ok: ${claim}`) : Effect.die(new Error(`does not hold: ${claim}`))

const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const engine = yield* SyncEngine
  yield* sql`CREATE TABLE IF NOT EXISTS invoices (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)`
  const settings = sql`SELECT @@SESSION.sql_mode AS mode, @@SESSION.time_zone AS zone`
  const before = yield* settings

  yield* Effect.forEach(
    Array.from({ length: 50 }, (_, n) => n),
    (n) =>
      Effect.zipRight(
        engine.submit({ id: `invoices.${n}`, content: JSON.stringify({ cents: n }) }, archived),
        sql`REPLACE INTO invoices (id, cents) VALUES (${n}, ${n})`
      ),
    { concurrency: 20, discard: true }
  )

  // A call of the engine inside a transaction of the application is none of that transaction's.
  const undone = Effect.gen(function* () {
    yield* sql`UPDATE invoices SET cents = 0`
    yield* engine.submit({ id: "audit.1", content: "tried" }, archived)
    return yield* Effect.fail("changed our mind")
  })
  yield* Effect.ignore(sql.withTransaction(undone))
  const [row] = yield* sql<{ readonly total: string | number }>`SELECT SUM(cents) AS total FROM invoices`
  yield* check(Number(row?.total) === 1225, "the application's transaction was undone")
  const audit = yield* engine.get("audit.1")
  yield* check(Option.isSome(audit) && textOf(audit.value) === "tried", "and what the engine wrote stays")

  // The server counts: what is connected to this database is the application's pool.
  const processes = yield* sql<{ readonly own: number }>`
    SELECT COUNT(*) AS own FROM information_schema.PROCESSLIST WHERE DB = DATABASE()`
  const connections = Number(processes[0]?.own)
  yield* check(connections <= poolSize, `one pool: ${connections} connections of at most ${poolSize}`)
  yield* check(
    JSON.stringify(yield* settings) === JSON.stringify(before),
    "sessions return as the application set them"
  )
})

const main = Effect.gen(function* () {
  const dataDir = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "shared-sql-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  yield* Effect.provide(program, engineOver(dataDir).pipe(Layer.provideMerge(Sql)))
})

NodeRuntime.runMain(Effect.scoped(main))
