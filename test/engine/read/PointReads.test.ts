import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, TestClock } from "effect"
import { contentHashOf, textOf } from "../../../src/SyncItem.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { beside, ended, items, PlayedArchive, settle, start } from "../support.js"

const textIn = (item: Option.Option<Parameters<typeof textOf>[0]>) =>
  Option.getOrUndefined(Option.map(item, textOf))

/** So small that no item stays. */
const noMemory = { l1MaxBytes: 0 }

describe("which tier answers", () => {
  it.scoped("memory first, without a call; then the archive, once, and memory from then on", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("stored", 5)
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "fresh", content: "1" })
      expect(textIn(yield* service.get("fresh"))).toBe("1")
      expect(archive.seen("getMany")).toHaveLength(0)
      expect(textIn(yield* service.get("stored"))).toBe("stored@5")
      expect(textIn(yield* service.get("stored"))).toBe("stored@5")
      expect(archive.seen("getMany")).toHaveLength(1)
    })
  )

  it.scoped("the log serves what is pending and not in memory, without asking the archive", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: noMemory })
      archive.hold("commit")
      yield* service.submit({ id: "a", content: "1" })
      expect(textIn(yield* service.get("a"))).toBe("1")
      expect((yield* service.getMany(["a"])).size).toBe(1)
      yield* service.delete("a")
      expect(textIn(yield* service.get("a"))).toBeUndefined()
      expect(archive.seen("getMany")).toHaveLength(0)
      archive.letGo("commit")
    })
  )

  it.scoped("absent means that the archive was asked, each time", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      expect(textIn(yield* service.get("none"))).toBeUndefined()
      archive.put("none", 5)
      expect(textIn(yield* service.get("none"))).toBe("none@5")
    })
  )

  it.scoped("an archived delete leaves memory: another node may bring the item back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "1" })
      const { version } = yield* service.delete("a")
      yield* service.flush
      expect(textIn(yield* service.get("a"))).toBeUndefined()
      archive.put("a", version + 1, "back")
      expect(textIn(yield* service.get("a"))).toBe("back")
    })
  )
})

describe("while the archive is away", () => {
  it.scoped("memory and log still answer; what they do not hold is an error and never absent", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("stored", 5)
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "fresh", content: "1" })
      yield* service.get("stored")
      archive.down = true
      expect(textIn(yield* service.get("fresh"))).toBe("1")
      expect(textIn(yield* service.get("stored"))).toBe("stored@5")
      const asked: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        service.get("none"),
        service.getMany(["fresh", "none"]),
        service.contains("none"),
        service.status("none"),
        service.isCurrent("none", 1),
        service.getVerified("none"),
        service.setState("none", "x")
      ]
      for (const read of asked) {
        expect(yield* Effect.flip(read)).toMatchObject({ _tag: "TierUnavailable", tier: "archive" })
      }
    })
  )

  it.scoped("a read that can be answered does not fail with one beside it that cannot", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: noMemory })
      archive.down = true
      yield* service.submit({ id: "pending", content: "1" })
      const [pending, none] = yield* Effect.all(
        [Effect.exit(service.get("pending")), Effect.exit(service.get("none"))],
        { concurrency: "unbounded" }
      )
      expect(Exit.map(pending, textIn)).toEqual(Exit.succeed("1"))
      expect(none).toMatchObject({ cause: { error: { _tag: "TierUnavailable" } } })
    })
  )

  it.scoped("without any archive: pending items are found, anything else is an error", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ archive: "none", config: noMemory })
      yield* service.submit({ id: "a", content: "1" })
      yield* service.submit({ id: "b", content: "1", version: 7 })
      yield* service.delete("c")
      expect(textIn(yield* service.get("a"))).toBe("1")
      expect(textIn(yield* service.get("b"))).toBe("1")
      expect(textIn(yield* service.get("c"))).toBeUndefined()
      expect((yield* Effect.flip(service.get("none")))._tag).toBe("TierUnavailable")
      expect((yield* Effect.flip(service.flush))._tag).toBe("TierUnavailable")
    })
  )

  it.scoped("a value taken from the log unchecked is compared once the archive is back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 100, "newer")
      const { service } = yield* start({ archive: archive.options })
      archive.down = true
      yield* archive.uncompared(service.submit({ id: "a", content: "older", version: 50 }))
      expect(textIn(yield* service.get("a"))).toBe("older")
      archive.down = false
      archive.hold("commit")
      expect(textIn(yield* service.get("a"))).toBe("newer")
      archive.letGo("commit")
    })
  )

  it.scoped("a log that cannot be read is an error for what only it holds", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      archive.put("stored", 5)
      const { service } = yield* start({ archive: archive.options, disk, config: noMemory })
      archive.hold("commit")
      yield* service.submit({ id: "a", content: "1" })
      disk.faults.reads = 1
      const [pending, stored] = yield* Effect.all(
        [Effect.exit(service.get("a")), Effect.exit(service.get("stored"))],
        { concurrency: "unbounded" }
      )
      expect(pending).toMatchObject({ cause: { error: { _tag: "LogUnavailable" } } })
      expect(Exit.map(stored, textIn)).toEqual(Exit.succeed("stored@5"))
      expect(textIn(yield* service.get("a"))).toBe("1")
      archive.letGo("commit")
    })
  )
})

describe("shared round trips", () => {
  it.scoped("1,000 readers of one turn share one call", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      for (const { id } of items(100)) archive.put(id, 5)
      const { service } = yield* start({ archive: archive.options })
      const found = yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, index) => `item.${index % 100}`),
        (id) => service.get(id),
        { concurrency: "unbounded" }
      )
      expect(found.every(Option.isSome)).toBe(true)
      expect(archive.seen("getMany")).toHaveLength(1)
    })
  )

  it.scoped("a reader that comes while its id is being read joins; another id gets a call of its own", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5)
      archive.put("b", 6)
      const { service } = yield* start({ archive: archive.options })
      archive.hold("getMany")
      const first = yield* beside(service.get("a"))
      const second = yield* beside(service.get("a"))
      const third = yield* beside(service.get("b"))
      expect(archive.seen("getMany")).toHaveLength(2)
      archive.letGo("getMany")
      yield* settle
      expect((yield* Effect.forEach([first, second, third], Fiber.join)).map(textIn)).toEqual([
        "a@5",
        "a@5",
        "b@6"
      ])
    })
  )

  it.scoped("the reader who made the call may go away; those who joined get their answer", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5)
      const { service } = yield* start({ archive: archive.options })
      archive.hold("getMany")
      const first = yield* beside(service.get("a"))
      const second = yield* beside(service.get("a"))
      yield* Fiber.interrupt(first)
      archive.letGo("getMany")
      yield* settle
      expect(textIn(yield* Fiber.join(second))).toBe("a@5")
    })
  )

  it.scoped("a failed call fails those who shared it, and the next reader asks again", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5)
      const { service } = yield* start({ archive: archive.options })
      archive.hold("getMany")
      const both = yield* beside(
        Effect.all([Effect.exit(service.get("a")), Effect.exit(service.get("a"))], { concurrency: 2 })
      )
      archive.down = true
      archive.letGo("getMany")
      yield* settle
      expect((yield* Fiber.join(both)).map(Exit.isFailure)).toEqual([true, true])
      archive.down = false
      expect(textIn(yield* service.get("a"))).toBe("a@5")
    })
  )

  it.scoped("many ids are asked in several calls of bounded size", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const ids = items(25).map(({ id }) => id)
      for (const id of ids) archive.put(id, 5)
      const { service } = yield* start({ archive: archive.options, limits: { idsPerQuery: 10 } })
      expect((yield* service.getMany(ids)).size).toBe(25)
      expect(archive.seen("getMany")).toHaveLength(3)
      expect((yield* service.getMany([...ids, ...ids, "none"])).size).toBe(25)
    })
  )

  it.scoped("reads under way at a shutdown are told that the gate is closed", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.hold("getMany")
      const read = yield* beside(Effect.flip(service.get("a")))
      yield* beside(service.shutdown)
      expect(yield* ended(read)).toBe(true)
      expect(yield* Fiber.join(read)).toMatchObject({ _tag: "GateClosed", operation: "query" })
    })
  )
})

describe("a read and a write of the same item", () => {
  it.scoped(
    "a read under way does not fill memory with what was replaced, flushed and evicted meanwhile",
    () =>
      Effect.gen(function* () {
        const archive = new PlayedArchive()
        archive.put("a", 5, "old")
        const { service } = yield* start({ archive: archive.options, config: { l1MaxBytes: 10_000 } })
        archive.hold("getMany")
        const slow = yield* beside(service.get("a"))
        yield* service.submit({ id: "a", content: "new" })
        yield* service.flush
        yield* service.submitMany(items(100, "filler.", "x".repeat(1000)))
        expect((yield* service.status("a")).inMemory).toBe(false)
        archive.letGo("getMany")
        yield* settle
        expect(textIn(yield* Fiber.join(slow))).toBe("new")
        expect(textIn(yield* service.get("a"))).toBe("new")
      })
  )

  it.scoped("a delete during a read is seen by it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5, "old")
      const { service } = yield* start({ archive: archive.options })
      archive.hold("getMany")
      const slow = yield* beside(service.get("a"))
      yield* service.delete("a")
      archive.letGo("getMany")
      yield* settle
      expect(textIn(yield* Fiber.join(slow))).toBeUndefined()
      yield* service.flush
      expect(textIn(yield* service.get("a"))).toBeUndefined()
    })
  )

  it.scoped("a reader that joins after a write sees that write, though the call began before it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5, "old")
      const { service } = yield* start({ archive: archive.options, config: noMemory })
      archive.hold("getMany")
      const slow = yield* beside(service.get("a"))
      yield* service.submit({ id: "a", content: "new" })
      const joined = yield* beside(service.get("a"))
      archive.letGo("getMany")
      yield* settle
      expect(textIn(yield* Fiber.join(joined))).toBe("new")
      expect(textIn(yield* Fiber.join(slow))).toBe("new")
    })
  )

  it.scoped("an own version written while the archive is asked is compared, not taken for compared", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 100, "newer")
      const { service } = yield* start({ archive: archive.options, config: noMemory })
      archive.down = true
      yield* archive.uncompared(service.submit({ id: "a", content: "first", version: 50 }))
      archive.down = false
      archive.hold("commit")
      archive.hold("getMany")
      const slow = yield* beside(service.get("a"))
      yield* archive.uncompared(service.submit({ id: "a", content: "second", version: 60 }))
      archive.letGo("getMany")
      yield* settle
      expect(textIn(yield* Fiber.join(slow))).toBe("newer")
      expect(textIn(yield* service.get("a"))).toBe("newer")
      archive.letGo("commit")
    })
  )

  it.scoped("acknowledged writes are read through flush, outage, spill and eviction", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { l1MaxBytes: 5000, batchFlushBytes: 1024, batchFlushCount: 10 },
        limits: { freshQueueBytes: 0 }
      })
      archive.down = true
      const written = items(60, "item.", "y".repeat(500))
      yield* service.submitMany(written)
      const check = Effect.gen(function* () {
        const found = yield* service.getMany(written.map(({ id }) => id))
        expect(found.size).toBe(60)
        expect([...found.values()].every((item) => textOf(item) === "y".repeat(500))).toBe(true)
      })
      yield* check
      archive.down = false
      archive.hold("commit")
      const flush = yield* beside(service.flush)
      yield* check
      archive.letGo("commit")
      yield* settle
      expect((yield* Fiber.join(flush)).pending).toBe(0)
      yield* check
    })
  )
})

describe("verified reads", () => {
  /** Damages the bytes that memory holds. */
  const damage = (item: Option.Option<{ readonly content: Uint8Array }>) => {
    Option.getOrThrow(item).content[0] = 0
  }

  it.scoped("damaged memory is mended from the log, and from the archive", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.down = true
      yield* service.submit({ id: "a", content: "pending" })
      archive.down = false
      archive.hold("commit")
      damage(yield* service.get("a"))
      expect(textIn(yield* service.get("a"))).not.toBe("pending")
      expect(textIn(yield* service.getVerified("a"))).toBe("pending")
      expect(textIn(yield* service.get("a"))).toBe("pending")
      archive.letGo("commit")

      archive.put("b", 5, "stored")
      const found = yield* service.get("b")
      archive.put("b", 5, "stored")
      damage(found)
      expect(textIn(yield* service.getVerified("b"))).toBe("stored")
      expect(textIn(yield* service.get("b"))).toBe("stored")
    })
  )

  it.scoped("memory that is behind another node's write is brought up to date", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 5, "old")
      archive.put("b", 5, "old")
      const { service } = yield* start({ archive: archive.options })
      yield* service.getMany(["a", "b"])
      archive.put("a", 6, "new")
      archive.put("b", 6, "", true)
      expect(textIn(yield* service.get("a"))).toBe("old")
      expect(textIn(yield* service.getVerified("a"))).toBe("new")
      expect(textIn(yield* service.getVerified("b"))).toBeUndefined()
      expect(textIn(yield* service.get("a"))).toBe("new")
      expect(textIn(yield* service.get("b"))).toBeUndefined()
    })
  )

  it.scoped("damaged rows are reported with both hashes, and not kept in memory", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const record = archive.put("a", 5, "stored")
      archive.state.records.set("a", { ...record, content: new TextEncoder().encode("damage") })
      const { service } = yield* start({ archive: archive.options })
      for (let round = 0; round < 2; round++) {
        expect(yield* Effect.flip(service.getVerified("a"))).toMatchObject({
          _tag: "CorruptItem",
          id: "a",
          version: 5,
          expectedHash: record.contentHash,
          actualHash: contentHashOf(new TextEncoder().encode("damage"))
        })
      }
      expect((yield* service.status("a")).inMemory).toBe(false)
    })
  )

  it.scoped("a good copy in memory is as good as the row's", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const record = archive.put("a", 5, "stored")
      const { service } = yield* start({ archive: archive.options })
      yield* service.get("a")
      archive.state.records.set("a", { ...record, content: new TextEncoder().encode("damage") })
      expect(textIn(yield* service.getVerified("a"))).toBe("stored")
    })
  )
})

describe("status", () => {
  it.scoped("pending, archived, deleted, absent", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      expect(yield* service.status("a")).toEqual({
        id: "a",
        state: "absent",
        version: undefined,
        contentHash: undefined,
        inMemory: false
      })
      const { contentHash, version } = yield* service.submit({ id: "a", content: "1" })
      expect(yield* service.status("a")).toEqual({
        id: "a",
        state: "pending",
        version,
        contentHash,
        inMemory: true
      })
      yield* service.flush
      expect((yield* service.status("a")).state).toBe("archived")
      expect(yield* service.isCurrent("a", version)).toBe(true)
      yield* service.delete("a")
      expect((yield* service.status("a")).state).toBe("deleted")
      yield* service.flush
      expect(yield* service.status("a")).toMatchObject({
        state: "deleted",
        contentHash: undefined,
        inMemory: false
      })
      expect(yield* service.isCurrent("a", version)).toBe(false)
      expect(yield* service.contains("a")).toBe(false)
    })
  )

  it.scoped("a write that is archived while the archive is asked counts, its answer does not", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: { l1MaxBytes: 0 } })
      const ask = (wanted: number) =>
        Effect.all([service.status("a"), service.isCurrent("a", wanted), service.getVerified("a")], {
          concurrency: "unbounded"
        })
      archive.put("a", 5, "old")
      yield* TestClock.adjust(1)
      archive.hold("heads answered")
      const asked = yield* beside(ask(5))
      const { version } = yield* service.submit({ id: "a", content: "new" })
      yield* service.flush
      archive.letGo("heads answered")
      yield* settle
      const [status, isCurrent, item] = yield* Fiber.join(asked)
      expect(status).toMatchObject({ state: "archived", version })
      expect(isCurrent).toBe(false)
      expect(textIn(item)).toBe("new")
    })
  )

  it.scoped("bad ids are refused by every read", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const bad = "a..b"
      const reads: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        service.get(bad),
        service.getMany(["a", bad]),
        service.getVerified(bad),
        service.contains(bad),
        service.definitelyMissing(bad),
        service.mightExist(bad),
        service.isCurrent(bad, 1),
        service.status(bad),
        service.getOrInsertWith(bad, Effect.succeed({ content: "x" })),
        service.setState(bad, "x"),
        service.get(7 as never),
        service.get(Object.create(null) as never)
      ]
      for (const read of reads)
        expect(yield* Effect.flip(read)).toMatchObject({ _tag: "InvalidItem", field: "id" })
    })
  )

  it.scoped(
    "an older write that reaches the log does not come back over a later one that memory has evicted",
    () =>
      Effect.gen(function* () {
        const { live, service } = yield* start({ commitDelay: Effect.sleep(5) })
        yield* service.submit({ id: "a", content: "old" }, { durability: "memory" })
        yield* settle
        yield* service.delete("a", { durability: "memory" })
        for (const l1MaxBytes of [0, 1_000_000]) {
          yield* live.update({ l1MaxBytes })
          yield* settle
        }
        expect(Option.isNone(yield* service.get("a"))).toBe(true)
        yield* TestClock.adjust(5)
        expect(Option.isNone(yield* service.get("a"))).toBe(true)
      })
  )
})
