import type { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Fiber, Redacted, type Scope } from "effect"
import { describe, expect, inject } from "vitest"
import type { OpenArchive } from "../../../src/archive/Archive.js"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { transaction } from "../../../src/archive/sql/SqlSession.js"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import { type ItemRecord, tombstone } from "../../../src/SyncItem.js"
import { numbers, put } from "../../archive/suite.js"
import { proxyTo } from "../../support/proxy.js"
import { recompute } from "../../support/recompute.js"
import { temporaryDirectory } from "../engine/support.js"
import { freshArchive, freshDatabase } from "./mysql.js"

const byId = <A extends { readonly id: string }>(records: ReadonlyArray<A>) =>
  [...records].sort((a, b) => (a.id < b.id ? -1 : 1))

/** The archive that guesses, one that always reads, and a statement for both. */
const pair: Effect.Effect<
  {
    readonly archive: OpenArchive
    readonly reads: OpenArchive
    readonly change: (text: string) => Effect.Effect<void, unknown>
  },
  unknown,
  Scope.Scope
> = Effect.gen(function* () {
  const { archive } = yield* freshArchive(inject("mysqlUrl"))
  const reads = yield* SqliteArchive.make({ path: `${yield* temporaryDirectory}/archive.db` })
  const change = (text: string) =>
    Effect.zipRight(
      archive.client.unsafe(text).unprepared,
      transaction(reads.client, "BEGIN IMMEDIATE", (run) => run({ text, params: [] }))
    )
  return { archive, reads, change }
})

const outcome = (archive: OpenArchive, records: ReadonlyArray<ItemRecord>, absent?: ReadonlySet<string>) =>
  Effect.gen(function* () {
    const { change: _, ...result } = yield* archive.commit(records, absent)
    const rows = yield* archive.getMany(records.map(({ id }) => id))
    return {
      ...result,
      repeated: byId(result.repeated),
      superseded: byId(result.superseded.map(({ stored, submitted }) => ({ id: submitted.id, stored }))),
      rows: byId(rows)
    }
  })

const tampering = [
  (id: string) => `UPDATE items SET version = version + 3 WHERE id = '${id}'`,
  (id: string) => `UPDATE items SET version = version - 1 WHERE id = '${id}' AND version > 1`,
  (id: string) => `UPDATE items SET updated_at = updated_at + 1 WHERE id = '${id}'`,
  (id: string) => `UPDATE items SET content_hash = X'${"ab".repeat(32)}' WHERE id = '${id}'`,
  (id: string) => `UPDATE items SET deleted = 1 - deleted WHERE id = '${id}'`,
  (id: string) => `DELETE FROM items WHERE id = '${id}'`
]

describe("MySQL archive, which commits by what it thinks is stored", () => {
  it.scopedLive(
    "does what one does that reads, whatever was changed behind its back and whatever it is told is absent",
    () =>
      Effect.gen(function* () {
        const { archive, change, reads } = yield* pair
        const random = numbers(29)
        const ids = Array.from({ length: 8 }, (_, i) => `g.${i % 3}.${i}`)
        for (let round = 1; round <= 60; round++) {
          const id = ids[random(ids.length)]!
          if (random(2) === 0) yield* change(tampering[round % tampering.length]!(id))
          const some = ids.filter((other) => other === id || random(2) === 0)
          const records = some.map((other) => {
            const version = Math.max(1, round * 4 - random(6))
            return random(4) === 0 ? tombstone(other, version, round) : put(other, version, String(round))
          })
          const absent = new Set(random(3) === 0 ? ids.filter(() => random(4) === 0) : [])
          expect(yield* outcome(archive, records, absent), `round ${round}`).toEqual(
            yield* outcome(reads, records)
          )
        }
      })
  )

  it.scopedLive("each kind of change behind its back is found by itself", () =>
    Effect.gen(function* () {
      const { archive, change, reads } = yield* pair
      for (const [n, tamper] of tampering.entries()) {
        const id = `t.${n}`
        const first = [put(id, 5, "1"), put(`${id}.x`, 5, "1")]
        expect(yield* outcome(archive, first)).toEqual(yield* outcome(reads, first))
        yield* change(tamper(id))
        for (const version of [4, 7, 9, 11]) {
          const next = [put(id, version, "2"), put(`${id}.x`, version, "2")]
          expect(yield* outcome(archive, next), tamper(id)).toEqual(yield* outcome(reads, next))
        }
      }
    })
  )

  it.scopedLive("a row that appears and one that goes do not make up for each other", () =>
    Effect.gen(function* () {
      const { archive, change, reads } = yield* pair
      for (const commits of [archive, reads]) yield* commits.commit([put("a", 1), put("b", 1)])
      yield* change("DELETE FROM items WHERE id = 'a'")
      const records = [put("a", 2), put("b", 2), put("c", 2)]
      expect(yield* outcome(archive, records, new Set(["b", "c"]))).toEqual(yield* outcome(reads, records))
    })
  )

  it.scopedLive("knows nothing of a commit whose outcome it has not heard", () =>
    Effect.gen(function* () {
      const direct = yield* freshDatabase(inject("mysqlUrl"))
      const proxy = yield* proxyTo(inject("mysqlPort"))
      const url = new URL(Redacted.value(direct))
      url.port = String(proxy.port)
      const archive = yield* MysqlArchive.make({ url: Redacted.make(url.href), queryTimeout: "2 seconds" })
      yield* archive.commit([put("a", 1), put("b", 1)])
      proxy.stallAnswersAfter(60)
      expect(yield* Effect.flip(archive.commit([put("a", 2), put("b", 2)]))).toMatchObject({
        kind: "transient"
      })
      proxy.mend()
      const again = yield* Effect.retry(archive.commit([put("a", 3), put("b", 2)]), { times: 20 })
      expect(again.applied + again.repeated.length).toBe(2)
      const versions = byId(yield* archive.heads(["a", "b"])).map(({ version }) => version)
      expect(versions).toEqual([3, 2])
      expect((yield* recompute(archive)).root).toBe(yield* archive.root)
    })
  )

  it.scopedLive("writes nothing once another node is the sole writer, though it need not read", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* freshArchive(inject("mysqlUrl"))
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit([put("a", 1)])
      const root = yield* archive.root
      yield* other.writers.heartbeat({
        ...{ node: "other", known: undefined, fresh: "1", exclusive: true, leaseMs: 60_000, lapsed: [] }
      })
      const refused = yield* Effect.flip(archive.commit([put("a", 2), put("b", 1)], new Set(["b"])))
      expect(refused).toMatchObject({ kind: "transient", problem: expect.stringContaining("sole writer") })
      expect(yield* archive.root).toBe(root)
      expect(yield* archive.heads(["a", "b"])).toMatchObject([{ id: "a", version: 1 }])
    })
  )
})

describe("MySQL archive, over triggers of the application", () => {
  /** Rows of some ids fail in a trigger, on being inserted or replaced. */
  const triggers = (archive: { readonly client: SqlClient }, body: string) =>
    Effect.forEach(
      ["INSERT", "UPDATE"],
      (event) =>
        archive.client.unsafe(`CREATE TRIGGER audit_${event} AFTER ${event} ON items FOR EACH ROW ${body}`)
          .unprepared
    )

  it.scopedLive.each([
    ["a NULL", "INSERT INTO audit VALUES (IF(NEW.id LIKE 'p.%', NULL, 1))"],
    ["a number", "INSERT INTO audit VALUES (CAST(0 AS UNSIGNED) - (NEW.id LIKE 'p.%'))"]
  ])("%s that a trigger refuses is for good, whatever was known of the row", ([, body]) =>
    Effect.gen(function* () {
      const { archive } = yield* freshArchive(inject("mysqlUrl"))
      yield* archive.client.unsafe("CREATE TABLE audit (what BIGINT NOT NULL)").unprepared
      yield* archive.commit([put("a", 1), put("p.known", 1)])
      yield* triggers(archive, body!)
      for (const [id, absent] of [
        ["p.known", undefined],
        ["p.denied", new Set(["p.denied"])],
        ["p.read", undefined]
      ] as const) {
        const refused = yield* Effect.flip(archive.commit([put("a", 2), put(id, 2)], absent))
        expect(refused, id).toMatchObject({ kind: "permanent" })
      }
      expect((yield* archive.commit([put("a", 2), put("b", 1)])).applied).toBe(2)
      expect((yield* recompute(archive)).root).toBe(yield* archive.root)
    })
  )

  it.scopedLive("a sub-select of too many rows in one is no other node", () =>
    Effect.gen(function* () {
      const { archive } = yield* freshArchive(inject("mysqlUrl"))
      yield* triggers(archive, "SET @one = IF(NEW.id = 'p', (SELECT 1 UNION ALL SELECT 2), 1)")
      const refused = yield* Effect.flip(archive.commit([put("a", 1), put("p", 1)]))
      expect(refused.problem).toMatch(/subquery/i)
    })
  )

  it.scopedLive("what fails takes nothing away of what is known of other rows", () =>
    Effect.gen(function* () {
      const { archive } = yield* freshArchive(inject("mysqlUrl"), { maxConnections: 1 })
      yield* archive.commit([put("a", 1), put("b", 1)])
      yield* triggers(archive, "SET @one = IF(NEW.id = 'p', (SELECT 1 UNION ALL SELECT 2), 1)")
      const selects = Effect.map(
        archive.client.unsafe<{ readonly Value: string }>("SHOW SESSION STATUS LIKE 'Com_select'").unprepared,
        ([row]) => Number(row!.Value)
      )
      const selectsOf = (records: ReadonlyArray<ItemRecord>) =>
        Effect.gen(function* () {
          const before = yield* selects
          yield* archive.commit(records)
          return (yield* selects) - before
        })
      const known = yield* selectsOf([put("a", 2)])
      yield* Effect.flip(archive.commit([put("b", 2), put("p", 1)]))
      expect(yield* selectsOf([put("a", 3)])).toBe(known)
      // What was in the batch is read again.
      expect(yield* selectsOf([put("b", 3)])).toBe(known + 1)
    })
  )
})

describe("MySQL archive, with several writers", () => {
  it.scopedLive("has written all but the tree's top when it waits for it", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* freshArchive(inject("mysqlUrl"))
      const other = yield* MysqlArchive.make({ url })
      yield* archive.commit([put("a.1", 1), put("b.1", 1)])
      const ask = (text: string) => other.client.unsafe<Record<string, unknown>>(text).unprepared
      const committing = yield* transaction(other.client, "START TRANSACTION", (run) =>
        Effect.gen(function* () {
          yield* run({ text: "UPDATE tree SET count = count WHERE path = ''", params: [] })
          const fiber = yield* Effect.fork(archive.commit([put("a.1", 2), put("a.2", 1)]))
          yield* Effect.sleep("500 millis")
          // Its rows are held already, also that of the path above them.
          yield* ask("SET SESSION innodb_lock_wait_timeout = 1")
          for (const held of [
            "SELECT id FROM items WHERE id = 'a.2' FOR UPDATE",
            "SELECT path FROM tree WHERE path = 'a' FOR UPDATE"
          ])
            expect(yield* Effect.flip(Effect.scoped(ask(held))), held).toMatchObject({
              cause: { errno: 1205 }
            })
          return fiber
        })
      )
      expect((yield* Fiber.join(committing)).applied).toBe(2)
    })
  )

  it.scopedLive("rebuilds the tree between the commits of others, and none is lost or made to fail", () =>
    Effect.gen(function* () {
      const { archive, url } = yield* freshArchive(inject("mysqlUrl"))
      const writers = yield* Effect.forEach([1, 2, 3], () => MysqlArchive.make({ url }))
      let done = false
      const writing = yield* Effect.forEach(
        writers,
        (writer, w) =>
          Effect.gen(function* () {
            for (let n = 1; !done; n++) {
              const records = [0, 1, 2, 3].map((i) => put(`p.${(w + i) % 4}.${w}.${n % 7}.${i}`, n))
              expect((yield* writer.commit(records)).applied).toBe(4)
            }
          }),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.fork)
      for (let n = 0; n < 12; n++) {
        yield* archive.rebuildTree
        yield* Effect.sleep("50 millis")
      }
      done = true
      yield* Fiber.join(writing)
      expect((yield* recompute(archive)).root).toBe(yield* archive.root)
    })
  )
})
