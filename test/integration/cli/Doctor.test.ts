import { Effect, Either, Redacted } from "effect"
import * as Mysql from "mysql2/promise"
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest"
import { checkSql } from "../../../src/cli/doctor/Doctor.js"
import { fromPartial } from "../../../src/EngineConfig.js"

const serverUrl = inject("mysqlUrl")
const suffix = `${process.pid}`
const [database, forbidden, user] = [`d_${suffix}`, `f_${suffix}`, `u_${suffix}`]

const check = (change: (url: URL) => void) => {
  const url = new URL(serverUrl)
  url.username = user
  url.password = "hunter2-Zq"
  url.pathname = `/${database}`
  change(url)
  return Effect.runPromise(checkSql(Either.getOrThrow(fromPartial({ sqlUrl: Redacted.make(url.href) }))))
}

describe("doctor and the SQL server", () => {
  let admin: Mysql.Connection

  beforeAll(async () => {
    admin = await Mysql.createConnection(serverUrl)
    for (const statement of [
      `CREATE DATABASE ${database}`,
      `CREATE DATABASE ${forbidden}`,
      `CREATE USER ${user} IDENTIFIED BY 'hunter2-Zq'`,
      `GRANT ALL ON ${database}.* TO ${user}`
    ]) {
      await admin.query(statement)
    }
  })
  afterAll(async () => {
    for (const what of [`DATABASE ${database}`, `DATABASE ${forbidden}`, `USER ${user}`]) {
      await admin.query(`DROP ${what}`)
    }
    await admin.end()
  })

  it("tells a wrong password, user and database apart", async () => {
    expect(await check(() => {})).toMatchObject({ ok: true, advice: undefined })
    const cases = [
      [(url: URL) => (url.password = "wrong-Zq"), "the server knows no such user with this password"],
      [(url: URL) => (url.password = ""), "the server knows no such user with this password"],
      [(url: URL) => (url.username = "nobody"), "the server knows no such user with this password"],
      [(url: URL) => (url.pathname = `/${forbidden}`), "the user may not use this database"],
      [
        (url: URL) => {
          url.username = new URL(serverUrl).username
          url.password = new URL(serverUrl).password
          url.pathname = "/not_there"
        },
        "there is no such database"
      ]
    ] as const
    for (const [change, found] of cases) {
      const result = await check(change)
      expect(result).toMatchObject({ ok: false, found: expect.stringContaining(found) })
      expect(result.advice).toContain("SQL_URL")
      expect(JSON.stringify(result)).not.toMatch(/hunter2|wrong-Zq/)
    }
  })
})
