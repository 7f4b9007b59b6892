import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer } from "effect"
import * as Filter from "../../../src/filter/ExistenceFilter.js"
import type { SyncEngineApi } from "../../../src/SyncEngineApi.js"
import { beside, ended, PlayedArchive, settle, start } from "../support.js"

/** An engine whose filter finds no memory to grow, when told so. */
const make = (archive: PlayedArchive) =>
  Effect.gen(function* () {
    const memory = { full: false }
    const filter = Layer.succeed(Filter.ExistenceFilter, {
      open: (options) =>
        Effect.map(Filter.make(options), (open) => ({
          ...open,
          beforeWrite: (writes) => {
            if (memory.full) throw new RangeError("Array buffer allocation failed")
            open.beforeWrite(writes)
          }
        }))
    })
    const { service } = yield* start({ archive: archive.options, filter })
    return { memory, service }
  })

const writes: ReadonlyArray<readonly [string, (service: SyncEngineApi) => Effect.Effect<unknown, unknown>]> =
  [
    ["alone", (service) => service.submit({ id: "a", content: "1" })],
    ["compared and set", (service) => service.submit({ id: "a", content: "1" }, { expectedVersion: 0 })],
    ["in a batch", (service) => service.submitMany([{ id: "a", content: "1" }])]
  ]

describe("a filter that finds no memory", () => {
  for (const [how, write] of writes) {
    it.scoped(`lets a write fail (${how}), and nobody waits for it`, () =>
      Effect.gen(function* () {
        const { memory, service } = yield* make(new PlayedArchive())
        memory.full = true
        expect(Exit.isFailure(yield* Effect.exit(write(service)))).toBe(true)
        memory.full = false
        const fiber = yield* beside(
          Effect.zipRight(service.submit({ id: "a", content: "2" }, { expectedVersion: 0 }), service.flush)
        )
        yield* settle
        expect(yield* ended(fiber)).toBe(true)
        yield* Fiber.join(fiber)
      })
    )
  }

  it.scoped("who was to be written once more is told of having lost", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { memory, service } = yield* make(archive)
      archive.hold("commit")
      const fiber = yield* beside(
        Effect.flip(service.submit({ id: "a", content: "ours" }, { durability: "archive" }))
      )
      memory.full = true
      archive.put("a", 2 ** 50, "theirs")
      archive.letGo("commit")
      yield* settle
      expect(yield* ended(fiber)).toBe(true)
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "VersionConflict", current: 2 ** 50 })
    })
  )
})
