import { it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { describe, expect, inject } from "vitest"
import * as MysqlArchive from "../../../src/archive/mysql/MysqlArchive.js"
import { put } from "../../archive/suite.js"
import { type Proxy, proxyTo } from "../../support/proxy.js"
import { recompute } from "../../support/recompute.js"
import { eventually, startEngine, temporaryDirectory } from "../engine/support.js"
import { degraded, isWell } from "../engine/tiers.js"
import { freshDatabase } from "./mysql.js"

/** A new database behind a proxy: the way of the archive under test, and the direct one. */
const proxied = Effect.gen(function* () {
  const direct = yield* freshDatabase(inject("mysqlUrl"))
  const proxy = yield* proxyTo(inject("mysqlPort"))
  const url = new URL(Redacted.value(direct))
  url.port = String(proxy.port)
  return { proxy, direct, url: Redacted.make(url.href) }
})

const large = (id: string, version = 1) =>
  put(id, version, undefined, { content: new Uint8Array(200_000).fill(version) })

describe("MySQL archive, when an answer stalls half-way", () => {
  for (const [what, hurt] of [
    ["is cut short", (proxy, bytes) => proxy.stallAnswersAfter(bytes)],
    ["comes in drops", (proxy) => proxy.trickleAnswers(10)]
  ] as ReadonlyArray<readonly [string, (proxy: Proxy, bytes: number) => void]>) {
    it.scopedLive(`an answer that ${what} ends by its bound in every region, and the pool is whole`, () =>
      Effect.gen(function* () {
        const { direct, proxy, url } = yield* proxied
        const archive = yield* MysqlArchive.make({
          url,
          queryTimeout: "700 millis",
          connectTimeout: "700 millis",
          maxConnections: 2
        })
        const watcher = yield* MysqlArchive.make({ url: direct })
        yield* archive.commit([large("a"), put("b", 1)])
        hurt(proxy, 20_000)
        const [took, errors] = yield* Effect.timed(
          Effect.forEach(
            [
              archive.getMany(["a"]),
              archive.getMany(["a", "b"]),
              archive.scan({ prefix: "" }, { limit: 9, maxBytes: 1e9 })
            ],
            (call) => Effect.flip(Effect.uninterruptible(Effect.asVoid(call))),
            { concurrency: "unbounded" }
          )
        )
        expect(Duration.toMillis(took)).toBeLessThan(4_000)
        for (const error of errors) expect(error).toMatchObject({ kind: "transient" })
        hurt(proxy, 30)
        const [spent, error] = yield* Effect.timed(
          Effect.flip(Effect.uninterruptible(archive.commit([large("a", 2), large("c")])))
        )
        expect(Duration.toMillis(spent)).toBeLessThan(4_000)
        expect(error).toMatchObject({ kind: "transient" })
        proxy.mend()

        // No connection is left in the hands of those who gave up.
        const counts = yield* Effect.forEach([1, 2, 3, 4], () => archive.count({ prefix: "" }), {
          concurrency: "unbounded"
        })
        expect(new Set(counts).size).toBe(1)
        yield* archive.commit([large("a", 3), put("d", 3)])
        expect((yield* recompute(watcher)).root).toBe(yield* archive.root)
      })
    )
  }

  it.scopedLive("does not block the flush of an engine, nor its shutdown", () =>
    Effect.gen(function* () {
      const { proxy, url } = yield* proxied
      const dataDir = yield* temporaryDirectory
      const engine = yield* startEngine({ sql: Redacted.value(url), dataDir, sqlQueryTimeout: 500 })
      yield* engine.service.submit({ id: "a", content: "1" }, { durability: "archive" })
      proxy.stallAnswersAfter(3)
      yield* engine.service.submit({ id: "a", content: "2" })
      yield* eventually(
        "the archive is degraded",
        Effect.map(degraded(engine), (components) => components.includes("archive"))
      )
      proxy.mend()
      yield* eventually("all is well", isWell(engine))
      proxy.stallAnswersAfter(3)
      yield* engine.service.submit({ id: "a", content: "3" })
      const [took, report] = yield* Effect.timed(engine.service.shutdown)
      expect(Duration.toMillis(took)).toBeLessThan(35_000)
      expect(report.itemsLeftInLog).toBe(1)
    })
  )
})
