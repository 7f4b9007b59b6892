import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { ArchiveError } from "../../src/archive/ArchiveError.js"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import { MemoryWriters, type WriterRegister } from "../../src/archive/WriterLease.js"
import * as ExistenceFilter from "../../src/filter/ExistenceFilter.js"
import { reasons } from "../../src/filter/FilterTrust.js"
import { contentHashOf, type ItemRecord, tombstone } from "../../src/SyncItem.js"
import { atOnce } from "../support/atOnce.js"

const content = new TextEncoder().encode("x")
let version = 0
const item = (id: string): ItemRecord => ({
  id,
  version: ++version,
  updatedAt: version,
  contentType: "binary",
  contentHash: contentHashOf(content),
  state: undefined,
  content,
  traceparent: undefined,
  deleted: false
})

/** One archive with its register, as several nodes see it. */
class Shared {
  readonly state = new MemoryArchive.MemoryArchiveState()
  readonly writers = new MemoryWriters()
  down = false
  /** What a page waits for. */
  beforePage: Effect.Effect<void> = Effect.void

  private check(operation: string) {
    return Effect.suspend(() =>
      this.down
        ? Effect.fail(new ArchiveError({ operation, kind: "transient", problem: "down" }))
        : Effect.void
    )
  }

  archive(node: string) {
    return MemoryArchive.make({
      state: this.state,
      hooks: {
        before: ({ operation }) =>
          Effect.zipRight(
            this.check(operation),
            Effect.suspend((): Effect.Effect<void, ArchiveError> => {
              if (operation === "scanIds") return this.beforePage
              return operation !== "commit" || this.writers.admits(node)
                ? Effect.void
                : Effect.fail(
                    new ArchiveError({ operation, kind: "transient", problem: "another node is sole writer" })
                  )
            })
          )
      }
    })
  }

  readonly register: WriterRegister = {
    heartbeat: (request) =>
      Effect.zipRight(
        this.check("heartbeat"),
        Effect.sync(() => ({
          ...this.writers.heartbeat(request),
          root: this.state.tree.root,
          entries: this.state.live().length,
          topVersion: this.state.topVersion
        }))
      ),
    release: (own) =>
      Effect.zipRight(
        this.check("release"),
        Effect.sync(() => this.writers.release(own))
      ),
    leave: (own) =>
      Effect.zipRight(
        this.check("leave"),
        Effect.sync(() => this.writers.leave(own))
      )
  }
}

const node = (shared: Shared, name: string) =>
  Effect.map(ExistenceFilter.make({ node: name }), (filter) => ({
    filter,
    archive: filter.guard(shared.archive(name)),
    heartbeat: filter.heartbeat(shared.register),
    put: function (id: string) {
      const record = item(id)
      filter.beforeWrite([record])
      return this.archive.commit([record])
    },
    warmUp: function (batch = 10) {
      return filter.warmUp(this.archive, { batch, pending: [] })
    }
  }))

const ready = (shared: Shared, name: string) =>
  Effect.tap(node(shared, name), (made) => Effect.zipRight(made.heartbeat, made.warmUp()))

describe("ExistenceFilter", () => {
  it.effect("warms up by pages, answers without I/O, follows own commits and deletions", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* node(shared, "a")
      for (let n = 0; n < 25; n++) yield* a.put(`k.${n}`)
      expect(a.filter.mightExist("absent")).toBe(true)
      expect(yield* a.warmUp()).toEqual({ _tag: "NotNow", reason: reasons.notSole })
      expect(yield* a.heartbeat).toMatchObject({ sole: true, others: 0, held: false })
      expect(a.filter.needsRebuild(0)).toBe(reasons.empty)
      expect(yield* a.warmUp()).toEqual({ _tag: "Rebuilt", entries: 25, pages: 3 })
      expect(a.filter.needsRebuild(0)).toBeUndefined()
      for (let n = 0; n < 25; n++) expect(a.filter.definitelyMissing(`k.${n}`)).toBe(false)
      shared.down = true
      expect(a.filter.definitelyMissing("absent")).toBe(true)
      shared.down = false
      yield* a.put("later")
      yield* a.archive.commit([tombstone("k.3", ++version, 1)])
      expect(a.filter.status()).toMatchObject({ trusted: true, entries: 26 })
      expect(a.filter.definitelyMissing("later")).toBe(false)
    })
  )

  it.effect("a commit of records that nobody announced is in the filter before it starts", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      yield* a.archive.commit([item("from.the.log")])
      expect(a.filter.definitelyMissing("from.the.log")).toBe(false)
      expect(a.filter.status().trusted).toBe(true)
    })
  )

  it.effect("a second node cannot commit before the first has stopped trusting", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      const b = yield* node(shared, "b")
      expect(yield* b.heartbeat).toMatchObject({ sole: false, others: 1, held: true })
      const refused = yield* Effect.flip(b.put("of.b"))
      expect(refused.kind).toBe("transient")
      expect(a.filter.definitelyMissing("of.b")).toBe(true)
      // A joins the loop of its heartbeats; B waits for that.
      const joining = yield* Effect.fork(b.filter.join(shared.register))
      yield* TestClock.adjust("1 second")
      expect(joining.unsafePoll()).toBeNull()
      expect(yield* a.heartbeat).toMatchObject({ sole: false, others: 1 })
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.notSole })
      yield* TestClock.adjust("200 millis")
      expect(yield* Fiber.join(joining)).toMatchObject({ held: false, sole: false })
      yield* b.put("of.b")
      expect([a.filter.mightExist("of.b"), b.filter.mightExist("of.b")]).toEqual([true, true])
      // Neither is trusted as long as both are there.
      yield* a.heartbeat
      yield* b.heartbeat
      expect(yield* a.warmUp()).toMatchObject({ _tag: "NotNow" })
      // B goes: A is alone again, sees that the root has moved, and has to build anew.
      yield* b.filter.leave(shared.register)
      expect(yield* a.heartbeat).toMatchObject({ sole: true })
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.foreign })
      expect(yield* a.warmUp()).toMatchObject({ _tag: "Rebuilt" })
      expect([a.filter.mightExist("of.b"), a.filter.mightExist("absent")]).toEqual([true, false])
    })
  )

  it.effect("a visitor that wrote nothing costs no rebuild", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      const b = yield* node(shared, "b")
      yield* b.heartbeat
      yield* a.heartbeat
      yield* a.put("own")
      expect(a.filter.status().trusted).toBe(false)
      yield* b.filter.leave(shared.register)
      yield* a.heartbeat
      expect(a.filter.status().trusted).toBe(true)
      expect([a.filter.mightExist("own"), a.filter.mightExist("absent")]).toEqual([true, false])
    })
  )

  it.effect("a node that died is waited out for its lease, and by then its filter is long untrusted", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      const b = yield* node(shared, "b")
      const joining = yield* Effect.fork(b.filter.join(shared.register))
      yield* TestClock.adjust("11 seconds")
      expect(a.filter.status().trusted).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.late })
      yield* TestClock.adjust("2900 millis")
      expect(joining.unsafePoll()).toBeNull()
      yield* TestClock.adjust("300 millis")
      expect(yield* Fiber.join(joining)).toMatchObject({ sole: true, others: 0 })
      yield* b.put("of.b")
      expect(a.filter.mightExist("of.b")).toBe(true)
      // It was only asleep: its row is gone, and it has to see that.
      expect(yield* a.heartbeat).toMatchObject({ sole: false, held: true })
      expect(yield* Effect.flip(a.put("of.a"))).toMatchObject({ kind: "transient" })
    })
  )

  it.effect("a lease is named while it is certain, whatever the filter knows, and another one differs", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* node(shared, "a")
      expect(a.filter.lease()).toBeUndefined()
      yield* a.heartbeat
      const first = a.filter.lease()
      expect(first).toBeDefined()
      expect(a.filter.status().trusted).toBe(false)
      yield* TestClock.adjust("11 seconds")
      expect(a.filter.lease()).toBe(first)
      yield* TestClock.adjust("250 millis")
      expect(a.filter.lease()).toBeUndefined()
      // Nobody has come in between: it is still the same one.
      yield* a.heartbeat
      expect(a.filter.lease()).toBe(first)
      const b = yield* node(shared, "b")
      yield* b.heartbeat
      expect([a.filter.lease(), b.filter.lease()]).toEqual([first, undefined])
      yield* a.heartbeat
      expect([a.filter.lease(), b.filter.lease()]).toEqual([undefined, undefined])
      yield* b.filter.leave(shared.register)
      yield* a.heartbeat
      expect(a.filter.lease()).toBeDefined()
      expect(a.filter.lease()).not.toBe(first)
      a.filter.close()
      expect(a.filter.lease()).toBeUndefined()
    })
  )

  it.effect("the next process of the same log takes over at once, with the snapshot", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const first = yield* ready(shared, "a")
      yield* first.put("stored")
      const taken = first.filter.snapshot()
      if (typeof taken === "string") throw new Error(taken)
      const second = yield* node(shared, "a")
      expect(second.filter.load(atOnce(taken.encode))).toBeUndefined()
      expect(yield* second.heartbeat).toMatchObject({ sole: true })
      expect([second.filter.mightExist("stored"), second.filter.mightExist("absent")]).toEqual([true, false])
      // What the log still held is carried over; trust stays.
      yield* second.archive.commit([item("left.in.the.log")])
      expect(second.filter.status().trusted).toBe(true)
      expect(second.filter.mightExist("left.in.the.log")).toBe(true)
    })
  )

  it.effect("while the archive is away trust lasts to its end, and is back at once with the archive", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      shared.down = true
      expect((yield* Effect.exit(a.heartbeat))._tag).toBe("Failure")
      // Its outcome is not known to the node.
      expect((yield* Effect.exit(a.put("pending")))._tag).toBe("Failure")
      expect(a.filter.definitelyMissing("absent")).toBe(true)
      yield* TestClock.adjust("12 seconds")
      expect(a.filter.definitelyMissing("absent")).toBe(false)
      shared.down = false
      yield* a.heartbeat
      expect(a.filter.definitelyMissing("absent")).toBe(true)
      expect(a.filter.definitelyMissing("pending")).toBe(false)
    })
  )

  it.effect("writes during a rebuild are in both filters, and the old one serves meanwhile", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      for (const id of ["b", "c", "d"]) yield* a.put(id)
      const [started, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      shared.beforePage = Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(go))
      const building = yield* Effect.fork(a.filter.warmUp(a.archive, { batch: 1, pending: ["pending"] }))
      yield* Deferred.await(started)
      yield* a.put("a")
      expect([a.filter.mightExist("a"), a.filter.mightExist("absent")]).toEqual([true, false])
      expect(a.filter.status().rebuilding).toBe(true)
      yield* Deferred.succeed(go, undefined)
      expect(yield* Fiber.join(building)).toEqual({ _tag: "Rebuilt", entries: 5, pages: 4 })
      expect(["a", "b", "c", "d", "pending", "absent"].map(a.filter.mightExist)).toEqual([
        true,
        true,
        true,
        true,
        true,
        false
      ])
      expect(a.filter.status()).toMatchObject({ rebuilding: false, trusted: true })
    })
  )

  it.effect(
    "a rebuild ends without effect when somebody else comes, when it fails, or when it is stopped",
    () =>
      Effect.gen(function* () {
        const shared = new Shared()
        const a = yield* ready(shared, "a")
        for (const id of ["b", "c", "d"]) yield* a.put(id)
        const b = yield* node(shared, "b")
        const once = (body: Effect.Effect<unknown, unknown>) => {
          shared.beforePage = Effect.suspend(() => {
            shared.beforePage = Effect.void
            return Effect.orDie(body)
          })
        }
        once(
          Effect.gen(function* () {
            yield* b.heartbeat
            yield* a.heartbeat
            yield* b.put("of.b")
            yield* b.filter.leave(shared.register)
            yield* a.heartbeat
          })
        )
        expect(yield* a.warmUp(1)).toEqual({ _tag: "NotNow", reason: reasons.notSole })
        expect(a.filter.mightExist("of.b")).toBe(true)
        expect(yield* a.warmUp(1)).toMatchObject({ _tag: "Rebuilt" })

        // The archive goes away after the first page.
        shared.beforePage = Effect.sync(() => {
          shared.down = true
        })
        expect((yield* Effect.exit(a.warmUp(1)))._tag).toBe("Failure")
        shared.beforePage = Effect.void
        shared.down = false
        expect(a.filter.status()).toMatchObject({ rebuilding: false, trusted: true })

        shared.beforePage = Effect.never
        const stuck = yield* Effect.fork(a.warmUp(1))
        yield* Effect.yieldNow()
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(stuck)
        expect(a.filter.status()).toMatchObject({ rebuilding: false, trusted: true })
        expect([a.filter.mightExist("of.b"), a.filter.mightExist("absent")]).toEqual([true, false])
      })
  )

  it.effect("an interrupted commit counts as one of unknown outcome", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      const lost = a.filter.guard({
        ...shared.archive("a"),
        commit: (records) => Effect.zipRight(shared.archive("a").commit(records), Effect.never)
      })
      const committing = yield* Effect.fork(lost.commit([item("landed")]))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(committing)
      expect(shared.state.records.has("landed")).toBe(true)
      yield* a.put("next")
      expect(a.filter.status()).toMatchObject({ trusted: true, reason: undefined })
      expect(["landed", "next", "absent"].map(a.filter.mightExist)).toEqual([true, true, false])
      expect(a.filter.snapshot()).toMatchObject({ root: shared.state.tree.root })
    })
  )

  it.effect("what changes the archive past its writers ends the trust when it is seen", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      yield* a.put("one")
      // Restored from a backup, say.
      yield* MemoryArchive.make({ state: shared.state }).commit([item("restored")])
      yield* a.heartbeat
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.outside })
      yield* a.warmUp()
      expect(a.filter.mightExist("restored")).toBe(true)
      shared.state.records.set("behind", item("behind"))
      yield* a.archive.rebuildTree
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.tree })
    })
  )

  it.effect("leaving ends the trust for good and frees the archive for others", () =>
    Effect.gen(function* () {
      const shared = new Shared()
      const a = yield* ready(shared, "a")
      yield* a.filter.leave(shared.register)
      expect(a.filter.status()).toMatchObject({ trusted: false, reason: reasons.closed })
      expect(a.filter.mightExist("absent")).toBe(true)
      expect(shared.writers.rows.size).toBe(0)
      const b = yield* node(shared, "b")
      expect(yield* b.heartbeat).toMatchObject({ sole: true })
    })
  )

  it.effect("refuses options out of bounds", () =>
    Effect.gen(function* () {
      for (const options of [
        { node: "" },
        { node: "x".repeat(65) },
        { node: "a", lease: 999 },
        { node: "a", lease: Number.NaN }
      ]) {
        expect((yield* Effect.exit(ExistenceFilter.make(options)))._tag).toBe("Failure")
      }
    })
  )
})
