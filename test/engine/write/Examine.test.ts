import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { contentHashOf } from "../../../src/SyncItem.js"
import { YieldToEventLoop } from "../../../src/shared/YieldToEventLoop.js"
import { start } from "../support.js"

const jsonOf = (bytes: number) => Buffer.from(`[${"1,".repeat(bytes / 2)}1]`)

describe("large contents", () => {
  it.scoped("are hashed and checked in pieces, with the verdict and the hash of small ones", () =>
    Effect.gen(function* () {
      let turns = 0
      const counted = Effect.sync(() => {
        turns++
      })
      const { service } = yield* start({ limits: { bytesPerTurn: 64 * 1024 } })
      const content = jsonOf(2 * 1024 * 1024)
      const damaged = Buffer.concat([content, Buffer.from("]")])
      const write = Effect.gen(function* () {
        yield* service.submit({ id: "json", content, contentType: "json" })
        yield* service.submit({ id: "large", content })
        yield* service.submit({ id: "detected", content: jsonOf(500 * 1024) })
        yield* service.submit({ id: "binary", content: damaged })
        const refused = yield* Effect.flip(
          service.submit({ id: "refused", content: damaged, contentType: "json" })
        )
        expect(refused).toMatchObject({ _tag: "InvalidItem", field: "content" })
        const results = yield* service.submitMany([
          { id: "many.1", content: "x" },
          { id: "many.2", content, contentType: "json" },
          { id: "many.3", content: "y" },
          { id: "many.4", content: damaged, contentType: "json" },
          { id: "many.2", content: "last" }
        ])
        expect(results.map((result) => result._tag)).toEqual([
          ...["Acknowledged", "Acknowledged", "Acknowledged", "Rejected", "Acknowledged"]
        ])
      })
      yield* Effect.provideService(write, YieldToEventLoop, counted)
      // Six of 2 MiB and one of 500 KiB.
      expect(turns).toBeGreaterThan(6 * 32)
      const found = yield* service.getMany(["json", "large", "detected", "binary", "many.2"])
      expect([...found.values()].map((item) => [item.id, item.contentType, item.contentHash])).toEqual([
        ["json", "json", contentHashOf(content)],
        ["large", "binary", contentHashOf(content)],
        ["detected", "json", contentHashOf(jsonOf(500 * 1024))],
        ["binary", "binary", contentHashOf(damaged)],
        ["many.2", "binary", contentHashOf(Buffer.from("last"))]
      ])
      expect(Option.isNone(yield* service.get("many.4"))).toBe(true)
    })
  )
})
