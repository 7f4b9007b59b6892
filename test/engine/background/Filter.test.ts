import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, TestClock } from "effect"
import { textOf } from "../../../src/SyncItem.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { PlayedArchive, start } from "../support.js"

/** A started engine whose filter proves absence, over a memory that keeps nothing. */
const trusting = (archive: PlayedArchive, disk = MemoryLog.makeDisk()) =>
  Effect.gen(function* () {
    const engine = yield* start({
      disk,
      archive: archive.options,
      config: { l1MaxBytes: 0, batchFlushCount: 1 }
    })
    while (!(yield* engine.service.definitelyMissing("nobody.wrote.this"))) yield* TestClock.adjust(1000)
    return engine.service
  })

describe("a trusted filter in an engine", () => {
  it.scoped("never denies an acknowledged write, on its way to the archive or there", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const service = yield* trusting(archive)
      yield* service.submit({ id: "one", content: "1" })
      yield* service.submitMany([{ id: "two", content: "2" }])
      const texts = Effect.forEach(["one", "two"], (id) => Effect.map(service.get(id), Option.map(textOf)))
      expect(yield* Effect.forEach(["one", "two"], service.definitelyMissing)).toEqual([false, false])
      expect(yield* texts).toEqual([Option.some("1"), Option.some("2")])
      yield* service.flush
      expect(archive.live()).toEqual(["one", "two"])
      expect(yield* service.definitelyMissing("nobody.wrote.this")).toBe(true)
      expect(yield* Effect.forEach(["one", "two"], service.definitelyMissing)).toEqual([false, false])
      expect(yield* texts).toEqual([Option.some("1"), Option.some("2")])
    })
  )

  it.scoped("never denies what the log still holds from before", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = MemoryLog.makeDisk()
      yield* Effect.scoped(
        Effect.flatMap(trusting(archive, disk), (service) => service.submit({ id: "old", content: "0" }))
      )
      const { snapshot } = disk
      expect(snapshot).toBeDefined()
      archive.stumbles = ({ operation }) => operation === "commit"
      yield* Effect.scoped(
        Effect.flatMap(start({ disk, archive: archive.options }), ({ service }) =>
          service.submitMany([
            { id: "tried", content: "0" },
            { id: "left", content: "1" }
          ])
        )
      )
      // As after a crash: the snapshot is older than what the log holds.
      disk.snapshot = snapshot
      expect(disk.entries).toHaveLength(2)
      // Batches of one: the archive has not been asked about the second yet.
      const service = yield* trusting(archive, disk)
      expect(yield* service.definitelyMissing("left")).toBe(false)
      expect(Option.map(yield* service.get("left"), textOf)).toEqual(Option.some("1"))
    })
  )
})
