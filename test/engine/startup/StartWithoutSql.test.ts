import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, TestClock } from "effect"
import { Archive } from "../../../src/archive/Archive.js"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { ArchiveStartError } from "../../../src/EngineError.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { makeEngine } from "../../support/engine.js"
import { logged } from "../../support/Logged.js"
import { beside, driven, PlayedArchive, start } from "../support.js"

const down = (kind: "unreachable" | "refused") =>
  new ArchiveStartError({ target: "memory", kind, problem: "told to" })

/** A log that has been carried to this archive; then SQL goes away. */
const world = Effect.gen(function* () {
  const disk = MemoryLog.makeDisk()
  const first = new PlayedArchive()
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { service } = yield* start({ disk, archive: first.options })
      yield* service.submit({ id: "old", content: "x" })
    })
  )
  const play: { there: PlayedArchive | undefined; kind: "unreachable" | "refused" } = {
    there: undefined,
    kind: "unreachable"
  }
  const archive = Layer.succeed(Archive, {
    open: Effect.suspend(() =>
      play.there === undefined
        ? Effect.fail(down(play.kind))
        : Effect.succeed(MemoryArchive.make(play.there.options))
    )
  })
  const make = (startWithoutSql: boolean, over = disk) =>
    Effect.tap(
      makeEngine({
        disk: over,
        archive,
        config: { startWithoutSql, sqlStartTimeout: 0, healthInterval: 1000 }
      }),
      driven
    )
  return { disk, first, make, play }
})

describe("START_WITHOUT_SQL", () => {
  it.scoped(
    "takes writes while SQL is unreachable, reads nothing, and goes on by itself when SQL is there",
    () =>
      Effect.gen(function* () {
        const { first, make, play } = yield* world
        const { lines, provide } = logged()
        const engine = yield* provide(make(true))
        const { service } = engine
        yield* provide(engine.start)
        expect(engine.lifecycle.unsafeSnapshot()).toMatchObject({ phase: "ready", writesOnly: true })
        expect(yield* service.health).toMatchObject({
          acceptsWrites: true,
          acceptsQueries: false,
          archive: { available: false },
          degraded: [{ component: "archive" }]
        })
        yield* service.submit({ id: "new", content: "y" })
        expect(yield* Effect.flip(service.get("old"))).toMatchObject({
          _tag: "GateClosed",
          operation: "query"
        })
        expect(yield* Effect.flip(service.scanPage(""))).toMatchObject({ _tag: "GateClosed" })
        yield* TestClock.adjust(20_000)
        expect((yield* service.health).acceptsQueries).toBe(false)

        play.there = first
        yield* TestClock.adjust(40_000)
        expect(yield* service.health).toMatchObject({ acceptsQueries: true, degraded: [] })
        expect(first.live().slice().sort()).toEqual(["new", "old"])
        expect(Option.isSome(yield* service.get("old"))).toBe(true)
        const told = lines.filter(({ message }) => /SQL|archive/.test(message))
        expect(told.map(({ cause, level }) => level + cause)).toEqual(["WARN", "WARN", "INFO"])
      })
  )

  it.scoped("takes nothing more once another archive answers, and goes on with the right one", () =>
    Effect.gen(function* () {
      const { first, make, play } = yield* world
      const { lines, provide } = logged()
      const engine = yield* provide(make(true))
      yield* provide(engine.start)
      const { service } = engine
      yield* service.submit({ id: "new", content: "y" })
      const other = new PlayedArchive()
      other.state.lineage = "other"
      other.put("theirs", 5)
      play.there = other
      yield* TestClock.adjust(40_000)
      expect(yield* Effect.flip(service.submit({ id: "more", content: "z" }))).toMatchObject({
        _tag: "GateClosed",
        operation: "write"
      })
      expect(yield* service.health).toMatchObject({ acceptsWrites: false, acceptsQueries: false })
      expect(other.live()).toEqual(["theirs"])
      expect(lines.filter(({ level }) => level === "ERROR")).toHaveLength(1)

      play.there = first
      yield* TestClock.adjust(60_000)
      yield* service.submit({ id: "more", content: "z" })
      yield* service.flush
      expect(first.live().slice().sort()).toEqual(["more", "new", "old"])
    })
  )

  it.scoped("a drain before SQL is there flushes and checkpoints once it is", () =>
    Effect.gen(function* () {
      const { first, make, play } = yield* world
      const engine = yield* make(true)
      yield* engine.start
      yield* engine.service.submit({ id: "new", content: "y" })
      yield* engine.service.drain
      const before = first.seen("checkpoint").length
      play.there = first
      yield* TestClock.adjust(40_000)
      expect(first.live().slice().sort()).toEqual(["new", "old"])
      expect(first.seen("checkpoint").length).toBe(before + 1)
    })
  )

  it.scoped("SQL that cannot say which archive it is counts as unreachable until it can", () =>
    Effect.gen(function* () {
      const { first, make, play } = yield* world
      play.there = first
      let stumbling = true
      first.stumbles = ({ operation }) => operation === "lineage" && stumbling
      const engine = yield* make(true)
      yield* engine.start
      const { service } = engine
      yield* service.submit({ id: "new", content: "y" })
      yield* TestClock.adjust(20_000)
      expect(yield* service.health).toMatchObject({ acceptsWrites: true, acceptsQueries: false })
      expect(first.live()).toEqual(["old"])
      stumbling = false
      yield* TestClock.adjust(20_000)
      expect(yield* service.health).toMatchObject({ acceptsQueries: true, degraded: [] })
      expect(first.live().slice().sort()).toEqual(["new", "old"])
    })
  )

  it.scoped.each([
    ["the option is off", false, "unreachable", true],
    ["SQL refuses", true, "refused", true],
    ["the log belongs to no archive yet", true, "unreachable", false]
  ] as const)("a start without SQL still fails when %s", ([, option, kind, isBound]) =>
    Effect.gen(function* () {
      const { disk, make, play } = yield* world
      play.kind = kind
      const engine = yield* make(option, isBound ? disk : MemoryLog.makeDisk())
      expect(yield* Effect.flip(engine.start)).toMatchObject({ _tag: "ArchiveStartError", kind })
      expect(engine.lifecycle.unsafeSnapshot().phase).toBe("stopped")
    })
  )

  it.scoped("a shutdown before SQL was there says why writes stay", () =>
    Effect.gen(function* () {
      const { make } = yield* world
      const engine = yield* make(true)
      yield* engine.start
      yield* engine.service.submit({ id: "new", content: "y" })
      const report = yield* Effect.flatMap(beside(engine.service.shutdown), () => engine.service.shutdown)
      expect(report).toMatchObject({
        itemsLeftInLog: 1,
        problems: ["1 write stays in the log, not archived: the archive was not connected"]
      })
    })
  )
})
