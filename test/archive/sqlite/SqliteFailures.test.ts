import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql"
import { it } from "@effect/vitest"
import Database from "better-sqlite3"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { describe, expect } from "vitest"
import { Archive } from "../../../src/archive/Archive.js"
import type { ArchiveError } from "../../../src/archive/ArchiveError.js"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { transaction } from "../../../src/archive/sql/SqlSession.js"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import * as SqliteWorkerClient from "../../../src/archive/sqlite/SqliteWorkerClient.js"
import { MerkleTree } from "../../../src/merkle/MerkleTree.js"
import { tombstone } from "../../../src/SyncItem.js"
import { openedIn } from "../../support/components.js"
import { recompute } from "../../support/recompute.js"
import { withoutThreads } from "../../support/WithoutThreads.js"
import { put } from "../suite.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "archive-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const opened = Effect.gen(function* () {
  const path = join(yield* directory, "archive.db")
  return { path, archive: yield* SqliteArchive.make({ path, busyTimeout: "50 millis" }) }
})

const threads = () =>
  (process as unknown as { getActiveResourcesInfo: () => Array<string> })
    .getActiveResourcesInfo()
    .filter((name) => name === "MessagePort").length

describe("SQLite archive, when things fail", () => {
  it.scopedLive("refuses a path that cannot be a database, says why, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const base = yield* directory
      writeFileSync(
        join(base, "text"),
        "this is no database file, it only looks like a file of some kind\n".repeat(99)
      )
      mkdirSync(join(base, "folder"))
      const before = threads()
      const problem = (path: string) =>
        Effect.map(Effect.flip(SqliteArchive.make({ path })), (error) => {
          expect(error._tag).toBe("ArchiveStartError")
          expect(error.target).toBe(`sqlite:${path}`)
          return error.problem
        })
      expect(yield* problem(join(base, "missing", "archive.db"))).toContain("directory does not exist")
      expect(yield* problem(join(base, "text"))).toContain("file is not a database")
      expect(yield* problem(join(base, "folder"))).toContain("unable to open database file")
      expect(yield* problem(":memory:")).toContain("needs a file")
      // The scope is still open: failed starts have cleaned up by themselves.
      expect(threads()).toBe(before)
    })
  )

  it.scopedLive("refuses tables that are not its own", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "foreign.db")
      const database = new Database(path)
      database.exec("CREATE TABLE items(name TEXT)")
      database.close()
      const error = yield* Effect.flip(SqliteArchive.make({ path }))
      expect(error.problem).toContain("no such column")
    })
  )

  it.scopedLive("gets the table of a later migration, also when an earlier attempt was only recorded", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      const visit = Effect.scoped(
        Effect.gen(function* () {
          const archive = yield* SqliteArchive.make({ path })
          yield* archive.commit([put("a", 1)])
          yield* archive.writers.leave({ node: "a", token: undefined })
          return yield* archive.count({ prefix: "" })
        })
      )
      expect(yield* visit).toBe(1)
      for (const recorded of ["", "DELETE FROM archive_migrations WHERE migration_id = 7"]) {
        const database = new Database(path)
        database.exec(`DROP TABLE writers; ${recorded}`)
        database.close()
        expect(yield* visit).toBe(1)
      }
    })
  )

  it.scopedLive("decides by the rows as they are once it has the database to itself", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      const archive = yield* SqliteArchive.make({ path })
      const other = yield* SqliteArchive.make({ path })
      yield* archive.commit([put("a", 1), put("b", 1)])
      const held = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const holding = yield* transaction(other.client, "BEGIN IMMEDIATE", (run) =>
        run({ text: "UPDATE items SET version = 9 WHERE id = 'a'", params: [] }).pipe(
          Effect.zipRight(Deferred.succeed(held, undefined)),
          Effect.zipRight(Deferred.await(end))
        )
      ).pipe(Effect.fork)
      yield* Deferred.await(held)
      const committing = yield* Effect.fork(archive.commit([put("a", 5), put("b", 5)]))
      // Long enough for it to read, if it did not wait.
      yield* Effect.sleep("100 millis")
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(holding)
      expect((yield* Fiber.join(committing)).applied).toBe(1)
      const versions = (yield* archive.heads(["a", "b"])).map(({ id, version }) => `${id} ${version}`)
      expect(versions.sort()).toEqual(["a 9", "b 5"])
    })
  )

  it.scopedLive("closes its threads and leaves one file", () =>
    Effect.gen(function* () {
      const base = yield* directory
      const before = threads()
      const layer = SqliteArchive.layer({ path: join(base, "archive.db") })
      yield* Effect.provide(
        Effect.scoped(Effect.flatMap(openedIn(Archive), (archive) => archive.commit([put("a", 1)]))),
        layer
      )
      expect(threads()).toBe(before)
      expect(readdirSync(base)).toEqual(["archive.db"])
      yield* Effect.provide(
        Effect.gen(function* () {
          const archive = yield* openedIn(Archive)
          expect(yield* archive.getMany(["a"])).toEqual([put("a", 1)])
          expect(yield* archive.maxVersion).toBe(1)
          expect(yield* archive.root).toBe(MerkleTree.from([put("a", 1)]).root)
        }).pipe(Effect.scoped),
        layer
      )
    })
  )

  it.scopedLive("syncs every commit to the disk", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const connection = yield* archive.client.reserve
      expect(yield* connection.executeValues("PRAGMA synchronous", [])).toEqual([[2]])
      expect(yield* connection.executeValues("PRAGMA journal_mode", [])).toEqual([["wal"]])
    })
  )

  it.scopedLive("opens again after a thread died, and keeps no half of a batch", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      yield* archive.commit([put("a", 1)])
      const before = yield* archive.root

      const begun = yield* Deferred.make<void>()
      const transfer = yield* transaction(archive.client, "BEGIN IMMEDIATE", (run) =>
        Effect.gen(function* () {
          yield* run({ text: "DELETE FROM items", params: [] })
          yield* Deferred.succeed(begun, undefined)
          yield* Effect.sleep("50 millis")
          yield* run({ text: "DELETE FROM tree", params: [] })
        })
      ).pipe(Effect.exit, Effect.fork)
      yield* Deferred.await(begun)
      yield* archive.client.kill("writer")
      expect(Exit.isFailure(yield* Fiber.join(transfer))).toBe(true)
      expect(yield* archive.root).toBe(before)
      expect((yield* archive.commit([put("a", 2)])).rootBefore).toBe(before)

      yield* archive.client.kill("reader")
      expect(yield* archive.getMany(["a"])).toEqual([put("a", 2)])
    })
  )

  it.scopedLive("fails while the system has no thread for it, and goes on when it has", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      yield* archive.commit([put("a", 1)])
      yield* archive.client.kill("writer")
      const inTransaction = Effect.exit(transaction(archive.client, "BEGIN IMMEDIATE", () => Effect.void))
      yield* withoutThreads(
        Effect.gen(function* () {
          expect(yield* Effect.flip(archive.commit([put("a", 2)]))).toMatchObject({ kind: "transient" })
          expect(Exit.isFailure(yield* inTransaction)).toBe(true)
        })
      )
      expect((yield* archive.commit([put("a", 3)])).applied).toBe(1)
      expect(Exit.isSuccess(yield* inTransaction)).toBe(true)
    })
  )

  it.scopedLive("reports a call that a dying thread took along as transient", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const slow =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT COUNT(*) FROM n"
      yield* Effect.fork(Effect.exit(archive.client.unsafe(slow)))
      const call = yield* Effect.fork(Effect.flip(archive.root))
      yield* Effect.sleep("20 millis")
      yield* archive.client.kill("reader")
      expect(yield* Fiber.join(call)).toMatchObject({
        _tag: "ArchiveError",
        kind: "transient",
        operation: "root"
      })
    })
  )

  it.scopedLive("leaves the transaction when COMMIT fails, and types the failure", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      yield* archive.commit([put("a", 1)])
      // A deferred constraint is checked by COMMIT itself.
      const database = new Database(path)
      database.exec("CREATE TABLE parent(id TEXT PRIMARY KEY)")
      database.exec("CREATE TABLE child(id TEXT REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)")
      database.exec(
        "CREATE TRIGGER poison AFTER INSERT ON items WHEN new.id LIKE 'bad%' BEGIN INSERT INTO child VALUES (new.id); END"
      )
      database.close()
      const before = yield* archive.root
      yield* Effect.scoped(
        Effect.flatMap(archive.client.reserve, (c) =>
          c.executeUnprepared("PRAGMA foreign_keys = ON", [], undefined)
        )
      )
      const error = yield* Effect.flip(archive.commit([put("bad.1", 1), put("good.1", 1)]))
      expect(error).toMatchObject({ kind: "permanent", operation: "commit" })
      expect(error.problem).toContain("FOREIGN KEY constraint failed")
      expect(yield* archive.root).toBe(before)
      expect((yield* archive.commit([put("good.1", 1)])).applied).toBe(1)
      expect(yield* archive.scanIds({ prefix: "" }, 10)).toEqual(["a", "good.1"])

      // Also when the plain withTransaction of the client meets such a COMMIT.
      const exit = yield* Effect.exit(
        archive.client.withTransaction(archive.client.unsafe("INSERT INTO child VALUES ('x')"))
      )
      expect(Exit.isFailure(exit)).toBe(true)
      expect((yield* archive.commit([put("good.2", 1)])).applied).toBe(1)
    })
  )

  it.scopedLive("tells a refused row from a busy file", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      const database = new Database(path)
      database.exec(
        "CREATE TRIGGER poison BEFORE INSERT ON items WHEN new.id = 'poison' BEGIN SELECT RAISE(ABORT, 'no such things here'); END"
      )
      const refused = yield* Effect.flip(archive.commit([put("fine", 1), put("poison", 1)]))
      expect(refused).toMatchObject({ kind: "permanent" })
      expect(refused.message).toContain("no such things here")
      expect((yield* archive.commit([put("fine", 1)])).applied).toBe(1)

      database.exec("BEGIN IMMEDIATE")
      const busy = yield* Effect.fork(archive.commit([put("late", 1)]))
      yield* Effect.sleep("150 millis")
      // Readers do not wait for a writer.
      expect(yield* archive.count({ prefix: "" })).toBe(1)
      database.exec("COMMIT")
      expect((yield* Fiber.join(busy)).applied).toBe(1)
      database.close()
    })
  )

  it.scopedLive("commits behind a transaction of several messages, and not within it", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const held = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const holding = yield* transaction(archive.client, "BEGIN IMMEDIATE", (run) =>
        run({
          text: "INSERT INTO lineage (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING",
          params: []
        }).pipe(
          Effect.zipRight(Deferred.succeed(held, undefined)),
          Effect.zipRight(Deferred.await(end)),
          Effect.zipRight(run({ text: "UPDATE lineage SET name = 'later'", params: [] }))
        )
      ).pipe(Effect.fork)
      yield* Deferred.await(held)
      const committing = yield* Effect.fork(archive.commit([put("a", 5)]))
      yield* Effect.sleep("100 millis")
      expect(yield* archive.heads(["a"])).toEqual([])
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(holding)
      expect((yield* Fiber.join(committing)).applied).toBe(1)
      expect(yield* archive.lineage).toBe("later")
    })
  )

  it.scopedLive("never leaves a transaction open when interrupted", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const records = Array.from({ length: 3_000 }, (_, i) => put(`i.${i}`, 1))
      for (let round = 0; round < 30; round++) {
        const batch = records.map((record) => put(record.id, round + 1))
        const fiber = yield* Effect.fork(archive.commit(batch))
        yield* Effect.sleep(round)
        yield* Fiber.interrupt(fiber)
      }
      const result = yield* archive.commit([put("after", 1)])
      expect(result.applied).toBe(1)
      expect((yield* recompute(archive)).root).toBe(result.rootAfter)
    })
  )

  it.scopedLive("lets two archives on one file write the same ids", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      const other = yield* SqliteArchive.make({ path, busyTimeout: "5 seconds" })
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (i) => (i % 2 === 0 ? archive : other).commit([put("same", 1 + ((i * 7) % 20)), put(`own.${i}`, 1)]),
        { concurrency: 4, discard: true }
      )
      expect((yield* other.getMany(["same"]))[0]!.version).toBe(20)
      expect((yield* recompute(archive)).root).toBe(yield* other.root)
    })
  )

  it.scopedLive("fails calls after its scope was closed", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      const scope = yield* Scope.make()
      const archive = yield* Scope.extend(SqliteArchive.make({ path }), scope)
      yield* Scope.close(scope, Exit.void)
      expect(yield* Effect.flip(archive.root)).toMatchObject({ kind: "transient" })
      expect(yield* Effect.flip(archive.commit([put("a", 1)]))).toMatchObject({ kind: "transient" })
    })
  )

  it.scopedLive("keeps no row of the tree for a path without items", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      yield* archive.commit([put("a.b.c", 1), put("a.b.d", 1), put("a.x.y", 1)])
      yield* archive.commit([tombstone("a.b.c", 2, 2), tombstone("a.b.d", 2, 2)])
      const paths = archive.client.unsafe("SELECT path FROM tree ORDER BY path").values
      expect(yield* paths).toEqual([[""], ["a"], ["a.x"]])
      yield* archive.commit([tombstone("a.x.y", 2, 2)])
      expect(yield* paths).toEqual([[""]])
    })
  )

  it.scopedLive("adds to sums whose parts have drifted far beyond what a JavaScript number holds", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      yield* archive.commit([put("a", 1)])
      const root = yield* archive.root
      const database = new Database(path)
      // The same sum modulo 2^256, said with parts beyond what a JavaScript number holds.
      database.exec(
        "UPDATE tree SET s1 = s1 + (1 << 60) + 1, s2 = s2 - (1 << 28), s0 = s0 - 4294967296 WHERE path = ''"
      )
      expect(yield* archive.root).toBe(root)
      const result = yield* archive.commit([put("b", 1)])
      expect(result.rootBefore).toBe(root)
      expect(result.rootAfter).toBe(MerkleTree.from([put("a", 1), put("b", 1)]).root)
      expect(yield* archive.root).toBe(result.rootAfter)
      database.close()
    })
  )

  it.scopedLive("works off the main thread", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const slow =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT COUNT(*) AS n FROM n"
      const query = yield* Effect.fork(archive.client.unsafe(slow))
      let turns = 0
      while ((yield* Fiber.poll(query))._tag === "None") {
        yield* Effect.sleep("1 millis")
        turns++
      }
      expect(turns).toBeGreaterThan(20)
    })
  )

  it.scopedLive("shows the JSON of live items to SQL", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const content = new TextEncoder().encode('{"n":42}')
      yield* archive.commit([put("j", 1, "", { content, contentType: "json", state: "s" }), put("b", 1)])
      const rows = yield* archive.client.unsafe(
        "SELECT id, version, updated_at, state, content ->> 'n' AS n FROM items_json"
      )
      expect(rows).toEqual([{ id: "j", version: 1, updated_at: 1_001, state: "s", n: 42 }])
    })
  )

  it.scopedLive("is an SqlClient like any other", () =>
    Effect.gen(function* () {
      const sql = (yield* SqliteWorkerClient.make({
        path: join(yield* directory, "plain.db"),
        busyTimeoutMs: 5_000
      })) as SqlClient.SqlClient
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`CREATE TABLE t(a INTEGER, b BLOB, c TEXT)`
          yield* sql`INSERT INTO t ${sql.insert([
            { a: 2 ** 53 - 1, b: new Uint8Array([1, 2]), c: "x" },
            { a: -1, b: new Uint8Array(0), c: null }
          ])}`
        })
      )
      expect(yield* sql`SELECT * FROM t ORDER BY a`).toEqual([
        { a: -1, b: new Uint8Array(0), c: null },
        { a: 2 ** 53 - 1, b: new Uint8Array([1, 2]), c: "x" }
      ])
      expect(yield* sql`SELECT typeof(a) AS kind FROM t`.values).toEqual([["integer"], ["integer"]])
      expect(yield* sql`SELECT typeof(${2 ** 40}) AS kind, typeof(${0.5}) AS other`).toEqual([
        { kind: "integer", other: "real" }
      ])
      // Whoever keeps one small value does not keep the whole answer alive.
      const [row] = yield* sql<{ b: Uint8Array }>`SELECT b FROM t ORDER BY a DESC`
      expect(row!.b.buffer.byteLength).toBe(2)
      const exit = yield* Effect.exit(
        sql.withTransaction(Effect.zipRight(sql`DELETE FROM t`, Effect.fail("no")))
      )
      expect(exit).toEqual(Exit.fail("no"))
      expect(yield* sql`SELECT COUNT(*) AS n FROM t`).toEqual([{ n: 2 }])
    }).pipe(Effect.provide(Reactivity.layer))
  )
})

describe("SQLite archive, its file", () => {
  it.scopedLive("removed or replaced while it is open: nothing is read or committed, until it is back", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      yield* archive.commit([put("kept", 1, "a")])
      const { lineage } = archive
      const name = yield* lineage
      renameSync(path, `${path}.moved`)
      for (const call of [archive.ping, archive.commit([put("lost", 2, "b")]), archive.heads(["kept"])]) {
        const error = yield* Effect.flip(call as Effect.Effect<unknown, ArchiveError>)
        expect(error.message).toContain("was removed while it is in use")
        expect(error.kind).toBe("transient")
      }
      writeFileSync(path, "")
      expect((yield* Effect.flip(archive.ping)).message).toContain("was replaced")
      rmSync(path)
      renameSync(`${path}.moved`, path)
      yield* archive.ping
      yield* archive.commit([put("next", 3, "c")])
      expect((yield* archive.heads(["kept", "lost", "next"])).map(({ id }) => id)).toEqual(["kept", "next"])
      expect(yield* lineage).toBe(name)
    })
  )

  it.scopedLive("is complete without its -wal file after a checkpoint, and private", () =>
    Effect.gen(function* () {
      const { archive, path } = yield* opened
      yield* archive.commit([put("a", 1, "x".repeat(100_000))])
      for (const suffix of ["", "-wal", "-shm"]) expect(statSync(path + suffix).mode & 0o777).toBe(0o600)
      yield* archive.checkpoint
      const copy = `${path}-copy`
      copyFileSync(path, copy)
      const again = yield* SqliteArchive.make({ path: copy })
      expect((yield* again.heads(["a"])).map(({ id }) => id)).toEqual(["a"])
      expect(yield* again.root).toBe(yield* archive.root)
      expect(yield* again.lineage).toBe(yield* archive.lineage)
    })
  )

  it.scopedLive("a record that no tree can take is refused for good", () =>
    Effect.gen(function* () {
      const { archive } = yield* opened
      const early = { ...put("early", 1, "a"), updatedAt: -5 }
      expect((yield* Effect.flip(archive.commit([early]))).kind).toBe("permanent")
      const memory = yield* Effect.flip(MemoryArchive.make().commit([early]))
      expect(memory.kind).toBe("permanent")
    })
  )
})
