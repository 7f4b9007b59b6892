import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, TestClock } from "effect"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { versionsPerMillisecond } from "../../../src/engine/state/HybridLogicalClock.js"
import type { Durability } from "../../../src/SyncEngineApi.js"
import { textOf } from "../../../src/SyncItem.js"
import { cacheOf } from "../../support/components.js"
import { beside, ended, items, PlayedArchive, settle, start } from "../support.js"

const quiet = { batchFlushInterval: 3_600_000, healthInterval: 3_600_000, l1MaxBytes: 0 }

const text = (item: Option.Option<Parameters<typeof textOf>[0]>) =>
  Option.getOrUndefined(Option.map(item, textOf))

/** As another node that is there: nobody is the sole writer. */
const other = { node: "other", token: undefined, heartbeat: "x", leaseMs: 3_600_000 }

describe("an own version that memory and log do not know", () => {
  for (const durability of ["memory", "wal", "archive"] satisfies ReadonlyArray<Durability>) {
    it.scoped(`at "${durability}" a stale one is refused, out of memory as in it`, () =>
      Effect.gen(function* () {
        const archive = new PlayedArchive()
        const { service } = yield* start({ archive: archive.options, config: quiet })
        yield* service.submit({ id: "a", content: "5", version: 5 })
        yield* service.delete("gone", { version: 5 })
        yield* service.flush
        const refused = { _tag: "VersionConflict", current: 5 }
        for (const write of [
          service.submit({ id: "a", content: "3", version: 3 }, { durability }),
          service.submit({ id: "a", content: "other", version: 5 }, { durability }),
          service.submit({ id: "gone", content: "3", version: 3 }, { durability }),
          service.delete("a", { version: 4, durability })
        ]) {
          expect(yield* Effect.flip(write)).toMatchObject(refused)
        }
        const results = yield* service.submitMany(
          [
            { id: "a", content: "4", version: 4 },
            { id: "a", content: "5", version: 5 },
            { id: "b", content: "1", version: 1 }
          ],
          { durability }
        )
        expect(
          results.map((one) => (one._tag === "Rejected" ? one.error._tag : one.receipt.compared))
        ).toEqual(["VersionConflict", true, true])
        yield* service.flush
        expect(text(yield* service.get("a"))).toBe("5")
        expect((yield* service.stats).superseded).toBe(0)
      })
    )
  }

  it.scoped("a batch asks the archive once, and a known version not at all", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      const feed = items(500).map((item, index) => ({ ...item, version: index + 1 }))
      yield* service.submitMany(feed)
      expect(archive.seen("heads")).toHaveLength(1)
      yield* service.submitMany(feed.map((item) => ({ ...item, version: item.version + 1_000 })))
      expect(archive.seen("heads")).toHaveLength(1)
      // Singles of one turn share questions.
      const singles = items(100, "single.").map((item) => service.submit({ ...item, version: 7 }))
      yield* Effect.all(singles, { concurrency: "unbounded" })
      expect(archive.seen("heads").length).toBeLessThan(5)
      yield* service.submitMany(items(50, "engine."))
      expect(archive.seen("heads").length).toBeLessThan(5)
    })
  )

  it.scoped("without the archive it is taken, and the receipt says so; a loss shows later", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      yield* service.submit({ id: "a", content: "5", version: 5 })
      yield* service.flush
      archive.down = true
      const receipt = yield* service.submit({ id: "a", content: "3", version: 3 })
      expect(receipt).toMatchObject({ version: 3, durability: "wal", compared: false })
      const [batched] = yield* service.submitMany([{ id: "a", content: "4", version: 4 }])
      expect(batched).toMatchObject({ receipt: { compared: false } })
      archive.down = false
      yield* service.flush
      expect(text(yield* service.get("a"))).toBe("5")
      expect((yield* service.stats).superseded).toBe(1)
      expect(yield* service.status("a")).toMatchObject({ state: "archived", version: 5, lostVersion: 4 })
    })
  )

  it.scoped("an archive that hangs holds a write up for seconds, not for its own time limit", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.hold("heads")
      const write = yield* beside(service.submit({ id: "a", content: "3", version: 3 }))
      yield* TestClock.adjust(3_000)
      expect(yield* Fiber.join(write)).toMatchObject({ compared: false })
      archive.letGo("heads")
    })
  )

  it.scoped("a write of the id that comes while the archive is asked counts too", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      yield* TestClock.setTime(1_000)
      archive.hold("heads")
      const stale = yield* beside(Effect.flip(service.submit({ id: "a", content: "3", version: 3 })))
      // A plain write is not compared, and is archived and out of memory before the answer comes.
      yield* service.submit({ id: "a", content: "engine" }, { durability: "archive" })
      archive.letGo("heads")
      expect(yield* Fiber.join(stale)).toMatchObject({ _tag: "VersionConflict", submitted: 3 })
    })
  )
})

describe("a shutdown while the archive is asked", () => {
  it.scoped("ends every question, the one that has not been asked yet too", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.hold("heads")
      const asked = yield* beside(Effect.flip(service.submit({ id: "a", content: "a", version: 5 })))
      const next = yield* beside(Effect.flip(service.submit({ id: "b", content: "b", version: 5 })))
      expect(archive.seen("heads")).toHaveLength(1)
      yield* service.shutdown
      yield* settle
      expect([yield* ended(asked), yield* ended(next)]).toEqual([true, true])
      for (const writer of [asked, next]) {
        expect(yield* Fiber.join(writer)).toMatchObject({ _tag: "GateClosed" })
      }
      archive.letGo("heads")
    })
  )
})

describe("with other writers", () => {
  it.scoped("an own version is compared with the archive, not with memory", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.state.writers.rows.set("other", other)
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "5", version: 5 }, { durability: "archive" })
      archive.put("a", 9, "theirs")
      expect(yield* Effect.flip(service.submit({ id: "a", content: "7", version: 7 }))).toMatchObject({
        _tag: "VersionConflict",
        current: 9
      })
    })
  )

  it.scoped("a plain write of an unknown id says that it was not compared", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.state.writers.rows.set("other", other)
      const { service } = yield* start({ archive: archive.options })
      expect((yield* service.submit({ id: "a", content: "x" })).compared).toBe(false)
      expect((yield* service.submit({ id: "b", content: "x" }, { durability: "archive" })).compared).toBe(
        true
      )
      const alone = yield* start({ archive: new PlayedArchive().options })
      expect((yield* alone.service.submit({ id: "a", content: "x" })).compared).toBe(true)
    })
  )
})

describe("a write that waits for the archive and is superseded there", () => {
  /** Another node, whose clock is ahead, gets in before the commit. */
  const overtaken = (
    write: (
      service: Effect.Effect.Success<ReturnType<typeof start>>["service"]
    ) => Effect.Effect<unknown, unknown>,
    theirs = 30_000 * versionsPerMillisecond
  ) =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.hold("commit")
      const fiber = yield* beside(Effect.either(write(service)))
      archive.put("a", theirs, "theirs")
      archive.letGo("commit")
      yield* settle
      const result = yield* Fiber.join(fiber)
      return { archive, result, service, theirs }
    })

  it.scoped("by the engine's version: it is written once more, newer", () =>
    Effect.gen(function* () {
      const { archive, result, service, theirs } = yield* overtaken((service) =>
        service.submit({ id: "a", content: "ours", state: "s" }, { durability: "archive" })
      )
      expect(result).toMatchObject({
        _tag: "Right",
        right: { version: theirs + 1, durability: "archive", compared: true, previousVersion: theirs }
      })
      expect(archive.state.records.get("a")).toMatchObject({ version: theirs + 1, state: "s" })
      expect(text(yield* service.get("a"))).toBe("ours")
    })
  )

  it.scoped("once and no more: when the other node was faster again, its caller is told", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.hold("commit")
      const write = service.submit({ id: "a", content: "ours" }, { durability: "archive" })
      const fiber = yield* beside(Effect.flip(write))
      for (const seconds of [30, 60]) {
        archive.put("a", seconds * 1000 * versionsPerMillisecond, "theirs")
        archive.letGo("commit")
        archive.hold("commit")
        yield* settle
      }
      expect(archive.commits).toEqual([["a"], ["a"]])
      expect(yield* ended(fiber)).toBe(true)
      const current = 60_000 * versionsPerMillisecond
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "VersionConflict", current })
      archive.letGo("commit")
      expect(text(yield* service.get("a"))).toBe("theirs")
    })
  )

  it.scoped("by the engine's version: a deletion deletes", () =>
    Effect.gen(function* () {
      const { archive, result } = yield* overtaken((service) =>
        service.delete("a", { durability: "archive" })
      )
      expect(result._tag).toBe("Right")
      expect(archive.live()).toEqual([])
    })
  )

  it.scoped("it hears when readers see what has won, and holds up nobody whose write was archived", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { cache } = yield* InProcessCache.make()
      const puts = yield* Effect.makeLatch(true)
      const { service } = yield* start({
        archive: archive.options,
        cache: cacheOf({
          ...cache,
          put: (records) => Effect.zipRight(puts.await, cache.put(records))
        }),
        config: { ...quiet, batchFlushCount: 1 }
      })
      archive.hold("commit")
      yield* puts.close
      const submit = (id: string) => service.submit({ id, content: "ours" }, { durability: "archive" })
      const loser = yield* beside(Effect.either(submit("a")))
      const others = [yield* beside(submit("b")), yield* beside(submit("c"))]
      const theirs = archive.put("a", 30_000 * versionsPerMillisecond, "theirs")
      archive.letGo("commit")
      yield* settle
      // The first batch hangs in the cache, the next one is committed.
      expect(archive.commits).toEqual([["a"], ["b"]])
      expect([yield* ended(loser), yield* ended(others[0]!)]).toEqual([false, true])
      yield* puts.open
      yield* settle
      yield* Effect.all(others.map(Fiber.join))
      expect(yield* Fiber.join(loser)).toMatchObject({
        _tag: "Right",
        right: { version: theirs.version + 1 }
      })
      expect(text(yield* service.get("a"))).toBe("ours")
    })
  )

  it.scoped("in a batch: each result is the truth about its item", () =>
    Effect.gen(function* () {
      const { archive, result, theirs } = yield* overtaken((service) =>
        service.submitMany(
          [
            { id: "x", content: "1" },
            { id: "a", content: "ours" },
            { id: "y", content: "2" }
          ],
          {
            durability: "archive"
          }
        )
      )
      expect(result).toMatchObject({
        right: [
          { receipt: { id: "x", durability: "archive" } },
          { receipt: { id: "a", version: theirs + 1, durability: "archive" } },
          { receipt: { id: "y", durability: "archive" } }
        ]
      })
      expect(textOf(archive.state.records.get("a")!)).toBe("ours")
    })
  )

  it.scoped("by the caller's version: a conflict, and nothing is written", () =>
    Effect.gen(function* () {
      const { archive, result, theirs } = yield* overtaken((service) =>
        service.submit({ id: "a", content: "ours", version: 10 }, { durability: "archive" })
      )
      expect(result).toMatchObject({ left: { _tag: "VersionConflict", submitted: 10, current: theirs } })
      expect(textOf(archive.state.records.get("a")!)).toBe("theirs")
    })
  )

  it.scoped("a compare-and-set is not repeated: what it expected is not there", () =>
    Effect.gen(function* () {
      const { archive, result, theirs } = yield* overtaken((service) =>
        service.submit({ id: "a", content: "ours" }, { durability: "archive", expectedVersion: 0 })
      )
      expect(result).toMatchObject({ left: { _tag: "VersionMismatch", expected: 0, actual: theirs } })
      expect(textOf(archive.state.records.get("a")!)).toBe("theirs")
    })
  )

  it.scoped("not once more when this node has a later write of the id", () =>
    Effect.gen(function* () {
      const { archive, result } = yield* overtaken((service) =>
        Effect.all(
          [
            Effect.either(service.submit({ id: "a", content: "first" }, { durability: "archive" })),
            Effect.either(service.submit({ id: "a", content: "second" }, { durability: "archive" }))
          ],
          { concurrency: "unbounded" }
        )
      )
      expect(result).toMatchObject({
        right: [{ left: { _tag: "VersionConflict" } }, { right: { durability: "archive" } }]
      })
      expect(textOf(archive.state.records.get("a")!)).toBe("second")
    })
  )

  it.scoped("one that does not wait is not repeated: it is counted, and its id says so", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      const { version } = yield* service.submit({ id: "a", content: "ours" })
      const theirs = archive.put("a", 30_000 * versionsPerMillisecond, "theirs")
      yield* service.flush
      expect(yield* service.status("a")).toMatchObject({ version: theirs.version, lostVersion: version })
      expect((yield* service.stats).superseded).toBe(1)
      expect(archive.commits).toHaveLength(1)
    })
  )
})

describe("bulk deletions", () => {
  it.scoped("count what was deleted, against whatever versions", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      for (let n = 0; n < 5; n++) archive.put(`a.${n}`, 9_000_000_000_000_000 + n)
      const { service } = yield* start({ archive: archive.options, config: quiet })
      archive.hold("commit")
      const deleting = yield* beside(service.deletePrefix("a"))
      archive.put("a.3", 9_000_000_000_000_500, "theirs")
      archive.letGo("commit")
      yield* TestClock.adjust(1_000)
      expect(yield* Fiber.join(deleting)).toBe(5)
      expect(archive.live()).toEqual([])
    })
  )

  it.scoped("by state leave what another node has given another state before the commit", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: quiet })
      yield* service.submitMany(items(3, "a.").map((item) => ({ ...item, state: "old" })))
      yield* service.flush
      archive.hold("commit")
      const deleting = yield* beside(service.deleteByState("old"))
      archive.put("a.1", 30_000 * versionsPerMillisecond, "theirs")
      archive.letGo("commit")
      yield* settle
      expect(yield* Fiber.join(deleting)).toBe(2)
      expect(archive.live()).toEqual(["a.1"])
      expect(text(yield* service.get("a.1"))).toBe("theirs")
    })
  )
})
