import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { CacheError } from "../../../src/cache/Cache.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { textOf } from "../../../src/SyncItem.js"
import { cacheOf } from "../../support/components.js"
import { beside, PlayedArchive, settle, start } from "../support.js"

const hour = 3_600_000

describe("a cache that is trusted when it is asked", () => {
  for (const read of ["get", "getMany"] as const) {
    it.scoped(`and no longer when it has answered, is not believed (${read})`, () =>
      Effect.gen(function* () {
        const archive = new PlayedArchive()
        const { cache } = yield* InProcessCache.make()
        const answers = yield* Effect.makeLatch(true)
        let takesWrites = true
        const failure = new CacheError({
          operation: "put",
          kind: "timeout",
          problem: "late",
          retryAfterMs: 1
        })
        const { service } = yield* start({
          archive: archive.options,
          cache: cacheOf({
            ...cache,
            put: (records) => Effect.suspend(() => (takesWrites ? cache.put(records) : Effect.fail(failure))),
            get: (id) => Effect.zipLeft(cache.get(id), answers.await),
            getMany: (ids) => Effect.zipLeft(cache.getMany(ids), answers.await)
          }),
          config: { l1MaxBytes: 0, batchFlushInterval: hour, healthInterval: hour }
        })
        const { version } = yield* service.submit({ id: "a", content: "old" })
        yield* service.flush
        const asked =
          read === "get"
            ? Effect.map(service.get("a"), Option.getOrThrow)
            : Effect.map(service.getMany(["a", "other"]), (found) => found.get("a")!)
        expect(textOf(yield* asked)).toBe("old")
        yield* answers.close
        const reader = yield* beside(asked)
        // Its writes fail from here on: what it said may be what they have replaced.
        archive.put("a", version + 1, "new")
        takesWrites = false
        yield* service.submit({ id: "b", content: "x" })
        yield* service.flush
        yield* answers.open
        yield* settle
        expect(textOf(yield* Fiber.join(reader))).toBe("new")
      })
    )
  }
})
