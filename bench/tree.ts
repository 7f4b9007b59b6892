/**
 * What a commit costs as a path grows: 1,000 random updates among few and among very many siblings.
 */

import { copyFileSync } from "node:fs"
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect, Redacted } from "effect"
import type { OpenArchive } from "../src/archive/Archive.js"
import * as MysqlArchive from "../src/archive/mysql/MysqlArchive.js"
import { tables as makeTables } from "../src/archive/sql/SqlDialect.js"
import * as SqliteArchive from "../src/archive/sqlite/SqliteArchive.js"
import * as SqliteDialect from "../src/archive/sqlite/SqliteDialect.js"
import type { ItemRecord } from "../src/SyncItem.js"
import type { Fixtures } from "./fixtures.js"
import { grouped, recordOf, wideId } from "./fixtures.js"
import type { Line } from "./support.js"
import { distinct, information, inTurn, seeded, temporaryDirectory } from "./support.js"

const batchItems = 1000

const sizesOf = (small: boolean) =>
  small ? { few: 2_000, many: 20_000, rounds: 3 } : { few: 10_000, many: 1_000_000, rounds: 21 }

/** The same rows in the same file format by one prepared loop, synced, without reading, judging or a tree. */
const plainSqlite = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const database = new Database(file)
      database.pragma("journal_mode = WAL")
      database.pragma("synchronous = FULL")
      return database
    }),
    (database) => Effect.sync(() => database.close())
  ).pipe(
    Effect.map((database) => {
      const dialect = SqliteDialect.make(makeTables())
      return (records: ReadonlyArray<ItemRecord>) =>
        Effect.sync(() =>
          database.transaction(() => {
            for (const { params, text } of dialect.updates(records, new Map()))
              database.prepare(text).run(...params)
          })()
        )
    })
  )

export const tree = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { few, many, rounds } = sizesOf(fixtures.small)
    const directory = yield* temporaryDirectory
    const random = seeded(3)
    let version = 1
    let seed = 0

    const compare = (
      what: string,
      atFew: (records: ReadonlyArray<ItemRecord>) => Effect.Effect<unknown, unknown>,
      atMany: (records: ReadonlyArray<ItemRecord>) => Effect.Effect<unknown, unknown>,
      note: string
    ) =>
      Effect.gen(function* () {
        let work: ReadonlyArray<ReadonlyArray<ItemRecord>> = []
        const prepare = Effect.sync(() => {
          version++
          work = [few, many].map((count) =>
            distinct(random, batchItems, count).map((index) => recordOf(wideId(index), ++seed, version))
          )
        })
        const [fewMs, manyMs] = yield* inTurn(
          rounds,
          [Effect.suspend(() => atFew(work[0]!)), Effect.suspend(() => atMany(work[1]!))],
          prepare
        )
        return information(
          what,
          (manyMs! / fewMs!).toFixed(2),
          `${manyMs!.toFixed(1)} ms at ${grouped(many)} over ${fewMs!.toFixed(1)} ms at ${grouped(few)}; ${note}`
        )
      })

    const updates = (count: number, commit: { readonly applied: number }) =>
      commit.applied === count ? Effect.void : Effect.die(new Error(`${commit.applied} of ${count} applied`))
    const committing = (archive: OpenArchive) => (records: ReadonlyArray<ItemRecord>) =>
      Effect.flatMap(archive.commit(records), (result) => updates(records.length, result))

    const files = [yield* fixtures.wideSqlite(few), yield* fixtures.wideSqlite(many)] as const
    const sqlite = yield* Effect.forEach(files, (path) => SqliteArchive.make({ path }))
    const copies = files.map((file, index) => {
      const copy = join(directory, `plain-${index}.db`)
      copyFileSync(file, copy)
      return copy
    })
    const plain = yield* Effect.forEach(copies, plainSqlite)
    const urls = [yield* fixtures.wideMysql(few), yield* fixtures.wideMysql(many)] as const
    const mysql = yield* Effect.forEach(urls, (url) => MysqlArchive.make({ url: Redacted.make(url) }))

    return [
      yield* compare(
        "commit of 1,000 random updates, SQLite, many over few",
        committing(sqlite[0]!),
        committing(sqlite[1]!),
        "siblings of one path, rows and tree in one transaction; expected near what the rows alone cost"
      ),
      yield* compare(
        "  the rows alone, without the tree",
        plain[0]!,
        plain[1]!,
        "guarded upserts in one synced transaction on a copy: more rows are spread over more pages"
      ),
      yield* compare(
        "commit of 1,000 random updates, MariaDB, many over few",
        committing(mysql[0]!),
        committing(mysql[1]!),
        "siblings of one path, rows and tree in one transaction"
      )
    ]
  }).pipe(Effect.scoped)
