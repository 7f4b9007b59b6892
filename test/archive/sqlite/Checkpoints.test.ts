import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import { it } from "@effect/vitest"
import { Effect, Either, Fiber } from "effect"
import { describe, expect, vi } from "vitest"
import { Checkpoints, type FoldedIn, type WalState } from "../../../src/archive/sqlite/Checkpoints.js"
import * as SqliteArchive from "../../../src/archive/sqlite/SqliteArchive.js"
import * as SqliteWorkerClient from "../../../src/archive/sqlite/SqliteWorkerClient.js"
import { type Done, WorkerChannel, type WorkerFailure } from "../../../src/shared/WorkerChannel.js"
import { logged } from "../../support/Logged.js"
import { withoutThreads } from "../../support/WithoutThreads.js"
import { put } from "../suite.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "checkpoints-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Checkpoints at a bound of 100 pages whose folding ends when the test says so. */
const paced = () => {
  const under: Array<(after: FoldedIn) => void> = []
  const checkpoints = new Checkpoints((done) => under.push(done), 100)
  const end = (after: WalState | string) =>
    Effect.sync(() => under.shift()!(typeof after === "string" ? Either.left(after) : Either.right(after)))
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
        for (const after of [{ pages: 100, folded: 80 }, "it died"]) {
          const waiting = yield* Effect.fork(checkpoints.room)
          yield* Effect.yieldNow()
          expect(under.length).toBe(1)
          yield* end(after)
          yield* Fiber.join(waiting)
        }
      })
  )

  it.live("tell once that they fail, and once that they do no more", () =>
    Effect.gen(function* () {
      const { lines, provide } = logged()
      const { checkpoints, end } = paced()
      const round = (after: WalState | string) =>
        Effect.gen(function* () {
          const waiting = yield* Effect.fork(checkpoints.room)
          yield* Effect.yieldNow()
          yield* end(after)
          yield* Fiber.join(waiting)
        })
      checkpoints.note({ pages: 100, folded: 80 })
      yield* provide(
        Effect.forEach(
          ["disk full", "disk full", { pages: 100, folded: 90 }, { pages: 100, folded: 95 }],
          round
        )
      )
      expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
        "WARN the archive's -wal file cannot be folded in, and grows: disk full",
        "INFO the archive's -wal file is folded in again"
      ])
    })
  )

  it.scopedLive("say damage as the other threads do, and are waited for by the checkpoint of a flush", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "archive.db")
      const archive = yield* SqliteArchive.make({ path })
      const asked: Array<string> = []
      const held: Array<() => void> = []
      let damaged: Either.Either<never, WorkerFailure> | undefined
      // The end of what is folded in beside the commits is held back until the test says so.
      const request = WorkerChannel.prototype.request as (...parameters: ReadonlyArray<unknown>) => void
      const watched = function (
        this: unknown,
        operation: string,
        parameters: ReadonlyArray<unknown>,
        done: Done<unknown>,
        transfer?: ReadonlyArray<ArrayBuffer>
      ) {
        const text = String(parameters[0])
        if (text.includes("wal_checkpoint")) asked.push(text)
        const hold: Done<unknown> = (outcome) => held.push(() => done(damaged ?? outcome))
        request.call(this, operation, parameters, text.includes("PASSIVE") ? hold : done, transfer)
      }
      const isHeld = Effect.repeat(Effect.sleep("5 millis"), { until: () => held.length > 0 })
      yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(WorkerChannel.prototype, "request").mockImplementation(watched)),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      const content = new Uint8Array(1_000_000)
      const large = (version: number) =>
        archive.commit(Array.from({ length: 20 }, (_, i) => put(`${i}`, version, "", { content })))
      yield* large(1)
      yield* isHeld
      const flushing = yield* Effect.fork(archive.checkpoint)
      yield* Effect.sleep("200 millis")
      expect(asked).toEqual(["PRAGMA wal_checkpoint(PASSIVE)"])
      held.shift()!()
      yield* Fiber.join(flushing)
      expect(asked).toEqual(["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"])

      damaged = Either.left({ code: "SQLITE_CORRUPT", damaged: true, message: "malformed" })
      yield* large(2)
      yield* isHeld
      held.shift()!()
      expect((yield* Effect.flip(archive.root)).problem).toContain("is damaged: malformed")
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
