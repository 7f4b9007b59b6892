import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, TestClock } from "effect"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import type { Durability, SubmitItem } from "../../../src/SyncEngineApi.js"
import { textOf } from "../../../src/SyncItem.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { cacheOf } from "../../support/components.js"
import { PlayedArchive, recordOf, settle, start } from "../support.js"

const everything = { roots: true, rows: true, contents: true, values: "full" } as const

/** An engine over an archive and a cache; with `l1MaxBytes` 0 only the tiers below can serve. */
const tiers = (l1MaxBytes = 0) =>
  Effect.gen(function* () {
    const archive = new PlayedArchive()
    const { cache } = yield* InProcessCache.make()
    const engine = yield* start({
      archive: archive.options,
      cache: cacheOf(cache),
      config: { l1MaxBytes, batchFlushInterval: 3_600_000, healthInterval: 3_600_000 }
    })
    return { ...engine, archive, cache }
  })

const stateOf = (item: Option.Option<{ readonly state: string | undefined }>) =>
  Option.map(item, ({ state }) => state).pipe(Option.getOrUndefined)

describe("the same version once more", () => {
  it.scoped("a repeat with other times is no write in any tier", () =>
    Effect.gen(function* () {
      const { archive, cache, service } = yield* tiers()
      const feed = Array.from({ length: 30 }, (_, n) => ({
        id: `feed.${n}`,
        content: `v${n}`,
        version: n + 1,
        state: "draft"
      }))
      yield* service.submitMany(feed)
      yield* service.flush
      const first = archive.state.records.get("feed.7")!
      yield* Effect.sleep(0).pipe(Effect.zipRight(settle))
      yield* service.submitMany(
        feed.map((item) => ({ ...item, traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01` }))
      )
      yield* service.flush
      expect((yield* service.verify(everything)).differences).toEqual([])
      expect(Option.getOrThrow(yield* service.get("feed.7")).traceparent).toBeUndefined()
      expect(archive.state.records.get("feed.7")).toEqual(first)
      // Also where the cache had lost it meanwhile.
      yield* cache.deleteMany(feed.map(({ id }) => ({ id })))
      yield* service.submitMany(
        feed.map((item) => ({ ...item, traceparent: `00-${"3".repeat(32)}-${"2".repeat(16)}-01` }))
      )
      yield* service.flush
      expect((yield* service.verify(everything)).differences).toEqual([])
      expect((yield* service.stats).log.items).toBe(0)
    })
  )

  const first = { id: "a", content: "1", version: 5, state: "draft", contentType: "json" } as const
  const others: ReadonlyArray<readonly [string, SubmitItem]> = [
    ["state", { ...first, state: "new" }],
    ["no state", { ...first, state: undefined }],
    ["content type", { ...first, contentType: "binary" }],
    ["content", { ...first, content: "2" }],
    ["another content", { ...first, content: "3" }],
    ["an older version", { ...first, version: 4 }]
  ]

  for (const durability of ["memory", "wal", "archive"] satisfies ReadonlyArray<Durability>) {
    for (const [what, second] of others) {
      it.scoped(`with another ${what} is refused at "${durability}" while the first one is pending`, () =>
        Effect.gen(function* () {
          const { archive, service } = yield* tiers(1_000_000)
          yield* service.submit(first)
          expect(yield* Effect.flip(service.submit(second, { durability }))).toMatchObject({
            _tag: "VersionConflict",
            submitted: second.version,
            current: 5
          })
          yield* service.flush
          expect(archive.state.records.get("a")).toMatchObject({ version: 5, state: "draft" })
        })
      )
    }
  }

  it.scoped("found only at the flush: every tier keeps what the archive has", () =>
    Effect.gen(function* () {
      const { archive, cache, service } = yield* tiers(1_000_000)
      yield* service.submit({ id: "a", content: "1", version: 5, state: "draft" })
      // Another node puts the same version in first, with another state.
      archive.put("a", 5, "1")
      archive.put("b", 7, "newer")
      yield* service.submit({ id: "b", content: "older", version: 6 }).pipe(Effect.ignore)
      yield* service.flush
      expect(stateOf(yield* service.get("a"))).toBeUndefined()
      expect(textOf(Option.getOrThrow(yield* service.get("b")))).toBe("newer")
      expect(Option.getOrThrow(yield* cache.get("a")).state).toBeUndefined()
      expect(yield* service.verify(everything)).toMatchObject({ inSync: true })
      expect((yield* service.stats).superseded).toBeGreaterThanOrEqual(1)
    })
  )
})

describe("another content of the same version", () => {
  it.scoped("written at two nodes at once, it is acknowledged to the one whose commit came first", () =>
    Effect.gen(function* () {
      const near = new PlayedArchive()
      const far = new PlayedArchive(near.state)
      const one = yield* start({ archive: near.options })
      const joining = yield* Effect.fork(start({ archive: far.options }))
      yield* TestClock.adjust("4 seconds")
      const two = yield* Fiber.join(joining)
      near.hold("commit")
      far.hold("commit")
      const ids = Array.from({ length: 8 }, (_, n) => `id.${n}`)
      const write = (service: typeof one.service, text: string) =>
        Effect.fork(
          service.submitMany(
            ids.map((id) => ({ id, content: `${text} ${id}`, version: 9 })),
            { durability: "archive" }
          )
        )
      const first = yield* write(one.service, "one")
      const second = yield* write(two.service, "two")
      yield* settle
      near.letGo("commit")
      const taken = yield* Fiber.join(first)
      far.letGo("commit")
      const lost = yield* Fiber.join(second)
      for (const result of taken)
        expect(result).toMatchObject({ receipt: { durability: "archive", version: 9 } })
      for (const result of lost) {
        expect(result).toMatchObject({ error: { _tag: "VersionConflict", submitted: 9, current: 9 } })
      }
      for (const id of ids) {
        expect(textOf(near.state.records.get(id)!)).toBe(`one ${id}`)
        for (const { service } of [one, two]) {
          expect(textOf(Option.getOrThrow(yield* service.get(id)))).toBe(`one ${id}`)
        }
      }
      expect((yield* two.service.stats).superseded).toBe(ids.length)
    })
  )

  it.scoped("put back from the dead letters, it loses, and is no lost acknowledged write", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = () => true
      const { service } = yield* start({ archive: archive.options })
      const ids = Array.from({ length: 8 }, (_, n) => `id.${n}`)
      yield* service.submitMany(ids.map((id) => ({ id, content: `refused ${id}`, version: 5 })))
      yield* service.flush
      expect((yield* service.stats).deadLetters).toBe(ids.length)
      const stored = ids.map((id) => archive.put(id, 5, `taken ${id}`))
      archive.refuses = () => false
      expect(yield* service.deadLetters.retry()).toBe(ids.length)
      yield* service.flush
      expect(ids.map((id) => archive.state.records.get(id))).toEqual(stored)
      for (const id of ids) {
        expect(textOf(Option.getOrThrow(yield* service.get(id)))).toBe(`taken ${id}`)
        expect((yield* service.status(id)).lostVersion).toBeUndefined()
      }
      expect(yield* service.stats).toMatchObject({ superseded: ids.length, deadLetters: 0 })
    })
  )
})

describe("receipts of writes that the archive did not take", () => {
  it.scoped("a refused duplicate is refused too", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = ({ id }) => id === "bad"
      const { service } = yield* start({ archive: archive.options })
      archive.hold("commit")
      const write = (content: string) =>
        service.submit({ id: "bad", content, version: 3 }, { durability: "archive" })
      const both = yield* Effect.fork(
        Effect.all([Effect.either(write("x")), Effect.either(write("x"))], { concurrency: "unbounded" })
      )
      yield* settle
      archive.letGo("commit")
      const results = yield* both.await.pipe(Effect.flatten)
      expect(results.map((result) => (result._tag === "Left" ? result.left._tag : "receipt"))).toEqual([
        "ItemRejected",
        "ItemRejected"
      ])
      expect(archive.state.records.has("bad")).toBe(false)
    })
  )

  it.scoped("no receipt of the archive names a version that lost", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.hold("commit")
      const write = yield* Effect.fork(
        Effect.flip(service.submit({ id: "a", content: "50", version: 50 }, { durability: "archive" }))
      )
      yield* settle
      archive.put("a", 100, "100")
      archive.letGo("commit")
      expect(yield* write.await.pipe(Effect.flatten)).toMatchObject({
        _tag: "VersionConflict",
        submitted: 50,
        current: 100
      })
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("100")
    })
  )

  it.scoped("entries of an old log with one version twice: the first stays, and is counted", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      const [a, b] = [recordOf("a", 5, "1"), { ...recordOf("a", 5, "1"), state: "new" }]
      disk.entries.push({ sequence: 1, record: a, bytes: 100 }, { sequence: 2, record: b, bytes: 100 })
      disk.committed = 2
      const { service } = yield* start({ archive: archive.options, disk })
      expect(archive.state.records.get("a")).toEqual(a)
      expect(Option.getOrThrow(yield* service.get("a")).state).toBeUndefined()
    })
  )
})
