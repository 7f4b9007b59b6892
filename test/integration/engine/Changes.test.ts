import { expect, it } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { describe } from "vitest"
import { NotSupported, TierUnavailable } from "../../../src/EngineError.js"
import { textOf } from "../../../src/SyncItem.js"
import { startRedis } from "../../support/redis.js"
import { eventually, startEngine, temporaryDirectory } from "./support.js"

const redis = Effect.acquireRelease(
  Effect.promise(() => startRedis()),
  (server) => Effect.promise(() => server.stop())
)

describe("the change stream", () => {
  it.scopedLive(
    "publishes every write in log order, at least once, and goes on after an outage and a restart",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryDirectory
        const server = yield* redis
        const options = { dataDir, redis: server.url, cdc: true, healthInterval: 200 }
        const engine = yield* startEngine(options)
        yield* engine.service.submit({ id: "a", content: "1" })
        yield* engine.service.submit({ id: "b", content: "1" })
        yield* engine.service.flush
        const { version } = yield* engine.service.delete("a")
        yield* engine.service.flush
        const first = [...(yield* Stream.runCollect(Stream.take(engine.service.changes(), 3)))]
        expect(first.map(({ id, operation }) => `${operation} ${id}`)).toEqual(["PUT a", "PUT b", "DELETE a"])
        expect(first[2]!.version).toBe(version)

        yield* Effect.promise(() => server.kill())
        yield* engine.service.submit({ id: "c", content: "1" })
        yield* engine.service.flush
        // Archived, but kept in the log until it has been published.
        expect((yield* engine.service.stats).log.items).toBe(1)
        expect((yield* engine.service.stats).pending).toBe(0)
        const report = yield* engine.service.shutdown
        expect(report.itemsLeftInLog).toBe(1)
        expect(report.flushedWal).toBe(true)

        const back = yield* Effect.acquireRelease(
          Effect.promise(() => startRedis({ port: server.port })),
          (other) => Effect.promise(() => other.stop())
        )
        const again = yield* startEngine({ ...options, redis: back.url })
        const later = yield* Stream.runHead(again.service.changes())
        expect(Option.map(later, ({ id, operation }) => `${operation} ${id}`)).toEqual(Option.some("PUT c"))
        yield* eventually(
          "the log is empty",
          Effect.map(again.service.stats, ({ log }) => log.items === 0)
        )
        const position = Option.getOrThrow(later).position
        yield* again.service.submit({ id: "d", content: "1" })
        const next = yield* Stream.runHead(again.service.changes(position))
        expect(Option.map(next, ({ id }) => id)).toEqual(Option.some("d"))
      })
  )

  it.scopedLive("says so when it is off", () =>
    Effect.gen(function* () {
      const engine = yield* startEngine({ dataDir: yield* temporaryDirectory })
      const answer = yield* Effect.flip(Stream.runHead(engine.service.changes()))
      expect(answer).toBeInstanceOf(NotSupported)
    })
  )
})

describe("volatile items", () => {
  it.scopedLive("live in the cache alone, expire, and leave the roots equal", () =>
    Effect.gen(function* () {
      const server = yield* redis
      const dataDir = yield* temporaryDirectory
      const engine = yield* startEngine({ dataDir, redis: server.url })
      yield* engine.service.submit({ id: "durable", content: "1" })
      const receipt = yield* engine.service.submit(
        { id: "session", content: "x" },
        { sql: false, ttl: "2 seconds" }
      )
      expect(receipt.durability).toBe("memory")
      expect(Option.map(yield* engine.service.get("session"), textOf)).toEqual(Option.some("x"))
      expect(yield* engine.service.countPrefix("")).toBe(1)
      expect((yield* engine.service.stats).log.committed).toBe(1)
      yield* eventually("it has expired", Effect.map(engine.service.get("session"), Option.isNone))
      expect(
        (yield* Effect.flip(engine.service.submit({ id: "s", content: "x" }, { sql: false })))._tag
      ).toBe("InvalidRequest")
      yield* Effect.promise(() => server.kill())
      const down = yield* Effect.flip(
        engine.service.submit({ id: "session", content: "x" }, { sql: false, ttl: "1 minute" })
      )
      expect(down).toBeInstanceOf(TierUnavailable)
    })
  )

  it.scopedLive("are refused without a cache", () =>
    Effect.gen(function* () {
      const engine = yield* startEngine({ dataDir: yield* temporaryDirectory })
      const answer = yield* Effect.flip(
        engine.service.submit({ id: "session", content: "x" }, { sql: false, ttl: "1 minute" })
      )
      expect(answer).toBeInstanceOf(NotSupported)
    })
  )
})
