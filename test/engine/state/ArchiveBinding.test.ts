import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, TestClock } from "effect"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { LogUnavailable } from "../../../src/EngineError.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { WriteAheadLog } from "../../../src/wal/WriteAheadLog.js"
import { between } from "../../support/components.js"
import { makeEngine } from "../../support/engine.js"
import { beside, driven, items, PlayedArchive, start } from "../support.js"

const lifeOver = (
  disk: MemoryLog.MemoryLogDisk,
  state: MemoryArchive.MemoryArchiveState,
  id?: string,
  sqlAcceptOther = false
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const engine = yield* start({ disk, archive: { state }, config: { sqlAcceptOther } })
      if (id !== undefined) yield* engine.service.submit({ id, content: "x" })
      yield* engine.service.flush
      return Option.isSome(yield* engine.service.get("kept"))
    })
  ).pipe(Effect.either)

const archiveOf = (lineage: string) => {
  const state = new MemoryArchive.MemoryArchiveState()
  state.lineage = lineage
  return state
}

const problemOf = (result: Either.Either<unknown, { readonly message: string }>) =>
  Either.isLeft(result) ? result.left.message : "started"

describe("the archive that a log belongs to", () => {
  it.effect("is the first one it meets, and another one is refused with what to do", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      const first = archiveOf("first")
      yield* lifeOver(disk, first, "kept")
      expect(disk.binding).toEqual({ lineage: "first", archived: true })

      const other = archiveOf("other")
      const refused = problemOf(yield* lifeOver(disk, other))
      expect(refused).toContain("a new and empty archive")
      expect(refused).toContain("SQL_ACCEPT_OTHER=true")
      expect(disk.binding?.lineage).toBe("first")
      expect(other.records.size).toBe(0)

      expect(yield* lifeOver(disk, first)).toEqual(Either.right(true))
    })
  )

  it.effect("is refused when it has become empty, but not while nothing was archived there", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      yield* lifeOver(disk, archiveOf("same"))
      expect(yield* lifeOver(disk, archiveOf("same"), "kept")).toEqual(Either.right(true))
      expect(problemOf(yield* lifeOver(disk, archiveOf("same")))).toContain("it is empty")
    })
  )

  it.effect("can be changed on request, and stays changed", () =>
    Effect.gen(function* () {
      const disk = MemoryLog.makeDisk()
      yield* lifeOver(disk, archiveOf("first"), "kept")
      const other = archiveOf("other")
      expect(yield* lifeOver(disk, other, "kept", true)).toEqual(Either.right(true))
      expect(yield* lifeOver(disk, other)).toEqual(Either.right(true))
      expect(problemOf(yield* lifeOver(disk, archiveOf("first")))).toContain("another one")
    })
  )

  /** What a log holds that was carried to "first" up to its third entry, and could not let go of it. */
  const carriedInPart = Effect.gen(function* () {
    const disk = MemoryLog.makeDisk()
    yield* Effect.scoped(
      Effect.flatMap(start({ disk, archive: "none" }), ({ service }) => service.submitMany(items(5)))
    )
    disk.binding = { lineage: "first", archived: true, carriedTo: 3 }
    return disk
  })

  it.scoped.each(["lineage", "maxVersion"])(
    "is asked for (%s) until it answers; only then a start goes on",
    (question) =>
      Effect.gen(function* () {
        const disk = yield* carriedInPart
        const other = new PlayedArchive(archiveOf("other"))
        other.put("theirs", 5)
        let stumbles = 2
        other.stumbles = ({ operation }) => operation === question && stumbles-- > 0
        const engine = yield* Effect.tap(makeEngine({ disk, archive: other.options }), driven)
        const starting = yield* beside(Effect.flip(engine.start))
        expect(engine.lifecycle.unsafeSnapshot()).toMatchObject({ phase: "starting", reason: "sql_connect" })
        yield* TestClock.adjust(5000)
        expect(yield* Fiber.join(starting)).toMatchObject({ _tag: "ArchiveStartError", kind: "refused" })
        expect(other.live()).toEqual(["theirs"])
        expect(disk.entries).toHaveLength(5)
      })
  )

  it.scoped(
    "may be another one on request, which gets everything that the log holds, also when it stumbles first",
    () =>
      Effect.gen(function* () {
        const disk = yield* carriedInPart
        const other = new PlayedArchive(archiveOf("other"))
        let stumbles = 2
        other.stumbles = ({ operation }) => operation === "lineage" && stumbles-- > 0
        const engine = yield* Effect.tap(
          makeEngine({ disk, archive: other.options, config: { sqlAcceptOther: true } }),
          driven
        )
        const starting = yield* beside(engine.start)
        yield* TestClock.adjust(5000)
        yield* Fiber.join(starting)
        expect(other.live()).toHaveLength(5)
        expect(disk.binding).toEqual({ lineage: "other", archived: true })
      })
  )

  it.scoped(
    "is not changed for a log that cannot note it: what was carried to the old one is not believed of the new",
    () =>
      Effect.gen(function* () {
        const disk = yield* carriedInPart
        const other = new PlayedArchive(archiveOf("other"))
        const full = new LogUnavailable({
          path: "x",
          operation: "bind",
          problem: "disk full",
          retryAfterMs: 1
        })
        const log = MemoryLog.layerMemory({ disk }).pipe(
          between(WriteAheadLog, (inner) => ({ ...inner, bind: () => Effect.fail(full) }))
        )
        const config = { sqlAcceptOther: true }
        const engine = yield* Effect.tap(makeEngine({ log, archive: other.options, config }), driven)
        const error = yield* Effect.flip(engine.start)
        expect(error).toMatchObject({ _tag: "ArchiveStartError", kind: "refused" })
        expect(error.message).toContain("disk full")
        expect(other.live()).toEqual([])

        yield* start({ disk, archive: other.options, config })
        expect(other.live()).toHaveLength(5)
        expect(disk.binding).toEqual({ lineage: "other", archived: true })
      })
  )
})
