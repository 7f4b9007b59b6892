import { expect, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { describe, inject } from "vitest"
import { textOf } from "../../../src/SyncItem.js"
import { freshDatabase } from "../archive/mysql.js"
import { eventually, type RealEngine, startEngine, temporaryDirectory } from "./support.js"

const trusted = (engine: RealEngine) => Effect.map(engine.service.health, ({ filter }) => filter.trusted)

const items = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => ({
    id: `geo.${index % 5}.${from + index}`,
    content: `v${index}`
  }))

describe("the existence filter in an engine", () => {
  it.scopedLive(
    "is built while serving, restored after a clean stop, and proves absence without the archive",
    () =>
      Effect.gen(function* () {
        const options = { dataDir: yield* temporaryDirectory }
        const engine = yield* startEngine(options)
        yield* engine.service.submitMany(items(3000))
        yield* engine.service.flush
        yield* eventually("the filter is trusted", trusted(engine))
        expect(yield* engine.service.definitelyMissing("geo.absent")).toBe(true)
        expect(yield* engine.service.mightExist("geo.1.1")).toBe(true)
        const report = yield* engine.service.shutdown
        expect(report.filterSnapshot).toBe(true)

        const again = yield* startEngine(options)
        // Trusted at once: restored, not rebuilt.
        expect(yield* trusted(again)).toBe(true)
        const labels = (yield* again.service.stats).startupTimings.map(([label]) => label)
        expect(labels).toContain("cf_restore")
        expect(labels).not.toContain("warm_up")
        expect(Option.isNone(yield* again.service.get("geo.absent"))).toBe(true)
        expect(Option.map(yield* again.service.get("geo.1.1"), textOf)).toEqual(Option.some("v1"))
      })
  )

  it.scopedLive("never denies what another engine wrote to the same archive", () =>
    Effect.gen(function* () {
      const sql = Redacted.value(yield* freshDatabase(inject("mysqlUrl")))
      const first = yield* startEngine({ dataDir: yield* temporaryDirectory, sql })
      yield* first.service.submitMany(items(500))
      yield* first.service.flush
      yield* eventually("the first is trusted", trusted(first))
      expect(yield* first.service.definitelyMissing("other.1")).toBe(true)

      const second = yield* startEngine({ dataDir: yield* temporaryDirectory, sql })
      for (let round = 0; round < 20; round++) {
        const id = `other.${round}`
        yield* second.service.submit({ id, content: "x" }, { durability: "archive" })
        // Archived by the second: the first must not deny it, at any time.
        expect(yield* first.service.definitelyMissing(id)).toBe(false)
        expect(Option.isSome(yield* first.service.get(id))).toBe(true)
      }
      expect(yield* trusted(first)).toBe(false)
      yield* second.service.shutdown
      yield* eventually("alone again, the first is trusted again", trusted(first))
      expect(yield* first.service.mightExist("other.19")).toBe(true)
      expect(yield* first.service.definitelyMissing("nobody.wrote.this")).toBe(true)
    })
  )
})
