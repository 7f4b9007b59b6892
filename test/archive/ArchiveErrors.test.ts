import { inspect } from "node:util"
import { SqlError } from "@effect/sql/SqlError"
import { it } from "@effect/vitest"
import { Cause, Effect, Either, Exit } from "effect"
import { describe, expect } from "vitest"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import { archiveError, classify, refail } from "../../src/archive/ArchiveErrors.js"
import * as MysqlUrl from "../../src/config/MysqlUrl.js"

const driver = (code: string, errno?: number, message = "said the driver") =>
  new SqlError({
    message: "Failed to execute statement",
    cause: Object.assign(new Error(message), errno === undefined ? { code } : { code, errno })
  })

describe("classification", () => {
  const cases: ReadonlyArray<readonly [string, number | undefined, "transient" | "permanent", boolean]> = [
    ["ER_LOCK_DEADLOCK", 1213, "transient", true],
    ["ER_LOCK_WAIT_TIMEOUT", 1205, "transient", false],
    ["ER_DUP_ENTRY", 1062, "transient", true],
    ["ER_CON_COUNT_ERROR", 1040, "transient", false],
    ["ER_OPTION_PREVENTS_STATEMENT", 1290, "transient", false],
    ["ER_READ_ONLY_MODE", 1836, "transient", false],
    ["ER_RECORD_FILE_FULL", 1114, "transient", false],
    ["ER_DISK_FULL", 1021, "transient", false],
    ["ER_NO_SUCH_TABLE", 1146, "transient", false],
    ["PROTOCOL_CONNECTION_LOST", undefined, "transient", false],
    ["ECONNREFUSED", -111, "transient", false],
    ["ETIMEDOUT", undefined, "transient", false],
    ["ER_DATA_TOO_LONG", 1406, "permanent", false],
    ["ER_NET_PACKET_TOO_LARGE", 1153, "permanent", false],
    ["ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", 1366, "permanent", false],
    ["ER_SIGNAL_EXCEPTION", 1644, "permanent", false],
    ["ER_CONSTRAINT_FAILED", 4025, "permanent", false],
    ["SQLITE_BUSY", undefined, "transient", true],
    ["SQLITE_BUSY_SNAPSHOT", undefined, "transient", true],
    ["SQLITE_FULL", undefined, "transient", false],
    ["SQLITE_IOERR_FSYNC", undefined, "transient", false],
    ["SQLITE_READONLY", undefined, "transient", false],
    ["SQLITE_CORRUPT", undefined, "transient", false],
    ["SQLITE_WORKER_LOST", undefined, "transient", false],
    ["SQLITE_CONSTRAINT_CHECK", undefined, "permanent", false],
    ["SQLITE_TOOBIG", undefined, "permanent", false]
  ]
  it.each(cases)("%s (%s) is %s", (code, errno, kind, contention) => {
    const failure = classify(driver(code, errno))
    expect(failure).toMatchObject({ kind, contention })
    expect(failure.problem).toContain("said the driver")
  })

  it("takes what it does not know as transient, unless a value was refused", () => {
    expect(classify("odd").kind).toBe("transient")
    expect(classify(undefined).kind).toBe("transient")
    expect(classify(new Error("odd")).kind).toBe("transient")
    expect(classify(new SqlError({ cause: new TypeError("can only bind numbers, strings") })).kind).toBe(
      "permanent"
    )
    expect(classify(new RangeError("not a safe integer")).kind).toBe("permanent")
    const outOfRange = Object.assign(new RangeError("out of range"), { code: "ERR_OUT_OF_RANGE" })
    expect(classify(new SqlError({ cause: outOfRange })).kind).toBe("permanent")
    expect(classify(Object.assign(new Error("reset"), { code: "ERR_STREAM_DESTROYED" })).kind).toBe(
      "transient"
    )
  })

  it("tells a server that is not there from one that says no", () => {
    const absent = ["ECONNREFUSED", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN", "PROTOCOL_CONNECTION_LOST"]
    for (const code of absent) expect(classify(driver(code)), code).toMatchObject({ unreachable: true })
    expect(classify(driver("ER_CON_COUNT_ERROR", 1040))).toMatchObject({ unreachable: true })
    expect(classify(driver("SQLITE_BUSY"))).toMatchObject({ unreachable: true })
    for (const [code, errno] of [
      ["ER_ACCESS_DENIED_ERROR", 1045],
      ["ER_BAD_DB_ERROR", 1049],
      ["ER_NO_SUCH_TABLE", 1146],
      ["SQLITE_CANTOPEN", undefined],
      ["HANDSHAKE_NO_SSL_SUPPORT", undefined]
    ] as const)
      expect(classify(driver(code, errno)), code).toMatchObject({ unreachable: false })
    expect(classify("the file is no database")).toMatchObject({ unreachable: false })
  })

  it("never shows a secret", () => {
    const secrets = ["p@ss/w", ""]
    const error = archiveError(
      "root",
      driver("ECONNREFUSED", undefined, "mysql://u:p@ss/w@host refused"),
      secrets
    )
    expect(`${error.message} ${JSON.stringify(error)}`).not.toContain("p@ss/w")
    expect(error.kind).toBe("transient")
    expect(inspect(error)).not.toContain("p@ss/w")
    expect(Cause.pretty(Cause.fail(error), { renderErrorCause: true })).not.toContain("p@ss/w")
  })

  it("carries the driver's error, without the statement", () => {
    const thrown = Object.assign(new Error("Data too long"), {
      code: "ER_DATA_TOO_LONG",
      errno: 1406,
      sql: "INSERT INTO items VALUES (X'00')"
    })
    const error = archiveError(
      "commit",
      new SqlError({ message: "Failed to execute statement", cause: thrown })
    )
    expect(error.cause).toMatchObject({ message: "Data too long", code: "ER_DATA_TOO_LONG", errno: 1406 })
    expect((error.cause as Error).stack).toBe(thrown.stack)
    expect(inspect(error)).not.toContain("INSERT")
  })
})

describe("refail", () => {
  it.effect("types failures and defects and lets interruption be", () =>
    Effect.gen(function* () {
      const typed = refail("heads")
      expect(yield* Effect.flip(typed(Effect.fail(driver("ER_DATA_TOO_LONG", 1406))))).toMatchObject({
        _tag: "ArchiveError",
        operation: "heads",
        kind: "permanent"
      })
      expect(yield* Effect.flip(typed(Effect.die(driver("ECONNRESET"))))).toMatchObject({ kind: "transient" })
      const own = new ArchiveError({ operation: "commit", kind: "permanent", problem: "x" })
      expect(yield* Effect.flip(typed(Effect.fail(own)))).toBe(own)
      const exit = yield* Effect.exit(typed(Effect.interrupt))
      expect(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)).toBe(true)
    })
  )
})

describe("MySQL URLs", () => {
  it("are taken apart", () => {
    expect(MysqlUrl.parse("mysql://us%40er:p%2Fw@db.example:3307/app?tls=true")).toEqual(
      Either.right({
        host: "db.example",
        port: 3307,
        database: "app",
        user: "us@er",
        password: "p/w",
        tls: "verified",
        label: "mysql://us%40er@db.example:3307/app"
      })
    )
    expect(Either.getOrThrow(MysqlUrl.parse("mariadb://[::1]/app"))).toMatchObject({
      host: "::1",
      port: 3306,
      tls: "off"
    })
  })

  it.each([
    ["secret", "is not a URL"],
    ["http://u:secret@h/d", "must start with mysql://"],
    ["mysql://u:secret@h", "names no database"],
    ["mysql://u:secret@h/a/b", "names no database"],
    ["mysql:///d", "names no host"],
    ["mysql://u:secret%@h/d", "percent sign"],
    ["mysql://u:secret@h/d?ssl=1", "unknown parameter"],
    ["mysql://u:secret@h/d?tls=maybe", "unknown tls mode"]
  ])("%s is refused without being repeated", (url, problem) => {
    const result = MysqlUrl.parse(url)
    expect(Either.isLeft(result) && result.left).toContain(problem)
    expect(Either.isLeft(result) && result.left).not.toContain("secret")
  })
})
