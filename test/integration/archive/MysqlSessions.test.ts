import { it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { describe, expect } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { TierUnavailable } from "../../../src/EngineError.js"
import { put } from "../../archive/suite.js"
import { recompute } from "../../support/recompute.js"
import { startMysql } from "../../support/servers.js"
import { eventually, startEngine, temporaryDirectory } from "../engine/support.js"
import { degraded, isWell, rawSql } from "../engine/tiers.js"
import { freshDatabase } from "./mysql.js"

/** A server whose settings may be changed, one connection that may do so, a new database. */
const ownServer = (...extra: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => startMysql(extra)),
      (server) => Effect.promise(() => server.stop())
    )
    const sql = yield* rawSql(server.url)
    const url = yield* freshDatabase(server.url)
    const run = (text: string) => sql.unsafe<Record<string, unknown>>(text).unprepared
    return { run, url, database: new URL(Redacted.value(url)).pathname.slice(1) }
  })

/** A user that may read and write, and nothing else. */
const plainUser = (
  { database, run, url }: Effect.Effect.Success<ReturnType<typeof ownServer>>,
  rights = "SELECT, INSERT, UPDATE, DELETE"
) =>
  Effect.gen(function* () {
    for (const host of ["localhost", "%"]) {
      yield* run(`CREATE USER 'plain'@'${host}' IDENTIFIED BY 'pw'`)
      yield* run(`GRANT ${rights} ON ${database}.* TO 'plain'@'${host}'`)
    }
    const plain = new URL(Redacted.value(url))
    plain.username = "plain"
    plain.password = "pw"
    return Redacted.make(plain.href)
  })

const definitions = (run: Effect.Effect.Success<ReturnType<typeof ownServer>>["run"]) =>
  Effect.map(
    run(
      "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_create_table', 'Com_create_view', 'Com_alter_table', 'Com_create_index', 'Com_drop_view')"
    ),
    (rows) => rows.reduce((sum, row) => sum + Number(row.Value), 0)
  )

describe("MySQL archive, whatever the server's settings are", () => {
  it.scopedLive("sets and checks its sessions instead of believing the server", () =>
    Effect.gen(function* () {
      const server = yield* ownServer()
      const url = yield* plainUser(server)
      yield* Effect.scoped(MysqlArchive.make({ url: server.url }))
      const hostile = [
        "autocommit = 0",
        "completion_type = 'RELEASE'",
        "sql_select_limit = 1",
        "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "tx_isolation = 'SERIALIZABLE'",
        "transaction_isolation = 'SERIALIZABLE'",
        "tx_read_only = 1",
        "transaction_read_only = 1",
        "sql_big_selects = 0",
        "max_join_size = 1",
        "sql_safe_updates = 1",
        "time_zone = '-07:00'",
        "character_set_client = latin1",
        "character_set_results = latin1",
        "collation_connection = latin1_german2_ci",
        "innodb_lock_wait_timeout = 1000000",
        "lock_wait_timeout = 1000000",
        "wait_timeout = 1000000",
        "max_statement_time = 0.000001",
        "max_execution_time = 1",
        // For whoever is no administrator, after the handshake: as a server that forces a character set.
        "init_connect = 'SET NAMES latin1'"
      ]
      for (const setting of hostile) yield* Effect.ignore(server.run(`SET GLOBAL ${setting}`))

      const archive = yield* MysqlArchive.make({ url })
      const ids = ["😀.1", "é.2", "a.3"]
      for (let version = 1; version <= 3; version++) {
        yield* archive.commit(ids.map((id) => put(id, version, undefined, { state: `état ${version}` })))
      }
      const other = yield* MysqlArchive.make({ url })
      expect(
        (yield* other.getMany(ids)).map(({ id, state, version }) => [id, version, state]).sort()
      ).toEqual(ids.map((id) => [id, 3, "état 3"]).sort())
      expect((yield* other.scan({ prefix: "" }, { limit: 10, maxBytes: 1e6 })).length).toBe(3)
      expect(yield* other.count({ prefix: "", state: "état 3" })).toBe(3)
      expect((yield* recompute(other)).root).toBe(yield* archive.root)
      const session = yield* archive.client.unsafe<{ wait: number; locks: number; zone: string }>(
        "SELECT @@wait_timeout AS wait, @@innodb_lock_wait_timeout AS locks, @@time_zone AS zone"
      ).unprepared
      expect(session).toEqual([{ wait: 30, locks: 10, zone: "+00:00" }])
    })
  )

  it.scopedLive("refuses the start where a session cannot be set, and says what and why", () =>
    Effect.gen(function* () {
      const server = yield* ownServer("--log-bin=log", "--server-id=1", "--binlog-format=STATEMENT")
      const privileged = yield* MysqlArchive.make({ url: server.url })
      yield* privileged.commit([put("a", 1)])
      const url = yield* plainUser(server)
      const error = yield* Effect.flip(MysqlArchive.make({ url }))
      expect(error).toMatchObject({ kind: "refused" })
      expect(error.problem).toContain("binlog_format is STATEMENT and has to be ROW")
      expect(error.problem).toContain("denied")
      yield* server.run("SET GLOBAL binlog_format = 'MIXED'")
      const archive = yield* MysqlArchive.make({ url })
      expect((yield* archive.commit([put("a", 2)])).applied).toBe(1)
    })
  )

  it.scopedLive("refuses packets that are too small, at the start and when they become so", () =>
    Effect.gen(function* () {
      const server = yield* ownServer()
      yield* server.run(`SET GLOBAL max_allowed_packet = ${64 * 1024}`)
      const error = yield* Effect.flip(MysqlArchive.make({ url: server.url }))
      expect(error).toMatchObject({ kind: "refused" })
      expect(error.problem).toContain("max_allowed_packet is 65536 and has to be at least 1048576")

      yield* server.run(`SET GLOBAL max_allowed_packet = ${1024 * 1024}`)
      const archive = yield* MysqlArchive.make({ url: server.url })
      const content = new Uint8Array(archive.maxContentBytes).map((_, i) => i * 7)
      const wide = Array.from({ length: 1_000 }, (_, i) =>
        put(`${"x".repeat(240)}.${i}`, 1, "y".repeat(2_000))
      )
      yield* archive.commit([put("largest", 1, undefined, { content }), ...wide])
      expect((yield* archive.getMany(wide.map(({ id }) => id))).length).toBe(1_000)

      yield* server.run(`SET GLOBAL max_allowed_packet = ${512 * 1024}`)
      const later = yield* Effect.forEach([1, 2, 3], () => Effect.either(archive.count({ prefix: "" })), {
        concurrency: "unbounded"
      })
      expect(later.some(({ _tag }) => _tag === "Left")).toBe(true)
    })
  )

  it.scopedLive("leaves a server that has become read-only, for reads too, and says so", () =>
    Effect.gen(function* () {
      const server = yield* ownServer()
      const dataDir = yield* temporaryDirectory
      const engine = yield* startEngine({
        sql: Redacted.value(server.url),
        dataDir,
        l1MaxBytes: 0,
        healthInterval: 200
      })
      yield* engine.service.submit({ id: "a", content: "1" }, { durability: "archive" })
      const archive = yield* MysqlArchive.make({ url: server.url })
      expect(yield* archive.maxVersion).toBeGreaterThan(0)
      // The user may write nevertheless: a privileged user is not stopped by the server.
      yield* server.run("SET GLOBAL read_only = 1")
      for (const call of [
        archive.root,
        archive.getMany(["a"]),
        archive.commit([put("b", 1)]),
        archive.ping
      ]) {
        const error = yield* Effect.flip(Effect.asVoid<unknown, unknown, never>(call))
        expect(error).toMatchObject({ kind: "transient", problem: expect.stringContaining("read-only") })
      }
      expect(yield* Effect.flip(engine.service.get("a"))).toBeInstanceOf(TierUnavailable)
      yield* eventually(
        "the archive is degraded",
        Effect.map(degraded(engine), (components) => components.includes("archive"))
      )
      const starting = yield* Effect.flip(MysqlArchive.make({ url: server.url }))
      expect(starting).toMatchObject({ kind: "unreachable", problem: expect.stringContaining("read-only") })
      yield* server.run("SET GLOBAL read_only = 0")
      yield* eventually("all is well", isWell(engine))
      expect((yield* archive.heads(["b"])).length).toBe(0)
      yield* engine.service.submit({ id: "a", content: "2" }, { durability: "archive" })
    })
  )

  it.scopedLive("needs no more than reading and writing once the tables are there", () =>
    Effect.gen(function* () {
      const server = yield* ownServer()
      const url = yield* plainUser(server)
      const refused = yield* Effect.flip(MysqlArchive.make({ url }))
      expect(refused).toMatchObject({
        kind: "refused",
        problem: expect.stringContaining("CREATE command denied")
      })
      yield* Effect.scoped(MysqlArchive.make({ url: server.url }))
      const before = yield* definitions(server.run)
      const archives = yield* Effect.forEach(
        Array.from({ length: 10 }),
        () => MysqlArchive.make({ url, maxConnections: 1 }),
        { concurrency: "unbounded" }
      )
      yield* archives[0]!.commit([put("a", 1)])
      yield* archives[1]!.writers.heartbeat({
        node: "n",
        known: undefined,
        fresh: "1",
        exclusive: true,
        leaseMs: 1000,
        lapsed: []
      })
      expect((yield* archives[9]!.rebuildTree).rows).toBe(1)
      expect(yield* archives[8]!.purgeTombstones(9e12, 10)).toBe(0)
      expect(yield* definitions(server.run)).toBe(before)
    })
  )

  it.scopedLive(
    "is migrated once by ten that start at once, and nothing is defined inside a transaction",
    () =>
      Effect.gen(function* () {
        const server = yield* ownServer()
        const before = yield* definitions(server.run)
        yield* server.run("SET GLOBAL general_log = 0")
        yield* server.run("SET GLOBAL log_output = 'TABLE'")
        yield* server.run("SET GLOBAL general_log = 1")
        const archives = yield* Effect.forEach(
          Array.from({ length: 10 }),
          () => MysqlArchive.make({ url: server.url }),
          { concurrency: "unbounded" }
        )
        yield* server.run("SET GLOBAL general_log = 0")
        const defined = (yield* definitions(server.run)) - before
        expect(defined).toBeGreaterThan(0)
        expect(defined).toBeLessThan(10)
        expect(new Set(yield* Effect.forEach(archives, ({ lineage }) => lineage)).size).toBe(1)
        const statements = yield* server.run(
          "SELECT thread_id, CONVERT(argument USING utf8mb4) AS text FROM mysql.general_log WHERE command_type = 'Query' ORDER BY event_time"
        )
        const open = new Set<unknown>()
        let seen = 0
        for (const { text, thread_id } of statements) {
          const statement = String(text)
          if (/^(START TRANSACTION|BEGIN)/i.test(statement)) open.add(thread_id)
          if (/^(COMMIT|ROLLBACK)/i.test(statement)) open.delete(thread_id)
          if (!/^CREATE/i.test(statement)) continue
          seen++
          expect(open.has(thread_id), statement.slice(0, 60)).toBe(false)
        }
        expect(seen).toBe(defined)
      })
  )
})
