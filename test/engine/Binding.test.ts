import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as MemoryArchive from "../../src/archive/MemoryArchive.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { start } from "./support.js"

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
})
