import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, TestClock } from "effect"
import type { WriteError } from "../../../src/EngineError.js"
import { versionsPerMillisecond } from "../../../src/engine/state/HybridLogicalClock.js"
import type { SubmitItem } from "../../../src/SyncEngineApi.js"
import { contentHashOf, emptyContentHash, textOf } from "../../../src/SyncItem.js"
import { maxOwnVersion } from "../../../src/shared/OwnVersions.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { beside, ended, items, PlayedArchive, settle, start } from "../support.js"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What a caller from JavaScript may hand over in place of the typed thing. */
const untyped = <A>(value: unknown): A => value as A

describe("what is refused, and how", () => {
  const wrong: ReadonlyArray<readonly [name: string, item: unknown, field: string]> = [
    ["null", null, "item"],
    ["undefined", undefined, "item"],
    ["a string", "a.b", "item"],
    ["no id", { content: "x" }, "id"],
    ["a number as id", { id: 7, content: "x" }, "id"],
    ["a symbol as id", { id: Symbol("id"), content: "x" }, "id"],
    ["an object without a prototype as id", { id: Object.create(null), content: "x" }, "id"],
    ["an empty id", { id: "", content: "x" }, "id"],
    ["an empty segment", { id: "a..b", content: "x" }, "id"],
    ["a control character", { id: "a.\u0000", content: "x" }, "id"],
    ["half a surrogate pair", { id: "a.\ud800", content: "x" }, "id"],
    ["an id of 256 bytes", { id: "x".repeat(256), content: "x" }, "id"],
    ["no content", { id: "a" }, "content"],
    ["a number as content", { id: "a", content: 7 }, "content"],
    ["an array as content", { id: "a", content: [1, 2] }, "content"],
    ["an ArrayBuffer as content", { id: "a", content: new ArrayBuffer(2) }, "content"],
    ["null as content", { id: "a", content: null }, "content"],
    ["a number as state", { id: "a", content: "x", state: 7 }, "state"],
    ["null as state", { id: "a", content: "x", state: null }, "state"],
    ["an empty state", { id: "a", content: "x", state: "" }, "state"],
    ["a state of 65 bytes", { id: "a", content: "x", state: "s".repeat(65) }, "state"],
    ["version 0", { id: "a", content: "x", version: 0 }, "version"],
    ["a negative version", { id: "a", content: "x", version: -1 }, "version"],
    ["a fraction as version", { id: "a", content: "x", version: 1.5 }, "version"],
    ["an unsafe version", { id: "a", content: "x", version: 2 ** 53 }, "version"],
    ["NaN as version", { id: "a", content: "x", version: Number.NaN }, "version"],
    ["a text as version", { id: "a", content: "x", version: "5" }, "version"],
    ["null as version", { id: "a", content: "x", version: null }, "version"],
    ["a wrong traceparent", { id: "a", content: "x", traceparent: "00-1-2-3" }, "traceparent"],
    ["an unknown content type", { id: "a", content: "x", contentType: "text" }, "contentType"],
    ["json that is none", { id: "a", content: "{", contentType: "json" }, "content"],
    ["empty json", { id: "a", content: "", contentType: "json" }, "content"]
  ]

  it.scoped.each(wrong)("%s", ([, item, field]) =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk })
      const error = yield* Effect.flip(service.submit(untyped(item)))
      expect(error).toMatchObject({ _tag: "InvalidItem", field })
      const [result] = yield* service.submitMany([untyped(item)])
      expect(result).toMatchObject({ _tag: "Rejected", error: { _tag: "InvalidItem", field } })
      const compared = yield* Effect.flip(service.submit(untyped(item), { expectedVersion: 0 }))
      expect(compared).toMatchObject({ _tag: "InvalidItem" })
      expect(disk.committed).toBe(0)
      // The message can be printed whatever the caller gave.
      expect(error.message.length).toBeGreaterThan(0)
    })
  )

  it.scoped("options of the wrong kind are refused, and never leave a caller without an answer", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk })
      const item = { id: "a", content: "x" }
      for (const durability of ["sql", "", 7, null] as ReadonlyArray<unknown>) {
        const options = untyped<{ durability: "wal" }>({ durability })
        const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          service.submit(item, options),
          service.submit(item, { ...options, expectedVersion: 0 }),
          service.submitMany([item], options),
          service.delete("a", options),
          service.deleteMany(["a"], options)
        ]
        for (const call of calls) {
          const fiber = yield* beside(Effect.flip(call))
          expect(yield* ended(fiber)).toBe(true)
          expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "InvalidRequest", argument: "durability" })
        }
      }
      for (const expectedVersion of [-1, 1.5, Number.NaN, "1", null] as ReadonlyArray<unknown>) {
        const refused = yield* Effect.flip(
          service.submit(item, untyped({ expectedVersion: untyped<number>(expectedVersion) }))
        )
        expect(refused).toMatchObject({ _tag: "InvalidItem", field: "expectedVersion" })
      }
      for (const wrong of [null, undefined, "items", 7, {}] as ReadonlyArray<unknown>) {
        expect(yield* Effect.flip(service.submitMany(untyped(wrong)))).toMatchObject({
          _tag: "InvalidRequest",
          argument: "items"
        })
        expect(yield* Effect.flip(service.deleteMany(untyped(wrong)))).toMatchObject({
          _tag: "InvalidRequest",
          argument: "ids"
        })
        expect(yield* Effect.flip(service.getMany(untyped(wrong)))).toMatchObject({
          _tag: "InvalidRequest",
          argument: "ids"
        })
      }
      expect(disk.committed).toBe(0)
    })
  )

  it.scoped("routes that lead nowhere are refused, compare-and-set included", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const item = { id: "a", content: "x" }
      for (const options of [{ sql: false }, { ttl: "1 second" }, { sql: false, ttl: 1000 }] as const) {
        for (const call of [
          service.submit(item, options),
          service.submitMany([item], options),
          service.submit(item, { ...options, expectedVersion: 0 })
        ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>>) {
          const error = yield* Effect.flip(call)
          expect(["NotSupported", "InvalidRequest"]).toContain(error._tag)
        }
      }
      expect(Option.isNone(yield* service.get("a"))).toBe(true)
    })
  )

  it.scoped("deletes check id, version and traceparent", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      expect(yield* Effect.flip(service.delete("a..b"))).toMatchObject({ field: "id" })
      expect(yield* Effect.flip(service.delete(untyped(null)))).toMatchObject({ field: "id" })
      expect(yield* Effect.flip(service.delete("a", { version: 0 }))).toMatchObject({ field: "version" })
      expect(yield* Effect.flip(service.delete("a", { traceparent: "no" }))).toMatchObject({
        field: "traceparent"
      })
      const results = yield* service.deleteMany(["a", "b.", untyped(7)])
      expect(results.map(({ _tag }) => _tag)).toEqual(["Acknowledged", "Rejected", "Rejected"])
    })
  )

  it.scoped("a content at MAX_PAYLOAD_BYTES is taken, one byte more is refused with both sizes", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ config: { maxPayloadBytes: 10 } })
      yield* service.submit({ id: "a", content: "x".repeat(10) })
      expect(yield* Effect.flip(service.submit({ id: "a", content: "é".repeat(6) }))).toMatchObject({
        _tag: "PayloadTooLarge",
        bytes: 12,
        maxBytes: 10,
        limit: "MAX_PAYLOAD_BYTES"
      })
    })
  )

  it.scoped("a content that the archive cannot carry is refused before it is acknowledged", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ archive: { maxContentBytes: 5 } })
      yield* service.submit({ id: "a", content: "12345" })
      expect(yield* Effect.flip(service.submit({ id: "a", content: "123456" }))).toMatchObject({
        _tag: "PayloadTooLarge",
        maxBytes: 5
      })
    })
  )

  it.scoped("a batch of MAX_BATCH_ITEMS is taken, one more is refused as a whole", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, config: { maxBatchItems: 3 } })
      expect(yield* service.submitMany(items(3))).toHaveLength(3)
      for (const call of [
        service.submitMany(items(4)),
        service.deleteMany(items(4).map(({ id }) => id)),
        service.getMany(items(4).map(({ id }) => id))
      ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>>) {
        expect((yield* Effect.flip(call))._tag).toBe("InvalidRequest")
      }
      expect(disk.committed).toBe(3)
      expect(yield* service.submitMany([])).toEqual([])
    })
  )
})

describe("what an item becomes", () => {
  it.scoped("exact bytes, hash, type, state, time and trace come back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const { service } = yield* start()
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      const content = new Uint8Array([0, 255, 1, 254])
      const receipt = yield* service.submit({ id: "a.b", content, state: "new", traceparent })
      const item = Option.getOrThrow(yield* service.get("a.b"))
      expect(item).toMatchObject({
        id: "a.b",
        version: receipt.version,
        updatedAt: 1_700_000_000_000,
        contentType: "binary",
        contentHash: contentHashOf(content),
        state: "new",
        traceparent
      })
      expect([...item.content]).toEqual([0, 255, 1, 254])
      expect(receipt).toEqual({
        id: "a.b",
        version: 1_700_000_000_000 * versionsPerMillisecond,
        contentHash: contentHashOf(content),
        durability: "wal",
        previousVersion: undefined,
        compared: true
      })
    })
  )

  it.scoped("small contents stand side by side in one buffer, texts too", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const contents = ["a", "é".repeat(200), Buffer.from("bytes"), "x".repeat(2000), ""]
      yield* service.submitMany(contents.map((content, n) => ({ id: `item.${n}`, content })))
      const stored = yield* service.getMany(contents.map((_, n) => `item.${n}`))
      const buffers = contents.map((content, n) => {
        const item = stored.get(`item.${n}`)!
        expect(Buffer.from(item.content)).toEqual(Buffer.from(content as string))
        return item.content.buffer
      })
      expect(new Set(buffers.slice(0, 3)).size).toBe(1)
      expect(new Set(buffers).size).toBe(3)
    })
  )

  it.scoped("the type is detected from the bytes, or what the caller says", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const cases: ReadonlyArray<readonly [Omit<SubmitItem, "id">, string]> = [
        [{ content: '{"a":1}' }, "json"],
        [{ content: " [1]\n" }, "json"],
        [{ content: "no json" }, "binary"],
        [{ content: "" }, "binary"],
        [{ content: '{"a":1}', contentType: "binary" }, "binary"],
        [{ content: bytes("17") }, "json"],
        [{ content: Buffer.from("null") }, "json"]
      ]
      for (const [item, type] of cases) {
        yield* service.submit({ ...item, id: "a" })
        expect(Option.getOrThrow(yield* service.get("a")).contentType).toBe(type)
      }
    })
  )

  it.scoped("a receipt names the version it replaced; a deleted one is none", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const first = yield* service.submit({ id: "a", content: "1" })
      const second = yield* service.submit({ id: "a", content: "2" })
      const gone = yield* service.delete("a")
      const third = yield* service.submit({ id: "a", content: "3" })
      expect([first, second, gone, third].map(({ previousVersion }) => previousVersion)).toEqual([
        undefined,
        first.version,
        second.version,
        undefined
      ])
      expect(gone.contentHash).toBe(emptyContentHash)
      expect(third.version).toBeGreaterThan(gone.version)
    })
  )
})

describe("durability", () => {
  it.scoped("wal: nobody is told, and nobody sees the write, before the commit", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, commitDelay: Effect.sleep(20) })
      const fiber = yield* beside(service.submit({ id: "a", content: "x" }))
      yield* TestClock.adjust(19)
      expect(yield* ended(fiber)).toBe(false)
      expect(Option.isNone(yield* service.get("a"))).toBe(true)
      expect(disk.committed).toBe(0)
      yield* TestClock.adjust(1)
      expect(disk.committed).toBe(1)
      expect((yield* Fiber.join(fiber)).durability).toBe("wal")
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
    })
  )

  it.scoped("memory: told and seen before the commit", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, commitDelay: Effect.sleep(20) })
      const receipt = yield* service.submit({ id: "a", content: "x" }, { durability: "memory" })
      expect(receipt.durability).toBe("memory")
      expect(disk.committed).toBe(0)
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
      yield* TestClock.adjust(20)
      expect(disk.committed).toBe(1)
    })
  )

  it.scoped("archive: told when the archive has it, without waiting for the flush interval", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.hold("commit")
      const fiber = yield* beside(service.submit({ id: "a", content: "x" }, { durability: "archive" }))
      expect(yield* ended(fiber)).toBe(false)
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
      archive.letGo("commit")
      yield* settle
      expect((yield* Fiber.join(fiber)).durability).toBe("archive")
      expect(archive.live()).toEqual(["a"])
    })
  )

  it.scoped("archive: a batch over several turns and commits is told when the last of them has ended", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { batchFlushCount: 1 },
        limits: { itemsPerTurn: 1 }
      })
      archive.hold("commit")
      const fiber = yield* beside(service.submitMany(items(3), { durability: "archive" }))
      // The first commit goes through, the next one hangs.
      archive.stumbles = ({ operation }) => {
        if (operation === "commit") archive.hold("commit")
        return false
      }
      archive.letGo("commit")
      yield* settle
      expect(archive.live()).toEqual(["item.0"])
      expect(yield* ended(fiber)).toBe(false)
      archive.stumbles = () => false
      archive.letGo("commit")
      yield* settle
      const results = yield* Fiber.join(fiber)
      expect(results.map((result) => result._tag)).toEqual(["Acknowledged", "Acknowledged", "Acknowledged"])
    })
  )

  it.scoped("archive, while it is away: the receipt says wal, at once and in the backoff too", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.down = true
      for (const id of ["a", "b", "c"]) {
        const fiber = yield* beside(service.submit({ id, content: "x" }, { durability: "archive" }))
        expect(yield* ended(fiber)).toBe(true)
        expect((yield* Fiber.join(fiber)).durability).toBe("wal")
      }
    })
  )

  it.scoped("archive, when none is configured: the receipt says wal", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ archive: "none" })
      const fiber = yield* beside(service.submit({ id: "a", content: "x" }, { durability: "archive" }))
      expect(yield* ended(fiber)).toBe(true)
      expect((yield* Fiber.join(fiber)).durability).toBe("wal")
    })
  )

  it.scoped("archive: what it refuses for good is told to the caller, the others get their receipts", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = ({ id }) => id === "item.1"
      const { service } = yield* start({ archive: archive.options })
      const fiber = yield* beside(service.submitMany(items(3), { durability: "archive" }))
      const results = yield* Fiber.join(fiber)
      expect(
        results.map((result) => (result._tag === "Rejected" ? result.error._tag : result.receipt.durability))
      ).toEqual(["archive", "ItemRejected", "archive"])
    })
  )
})

describe("group commit", () => {
  it.scoped("1,000 fibers with one item each share a handful of commits", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, commitDelay: Effect.sleep(1) })
      const fiber = yield* beside(
        Effect.forEach(items(1000), (item) => service.submit(item), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust(10)
      const receipts = yield* Fiber.join(fiber)
      expect(new Set(receipts.map(({ version }) => version)).size).toBe(1000)
      expect(disk.committed).toBe(1000)
      expect(disk.commits).toBeLessThanOrEqual(5)
    })
  )

  it.scoped("a batch answers for each item, in order, good and bad mixed", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, config: { maxPayloadBytes: 10 } })
      const results = yield* service.submitMany([
        { id: "a", content: "1" },
        { id: "..", content: "2" },
        { id: "b", content: "3", version: 7 },
        { id: "b", content: "4", version: 6 },
        { id: "c", content: "x".repeat(11) },
        { id: "a", content: "5" }
      ])
      expect(
        results.map((result) =>
          result._tag === "Acknowledged" ? result.receipt.id : [result.id, result.error._tag]
        )
      ).toEqual(["a", ["..", "InvalidItem"], "b", ["b", "VersionConflict"], ["c", "PayloadTooLarge"], "a"])
      expect(disk.commits).toBe(1)
      expect(disk.committed).toBe(3)
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("5")
    })
  )

  it.scoped(
    "a failed commit fails its own callers only; later writes go on when the log takes writes again",
    () =>
      Effect.gen(function* () {
        const disk = makeDisk()
        const { service } = yield* start({ disk, config: { batchFlushInterval: 3_600_000 } })
        yield* service.submit({ id: "kept", content: "1" })
        disk.faults.commits = 1
        const [single, batch] = yield* Effect.all(
          [Effect.exit(service.submit({ id: "a", content: "x" })), service.submitMany(items(2))],
          { concurrency: "unbounded" }
        )
        expect(Exit.isFailure(single) && single.cause).toMatchObject({ error: { _tag: "LogUnavailable" } })
        expect(batch.map((result) => result._tag === "Rejected" && result.error._tag)).toEqual([
          "LogUnavailable",
          "LogUnavailable"
        ])
        expect(Option.isNone(yield* service.get("a"))).toBe(true)
        yield* TestClock.adjust(1000)
        yield* service.submit({ id: "a", content: "y" })
        expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("y")
        expect((yield* service.stats).pending).toBe(2)
      })
  )

  it.scoped("a lost commit of durability memory brings back what was durable before it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      const { service } = yield* start({ archive: archive.options, disk })
      archive.down = true
      yield* service.submit({ id: "a", content: "durable" })
      disk.faults.commits = 1
      yield* service.submit({ id: "a", content: "lost" }, { durability: "memory" })
      yield* settle
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("durable")
      expect((yield* service.status("a")).state).toBe("pending")
    })
  )

  it.scoped("of several early writes only the lost one is taken back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      const { service } = yield* start({
        archive: archive.options,
        disk,
        commitDelay: Effect.sleep(10)
      })
      archive.down = true
      const first = yield* Effect.fork(service.submit({ id: "a", content: "durable" }))
      yield* TestClock.adjust(10)
      yield* Fiber.join(first)
      // The second write is in a commit of its own, which fails; the third in the next, which succeeds.
      yield* service.submit({ id: "a", content: "lost" }, { durability: "memory" })
      yield* settle
      disk.faults.commits = 1
      yield* service.submit({ id: "a", content: "third" }, { durability: "memory" })
      yield* TestClock.adjust(10)
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("third")
      yield* TestClock.adjust(10)
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("third")
      archive.down = false
      yield* TestClock.adjust(1000)
      expect(textOf(archive.state.records.get("a")!)).toBe("third")
    })
  )

  it.scoped("interrupting a caller does not revoke its write", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk, commitDelay: Effect.sleep(20) })
      const fiber = yield* beside(service.submit({ id: "a", content: "x" }))
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust(20)
      expect(Option.isSome(yield* service.get("a"))).toBe(true)
    })
  )
})

describe("versions", () => {
  it.scoped("an own version must be newer; the same one again is no harm", () =>
    Effect.gen(function* () {
      const { service } = yield* start()
      const [low, high] = ["one", "two"].sort((a, b) =>
        contentHashOf(bytes(a)) < contentHashOf(bytes(b)) ? -1 : 1
      ) as [string, string]
      yield* service.submit({ id: "a", content: low, version: 10 })
      expect(yield* Effect.flip(service.submit({ id: "a", content: "x", version: 9 }))).toMatchObject({
        _tag: "VersionConflict",
        submitted: 9,
        current: 10
      })
      expect((yield* service.submit({ id: "a", content: low, version: 10 })).version).toBe(10)
      // Of one version the first stays, whatever the hashes are.
      for (const content of [high, "x"]) {
        expect(yield* Effect.flip(service.submit({ id: "a", content, version: 10 }))).toMatchObject({
          _tag: "VersionConflict",
          submitted: 10,
          current: 10
        })
      }
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe(low)
      yield* service.flush
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe(low)
    })
  )

  it.scoped("a delete of an older own version is refused; a late older put cannot resurrect", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "x", version: 10 })
      expect((yield* Effect.flip(service.delete("a", { version: 9 })))._tag).toBe("VersionConflict")
      yield* service.delete("a", { version: 20 })
      expect((yield* Effect.flip(service.submit({ id: "a", content: "x", version: 15 })))._tag).toBe(
        "VersionConflict"
      )
      yield* service.flush
      // Now only the archive knows of the tombstone, and cannot be asked.
      yield* archive.uncompared(service.submit({ id: "a", content: "late", version: 15 }))
      expect(Option.isNone(yield* service.get("a"))).toBe(true)
      yield* service.flush
      expect(Option.isNone(yield* service.get("a"))).toBe(true)
      expect(archive.state.records.get("a")).toMatchObject({ version: 20, deleted: true })
    })
  )

  it.scoped(
    "own versions end where the clock still has room; whatever is stored, the engine's are newer",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(1_700_000_000_000)
        const archive = new PlayedArchive()
        const disk = makeDisk()
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { service } = yield* start({ archive: archive.options, disk })
            for (const version of [maxOwnVersion + 1, Number.MAX_SAFE_INTEGER]) {
              const refused = { _tag: "InvalidItem", field: "version" }
              expect(yield* Effect.flip(service.submit({ id: "a", content: "x", version }))).toMatchObject(
                refused
              )
              expect(yield* Effect.flip(service.delete("a", { version }))).toMatchObject(refused)
            }
            yield* service.submit({ id: "a", content: "x", version: maxOwnVersion })
            yield* service.shutdown
          })
        )
        // A restart knows of it from the archive; a plain write and a deletion of anything are above it.
        const { service } = yield* start({ archive: archive.options, disk, config: { l1MaxBytes: 0 } })
        const receipt = yield* service.submit({ id: "a", content: "y" }, { durability: "archive" })
        expect(receipt.version).toBeGreaterThan(maxOwnVersion)
        expect(textOf(archive.state.records.get("a")!)).toBe("y")
        yield* service.delete("a", { durability: "archive" })
        expect(archive.live()).toEqual([])
        yield* service.submit({ id: "b", content: "x", version: 7 })
        expect((yield* service.submit({ id: "c", content: "x" })).version).toBeGreaterThan(maxOwnVersion)
      })
  )

  it.scoped(
    "a row beyond that, of older data: its own writes are above it, and there is room for all others",
    () =>
      Effect.gen(function* () {
        const archive = new PlayedArchive()
        archive.put("old", 9_000_000_000_000_000)
        archive.put("last", Number.MAX_SAFE_INTEGER)
        const { service } = yield* start({ archive: archive.options })
        for (const id of ["old", "new"]) {
          yield* service.submit({ id, content: "y" }, { durability: "archive" })
          expect(textOf(archive.state.records.get(id)!)).toBe("y")
        }
        yield* service.get("last")
        expect(yield* Effect.flip(service.submit({ id: "last", content: "y" }))).toMatchObject({
          _tag: "InvalidItem",
          field: "version"
        })
      })
  )

  it.scoped("a clock that is behind other writers' catches up with its heartbeat", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      yield* TestClock.setTime(1_000_000)
      const { service } = yield* start({ archive: archive.options })
      const theirs = archive.put("a", 1_030_000 * versionsPerMillisecond, "theirs")
      yield* TestClock.adjust(4_000)
      const receipt = yield* service.submit({ id: "a", content: "ours" })
      expect(receipt.version).toBeGreaterThan(theirs.version)
      yield* service.flush
      expect(textOf(archive.state.records.get("a")!)).toBe("ours")
    })
  )

  it.scoped("a commit tells of what others have stored", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      archive.put("theirs", 5_000_000_000_000)
      yield* service.submit({ id: "a", content: "x" }, { durability: "archive" })
      expect((yield* service.submit({ id: "theirs", content: "x" })).version).toBeGreaterThan(
        5_000_000_000_000
      )
    })
  )

  it.scoped("a clock before 1970 refuses every write, and reads go on", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "x" })
      for (const nowMs of [-1, -86_400_000]) {
        yield* TestClock.setTime(nowMs)
        const writes: ReadonlyArray<Effect.Effect<unknown, WriteError>> = [
          service.submit({ id: "a", content: "y" }),
          service.submit({ id: "a", content: "y" }, { durability: "archive" }),
          service.submitMany([{ id: "a", content: "y" }]),
          service.delete("a"),
          service.deleteMany(["a"])
        ]
        for (const write of writes) {
          expect(yield* Effect.flip(write)).toMatchObject({ _tag: "ClockOutOfRange", nowMs })
        }
        expect(Option.isSome(yield* service.get("a"))).toBe(true)
      }
      yield* TestClock.setTime(5)
      yield* service.submit({ id: "a", content: "z" })
      yield* service.flush
      expect(textOf(archive.state.records.get("a")!)).toBe("z")
    })
  )

  it.scoped("versions rise while the wall clock steps back, and after a restart in the past", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const archive = new PlayedArchive()
      yield* TestClock.setTime(2_000_000)
      const before: Array<number> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ archive: archive.options, disk })
          before.push((yield* service.submit({ id: "a", content: "1" })).version)
          yield* TestClock.setTime(1_000_000)
          before.push((yield* service.submit({ id: "a", content: "2" })).version)
          before.push((yield* service.submit({ id: "b", content: "2" })).version)
          yield* service.shutdown
        })
      )
      expect([...before].sort((a, b) => a - b)).toEqual(before)
      yield* TestClock.setTime(500_000)
      const { service } = yield* start({ archive: archive.options, disk })
      const after = yield* service.submit({ id: "a", content: "3" })
      expect(after.version).toBeGreaterThan(before[2]!)
      yield* service.flush
      expect(textOf(archive.state.records.get("a")!)).toBe("3")
    })
  )

  it.scoped("after a restart in the past the log alone is enough to go on above its versions", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      yield* TestClock.setTime(2_000_000)
      const before = yield* Effect.scoped(
        Effect.flatMap(start({ disk, archive: "none" }), ({ service }) =>
          service.submit({ id: "a", content: "1" })
        )
      )
      yield* TestClock.setTime(1_000_000)
      const { service } = yield* start({ disk, archive: "none" })
      expect((yield* service.submit({ id: "b", content: "2" })).version).toBeGreaterThan(before.version)
      expect((yield* service.submit({ id: "a", content: "2" })).previousVersion).toBe(before.version)
    })
  )

  it.scoped("a start beside an archive of the future goes on above its versions", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.put("a", 9_000_000_000_000)
      const { service } = yield* start({ archive: archive.options })
      expect((yield* service.submit({ id: "a", content: "new" })).version).toBeGreaterThan(9_000_000_000_000)
      yield* service.flush
      expect(textOf(Option.getOrThrow(yield* service.get("a")))).toBe("new")
    })
  )
})
