/** Fresh databases on the test server. */
import * as Reactivity from "@effect/experimental/Reactivity"
import { MysqlClient } from "@effect/sql-mysql2"
import { Effect, Redacted } from "effect"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"

let next = 0

/** The URL of a new database, dropped when the scope closes. */
export const freshDatabase = (serverUrl: string) =>
  Effect.gen(function* () {
    const sql = yield* MysqlClient.make({ url: Redacted.make(serverUrl), maxConnections: 1 })
    const name = `t_${process.pid}_${next++}`
    yield* Effect.acquireRelease(sql.unsafe(`CREATE DATABASE ${name}`).unprepared, () =>
      Effect.ignore(sql.unsafe(`DROP DATABASE ${name}`).unprepared)
    )
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    return Redacted.make(url.href)
  }).pipe(Effect.provide(Reactivity.layer))

/** A new archive in a new database. */
export const freshArchive = (
  serverUrl: string,
  options: Omit<MysqlArchive.MysqlArchiveOptions, "url"> = {}
) =>
  Effect.gen(function* () {
    const url = yield* freshDatabase(serverUrl)
    return { url, archive: yield* MysqlArchive.make({ url, ...options }) }
  })
