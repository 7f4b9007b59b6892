import { createServer, type Socket } from "node:net"
import { it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Redacted, Scope } from "effect"
import { describe, expect, inject } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import * as MysqlDialect from "../../../src/archive/mysql/MysqlDialect.js"
import { tables } from "../../../src/archive/sql/SqlDialect.js"
import { transaction } from "../../../src/archive/sql/SqlSession.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { TreeDelta } from "../../../src/merkle/TreeDelta.js"
import { type ItemRecord, tombstone } from "../../../src/SyncItem.js"
import { numbers, put } from "../../archive/suite.js"
import { recompute } from "../../support/recompute.js"
import { mysqlPassword, startMysql } from "../../support/servers.js"
import { freshArchive, freshDatabase } from "./mysql.js"

const fresh = (options: Omit<MysqlArchive.MysqlArchiveOptions, "url"> = {}) =>
  Effect.suspend(() => freshArchive(inject("mysqlUrl"), options))

const sockets = () =>
  (process as unknown as { getActiveResourcesInfo: () => Array<string> })
    .getActiveResourcesInfo()
    .filter((name) => name === "TCPSocketWrap" || name === "TCPConnectWrap").length

const timers = () =>
  (process as unknown as { getActiveResourcesInfo: () => Array<string> })
    .getActiveResourcesInfo()
    .filter((name) => name === "Timeout").length

const variant = (base: string, change: (url: URL) => void): Redacted.Redacted<string> => {
  const url = new URL(base)
  change(url)
  return Redacted.make(url.href)
}

describe("MySQL archive, when things fail", () => {
  it.scopedLive("explains why it cannot start, without the password, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const base = inject("mysqlUrl")
      const silent = createServer()
      const accepted: Array<Socket> = []
      silent.on("connection", (socket) => accepted.push(socket))
      yield* Effect.async<void>((resume) => {
        silent.listen(0, "127.0.0.1", () => resume(Effect.void))
      })
      const silentPort = String((silent.address() as { port: number }).port)
      const before = sockets()
      const timersBefore = timers()
      const problem = (url: Redacted.Redacted<string>, kind: "unreachable" | "refused" = "refused") =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(
            MysqlArchive.make({ url, connectTimeout: "300 millis", queryTimeout: "500 millis" })
          )
          expect(error).toMatchObject({ _tag: "ArchiveStartError", kind })
          for (const secret of [mysqlPassword, encodeURIComponent(mysqlPassword), "wrong-password"]) {
            expect(`${error.message} ${JSON.stringify(error)} ${error.stack}`).not.toContain(secret)
          }
          return error.problem
        })
      expect(yield* problem(Redacted.make("nonsense"))).toContain("is not a URL")
      expect(yield* problem(variant(base, (url) => (url.pathname = "/")))).toContain("names no database")
      expect(yield* problem(variant(base, (url) => (url.password = "wrong-password")))).toContain(
        "Access denied"
      )
      expect(yield* problem(variant(base, (url) => (url.pathname = "/no_such_database")))).toContain(
        "Unknown database"
      )
      expect(
        yield* problem(
          variant(base, (url) => (url.port = "1")),
          "unreachable"
        )
      ).toContain("ECONNREFUSED")
      const [took, hung] = yield* Effect.timed(
        problem(
          variant(base, (url) => (url.port = silentPort)),
          "unreachable"
        )
      )
      expect(hung).toContain("ETIMEDOUT")
      expect(Duration.toMillis(took)).toBeLessThan(3_000)
      for (const socket of accepted) socket.destroy()
      yield* Effect.async<void>((resume) => {
        silent.close(() => resume(Effect.void))
      })
      yield* Effect.sleep("50 millis")
      // The scope of the failed starts is still open.
      expect(sockets()).toBeLessThanOrEqual(before)
      expect(timers()).toBeLessThanOrEqual(timersBefore + 1)
    })
  )

  it.scopedLive("closes all its connections with its scope", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const before = sockets()
      for (let round = 0; round < 3; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const archive = yield* MysqlArchive.make({ url })
            yield* Effect.forEach([1, 2, 3, 4], (n) => archive.commit([put(`a.${n}`, round + 1)]), {
              concurrency: 4
            })
          })
        )
      }
      yield* Effect.sleep("50 millis")
      expect(sockets()).toBe(before)
    })
  )

  it.scopedLive("migrates once when several nodes start together, and mends a half-made schema", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const archives = yield* Effect.all(
        Array.from({ length: 5 }, () => MysqlArchive.make({ url })),
        { concurrency: 5 }
      )
      yield* archives[0]!.commit([put("a", 1)])
      expect(yield* archives[4]!.count({ prefix: "" })).toBe(1)
      // As a migration that failed half-way leaves it: recorded as applied, but without its table.
      yield* archives[0]!.client.unsafe("DROP TABLE tree").unprepared
      const again = yield* MysqlArchive.make({ url })
      const truth = yield* again.rebuildTree
      expect(truth.rows).toBe(1)
      expect(yield* again.root).toBe(truth.root)
    })
  )

  it.scopedLive("says why the user may not create tables", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const { archive } = yield* fresh()
      const name = `reader_${process.pid}`
      const database = new URL(Redacted.value(url)).pathname.slice(1)
      yield* Effect.acquireRelease(
        Effect.forEach(
          [
            `CREATE USER '${name}'@'localhost' IDENTIFIED BY 'pw'`,
            `CREATE USER '${name}'@'%' IDENTIFIED BY 'pw'`,
            `GRANT SELECT ON ${database}.* TO '${name}'@'localhost', '${name}'@'%'`
          ],
          (text) => archive.client.unsafe(text).unprepared
        ),
        () =>
          Effect.ignore(archive.client.unsafe(`DROP USER '${name}'@'localhost', '${name}'@'%'`).unprepared)
      )
      const error = yield* Effect.flip(
        MysqlArchive.make({
          url: variant(Redacted.value(url), (target) => {
            target.username = name
            target.password = "pw"
          })
        })
      )
      expect(error.problem).toContain("denied")
    })
  )

  it.scopedLive("lets two nodes write the same ids at once: no deadlock surfaces, the newest wins", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* fresh()
      const other = yield* MysqlArchive.make({ url })
      const random = numbers(3)
      const batches = Array.from({ length: 60 }, () =>
        Array.from(new Set(Array.from({ length: 60 }, () => `s.${random(4)}.${random(60)}`)), (id) => {
          // What a version holds follows from its number: of two contents of one version the first would stay.
          const version = 1 + random(40)
          return version % 5 === 0 ? tombstone(id, version, version) : put(id, version, `${version % 3}`)
        })
      )
      const results = yield* Effect.forEach(
        batches,
        (batch, i) => (i % 2 === 0 ? archive : other).commit(batch),
        { concurrency: 8 }
      )
      const newest = new Map<string, ItemRecord>()
      for (const record of batches.flat()) {
        const known = newest.get(record.id)
        if (known === undefined || record.version > known.version) newest.set(record.id, record)
      }
      const live = [...newest.values()].filter((record) => !record.deleted)
      const root = MerkleTree.from(live).root
      expect(yield* archive.root).toBe(root)
      expect(yield* recompute(other)).toEqual({ root, rows: live.length })
      // Roots before and after form one chain: commits are ordered at the top of the tree.
      const after = new Set(results.map((result) => result.rootAfter))
      const starts = results.filter((result) => !after.has(result.rootBefore))
      expect(new Set(starts.map((result) => result.rootBefore)).size).toBe(1)
    })
  )

  it.scopedLive("commits while another node rebuilds the tree, and the tree is right afterwards", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* fresh()
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit(Array.from({ length: 6_000 }, (_, i) => put(`r.${i % 50}.${i}`, 1)))
      const writing = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: 40 }, (_, i) => i),
          (i) => other.commit([put(`r.${i}.new`, 1), tombstone(`r.${i % 50}.${i}`, 2, 2)]),
          { discard: true, concurrency: 3 }
        )
      )
      for (let i = 0; i < 3; i++) yield* archive.rebuildTree
      yield* Fiber.join(writing)
      const truth = yield* recompute(archive)
      expect(yield* archive.root).toBe(truth.root)
      const rebuilt = yield* other.rebuildTree
      expect(rebuilt).toEqual(truth)
    })
  )

  it.scopedLive(
    "grants a token after the commits under way, and refuses those that come to their end later",
    () =>
      Effect.gen(function* () {
        const { archive, url } = yield* fresh()
        const other = yield* MysqlArchive.make({ url })
        yield* other.commit([put("a.1", 1)])
        const dialect = MysqlDialect.make({ tables: tables(), maxStatementBytes: 1e6 })
        /** Runs a statement in a transaction that stays open until it is told to end. */
        const holding = (text: string) =>
          Effect.gen(function* () {
            const held = yield* Deferred.make<void>()
            const end = yield* Deferred.make<void>()
            const open = yield* transaction(other.client, dialect.begin, (run) =>
              run({ text, params: [] }).pipe(
                Effect.zipRight(Deferred.succeed(held, undefined)),
                Effect.zipRight(Deferred.await(end))
              )
            ).pipe(Effect.fork)
            yield* Deferred.await(held)
            return Effect.zipRight(Deferred.succeed(end, undefined), Fiber.join(open))
          })
        const ask = (fresh: string, known?: string) =>
          archive.writers.heartbeat({ node: "a", known, fresh, exclusive: true, leaseMs: 1000, lapsed: [] })

        const endCommit = yield* holding("UPDATE tree SET count = count + 1 WHERE path = ''")
        const asking = yield* Effect.fork(ask("1"))
        yield* Effect.sleep("200 millis")
        expect(yield* Fiber.poll(asking)).toMatchObject({ _tag: "None" })
        yield* endCommit
        expect(yield* Fiber.join(asking)).toMatchObject({ token: "1", entries: 2 })
        yield* archive.writers.release({ node: "a", token: "1" })

        const endLock = yield* holding("SELECT id FROM items WHERE id = 'a.1' FOR UPDATE")
        const committing = yield* Effect.fork(Effect.either(other.commit([put("a.0", 1), put("a.1", 2)])))
        yield* Effect.sleep("200 millis")
        expect(yield* ask("2")).toMatchObject({ token: "2", entries: 2 })
        expect(yield* Fiber.poll(committing)).toMatchObject({ _tag: "None" })
        yield* endLock
        expect(yield* Fiber.join(committing)).toMatchObject({
          _tag: "Left",
          left: { kind: "transient", problem: expect.stringContaining("sole writer") }
        })
        expect(yield* archive.heads(["a.0", "a.1"])).toMatchObject([{ id: "a.1", version: 1 }])
      })
  )

  it.scopedLive("rebuilds the tree from what a commit under way has written", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* fresh()
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit([put("a.1", 1), put("b.1", 1)])
      const dialect = MysqlDialect.make({ tables: tables(), maxStatementBytes: 1e6 })
      const late = put("a.2", 7)
      const delta = new TreeDelta()
      delta.change(undefined, late)
      const changes = Array.from(delta.toMap(), ([path, total]) => ({ path, ...total }))
      const written = yield* Deferred.make<void>()
      const rebuilding = yield* Deferred.make<void>()
      const committing = yield* transaction(other.client, dialect.commits!.begin, (run) =>
        Effect.gen(function* () {
          for (const query of dialect.inserts([late])) yield* run(query)
          for (const query of dialect.addToTree(changes, 7)) yield* run(query)
          yield* Deferred.succeed(written, undefined)
          yield* Deferred.await(rebuilding)
        })
      ).pipe(Effect.fork)
      yield* Deferred.await(written)
      const rebuild = yield* Effect.fork(archive.rebuildTree)
      // Long enough for the rebuild to read its snapshot, if it did that before it has the tree to itself.
      yield* Effect.sleep("300 millis")
      yield* Deferred.succeed(rebuilding, undefined)
      yield* Fiber.join(committing)
      expect((yield* Fiber.join(rebuild)).rows).toBe(3)
      expect(yield* archive.root).toBe((yield* recompute(archive)).root)
    })
  )

  it.scopedLive("keeps nothing of a batch whose connection is killed inside the transaction", () =>
    Effect.gen(function* () {
      const { archive } = yield* fresh()
      yield* archive.commit([put("a", 1)])
      const before = yield* archive.root
      const id = yield* Deferred.make<number>()
      const killed = yield* Deferred.make<void>()
      const doomed = yield* transaction(archive.client, "START TRANSACTION", (run) =>
        Effect.gen(function* () {
          yield* run({ text: "DELETE FROM items", params: [] })
          const rows = yield* run({ text: "SELECT CONNECTION_ID() AS id", params: [] })
          yield* Deferred.succeed(id, Number(rows[0]!.id))
          yield* Deferred.await(killed)
          yield* run({ text: "DELETE FROM tree", params: [] })
        })
      ).pipe(Effect.exit, Effect.fork)
      yield* archive.client.unsafe(`KILL CONNECTION ${yield* Deferred.await(id)}`).unprepared
      yield* Deferred.succeed(killed, undefined)
      const exit = yield* Fiber.join(doomed)
      // A typed failure and no defect, unlike the client's own withTransaction.
      expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Fail")
      expect(yield* archive.root).toBe(before)
      expect((yield* archive.commit([put("a", 2)])).rootBefore).toBe(before)
    })
  )

  it.scopedLive(
    "reports commits of killed connections as transient, and every batch is whole or absent",
    () =>
      Effect.gen(function* () {
        const { archive, url } = yield* fresh()
        const killer = yield* MysqlArchive.make({ url, maxConnections: 2 })
        const database = new URL(Redacted.value(url)).pathname.slice(1)
        const self = (yield* killer.client.unsafe<{ id: number }>("SELECT CONNECTION_ID() AS id")
          .unprepared)[0]!.id
        const killing = yield* Effect.fork(
          Effect.forever(
            Effect.gen(function* () {
              const rows = yield* killer.client.unsafe<{ id: number }>(
                `SELECT id FROM information_schema.processlist WHERE db = '${database}' AND id <> ${self} AND id <> CONNECTION_ID()`
              ).unprepared
              for (const { id } of rows)
                yield* Effect.ignore(killer.client.unsafe(`KILL CONNECTION ${id}`).unprepared)
              yield* Effect.sleep("17 millis")
            })
          )
        )
        let failed = 0
        for (let version = 1; version <= 60; version++) {
          const batch = Array.from({ length: 150 }, (_, i) => put(`k.${i}`, version))
          const result = yield* Effect.either(archive.commit(batch))
          if (result._tag === "Left") {
            expect(result.left).toMatchObject({ kind: "transient", operation: "commit" })
            failed++
          }
        }
        yield* Fiber.interrupt(killing)
        expect(failed).toBeGreaterThan(0)
        const versions = yield* killer.client.unsafe<{ n: number }>(
          "SELECT COUNT(DISTINCT version) AS n FROM items"
        ).unprepared
        expect(Number(versions[0]!.n)).toBeLessThanOrEqual(1)
        expect((yield* recompute(killer)).root).toBe(yield* killer.root)
        yield* archive.commit([put("k.0", 1_000)])
        expect((yield* recompute(killer)).root).toBe(yield* archive.root)
      })
  )

  it.scopedLive("never leaves a transaction open when interrupted", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* fresh({ maxConnections: 2 })
      const watcher = yield* MysqlArchive.make({ url })
      for (let round = 0; round < 30; round++) {
        const batch = Array.from({ length: 800 }, (_, i) => put(`i.${i}`, round + 1))
        const fiber = yield* Effect.fork(archive.commit(batch))
        yield* Effect.sleep(round)
        yield* Fiber.interrupt(fiber)
      }
      yield* archive.commit([put("after", 1)])
      // What an interrupted commit has sent in one packet may still be carried out.
      yield* Effect.sleep("200 millis")
      expect((yield* recompute(archive)).root).toBe(yield* archive.root)
      const open = yield* watcher.client.unsafe<{ n: number }>(
        "SELECT COUNT(*) AS n FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND t.trx_query IS NULL"
      ).unprepared
      expect(Number(open[0]!.n)).toBe(0)
    })
  )

  it.scopedLive("tells a refused row from an unreachable server", () =>
    Effect.gen(function* () {
      const { archive } = yield* fresh()
      yield* archive.client.unsafe(
        "CREATE TRIGGER poison BEFORE INSERT ON items FOR EACH ROW IF NEW.id = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such things here'; END IF"
      ).unprepared
      const refused = yield* Effect.flip(archive.commit([put("fine", 1), put("poison", 1)]))
      expect(refused).toMatchObject({ kind: "permanent", operation: "commit" })
      expect(refused.problem).toContain("no such things here")
      expect(yield* archive.heads(["fine"])).toEqual([])
      expect((yield* archive.commit([put("fine", 1)])).applied).toBe(1)
      // Never cut short in silence: longer than the column takes.
      const long = yield* Effect.flip(archive.commit([put("state", 1, "x", { state: "s".repeat(65) })]))
      expect(long).toMatchObject({ kind: "permanent" })
    })
  )

  it.scopedLive("takes contents up to what a packet carries", () =>
    Effect.gen(function* () {
      const { archive } = yield* fresh()
      expect(archive.maxContentBytes).toBeGreaterThan(1024 * 1024)
      const content = new Uint8Array(archive.maxContentBytes).map((_, i) => i * 17)
      const largest = put("x".repeat(255), 1, undefined, { content, state: "s".repeat(64) })
      yield* archive.commit([largest])
      const stored = yield* archive.getMany([largest.id])
      expect(Buffer.compare(stored[0]!.content, content)).toBe(0)
      const over = put("over", 1, undefined, {
        content: new Uint8Array(archive.maxContentBytes + 1)
      })
      expect(yield* Effect.flip(archive.commit([put("fine", 1), over]))).toMatchObject({ kind: "permanent" })
      expect((yield* archive.commit([put("next", 1)])).applied).toBe(1)
    })
  )

  it.scopedLive("shows the JSON of live items to SQL", () =>
    Effect.gen(function* () {
      const { archive } = yield* fresh({ tablePrefix: "se_" })
      const content = new TextEncoder().encode('{"n":42,"é":"ü"}')
      yield* archive.commit([put("j", 1, "", { content, contentType: "json", state: "s" }), put("b", 1)])
      const rows = yield* archive.client.unsafe(
        "SELECT id, version, state, JSON_VALUE(content, '$.n') AS n, JSON_VALUE(content, '$.é') AS e FROM se_items_json"
      ).unprepared
      expect(rows).toEqual([{ id: "j", version: 1, state: "s", n: "42", e: "ü" }])
    })
  )

  it.scopedLive("fails in time when no connection is free", () =>
    Effect.gen(function* () {
      const { archive } = yield* fresh({ maxConnections: 1, queryTimeout: "400 millis" })
      const held = yield* Scope.make()
      yield* Scope.extend(archive.client.reserve, held)
      const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      expect(yield* Effect.flip(archive.root)).toMatchObject({ kind: "transient" })
      expect((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - start).toBeLessThan(2_000)
      yield* Scope.close(held, Exit.void)
      expect(yield* archive.maxVersion).toBe(0)
    })
  )

  it.scopedLive(
    "bounds every call while the server is stopped, closes in time, and goes on when it is back",
    () =>
      Effect.gen(function* () {
        const server = yield* Effect.acquireRelease(
          Effect.promise(() => startMysql()),
          (server) => Effect.promise(() => server.stop())
        )
        const now = Effect.clockWith((clock) => clock.currentTimeMillis)
        const url = Redacted.make(server.url)
        const options = { url, queryTimeout: "700 millis", connectTimeout: "500 millis" } as const
        const archive = yield* MysqlArchive.make(options)
        const closing = yield* Scope.make()
        yield* Scope.extend(MysqlArchive.make(options), closing)
        yield* archive.commit([put("a", 1)])

        yield* Effect.sync(() => process.kill(server.pid, "SIGSTOP"))
        const start = yield* now
        const errors = yield* Effect.forEach(
          [
            archive.root,
            archive.commit([put("a", 2)]),
            archive.getMany(["a"]),
            recompute(archive),
            archive.ping
          ],
          (call) => Effect.flip(call as typeof archive.ping),
          { concurrency: "unbounded" }
        )
        expect((yield* now) - start).toBeLessThan(4_000)
        for (const error of errors) expect(error).toMatchObject({ _tag: "ArchiveError", kind: "transient" })
        const closed = yield* now
        yield* Scope.close(closing, Exit.void)
        expect((yield* now) - closed).toBeLessThan(3_500)
        const starting = yield* Effect.flip(MysqlArchive.make(options))
        expect(starting._tag).toBe("ArchiveStartError")

        yield* Effect.sync(() => process.kill(server.pid, "SIGCONT"))
        const result = yield* Effect.retry(archive.commit([put("a", 3)]), { times: 20 })
        expect(result.rootAfter).toBe(MerkleTree.from([put("a", 3)]).root)

        yield* Effect.sync(() => process.kill(server.pid, "SIGKILL"))
        expect(yield* Effect.flip(archive.root)).toMatchObject({ kind: "transient" })
        expect(yield* Effect.flip(archive.commit([put("a", 4)]))).toMatchObject({ kind: "transient" })
        yield* Effect.promise(() => server.restart())
        expect((yield* archive.commit([put("a", 4)])).rootBefore).toBe(result.rootAfter)
        expect((yield* recompute(archive)).root).toBe(yield* archive.root)
      }),
    90_000
  )
})
