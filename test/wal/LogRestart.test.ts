import { execFile } from "node:child_process"
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Schedule } from "effect"
import { LogFile } from "../../src/wal/LogFile.js"
import * as SqliteLog from "../../src/wal/SqliteLog.js"
import { withoutThreads } from "../support/WithoutThreads.js"
import { contentOf, recordOf, recordsOf, segmentsOf, temporaryDirectory, temporaryLog } from "./support.js"

const everything = { after: 0, maxItems: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER }

const soon = Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 1000 })

describe("a log whose worker has died", () => {
  it.scopedLive("is opened again and goes on where it was, without losing anything", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const appended = yield* Effect.scoped(
        Effect.gen(function* () {
          const opened = yield* SqliteLog.open({ path })
          const { log } = opened
          yield* log.append(recordsOf(1, 3))
          yield* log.deadLetters.add([{ sequence: 1, record: recordOf(1), reason: "no", at: 5 }])
          yield* log.bind({ lineage: "a", archived: true })
          yield* log.release(1)
          for (let death = 0; death < 2; death++) {
            yield* opened.link.kill
            expect(Either.isLeft(yield* Effect.either(log.append([recordOf(9)])))).toBe(true)
            yield* soon(log.probe)
            yield* log.append([recordOf(10 + death)])
          }
          expect(log.usage().released).toBe(1)
          expect(log.usage().items).toBe(4)
          expect(log.deadLetters.count()).toBe(1)
          expect(log.binding()).toEqual({ lineage: "a", archived: true })
          return (yield* log.read(everything)).map(({ record }) => record.version)
        })
      )
      expect(appended).toEqual([2, 3, 10, 11])
      const { log } = yield* SqliteLog.open({ path })
      expect((yield* log.read(everything)).map(({ record }) => record.version)).toEqual(appended)
    })
  )

  it.scopedLive("is opened again also when the system had no thread for that at first", () =>
    Effect.gen(function* () {
      const opened = yield* SqliteLog.open({ path: yield* temporaryLog })
      yield* withoutThreads(
        Effect.gen(function* () {
          yield* opened.link.kill
          const refused = Effect.filterOrFail(Effect.flip(opened.log.probe), (error) =>
            error.message.includes("could not be started")
          )
          yield* soon(refused)
        })
      )
      yield* soon(opened.log.probe)
      yield* opened.log.append([recordOf(1)])
    })
  )

  it.scopedLive("is refused when it is gone or another one: nothing is acknowledged into the void", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const path = join(directory, "data", "log.sqlite")
      const opened = yield* SqliteLog.open({ path })
      const { log } = opened
      yield* log.append(recordsOf(1, 3))

      renameSync(dirname(path), join(directory, "moved"))
      expect((yield* Effect.flip(log.append([recordOf(4)]))).message).toContain("was removed")
      expect((yield* Effect.flip(log.release(3))).message).toContain("was removed")
      // Noted only when it is durable: otherwise the log would let go of what it cannot.
      expect([log.usage().released, log.usage().items]).toEqual([0, 3])
      mkdirSync(dirname(path))
      writeFileSync(path, "")
      expect((yield* Effect.flip(log.append([recordOf(4)]))).message).toContain("was replaced")

      // The thread dies too: what stands there now is not the log.
      yield* opened.link.kill
      rmSync(path)
      yield* soon(
        Effect.filterOrFail(Effect.flip(log.probe), ({ message }) =>
          message.includes("cannot be opened again")
        )
      )
      rmSync(dirname(path), { recursive: true })

      renameSync(join(directory, "moved"), dirname(path))
      yield* soon(log.append([recordOf(5)]))
      expect((yield* log.read(everything)).map(({ record }) => record.version)).toEqual([1, 2, 3, 5])
    })
  )

  it.scoped(
    "forgets what was written and acknowledged to nobody, and refuses a file that lacks something",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryLog
        const first = LogFile.open(path)
        const { identity } = first.opened
        first.commit(segmentsOf(1, recordsOf(1, 2)))
        const acknowledged = contentOf(first)
        first.commit(segmentsOf(3, recordsOf(3, 2)))
        first.close()
        expect(() => LogFile.open(path, { identity, committed: 5 })).toThrow(
          "entries up to 5 were acknowledged"
        )
        expect(() => LogFile.open(path, { identity: "other", committed: 2 })).toThrow("another log")

        const again = LogFile.open(path, { identity, committed: 2 })
        expect(contentOf(again)).toEqual(acknowledged)
        again.commit(segmentsOf(7, recordsOf(7, 1)))
        again.close()
        const proven = LogFile.open(path)
        expect(contentOf(proven).map(([sequence]) => sequence)).toEqual([1, 2, 7])
        proven.close()
      })
  )
})

describe("a log on a full volume", () => {
  it.scopedLive("says that it takes no writes, opens all the same, and lets its content be read", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const compiled = createRequire(import.meta.url).resolve("#workers/wal/SqliteLog")
      const life = (body: string) => `
        import * as Effect from "effect/Effect"
        import { open } from ${JSON.stringify(compiled)}
        const record = (n, size = 100) => ({
          id: "item." + n, version: n, updatedAt: n, contentType: "binary", contentHash: "ab".repeat(32),
          state: undefined, content: new Uint8Array(size).fill(n), traceparent: undefined, deleted: false
        })
        const tag = (effect) => Effect.map(Effect.either(effect), ({ _tag }) => _tag)
        const all = (log) => Effect.map(log.read({ after: 0, maxItems: 1e6, maxBytes: 1e9 }), (page) => page.length)
        const program = Effect.scoped(Effect.gen(function* () {
          const { log } = yield* open({ path: ${JSON.stringify(path)} })
          ${body}
        }))
        console.log(JSON.stringify(await Effect.runPromise(program)))
      `
      const run = (kib: number | "unlimited", body: string) =>
        Effect.map(
          Effect.promise(() =>
            promisify(execFile)("bash", [
              "-c",
              `trap "" XFSZ; ulimit -f ${kib}; exec "$@"`,
              "bash",
              process.execPath,
              "--input-type=module",
              "-e",
              life(body)
            ])
          ),
          ({ stdout }) => JSON.parse(stdout) as unknown
        )
      // Killed with what it wrote in the -wal file alone: the main file has yet to grow.
      const written = "for (let n = 1; n <= 40; n++) yield* log.append([record(n, 20_000)])\n"
      yield* Effect.ignore(
        Effect.tryPromise(() =>
          promisify(execFile)(process.execPath, [
            "--input-type=module",
            "-e",
            life(`${written} process.kill(process.pid, "SIGKILL")`)
          ])
        )
      )
      const full = `
        const items = yield* all(log)
        return [items, yield* tag(log.probe), yield* tag(log.append([record(99)])), yield* tag(log.release(40)), yield* all(log)]
      `
      const refused = [40, "Left", "Left", "Left", 40]
      expect(yield* run(200, full)).toEqual(refused)
      expect(yield* run(200, full)).toEqual(refused)
      expect(yield* run("unlimited", full)).toEqual([40, "Right", "Right", "Right", 1])
    })
  )

  it.scopedLive("is not taken for one with room because a small write fits", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const file = LogFile.open(path)
      file.probe(500_000)
      expect(file.readSnapshotPart(0)).toBe(undefined)
      file.close()
      const reopened = LogFile.open(path)
      expect(reopened.opened.committed).toBe(0)
      reopened.close()
    })
  )
})
