import type { SqlClient } from "@effect/sql"
import { it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Redacted } from "effect"
import { describe, expect, inject } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { transaction } from "../../../src/archive/sql/SqlSession.js"
import { put } from "../../archive/suite.js"
import { proxyTo } from "../../support/proxy.js"
import { recompute } from "../../support/recompute.js"
import { eventually, startEngine, temporaryDirectory } from "../engine/support.js"
import { isWell } from "../engine/tiers.js"
import { freshDatabase } from "./mysql.js"

/** Runs a statement in a transaction that stays open; the effect within ends it. */
const holding = (client: SqlClient.SqlClient, text: string) =>
  Effect.gen(function* () {
    const held = yield* Deferred.make<number>()
    const end = yield* Deferred.make<void>()
    const open = yield* transaction(client, "START TRANSACTION", (run) =>
      Effect.gen(function* () {
        yield* run({ text, params: [] })
        const rows = yield* run({ text: "SELECT CONNECTION_ID() AS id", params: [] })
        yield* Deferred.succeed(held, Number(rows[0]!.id))
        yield* Deferred.await(end)
      })
    ).pipe(Effect.fork)
    const id = yield* Deferred.await(held)
    return { id, end: Effect.zipRight(Deferred.succeed(end, undefined), Fiber.join(open)) }
  })

describe("MySQL archive, when another transaction holds what it needs", () => {
  it.scopedLive(
    "waits for no machine that has died inside a commit longer than the server takes to notice",
    () =>
      Effect.gen(function* () {
        const direct = yield* freshDatabase(inject("mysqlUrl"))
        const proxy = yield* proxyTo(inject("mysqlPort"))
        const url = new URL(Redacted.value(direct))
        url.port = String(proxy.port)
        const options = { queryTimeout: "2 seconds" } as const
        const archive = yield* MysqlArchive.make({ url: direct, ...options })
        yield* archive.commit([put("a", 1), put("b", 1)])
        const doomed = yield* MysqlArchive.make({ url: Redacted.make(url.href), ...options })
        const { id } = yield* holding(doomed.client, "UPDATE tree SET count = count + 1 WHERE path = ''")
        proxy.dieInSilence()

        const error = yield* Effect.flip(archive.commit([put("a", 2)]))
        expect(error.kind).toBe("transient")
        expect(error.problem).toContain(`connection ${id} of tester@`)
        const [took] = yield* Effect.timed(Effect.retry(archive.commit([put("a", 2)]), { times: 30 }))
        expect(Duration.toSeconds(took)).toBeLessThan(30)
        expect((yield* recompute(archive)).root).toBe(yield* archive.root)
      }),
    90_000
  )

  it.scopedLive("degrades and says for whom it waits", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const dataDir = yield* temporaryDirectory
      const engine = yield* startEngine({ sql: Redacted.value(url), dataDir, sqlQueryTimeout: 2_000 })
      yield* engine.service.submit({ id: "a", content: "1" }, { durability: "archive" })
      const other = yield* MysqlArchive.make({ url })
      const held = yield* holding(other.client, "SELECT id FROM items WHERE id = 'a' FOR UPDATE")
      yield* engine.service.submit({ id: "a", content: "2" })
      yield* eventually(
        "the reason names the connection",
        Effect.map(engine.service.health, ({ degraded }) =>
          degraded.some(
            ({ component, reason }) =>
              component === "archive" && reason.includes(`connection ${held.id} of tester@`)
          )
        )
      )
      yield* held.end
      yield* eventually("all is well", isWell(engine))
    })
  )

  it.scopedLive("looks for another sole writer when it has the tree's top, not before it waits for it", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const archive = yield* MysqlArchive.make({ url })
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit([put("a.1", 1)])
      const heartbeat = { node: "a", known: undefined, fresh: "1", leaseMs: 1000, lapsed: [] }
      yield* archive.writers.heartbeat({ ...heartbeat, exclusive: false })
      // As a heartbeat does: the token is set by whoever has the top.
      const held = yield* holding(
        archive.client,
        "UPDATE tree, writers SET tree.count = tree.count, writers.token = '1' WHERE tree.path = '' AND writers.node = 'a'"
      )
      const committing = yield* Effect.fork(Effect.either(other.commit([put("a.2", 1)])))
      yield* Effect.sleep("300 millis")
      expect(yield* Fiber.poll(committing)).toMatchObject({ _tag: "None" })
      yield* held.end
      expect(yield* Fiber.join(committing)).toMatchObject({
        _tag: "Left",
        left: { kind: "transient", problem: expect.stringContaining("sole writer") }
      })
      expect(yield* archive.heads(["a.2"])).toEqual([])
    })
  )

  it.scopedLive("decides by the rows it has locked, not by those it once saw", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase(inject("mysqlUrl"))
      const archive = yield* MysqlArchive.make({ url })
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit([put("a", 1), put("b", 1)])
      const held = yield* holding(other.client, "UPDATE items SET version = 9 WHERE id = 'a'")
      const committing = yield* Effect.fork(archive.commit([put("a", 5), put("b", 5)]))
      // Long enough for it to read, if it did not wait for the lock.
      yield* Effect.sleep("300 millis")
      yield* held.end
      expect((yield* Fiber.join(committing)).applied).toBe(1)
      const versions = (yield* archive.heads(["a", "b"])).map(({ id, version }) => `${id} ${version}`)
      expect(versions.sort()).toEqual(["a 9", "b 5"])
    })
  )
})
