import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import { pack, type SqliteOperations } from "../../src/archive/sqlite/SqliteProtocol.js"
import { type Done, WorkerChannel, type WorkerFailure } from "../../src/shared/WorkerChannel.js"
import { withoutThreads } from "../support/WithoutThreads.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-channel-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A channel to a thread that has a database, and how its requests have ended so far. */
const channelTo = (path: string) => {
  const ended: Array<string> = []
  const note =
    (name: string): Done<unknown> =>
    (outcome) => {
      ended.push(Either.isRight(outcome) ? name : `${name} ${outcome.left.code}`)
    }
  const data = { path, role: "writer", busyTimeoutMs: 100 }
  const channel = new WorkerChannel<SqliteOperations>("archive/sqlite/SqliteWorker", data, note("open"))
  const send = (name: string, sql: string) => channel.request("statement", [sql, pack([])], note(name))
  const settled = (sql: string) =>
    Effect.async<unknown, WorkerFailure>((resume) =>
      channel.request("statement", [sql, pack([])], (outcome) => resume(outcome))
    )
  return { channel, ended, send, settled }
}

describe("WorkerChannel", () => {
  it.scopedLive("serves in order what was sent before the thread was open, and says why one failed", () =>
    Effect.gen(function* () {
      const { channel, ended, send, settled } = channelTo(join(yield* folder, "a.db"))
      send("made", "CREATE TABLE t (a)")
      send("refused", "SELECT * FROM missing")
      yield* settled("INSERT INTO t VALUES (1)")
      expect(ended).toEqual(["open", "made", "refused SQLITE_ERROR"])
      expect(channel.lost).toBe(undefined)
      yield* channel.close
      yield* channel.exited
      send("late", "SELECT 1")
      expect(ended.at(-1)).toBe("late WORKER_LOST")
    })
  )

  it.scopedLive("ends every request once when the thread dies, and those that come later at once", () =>
    Effect.gen(function* () {
      const { channel, ended, send, settled } = channelTo(join(yield* folder, "a.db"))
      yield* settled("SELECT 1")
      for (let n = 0; n < 50; n++) send(`${n}`, "SELECT 1")
      yield* channel.terminate
      yield* channel.exited
      send("late", "SELECT 1")
      expect(ended.map((one) => one.split(" ")[0])).toEqual([
        "open",
        ...Array.from({ length: 50 }, (_, n) => `${n}`),
        "late"
      ])
      expect(channel.lost?.code).toBe("WORKER_LOST")
      yield* channel.close
    })
  )

  it.scopedLive("fails everything with the reason when nothing can be opened", () =>
    Effect.gen(function* () {
      const { channel, ended, send } = channelTo(join(yield* folder, "missing", "a.db"))
      send("early", "SELECT 1")
      yield* channel.exited
      expect(ended).toHaveLength(2)
      expect(ended.every((one) => !one.endsWith("WORKER_LOST") && one.includes(" "))).toBe(true)
    })
  )

  it.scopedLive("takes a thread that cannot be started as one that has died", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.db")
      const { channel, ended, send } = yield* withoutThreads(Effect.sync(() => channelTo(path)))
      send("late", "SELECT 1")
      expect(ended).toEqual(["open WORKER_LOST", "late WORKER_LOST"])
      expect(channel.lost?.message).toContain("could not be started (Worker initialization failure: EAGAIN)")
      yield* channel.exited
      yield* channel.terminate
      yield* channel.close
    })
  )

  it.scopedLive("throws for a value that cannot be sent, and goes on", () =>
    Effect.gen(function* () {
      const { channel, ended, settled } = channelTo(join(yield* folder, "a.db"))
      const unsendable = { values: [() => 1], places: [], bytes: undefined }
      expect(() => channel.request("statement", ["SELECT ?", unsendable], () => ended.push("no"))).toThrow()
      yield* settled("SELECT 1")
      yield* channel.close
      expect(ended).toEqual(["open"])
    })
  )
})
