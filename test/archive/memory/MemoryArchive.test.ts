import { it } from "@effect/vitest"
import { Effect } from "effect"
import { expect } from "vitest"
import { Archive } from "../../../src/archive/Archive.js"
import { ArchiveError } from "../../../src/archive/ArchiveError.js"
import { layerMemory, MemoryArchiveState, make } from "../../../src/archive/memory/MemoryArchive.js"
import { openedIn } from "../../support/components.js"
import { describeArchive, put } from "../suite.js"

describeArchive(
  "memory archive",
  Effect.sync(() => {
    const state = new MemoryArchiveState()
    return {
      archive: make({ state }),
      another: Effect.sync(() => make({ state })),
      damage: (id) =>
        Effect.sync(() => {
          const record = state.records.get(id)!
          state.records.set(id, { ...record, updatedAt: record.updatedAt + 1 })
        })
    }
  })
)

const lost = new ArchiveError({ operation: "commit", kind: "transient", problem: "injected" })

it.effect("fails before or after a commit took effect, and outlives its layer", () =>
  Effect.gen(function* () {
    const state = new MemoryArchiveState()
    let when: "before" | "after" | "never" = "before"
    const hooks = {
      before: () => (when === "before" ? Effect.fail(lost) : Effect.void),
      after: () => (when === "after" ? Effect.fail(lost) : Effect.void)
    }
    const commit = Effect.flatMap(openedIn(Archive), (archive) => archive.commit([put("a", 1)])).pipe(
      Effect.scoped,
      Effect.provide(layerMemory({ state, hooks }))
    )
    expect(yield* Effect.flip(commit)).toBe(lost)
    expect(state.records.size).toBe(0)
    when = "after"
    expect(yield* Effect.flip(commit)).toBe(lost)
    expect(state.records.size).toBe(1)
    when = "never"
    expect(yield* commit).toMatchObject({ applied: 0, superseded: [] })
  })
)
