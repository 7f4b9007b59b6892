/** What a node decides while others may write the archive, and while nobody else does. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, TestClock } from "effect"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import type { SyncItem } from "../../../src/SyncItem.js"
import { textOf } from "../../../src/SyncItem.js"
import { YieldToEventLoop } from "../../../src/shared/YieldToEventLoop.js"
import { cacheOf } from "../../support/components.js"
import type { TestEngineOptions } from "../../support/engine.js"
import { beside, PlayedArchive, start } from "../support.js"

const textIn = (item: Option.Option<SyncItem>) => Option.getOrUndefined(Option.map(item, textOf))

/** Two nodes with logs of their own on one archive; `far` plays the other one. */
const startTwo = (options: TestEngineOptions = {}) =>
  Effect.gen(function* () {
    const farArchive = new PlayedArchive()
    const archive = new PlayedArchive(farArchive.state)
    const far = yield* start({ archive: farArchive.options })
    const joining = yield* Effect.fork(start({ ...options, archive: archive.options }))
    yield* TestClock.adjust("4 seconds")
    const near = yield* Fiber.join(joining)
    /** As the other node, archived at once. A moment later: in the same one, both nodes may give the same version. */
    const later = TestClock.adjust(1)
    const write = (id: string, content: string) =>
      later.pipe(Effect.zipRight(far.service.submit({ id, content })), Effect.zipLeft(far.service.flush))
    const remove = (id: string) =>
      later.pipe(Effect.zipRight(far.service.delete(id)), Effect.zipLeft(far.service.flush))
    return { archive, far, near: near.service, remove, write }
  })

describe("while another node is registered", () => {
  it.scoped("a reader is not given what was denied before it began", () =>
    Effect.gen(function* () {
      const { archive, near } = yield* startTwo()
      archive.hold("getMany answered")
      const earlier = yield* beside(near.get("a"))
      archive.put("a", 5)
      const later = yield* beside(near.get("a"))
      archive.letGo("getMany answered")
      yield* TestClock.adjust(0)
      expect(textIn(yield* Fiber.join(earlier))).toBeUndefined()
      expect(textIn(yield* Fiber.join(later))).toBe("a@5")
    })
  )

  it.scoped("a compare-and-set compares with the archive, at every durability", () =>
    Effect.gen(function* () {
      const { near, remove, write } = yield* startTwo()
      for (const durability of ["memory", "wal", "archive"] as const) {
        const id = `a.${durability}`
        const first = yield* write(id, "1")
        expect(textIn(yield* near.get(id))).toBe("1")
        const second = yield* write(id, "2")
        const set = (expectedVersion: number) =>
          near.submit({ id, content: "near" }, { durability, expectedVersion })
        const dropped = (expectedVersion: number) => near.delete(id, { durability, expectedVersion })
        for (const stale of [set(first.version), dropped(first.version), set(0)]) {
          expect(yield* Effect.flip(stale)).toMatchObject({
            _tag: "VersionMismatch",
            actual: second.version
          })
        }
        // What the archive said is what readers get from here on.
        expect(textIn(yield* near.get(id))).toBe("2")
        const fiber = yield* Effect.fork(set(second.version))
        yield* TestClock.adjust("1 second")
        const mine = yield* Fiber.join(fiber)
        expect(mine.previousVersion).toBe(second.version)
        yield* near.flush
        yield* remove(id)
        expect(textIn(yield* near.get(id))).toBe("near")
        expect(yield* Effect.flip(set(mine.version))).toMatchObject({ actual: 0 })
        expect(textIn(yield* near.get(id))).toBeUndefined()
        yield* near.submit({ id, content: "again" }, { expectedVersion: 0 })
      }
    })
  )

  it.scoped("increments of two nodes that read, compare and set are all there", () =>
    Effect.gen(function* () {
      const { far, near } = yield* startTwo()
      const increment = (service: typeof near): Effect.Effect<void, unknown> =>
        Effect.gen(function* () {
          const found = yield* service.get("n")
          const next = String(Number(textIn(found) ?? 0) + 1)
          const expectedVersion = Option.match(found, { onNone: () => 0, onSome: ({ version }) => version })
          const exit = yield* Effect.exit(service.submit({ id: "n", content: next }, { expectedVersion }))
          if (Exit.isFailure(exit)) return yield* increment(service)
          yield* service.flush
        })
      for (let round = 0; round < 30; round++) {
        yield* increment(round % 3 === 0 ? far.service : near)
      }
      expect(textIn(yield* near.getVerified("n"))).toBe("30")
    })
  )

  it.scoped("a new state goes to the content that the archive has, and to nothing that is deleted", () =>
    Effect.gen(function* () {
      const { near, remove, write } = yield* startTwo()
      const first = yield* write("a", "1")
      yield* near.get("a")
      yield* write("a", "2")
      yield* near.setState("a", "done")
      expect(Option.getOrThrow(yield* near.get("a"))).toMatchObject({ state: "done" })
      expect(textIn(yield* near.get("a"))).toBe("2")
      yield* near.flush
      const error = yield* Effect.flip(near.setState("a", "late", { expectedVersion: first.version }))
      expect(error).toMatchObject({ _tag: "VersionMismatch" })
      yield* remove("a")
      expect(textIn(yield* near.get("a"))).toBe("2")
      expect(yield* near.setState("a", "back")).toEqual(Option.none())
      expect(textIn(yield* near.getVerified("a"))).toBeUndefined()
    })
  )

  it.scoped("a new state that loses to the other node goes to what has won, and its receipt says so", () =>
    Effect.gen(function* () {
      const { archive, near, write } = yield* startTwo()
      for (const durability of ["wal", "archive"] as const) {
        const id = `lost.${durability}`
        const first = yield* write(id, "1")
        archive.hold("commit")
        const setting = yield* beside(near.setState(id, "done", { durability }))
        const second = yield* write(id, "2")
        // Later by more than the near node's clock can have been ahead.
        yield* TestClock.adjust(5)
        const third = yield* write(id, "3")
        archive.letGo("commit")
        yield* near.flush
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.await(setting)
        const item = Option.getOrThrow(yield* near.getVerified(id))
        expect(textOf(item)).toBe("3")
        expect(third.version).toBeGreaterThan(second.version)
        if (durability === "archive") {
          // Compared and set once more: the newest content has the state, and that is what the receipt names.
          const receipt = Option.getOrThrow(yield* exit)
          expect(receipt).toMatchObject({ durability, version: item.version, previousVersion: third.version })
          expect(item.state).toBe("done")
        } else {
          const receipt = Option.getOrThrow(yield* exit)
          expect(receipt.version).toBeGreaterThan(first.version)
          expect(item).toMatchObject({ version: third.version, state: undefined })
          expect(yield* near.status(id)).toMatchObject({
            state: "archived",
            version: third.version,
            lostVersion: receipt.version
          })
          expect((yield* near.stats).superseded).toBe(1)
        }
      }
    })
  )

  it.scoped("an insertion asks whether it is there", () =>
    Effect.gen(function* () {
      const { near, remove, write } = yield* startTwo()
      yield* write("a", "1")
      yield* near.get("a")
      yield* write("a", "2")
      const made = Effect.succeed({ content: "made" })
      expect(textOf(yield* near.getOrInsertWith("a", made))).toBe("2")
      yield* remove("a")
      expect(textIn(yield* near.get("a"))).toBe("2")
      expect(textOf(yield* near.getOrInsertWith("a", made))).toBe("made")
      // Somebody was faster, between the question and the insertion.
      const late = Effect.as(write("b", "theirs"), { content: "mine" })
      expect(textOf(yield* near.getOrInsertWith("b", Effect.orDie(late)))).toBe("theirs")
    })
  )

  it.scoped("what stands in the log alone is compared with the archive", () =>
    Effect.gen(function* () {
      const { archive, near, write } = yield* startTwo()
      archive.stumbles = ({ operation }) => operation === "commit"
      const mine = yield* near.submit({ id: "a", content: "mine" })
      expect(yield* near.status("a")).toMatchObject({ state: "pending", version: mine.version })
      yield* TestClock.adjust("1 second")
      const theirs = yield* write("a", "theirs")
      expect(yield* near.status("a")).toMatchObject({ state: "archived", version: theirs.version })
      expect(yield* near.isCurrent("a", mine.version)).toBe(false)
      expect(yield* near.isCurrent("a", theirs.version)).toBe(true)
      expect(textIn(yield* near.getVerified("a"))).toBe("theirs")
      const error = yield* Effect.flip(
        near.submit({ id: "a", content: "x" }, { expectedVersion: mine.version })
      )
      expect(error).toMatchObject({ _tag: "VersionMismatch", actual: theirs.version })
      archive.stumbles = () => false
    })
  )

  it.scoped("a decision without the archive is an error; a pending write is still known as one", () =>
    Effect.gen(function* () {
      const { archive, near } = yield* startTwo()
      const { version } = yield* near.submit({ id: "a", content: "1" })
      archive.down = true
      for (const decision of [
        near.submit({ id: "a", content: "2" }, { expectedVersion: version }),
        near.setState("a", "done"),
        near.getOrInsertWith("a", Effect.succeed({ content: "made" })),
        near.isCurrent("a", version)
      ]) {
        expect(yield* Effect.flip(decision as Effect.Effect<unknown, unknown>)).toMatchObject({
          _tag: "TierUnavailable"
        })
      }
      expect(yield* near.status("a")).toMatchObject({ state: "pending", version })
      expect(textIn(yield* near.get("a"))).toBe("1")
      archive.down = false
    })
  )
})

describe("when the other node has left", () => {
  it.scoped("what was read before that is not believed", () =>
    Effect.gen(function* () {
      const { archive, far, near, write } = yield* startTwo()
      const first = yield* write("a", "1")
      yield* near.get("a")
      const second = yield* write("a", "2")
      yield* far.shutdown
      yield* TestClock.adjust("4 seconds")
      expect(
        yield* Effect.flip(near.submit({ id: "a", content: "x" }, { expectedVersion: first.version }))
      ).toMatchObject({ actual: second.version })
      expect(textIn(yield* near.get("a"))).toBe("2")
      // From here on memory decides.
      const asked = archive.seen("getMany").length
      yield* near.submit({ id: "a", content: "3" }, { expectedVersion: second.version })
      yield* near.setState("a", "done")
      yield* near.getOrInsertWith("a", Effect.succeed({ content: "made" }))
      expect(archive.seen("getMany").length).toBe(asked)
    })
  )

  it.scoped("what this node wrote before that may have lost, until it is archived", () =>
    Effect.gen(function* () {
      const { archive, far, near, write } = yield* startTwo()
      archive.stumbles = ({ operation }) => operation === "commit"
      const mine = yield* near.submit({ id: "a", content: "mine" })
      yield* TestClock.adjust("1 second")
      const theirs = yield* write("a", "theirs")
      yield* far.shutdown
      yield* TestClock.adjust("4 seconds")
      const set = (expectedVersion: number) => near.submit({ id: "a", content: "x" }, { expectedVersion })
      expect(yield* Effect.flip(set(mine.version))).toMatchObject({ actual: theirs.version })
      archive.stumbles = () => false
      yield* near.flush
      expect(yield* Effect.flip(set(mine.version))).toMatchObject({ actual: theirs.version })
      yield* set(theirs.version)
    })
  )
})

describe("the only writer", () => {
  it.scoped("decides from memory, until its lease is not confirmed any more", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      const { version } = yield* service.submit({ id: "a", content: "1" })
      yield* service.flush
      archive.down = true
      const next = yield* service.submit({ id: "a", content: "2" }, { expectedVersion: version })
      yield* TestClock.adjust("12 seconds")
      const error = yield* Effect.flip(
        service.submit({ id: "a", content: "3" }, { expectedVersion: next.version })
      )
      expect(error).toMatchObject({ _tag: "TierUnavailable" })
      archive.down = false
      yield* TestClock.adjust("10 seconds")
      const asked = archive.seen("getMany").length
      yield* service.submit({ id: "a", content: "3" }, { expectedVersion: next.version })
      expect(archive.seen("getMany").length).toBe(asked)
    })
  )

  it.scoped("without an archive there is nobody else", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ archive: "none" })
      const { version } = yield* service.submit({ id: "a", content: "1" })
      yield* service.submit({ id: "a", content: "2" }, { expectedVersion: version })
      expect(Option.isSome(yield* service.setState("a", "done"))).toBe(true)
      expect(textOf(yield* service.getOrInsertWith("a", Effect.succeed({ content: "x" })))).toBe("2")
    })
  )
})

describe("a trusted cache that is behind", () => {
  it.scoped("is not what a verified read returns, nor what a decision believes", () =>
    Effect.gen(function* () {
      const { cache } = yield* InProcessCache.make()
      const { near, write } = yield* startTwo({
        cache: cacheOf(cache),
        config: { l1MaxBytes: 0 }
      })
      yield* write("a", "1")
      // The other node has no cache, so this one's misses what it writes.
      yield* TestClock.adjust("31 seconds")
      expect((yield* near.health).cache.trusted).toBe(true)
      expect(textIn(yield* near.get("a"))).toBe("1")
      const second = yield* write("a", "2")
      expect(textIn(yield* near.get("a"))).toBe("1")
      expect(textIn(yield* near.getVerified("a"))).toBe("2")
      yield* write("b", "1")
      yield* near.setState("a", "done")
      expect(textIn(yield* near.get("a"))).toBe("2")
      expect(second.version).toBeGreaterThan(0)
    })
  )
})

describe("a cache whose trust goes while it answers", () => {
  it.scoped("is not believed", () =>
    Effect.gen(function* () {
      const { cache, control } = yield* InProcessCache.make()
      const archive = new PlayedArchive()
      const answer = yield* Effect.makeLatch(true)
      const slow = <A, E>(asked: Effect.Effect<A, E>) => Effect.tap(asked, () => answer.await)
      const { service } = yield* start({
        archive: archive.options,
        cache: cacheOf({
          ...cache,
          get: (id) => slow(cache.get(id)),
          getMany: (ids) => slow(cache.getMany(ids))
        }),
        config: { l1MaxBytes: 0 }
      })
      yield* service.submitMany(["a", "b"].map((id) => ({ id, content: "old" })))
      yield* service.flush
      expect((yield* service.health).cache.trusted).toBe(true)
      const { version } = Option.getOrThrow(yield* service.get("a"))
      yield* answer.close
      const one = yield* beside(service.get("a"))
      const many = yield* beside(service.getMany(["a", "b"]))
      // The cache has given its answer, which is on its way.
      for (const id of ["a", "b"]) archive.put(id, version + 1000, "new")
      control.setAvailable(false)
      yield* answer.open
      expect(textIn(yield* Fiber.join(one))).toBe("new")
      expect([...(yield* Fiber.join(many)).values()].map(textOf)).toEqual(["new", "new"])
    })
  )
})

describe("deleting by state", () => {
  it.scoped("leaves what has another state by the time its deletion is decided, archived or not", () =>
    Effect.gen(function* () {
      const { service } = yield* start({ limits: { itemsPerTurn: 1 } })
      const ids = ["a", "b", "c", "d", "e"]
      yield* service.submitMany(ids.map((id) => ({ id, content: id, state: "old" })))
      yield* service.flush
      let turns = 0
      // Between the first deletion and the others.
      const meanwhile = Effect.suspend(() =>
        ++turns === 1
          ? Effect.orDie(
              Effect.gen(function* () {
                yield* service.setState("c", "new")
                yield* service.flush
                yield* service.setState("d", "new")
                yield* service.delete("e")
              })
            )
          : Effect.void
      )
      const deleted = yield* Effect.provideService(service.deleteByState("old"), YieldToEventLoop, meanwhile)
      expect(deleted).toBe(2)
      expect([...(yield* service.getMany(ids)).keys()]).toEqual(["c", "d"])
      expect(yield* service.countByState("new")).toBe(2)
    })
  )
})
