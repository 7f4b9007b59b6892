import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import { it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { describe, expect } from "vitest"
import { Checkpoints, type WalState } from "../../../src/archive/sqlite/Checkpoints.js"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import * as SqliteWorkerClient from "../../../src/archive/sqlite/SqliteWorkerClient.js"
import { withoutThreads } from "../../support/WithoutThreads.js"
import { put } from "../suite.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "checkpoints-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Checkpoints at a bound of 100 pages whose folding ends when the test says so. */
const paced = () => {
  const under: Array<(after: WalState | undefined) => void> = []
  const checkpoints = new Checkpoints((done) => under.push(done), 100)
  const end = (after: WalState | undefined) => Effect.sync(() => under.shift()!(after))
  return { checkpoints, under, end }
}

/** Whether whoever asks for room has it at once. */
const hasRoom = ({ room }: Checkpoints) =>
  Effect.map(Effect.timeoutOption(room, 0), (within) => within._tag === "Some")

describe("Checkpoints", () => {
  it.live("fold in beside the commits what a quarter of the bound has gathered, once at a time", () =>
    Effect.gen(function* () {
      const { checkpoints, end, under } = paced()
      checkpoints.note({ pages: 24, folded: 0 })
      expect(under.length).toBe(0)
      checkpoints.note({ pages: 30, folded: 0 })
      checkpoints.note({ pages: 60, folded: 0 })
      expect(under.length).toBe(1)
      expect(yield* hasRoom(checkpoints)).toBe(true)
      yield* end({ pages: 60, folded: 30 })
      checkpoints.note({ pages: 70, folded: 30 })
      expect(under.length).toBe(1)
    })
  )

  it.live("let a commit wait at the bound until a folding that began since has ended", () =>
    Effect.gen(function* () {
      const { checkpoints, end, under } = paced()
      checkpoints.note({ pages: 110, folded: 40 })
      expect(under.length).toBe(1)
      const waiting = yield* Effect.fork(checkpoints.room)
      yield* Effect.yieldNow()
      // It began before the last commit, and does not have all of it.
      yield* end({ pages: 110, folded: 90 })
      yield* Effect.yieldNow()
      expect(under.length).toBe(1)
      expect((yield* Fiber.poll(waiting))._tag).toBe("None")
      yield* end({ pages: 110, folded: 110 })
      yield* Fiber.join(waiting)
      // All of it is folded in: SQLite begins the file anew with the next transaction.
      expect(yield* hasRoom(checkpoints)).toBe(true)
    })
  )

  it.live(
    "let a commit go on when a reader, or a thread that died, keeps the file from being folded in",
    () =>
      Effect.gen(function* () {
        const { checkpoints, end, under } = paced()
        checkpoints.note({ pages: 100, folded: 80 })
        for (const after of [{ pages: 100, folded: 80 }, undefined]) {
          const waiting = yield* Effect.fork(checkpoints.room)
          yield* Effect.yieldNow()
          expect(under.length).toBe(1)
          yield* end(after)
          yield* Fiber.join(waiting)
        }
      })
  )

  it.scopedLive("let commits go on while the system has no thread for them", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      yield* Effect.scoped(SqliteArchive.make({ path }))
      const client = yield* SqliteWorkerClient.make({ path, busyTimeoutMs: 5_000, walPages: 4 })
      const commit = (version: number) =>
        client.commit(
          Array.from({ length: 500 }, (_, i) => put(`${i}`, version)),
          undefined
        )
      yield* withoutThreads(
        Effect.forEach([1, 2, 3], (version) =>
          Effect.map(commit(version), ({ applied }) => expect(applied).toBe(500))
        )
      )
      expect((yield* commit(4)).applied).toBe(500)
      // At the bound the writer is had once all of it is folded in.
      const state = "PRAGMA wal_checkpoint(NOOP)"
      const [row] = yield* Effect.scoped(
        Effect.flatMap(client.reserve, (writer) => writer.execute(state, [], undefined))
      )
      expect(row!.checkpointed).toBeGreaterThan(0)
    }).pipe(Effect.provide(Reactivity.layer))
  )

  it.scopedLive("bound the -wal file of an archive that is written without a pause", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      yield* Effect.scoped(SqliteArchive.make({ path }))
      const bound = 400
      const client = yield* SqliteWorkerClient.make({ path, busyTimeoutMs: 5_000, walPages: bound })
      const pages = () => Math.floor(statSync(`${path}-wal`).size / (4096 + 24))
      let first = 0
      for (let round = 1; round <= 60; round++) {
        const records = Array.from({ length: 1_000 }, (_, i) => put(`a.${i % 50}.${i}`, round))
        expect((yield* client.commit(records, undefined)).applied).toBe(1_000)
        if (round === 3) first = pages()
      }
      // What one commit writes, at most; without an end the file would have sixty of it.
      expect(first * 20).toBeGreaterThan(bound + first)
      expect(pages()).toBeLessThanOrEqual(bound + first)
    }).pipe(Effect.provide(Reactivity.layer))
  )
})
