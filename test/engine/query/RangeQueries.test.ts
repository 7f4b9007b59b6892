import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Option, Stream } from "effect"
import type { SyncEngineApi } from "../../../src/SyncEngineApi.js"
import type { SyncItem } from "../../../src/SyncItem.js"
import { textOf } from "../../../src/SyncItem.js"
import { beside, items, PlayedArchive, settle, start } from "../support.js"

const idsOf = (found: Iterable<SyncItem>) => Array.from(found, ({ id }) => id)

const collect = <E>(stream: Stream.Stream<SyncItem, E>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

const scanIds = (service: SyncEngineApi, prefix: string, after?: string) =>
  Effect.map(collect(service.scanPrefix(prefix, { after })), idsOf)

/** Pages of streams of two items, so that every boundary is crossed. */
const smallPages = { streamPageItems: 2, idsPerDelete: 2 }

describe("prefix scans", () => {
  it.scoped("the item itself and what lies below it, and nothing that only begins alike", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ limits: smallPages })
      for (const id of ["a", "a.b", "a.b.c", "a.b.d.e", "a.bc", "a.b-c", "a.bé", "ab", "b", "A.b"]) {
        yield* service.submit({ id, content: id })
      }
      expect(yield* scanIds(service, "a.b")).toEqual(["a.b", "a.b.c", "a.b.d.e"])
      expect(yield* scanIds(service, "a.bc")).toEqual(["a.bc"])
      expect(yield* scanIds(service, "a")).toEqual(["a", "a.b", "a.b-c", "a.b.c", "a.b.d.e", "a.bc", "a.bé"])
      expect(yield* scanIds(service, "A")).toEqual(["A.b"])
      expect(yield* scanIds(service, "z")).toEqual([])
      expect(yield* service.countPrefix("a.b")).toBe(3)
      expect(yield* service.countPrefix("")).toBe(10)
    })
  )

  it.scoped("by ascending bytes, not by locale and not by UTF-16 units", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ limits: smallPages })
      const ids = ["Z", "a", "z", "é", "€", "\uffe5", "\u{1f600}", "\u{10ffff}", "a\u{301}"]
      yield* service.submitMany(ids.map((id) => ({ id, content: id })))
      const sorted = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      expect(yield* scanIds(service, "")).toEqual(sorted)
      // In UTF-16 units the order of the last ones would be another.
      expect(sorted).not.toEqual([...ids].sort())
      for (let index = 0; index < sorted.length; index++) {
        expect(yield* scanIds(service, "", sorted[index])).toEqual(sorted.slice(index + 1))
      }
    })
  )

  it.scoped("pages by key: every item once, whatever the limit", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      yield* service.submitMany(items(23, "p."))
      const all = yield* scanIds(service, "p")
      expect(new Set(all).size).toBe(23)
      for (const limit of [1, 2, 7, 23, 24]) {
        const seen: Array<string> = []
        for (;;) {
          const page = yield* service.scanPage("p", { limit, after: seen[seen.length - 1] })
          if (page.length === 0) break
          expect(page.length).toBeLessThanOrEqual(limit)
          seen.push(...idsOf(page))
        }
        expect(seen).toEqual(all)
      }
    })
  )

  it.scoped("what was acknowledged before the call is there, with an archive that has seen none of it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a.1", content: "x" }, { durability: "memory" })
      yield* service.submit({ id: "a.2", content: "x", state: "open" })
      expect(yield* scanIds(service, "a")).toEqual(["a.1", "a.2"])
      yield* service.delete("a.1")
      expect(yield* service.countPrefix("a")).toBe(1)
      expect(yield* service.countByState("open")).toBe(1)
      yield* service.submit({ id: "a.3", content: "x", state: "open" })
      expect(yield* service.listStateIds("open")).toEqual(["a.2", "a.3"])
    })
  )

  it.scoped("changes after the call show in later pages: new contents, deletes; nothing twice", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, limits: smallPages })
      yield* service.submitMany([0, 1, 2, 3, 4, 5].map((n) => ({ id: `a.${n}`, content: "old" })))
      yield* service.flush
      const found = yield* collect(
        service.scanPrefix("a").pipe(
          Stream.tap(({ id }) =>
            id === "a.1"
              ? Effect.gen(function* () {
                  archive.hold("commit")
                  yield* service.submit({ id: "a.0", content: "new" })
                  yield* service.submit({ id: "a.3", content: "new" })
                  yield* service.delete("a.4")
                  yield* service.delete("a.5")
                })
              : Effect.void
          )
        )
      )
      expect(found.map((item) => [item.id, textOf(item)])).toEqual([
        ["a.0", "old"],
        ["a.1", "old"],
        ["a.2", "old"],
        ["a.3", "new"]
      ])
      archive.letGo("commit")
    })
  )

  it.scoped("a page whose items have all just been deleted is not the end", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany([0, 1, 2, 3].map((n) => ({ id: `a.${n}`, content: "x" })))
      yield* service.flush
      archive.hold("scan")
      const page = yield* beside(service.scanPage("a", { limit: 2 }))
      archive.hold("commit")
      yield* service.deleteMany(["a.0", "a.1"])
      archive.letGo("scan")
      yield* settle
      expect(idsOf(yield* Fiber.join(page))).toEqual(["a.2", "a.3"])
      archive.letGo("commit")
    })
  )

  it.scoped("an item that leaves a state during a scan of that state is not shown in it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany([0, 1, 2].map((n) => ({ id: `a.${n}`, content: "x", state: "open" })))
      yield* service.flush
      archive.hold("scan")
      const page = yield* beside(service.statePage("open"))
      archive.hold("commit")
      yield* service.setState("a.0", "closed")
      yield* service.delete("a.1")
      yield* service.submit({ id: "a.2", content: "new", state: "open" })
      archive.letGo("scan")
      yield* settle
      expect((yield* Fiber.join(page)).map((item) => [item.id, textOf(item)])).toEqual([["a.2", "new"]])
      archive.letGo("commit")
    })
  )

  it.scoped("an archive that is unavailable is an error for every question about sets", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "x" })
      archive.down = true
      const questions: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        Stream.runDrain(service.scanPrefix("")),
        Stream.runDrain(service.getByState("s")),
        service.scanPage(""),
        service.statePage("s"),
        service.countPrefix(""),
        service.countByState("s"),
        service.listStateIds("s"),
        service.merkleRoot,
        service.merkleNode(""),
        service.merkleChildren(""),
        service.verify(),
        service.flush,
        service.deletePrefix("a"),
        service.deleteByState("s")
      ]
      for (const question of questions) {
        expect(yield* Effect.flip(question)).toMatchObject({ _tag: "TierUnavailable", tier: "archive" })
      }
    })
  )

  it.scoped("bad prefixes, states, cursors and limits are refused by name", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const cases: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, string]> = [
        [Stream.runDrain(service.scanPrefix("a.")), "prefix"],
        [Stream.runDrain(service.scanPrefix("a", { after: "" })), "after"],
        [Stream.runDrain(service.getByState("")), "state"],
        [service.scanPage("a..b"), "prefix"],
        [service.scanPage("a", { limit: 0 }), "limit"],
        [service.scanPage("a", { limit: 10_001 }), "limit"],
        [service.scanPage("a", { limit: 1.5 }), "limit"],
        [service.scanPage("a", { limit: "5" as never }), "limit"],
        [service.scanPage("a", { after: ".." }), "after"],
        [service.statePage("x".repeat(65)), "state"],
        [service.countPrefix(7 as never), "prefix"],
        [service.countByState(null as never), "state"],
        [service.listStateIds("s", { limit: -1 }), "limit"],
        [service.merkleNode("a."), "path"],
        [service.merkleChildren("a", { limit: 0 }), "limit"],
        [service.deletePrefix(""), "prefix"],
        [service.deletePrefix(".a"), "prefix"],
        [service.deleteByState(""), "state"]
      ]
      for (const [question, argument] of cases) {
        expect(yield* Effect.flip(question)).toMatchObject({ _tag: "InvalidRequest", argument })
      }
    })
  )

  it.scoped("a stream ends with a closed gate when the engine is shut down under it", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ limits: smallPages })
      yield* service.submitMany(items(5))
      const error = yield* Effect.flip(Stream.runForEach(service.scanPrefix(""), () => service.shutdown))
      expect(error).toMatchObject({ _tag: "GateClosed", operation: "query" })
    })
  )
})

describe("bulk deletes", () => {
  it.scoped("deletePrefix takes the item, what lies below it and what is still pending", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ limits: smallPages })
      yield* service.submitMany(items(7, "a.b."))
      yield* service.flush
      yield* service.submitMany([
        { id: "a.b", content: "x" },
        { id: "a.b.late", content: "x" },
        { id: "a.bc", content: "x" }
      ])
      expect(yield* service.deletePrefix("a.b")).toBe(9)
      expect(yield* scanIds(service, "")).toEqual(["a.bc"])
      expect(yield* service.deletePrefix("a.b")).toBe(0)
    })
  )

  it.scoped("they work with a MAX_BATCH_ITEMS below their own pages", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ config: { maxBatchItems: 3 } })
      for (let batch = 0; batch < 4; batch++) yield* service.submitMany(items(3, `a.${batch}.`))
      yield* service.setState("a.0.0", "gone")
      expect(yield* service.deleteByState("gone")).toBe(1)
      expect(yield* service.deletePrefix("a")).toBe(11)
    })
  )

  it.scoped("an item that has left the state meanwhile is not deleted", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, limits: { idsPerDelete: 1 } })
      yield* service.submitMany([0, 1, 2].map((n) => ({ id: `a.${n}`, content: "x", state: "old" })))
      yield* service.flush
      archive.hold("scanIds")
      const deleted = yield* beside(service.deleteByState("old"))
      archive.hold("commit")
      yield* service.setState("a.1", "kept")
      archive.letGo("scanIds")
      yield* settle
      archive.letGo("commit")
      expect(yield* Fiber.join(deleted)).toBe(2)
      expect(Option.isSome(yield* service.get("a.1"))).toBe(true)
      expect(Option.isNone(yield* service.get("a.0"))).toBe(true)
    })
  )
})

describe("the tree", () => {
  it.scoped("the root follows the writes, and deleting brings it back", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const empty = yield* service.merkleRoot
      yield* service.submitMany(items(10, "a."))
      const full = yield* service.merkleRoot
      expect(full).not.toBe(empty)
      expect(yield* service.verify()).toMatchObject({
        inSync: true,
        archiveRoot: full,
        recomputed: { root: full, rows: 10 },
        pending: 0
      })
      expect(Option.getOrThrow(yield* service.merkleNode("a")).count).toBe(10)
      expect(yield* service.merkleChildren("a", { limit: 3 })).toHaveLength(3)
      yield* service.deletePrefix("a")
      expect(yield* service.merkleRoot).toBe(empty)
      expect(Option.isNone(yield* service.merkleNode("a"))).toBe(true)
    })
  )

  it.scoped("verify finds a row that changed behind the tree's back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(items(10, "a."))
      yield* service.flush
      archive.state.remove("a.3")
      const result = yield* service.verify()
      expect(result.inSync).toBe(false)
      expect(result.recomputed?.root).not.toBe(result.archiveRoot)
    })
  )
})
