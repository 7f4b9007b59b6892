import { it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
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

/** The bounds are short, and a busy machine may take longer where nothing stalls. */
const patiently = <A, E, R>(call: Effect.Effect<A, E, R>) => Effect.retry(call, { times: 30 })

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
        const watcher = yield* MysqlArchive.make({ url: direct })
        yield* watcher.commit([large("a"), put("b", 1)])
        const archive = yield* patiently(
          MysqlArchive.make({
            url,
            queryTimeout: "700 millis",
            connectTimeout: "700 millis",
            maxConnections: 2
          })
        )
        // Whatever ends before the way is mended has ended by its own bound.
        hurt(proxy, 20_000)
        const errors = yield* Effect.forEach(
          [
            archive.getMany(["a"]),
            archive.getMany(["a", "b"]),
            archive.scan({ prefix: "" }, { limit: 9, maxBytes: 1e9 })
          ],
          (call) => Effect.flip(Effect.uninterruptible(Effect.asVoid(call))),
          { concurrency: "unbounded" }
        )
        for (const error of errors) expect(error).toMatchObject({ kind: "transient" })
        hurt(proxy, 30)
        const error = yield* Effect.flip(Effect.uninterruptible(archive.commit([large("a", 2), large("c")])))
        expect(error).toMatchObject({ kind: "transient" })
        proxy.mend()

        // No connection is left in the hands of those who gave up: none has to be waited for.
        const count = Effect.retry(archive.count({ prefix: "" }), {
          times: 30,
          while: ({ problem }) => !problem.includes("became free")
        })
        const counts = yield* Effect.all([count, count], { concurrency: 2 })
        expect(new Set(counts).size).toBe(1)
        yield* patiently(archive.commit([large("a", 3), put("d", 3)]))
        expect((yield* recompute(watcher)).root).toBe(yield* patiently(archive.root))
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
      const report = yield* engine.service.shutdown
      expect(report.itemsLeftInLog).toBe(1)
    })
  )
})
