/**
 * What several parts measure against: servers of the bench's own, and archives with very many items below one path.
 * Each is made when a part first asks for it, kept for the other parts, and removed with the run.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect, Redacted, Scope } from "effect"
import { createConnection } from "mysql2/promise"
import * as MysqlArchive from "../src/archive/mysql/MysqlArchive.js"
import * as MysqlDialect from "../src/archive/mysql/MysqlDialect.js"
import type { Dialect, Query } from "../src/archive/sql/SqlDialect.js"
import { tables as makeTables } from "../src/archive/sql/SqlDialect.js"
import * as SqliteArchive from "../src/archive/sqlite/SqliteArchive.js"
import * as SqliteDialect from "../src/archive/sqlite/SqliteDialect.js"
import { leafSum } from "../src/merkle/Digest.js"
import { ancestors } from "../src/merkle/TreeDelta.js"
import type { ItemRecord } from "../src/SyncItem.js"
import { recompute } from "../test/support/recompute.js"
import { type RunningServer, requireServers, startMysql, startRedis } from "../test/support/servers.js"
import { contentOf, temporaryDirectory } from "./support.js"

export interface Fixtures {
  /** `--small`: a check that the bench runs, not a measurement. */
  readonly small: boolean
  /** An empty database on the bench's MariaDB; returns its URL. */
  readonly mysqlDatabase: (name: string) => Effect.Effect<string, unknown>
  /** A Redis of the caller's own, for as long as its scope is open; returns its URL. */
  readonly redis: Effect.Effect<string, unknown, Scope.Scope>
  /** The file of a SQLite archive with so many items directly below `widePath`. */
  readonly wideSqlite: (count: number) => Effect.Effect<string, unknown>
  /** The database URL of such an archive in MariaDB. */
  readonly wideMysql: (count: number) => Effect.Effect<string, unknown>
}

export const contentBytes = 256
export const widePath = "bench.wide"
export const wideId = (index: number): string => `${widePath}.${String(index).padStart(8, "0")}`

/** The whole number as people read it. */
export const grouped = (value: number): string => Math.round(value).toLocaleString("en")

export const recordOf = (id: string, seed: number, version: number): ItemRecord => {
  const content = contentOf(seed, contentBytes)
  return {
    id,
    version,
    updatedAt: 1_700_000_000_000 + version,
    contentType: "json",
    contentHash: createHash("sha256").update(content).digest("hex"),
    state: undefined,
    content,
    traceparent: undefined,
    deleted: false
  }
}

const loadedAtOnce = 10_000

const yieldToEventLoop = Effect.async<void>((resume) => {
  const handle = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(handle))
})

/** Writes the rows as they come, and the tree's rows from the sum of their digests. */
const loadWide = (
  count: number,
  dialect: Dialect,
  write: (queries: Iterable<Query>) => Promise<void>
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    let sum = 0n
    for (let from = 0; from < count; from += loadedAtOnce) {
      const records = Array.from({ length: Math.min(loadedAtOnce, count - from) }, (_, index) =>
        recordOf(wideId(from + index), from + index, 1)
      )
      for (const record of records) sum += leafSum(record)
      yield* Effect.tryPromise(() => write(dialect.inserts(records)))
      yield* yieldToEventLoop
    }
    const changes = ancestors(wideId(0)).map((path) => ({ path, count, sum: BigInt.asUintN(256, sum) }))
    yield* Effect.tryPromise(() => write(dialect.addToTree(changes, 1)))
  })

/** So that the tree that was loaded is known to describe the rows. */
const proven = (archive: SqliteArchive.SqliteArchiveOptions | MysqlArchive.MysqlArchiveOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const loaded = yield* "path" in archive ? SqliteArchive.make(archive) : MysqlArchive.make(archive)
      if ((yield* loaded.root) !== (yield* recompute(loaded)).root) {
        return yield* Effect.die(new Error("the loaded tree does not describe the loaded rows"))
      }
    })
  )

const loadWideSqlite = (file: string, count: number, prove: boolean) =>
  Effect.gen(function* () {
    // Makes the tables.
    yield* Effect.scoped(SqliteArchive.make({ path: file }))
    yield* Effect.acquireUseRelease(
      Effect.sync(() => new Database(file)),
      (database) =>
        loadWide(count, SqliteDialect.make(makeTables()), async (queries) => {
          database.transaction(() => {
            for (const { params, text } of queries) database.prepare(text).run(...params)
          })()
        }),
      (database) =>
        Effect.sync(() => {
          database.pragma("wal_checkpoint(TRUNCATE)")
          database.close()
        })
    )
    if (prove) yield* proven({ path: file })
    return file
  })

const loadWideMysql = (url: string, count: number, prove: boolean) =>
  Effect.gen(function* () {
    yield* Effect.scoped(MysqlArchive.make({ url: Redacted.make(url) }))
    yield* Effect.acquireUseRelease(
      Effect.tryPromise(() => createConnection(url)),
      (connection) =>
        loadWide(
          count,
          MysqlDialect.make({ tables: makeTables(), maxStatementBytes: 1024 * 1024 }),
          async (queries) => {
            await connection.query("START TRANSACTION")
            for (const { text } of queries) await connection.query(text)
            await connection.query("COMMIT")
          }
        ),
      (connection) => Effect.promise(() => connection.end())
    )
    if (prove) yield* proven({ url: Redacted.make(url) })
    return url
  })

const server = (start: () => Promise<RunningServer>) =>
  Effect.acquireRelease(
    Effect.tryPromise(async () => {
      const running = await start()
      const { pid } = running
      // A bench that is ended half-way leaves no server behind.
      const orphaned = () => process.kill(pid, "SIGKILL")
      process.once("exit", orphaned)
      return { running, orphaned }
    }),
    ({ orphaned, running }) =>
      Effect.promise(async () => {
        await running.stop()
        process.removeListener("exit", orphaned)
      })
  ).pipe(Effect.map(({ running }) => running))

/** Makes each value once; whoever asks while it is made waits. */
const once = <K, A>(make: (key: K) => Effect.Effect<A, unknown>) => {
  const made = new Map<K, Effect.Effect<A, unknown>>()
  return (key: K): Effect.Effect<A, unknown> =>
    Effect.suspend(() => {
      const known = made.get(key)
      if (known !== undefined) return known
      return Effect.flatMap(Effect.cached(make(key)), (cached) => {
        made.set(key, cached)
        return cached
      })
    })
}

export const fixtures = (small: boolean): Effect.Effect<Fixtures, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const directory = yield* temporaryDirectory
    const mysql = once((_: "mysql") =>
      Effect.suspend(() => {
        requireServers({ mysql: true, redis: false })
        // The log is large enough that no checkpoint falls into a measurement. Commits are synced, as by default.
        const settings = ["--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G"]
        return Scope.extend(
          server(() => startMysql(settings)),
          scope
        )
      })
    )
    const mysqlDatabase = (name: string) =>
      Effect.gen(function* () {
        const { url } = yield* mysql("mysql")
        yield* Effect.acquireUseRelease(
          Effect.tryPromise(() => createConnection(url)),
          (connection) => Effect.tryPromise(() => connection.query(`CREATE DATABASE ${name}`)),
          (connection) => Effect.promise(() => connection.end())
        )
        const target = new URL(url)
        target.pathname = `/${name}`
        return target.href
      })
    return {
      small,
      mysqlDatabase,
      redis: Effect.suspend(() => {
        requireServers({ mysql: false, redis: true })
        return Effect.map(
          server(() => startRedis()),
          ({ url }) => url
        )
      }),
      wideSqlite: once((count) => loadWideSqlite(join(directory, `wide-${count}.db`), count, small)),
      wideMysql: once((count) =>
        Effect.flatMap(mysqlDatabase(`wide_${count}`), (url) => loadWideMysql(url, count, small))
      )
    }
  })
