import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, TestClock } from "effect"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { beside, PlayedArchive, start } from "../support.js"

const decoder = new TextDecoder()

/** An archive that refuses contents beginning with `bad`. */
const choosy = () => {
  const archive = new PlayedArchive()
  archive.refuses = (record) => decoder.decode(record.content).startsWith("bad")
  return archive
}

const acceptsAll = () => false

describe("dead letters put back", () => {
  for (const l1MaxBytes of [1024 * 1024, 0]) {
    it.scoped(`never hide what was acknowledged later (memory of ${l1MaxBytes} bytes)`, () =>
      Effect.gen(function* () {
        const archive = choosy()
        const { service } = yield* start({ archive: archive.options, config: { l1MaxBytes } })
        const read = Effect.map(Effect.either(service.get("a")), (result) =>
          Either.isLeft(result)
            ? result.left._tag
            : Option.match(result.right, {
                onNone: () => "none",
                onSome: ({ content }) => decoder.decode(content)
              })
        )
        yield* service.submit({ id: "a", content: "bad" })
        yield* service.flush
        yield* service.submit({ id: "a", content: "new" })
        yield* service.flush
        expect(yield* read).toBe("new")

        archive.down = true
        expect(yield* service.deadLetters.retry()).toBe(1)
        expect(yield* read).toBe(l1MaxBytes === 0 ? "TierUnavailable" : "new")
        archive.down = false
        archive.refuses = acceptsAll
        yield* service.flush
        expect(yield* read).toBe("new")
        expect((yield* service.stats).deadLetters).toBe(0)
      })
    )
  }

  it.scoped("are read once the archive has taken them, whatever memory held", () =>
    Effect.gen(function* () {
      const archive = choosy()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "first" })
      yield* service.flush
      yield* service.submit({ id: "a", content: "bad but newer" })
      yield* service.flush
      expect(decoder.decode(Option.getOrThrow(yield* service.get("a")).content)).toBe("first")
      archive.refuses = acceptsAll
      yield* service.deadLetters.retry()
      yield* service.flush
      expect(decoder.decode(Option.getOrThrow(yield* service.get("a")).content)).toBe("bad but newer")
    })
  )
  it.scoped("overtake a pending write of a lower version as soon as the archive has them", () =>
    Effect.gen(function* () {
      const archive = choosy()
      const { service } = yield* start({
        archive: archive.options,
        config: { batchFlushCount: 1, batchFlushInterval: 3_600_000 }
      })
      yield* service.submit({ id: "a", content: "bad but newer", version: 7 })
      yield* service.flush
      archive.refuses = acceptsAll
      // A batch is under way: the letter is not tried before the other write has been compared.
      archive.hold("commit")
      yield* service.submit({ id: "b", content: "1" })
      yield* service.deadLetters.retry()
      expect((yield* service.submit({ id: "a", content: "older", version: 5 })).compared).toBe(true)
      // Of the two batches only the letter's is committed.
      archive.stumbles = ({ records }) => records?.[0]?.version === 5
      archive.letGo("commit")
      yield* Effect.either(service.flush)
      expect(archive.state.records.get("a")?.version).toBe(7)
      expect(decoder.decode(Option.getOrThrow(yield* service.get("a")).content)).toBe("bad but newer")
      archive.stumbles = () => false
    })
  )
  it.scoped("stay where they are once the deletion that they miss may have been forgotten", () =>
    Effect.gen(function* () {
      const archive = choosy()
      const { service } = yield* start({
        archive: archive.options,
        config: { tombstoneRetention: 10_000 }
      })
      yield* service.submit({ id: "a", content: "bad" })
      yield* service.flush
      archive.refuses = acceptsAll
      yield* service.delete("a")
      yield* service.flush
      yield* TestClock.adjust("11 seconds")
      yield* service.submit({ id: "b", content: "1" })
      expect(yield* service.deadLetters.retry()).toBe(0)
      yield* service.flush
      expect(yield* service.contains("a")).toBe(false)
      expect((yield* service.deadLetters.list()).length).toBe(1)
      expect(yield* service.deadLetters.drop()).toBe(1)
    })
  )
})

describe("a letter that the archive has taken without an answer", () => {
  const begun = Effect.gen(function* () {
    const archive = choosy()
    const engine = yield* start({ archive: archive.options })
    const { service } = engine
    const read = Effect.map(service.get("a"), (found) =>
      Option.match(found, { onNone: () => "none", onSome: ({ content }) => decoder.decode(content) })
    )
    return { archive, read, service }
  })

  it.scoped("is read at once, although memory held what it has replaced", () =>
    Effect.gen(function* () {
      const { archive, read, service } = yield* begun
      yield* service.submit({ id: "a", content: "first" })
      yield* service.flush
      yield* service.submit({ id: "a", content: "bad but newer" })
      yield* service.flush
      expect(yield* read).toBe("first")
      archive.refuses = acceptsAll
      archive.lostAnswers = 1
      yield* service.deadLetters.retry()
      expect((yield* Effect.either(service.flush))._tag).toBe("Left")
      expect(yield* read).toBe("bad but newer")
      archive.down = true
      expect(yield* Effect.map(Effect.flip(service.get("a")), ({ _tag }) => _tag)).toBe("TierUnavailable")
      archive.down = false
      yield* service.flush
      expect(yield* read).toBe("bad but newer")
      // Nothing is in doubt any more.
      archive.down = true
      expect(yield* read).toBe("bad but newer")
      archive.down = false
    })
  )

  it.scoped("is no deletion undone: what is deleted stays so", () =>
    Effect.gen(function* () {
      const { archive, read, service } = yield* begun
      yield* service.submit({ id: "a", content: "first" })
      yield* service.flush
      archive.refuses = ({ deleted }) => deleted
      yield* service.delete("a")
      yield* service.flush
      expect(yield* read).toBe("first")
      archive.refuses = acceptsAll
      archive.lostAnswers = 1
      yield* service.deadLetters.retry()
      expect((yield* Effect.either(service.flush))._tag).toBe("Left")
      expect([yield* read, yield* service.contains("a")]).toEqual(["none", false])
    })
  )

  it.scoped("is compared with, whatever the log holds", () =>
    Effect.gen(function* () {
      const { archive, read, service } = yield* begun
      yield* service.submit({ id: "a", content: "first", version: 3 })
      yield* service.flush
      yield* service.submit({ id: "a", content: "bad but newer", version: 7 })
      yield* service.flush
      yield* service.submit({ id: "a", content: "in between", version: 5 })
      archive.refuses = acceptsAll
      archive.lostAnswers = 1
      yield* service.deadLetters.retry()
      expect((yield* Effect.either(service.flush))._tag).toBe("Left")
      expect(yield* read).toBe("bad but newer")
      const refused = yield* Effect.flip(service.submit({ id: "a", content: "x" }, { expectedVersion: 5 }))
      expect(refused._tag).toBe("VersionMismatch")
      expect((yield* service.submit({ id: "a", content: "x", version: 6 })).compared).toBe(false)
      expect(yield* read).toBe("bad but newer")
      yield* service.flush
      expect(yield* read).toBe("bad but newer")
      expect(yield* service.status("a")).toMatchObject({ state: "archived", version: 7 })
    })
  )
})

describe("many dead letters", () => {
  it.scoped.each([{ walMaxBytes: 20_000 }, { walMaxItems: 15 }])(
    "take their part of the log's bounds (%j), and can be retried although they fill it",
    (bounds) =>
      Effect.gen(function* () {
        const archive = choosy()
        const disk = MemoryLog.makeDisk()
        const { service } = yield* start({
          disk,
          archive: archive.options,
          config: { ...bounds, maxPayloadBytes: 10_000 },
          limits: { pageBytes: 5_000 }
        })
        const content = `bad ${"x".repeat(996)}`
        let refused = "nothing"
        for (let n = 0; n < 100 && refused === "nothing"; n++) {
          const writer = yield* beside(Effect.either(service.submit({ id: `item.${n}`, content })))
          // Under pressure a write waits a little.
          yield* TestClock.adjust(200)
          const result = yield* Fiber.join(writer)
          if (Either.isLeft(result)) refused = result.left._tag
          else yield* service.flush
        }
        expect(refused).toBe("Backpressure")
        const { deadLetters, log, pending } = yield* service.stats
        expect(deadLetters).toBeGreaterThan(10)
        expect([pending, log.items, log.letters]).toEqual([0, 0, deadLetters])
        expect(log.letterBytes).toBeLessThanOrEqual(20_000)

        archive.refuses = acceptsAll
        expect(yield* service.deadLetters.retry()).toBe(deadLetters)
        yield* service.flush
        expect(archive.live()).toHaveLength(deadLetters)
        expect((yield* service.stats).log).toMatchObject({ items: 0, letters: 0, letterBytes: 0 })
        yield* service.submit({ id: "after", content: "x" })
      })
  )

  it.scoped("are listed, retried and dropped in pages bounded by bytes", () =>
    Effect.gen(function* () {
      const archive = choosy()
      const { service } = yield* start({ archive: archive.options, limits: { pageBytes: 2_500 } })
      yield* service.submitMany(
        Array.from({ length: 9 }, (_, n) => ({ id: `item.${n}`, content: `bad ${n} ${"x".repeat(1000)}` }))
      )
      yield* service.flush
      const pages: Array<number> = []
      for (let after = 0; ; ) {
        const page = yield* service.deadLetters.list({ after, limit: 100 })
        if (page.length === 0) break
        pages.push(page.length)
        after = page[page.length - 1]!.sequence
      }
      expect(pages).toEqual([2, 2, 2, 2, 1])
      expect(yield* service.deadLetters.drop()).toBe(9)
    })
  )
})
