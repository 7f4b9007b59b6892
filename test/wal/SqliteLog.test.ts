import { execFile, spawn } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { createRequire } from "node:module"
import { promisify } from "node:util"
import { describe, expect, it, vi } from "@effect/vitest"
import Database from "better-sqlite3"
import { Effect, Either, Exit, Fiber, Scope } from "effect"
import { openLogFile } from "../../src/wal/LogFileOpen.js"
import type { LogOperations } from "../../src/wal/LogProtocol.js"
import * as SqliteLog from "../../src/wal/SqliteLog.js"
import { copyAfterCrash, recordOf, recordsOf, temporaryLog } from "./support.js"

const everything = { after: 0, maxItems: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER }

const countersOf = ({ link }: SqliteLog.SqliteLog) =>
  Effect.async<ReturnType<LogOperations["counters"]>>((resume) =>
    link.request("counters", [], (outcome) => resume(Effect.orDie(outcome)))
  )

const compiled = createRequire(import.meta.url).resolve("#workers/wal/SqliteLog")

/** A program for another process; `log` is an open log, `record(n, size)` makes one, `say` answers. */
const program = (path: string, body: string) => `
  import { statSync } from "node:fs"
  import * as Effect from "effect/Effect"
  import { open } from ${JSON.stringify(compiled)}
  const record = (n, size = 100) => ({
    id: "item." + n, version: n, updatedAt: n, contentType: "binary", contentHash: "ab".repeat(32),
    state: undefined, content: new Uint8Array(size).fill(n), traceparent: undefined, deleted: false
  })
  const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n")
  const program = Effect.scoped(Effect.gen(function* () {
    const { log } = yield* open({ path: ${JSON.stringify(path)} })
    ${body}
  }))
  const result = await Effect.runPromise(Effect.either(program))
  if (result._tag === "Left") say({ tag: result.left._tag, kind: result.left.kind, message: result.left.message })
`

const nodeArguments = (path: string, body: string) => ["--input-type=module", "-e", program(path, body)]

const run = (command: string, parameters: ReadonlyArray<string>, environment: Record<string, string> = {}) =>
  Effect.promise(() =>
    promisify(execFile)(command, [...parameters], {
      env: { ...process.env, ...environment },
      timeout: 20_000
    })
  ).pipe(
    Effect.map(({ stdout }) =>
      stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown)
    )
  )

// Real processes and disks, on machines that have other things to do as well.
vi.setConfig({ testTimeout: 30_000 })

describe("SqliteLog", () => {
  it.scopedLive("syncs every commit, locks the file and lets it shrink", () =>
    Effect.gen(function* () {
      const file = openLogFile(yield* temporaryLog)
      const settings = ["synchronous", "journal_mode", "locking_mode", "auto_vacuum"].map((name) =>
        file.db.pragma(name, { simple: true })
      )
      file.close()
      const full = 2
      const incremental = 2
      expect(settings).toEqual([full, "wal", "exclusive", incremental])
    })
  )

  it.scopedLive("lets concurrent appends share commits", () =>
    Effect.gen(function* () {
      const opened = yield* SqliteLog.open({ path: yield* temporaryLog })
      const { log } = opened
      const appended = yield* Effect.forEach(recordsOf(1, 1000), (record) => log.append([record]), {
        concurrency: "unbounded"
      })
      expect(appended.map(({ first }) => first)).toEqual(recordsOf(1, 1000).map(({ version }) => version))
      expect((yield* countersOf(opened)).commits).toBeLessThanOrEqual(3)
      // So do those that come in later microtasks of the same turn of the event loop.
      const start = (yield* countersOf(opened)).commits
      yield* Effect.async<void>((resume) => {
        let left = 100
        const next = (call: number) => {
          log.unsafeAppend([recordOf(call)], () => (--left === 0 ? resume(Effect.void) : undefined))
          if (call < 100) queueMicrotask(() => next(call + 1))
        }
        next(1)
      })
      expect((yield* countersOf(opened)).commits).toBe(start + 1)
      // And those of many turns, while two commits are under way.
      const large = { ...recordOf(1), content: new Uint8Array(20_000_000) }
      yield* Effect.async<void>((resume) => {
        let left = 202
        const done = () => (--left === 0 ? resume(Effect.void) : undefined)
        const next = (turn: number) => {
          log.unsafeAppend([turn < 2 ? large : recordOf(turn)], done)
          if (turn < 201) setImmediate(() => next(turn + 1))
        }
        next(0)
      })
      expect((yield* countersOf(opened)).commits).toBeLessThanOrEqual(start + 100)
      yield* log.release(log.usage().committed)
      yield* Effect.forEach(
        Array.from({ length: 50 }, (_, fiber) => fiber),
        (fiber) => Effect.forEach(recordsOf(fiber * 100, 20), (record) => log.append([record])),
        { concurrency: "unbounded" }
      )
      expect(log.usage().items).toBe(1000)
      expect((yield* countersOf(opened)).commits).toBeLessThanOrEqual(100)
      // One after the other, nobody shares.
      const before = (yield* countersOf(opened)).commits
      for (const record of recordsOf(1, 5)) yield* log.append([record])
      expect((yield* countersOf(opened)).commits).toBe(before + 5)
    })
  )

  it.scopedLive("a group has so few entries that its callbacks fit into one turn of the event loop", () =>
    Effect.gen(function* () {
      const opened = yield* SqliteLog.open({ path: yield* temporaryLog })
      const calls = Array.from({ length: 50 }, (_, call) => recordsOf(call * 200 + 1, 200))
      yield* Effect.forEach(calls, (records) => opened.log.append(records), { concurrency: "unbounded" })
      expect((yield* countersOf(opened)).commits).toBe(5)
    })
  )

  it.scopedLive("splits large groups into segments of one transaction", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const opened = yield* SqliteLog.open({ path })
      yield* opened.log.append(recordsOf(1, 9000, 100))
      expect((yield* countersOf(opened)).commits).toBe(1)
      const page = yield* opened.log.read({ after: 4000, maxItems: 3, maxBytes: 1e9 })
      expect(page.map(({ record }) => record)).toStrictEqual(recordsOf(4001, 3, 100))
    })
  )

  it.scopedLive("gives the space back after use", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const { log } = yield* SqliteLog.open({ path })
      const content = new Uint8Array(50_000).fill(1)
      const batch = recordsOf(1, 100).map((record) => ({ ...record, content }))
      for (let round = 0; round < 10; round++) yield* log.append(batch)
      yield* log.checkpoint
      const full = statSync(path).size
      expect(full).toBeGreaterThan(40_000_000)
      yield* log.release(300)
      yield* log.shrink
      const partly = statSync(path).size
      expect(partly).toBeLessThan(full * 0.8)
      expect(partly).toBeGreaterThan(full * 0.5)
      yield* log.release(999)
      yield* log.shrink
      expect(statSync(path).size + statSync(`${path}-wal`).size).toBeLessThan(1_000_000)
      expect((yield* log.read(everything)).map(({ sequence }) => sequence)).toEqual([1000])
      const before = statSync(path).size
      yield* log.shrink
      expect(statSync(path).size).toBe(before)
    })
  )

  it.scopedLive("keeps the -wal file small while it is written and empties it at the end", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const scope = yield* Scope.make()
      const opened = yield* Scope.extend(SqliteLog.open({ path }), scope)
      const content = new Uint8Array(100_000)
      for (let round = 0; round < 60; round++) {
        yield* opened.log.append(recordsOf(1, 10).map((record) => ({ ...record, content })))
      }
      expect((yield* countersOf(opened)).checkpoints).toBeGreaterThan(3)
      expect(statSync(`${path}-wal`).size).toBeLessThan(20_000_000)
      yield* opened.log.checkpoint
      expect(statSync(`${path}-wal`).size).toBe(0)
      yield* Scope.close(scope, Exit.void)
      expect(existsSync(`${path}-wal`)).toBe(false)
      expect(existsSync(`${path}-shm`)).toBe(false)
    })
  )

  it.scopedLive("keeps the -wal file small while it is only released", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const { log } = yield* SqliteLog.open({ path })
      const content = new Uint8Array(1_000)
      const records = recordsOf(1, 700).map((record) => ({ ...record, content }))
      for (const record of records) yield* log.append([record])
      yield* log.checkpoint
      for (let upTo = 1; upTo <= 700; upTo++) yield* log.release(upTo)
      expect(statSync(`${path}-wal`).size).toBeGreaterThan(8_000_000)
      expect(statSync(`${path}-wal`).size).toBeLessThan(9_000_000)
    })
  )

  it.scopedLive("fails a record it cannot store, alone, and goes on", () =>
    Effect.gen(function* () {
      const { log } = yield* SqliteLog.open({ path: yield* temporaryLog })
      const bad = { ...recordOf(2), contentHash: "Z".repeat(64) }
      const results = yield* Effect.forEach(
        [[recordOf(1)], [recordOf(2), bad], [bad], [recordOf(3)], [{ ...bad, id: "x".repeat(70_000) }]],
        (records) => Effect.either(log.append(records)),
        { concurrency: "unbounded" }
      )
      expect(
        results.map((result) => (Either.isRight(result) ? result.right.first : result.left._tag))
      ).toEqual([1, "LogUnavailable", "LogUnavailable", 2, "LogUnavailable"])
      expect((yield* log.read(everything)).map(({ record }) => record)).toStrictEqual([
        recordOf(1),
        recordOf(3)
      ])
      expect(log.usage().items).toBe(2)
    })
  )

  it.scopedLive(
    "fails everything that waits when its worker dies, and everything until the log is open again",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryLog
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { link, log, snapshots } = yield* SqliteLog.open({ path })
            yield* log.append([recordOf(1)])
            const large = recordsOf(1, 100).map((record) => ({ ...record, content: new Uint8Array(30_000) }))
            const waiting = yield* Effect.fork(
              Effect.forEach(
                [
                  ...Array.from({ length: 30 }, () => log.append(large)),
                  log.read(everything),
                  log.release(1),
                  snapshots.save(new Uint8Array(5_000_000))
                ],
                (call) => Effect.either<unknown, { readonly _tag: string }, never>(call),
                { concurrency: "unbounded" }
              )
            )
            yield* Effect.yieldNow()
            yield* link.kill
            const results = yield* Fiber.join(waiting)
            const failed = results.filter(Either.isLeft)
            expect(failed.length).toBeGreaterThan(20)
            expect(failed.every(({ left }) => left._tag === "LogUnavailable")).toBe(true)
            expect((yield* Effect.flip(log.append([recordOf(2)])))._tag).toBe("LogUnavailable")
            expect((yield* Effect.flip(log.read(everything))).problem).toContain("worker thread")
          })
        )
        // The lock went with the thread, and what was acknowledged is there.
        const { log } = yield* SqliteLog.open({ path })
        expect((yield* log.readAt([1])).length + log.usage().released).toBe(1)
      })
  )

  it.scopedLive("finishes what was appended before it closes", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const scope = yield* Scope.make()
      const { log } = yield* Scope.extend(SqliteLog.open({ path }), scope)
      const batch = recordsOf(1, 500, 500)
      let stored = 0
      for (let call = 0; call < 40; call++) {
        log.unsafeAppend(batch, (result) => {
          if (Either.isRight(result)) stored += result.right.count
        })
      }
      yield* Scope.close(scope, Exit.void)
      expect(stored).toBe(20_000)
      const again = yield* SqliteLog.open({ path })
      expect(again.log.usage().items).toBe(20_000)
    })
  )

  it.scopedLive("keeps its identity through a crash, and a copy of it gets another", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const scope = yield* Scope.make()
      const first = yield* Scope.extend(SqliteLog.open({ path }), scope)
      const { identity } = first.log
      yield* first.log.append(recordsOf(1, 3))
      const copy = yield* temporaryLog
      copyAfterCrash(path, copy)
      yield* first.link.kill
      yield* Scope.close(scope, Exit.void)
      const again = yield* SqliteLog.open({ path })
      expect(again.log.identity).toBe(identity)
      const copied = yield* Effect.scoped(
        Effect.map(SqliteLog.open({ path: copy }), ({ log }) => ({
          identity: log.identity,
          items: log.usage().items
        }))
      )
      expect(copied.items).toBe(3)
      expect(copied.identity).not.toBe(identity)
      expect((yield* SqliteLog.open({ path: copy })).log.identity).toBe(copied.identity)
    })
  )

  it.scopedLive("replaces an identity that cannot be one", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const open = Effect.scoped(Effect.map(SqliteLog.open({ path }), ({ log }) => log.identity))
      const identity = yield* open
      for (const damage of ["DELETE FROM identity", "UPDATE identity SET name = 'x'"]) {
        const database = new Database(path)
        database.exec(damage)
        database.close()
        const next = yield* open
        expect(next).toHaveLength(36)
        expect(next).not.toBe(identity)
        expect(yield* open).toBe(next)
      }
    })
  )

  it.scopedLive("refuses a second process and is not harmed by it", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { log } = yield* SqliteLog.open({ path })
          yield* log.append([recordOf(1)])
          const [answer] = yield* run(process.execPath, nodeArguments(path, `yield* log.append([record(9)])`))
          expect(answer).toMatchObject({ tag: "LogOpenError", kind: "in-use" })
          expect(answer).toMatchObject({ message: expect.stringContaining(path) })
          // Nor does a second open in this process take the lock away.
          expect((yield* Effect.flip(Effect.scoped(Effect.asVoid(SqliteLog.open({ path }))))).kind).toBe(
            "in-use"
          )
          const [again] = yield* run(process.execPath, nodeArguments(path, ""))
          expect(again).toMatchObject({ kind: "in-use" })
          yield* log.append([recordOf(2)])
        })
      )
      const [items] = yield* run(process.execPath, nodeArguments(path, `say(log.usage().items)`))
      expect(items).toBe(2)
    })
  )

  it.scopedLive("keeps what it acknowledged when its process is killed", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      let acknowledged = 0
      for (const wait of [1, 40, 90]) {
        const before = acknowledged
        acknowledged = yield* Effect.async<number>((resume) => {
          const body = `
            for (let n = ${before + 1}; ; n++) {
              yield* log.append([record(n, n % 10 === 0 ? 20000 : 100)])
              say(n)
            }`
          const child = spawn(process.execPath, nodeArguments(path, body), {
            stdio: ["ignore", "pipe", "inherit"]
          })
          let text = ""
          child.stdout.on("data", (chunk: Buffer) => {
            text += chunk.toString()
            if (text.split("\n").length > wait) child.kill("SIGKILL")
          })
          child.on("close", () => {
            const lines = text.split("\n").slice(0, -1)
            resume(Effect.succeed(Number(lines.at(-1) ?? before)))
          })
        })
        expect(acknowledged).toBeGreaterThan(before)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { log } = yield* SqliteLog.open({ path })
            const ids = (yield* log.read(everything)).map(({ record }) => record.id)
            expect(ids.slice(0, acknowledged)).toEqual(
              Array.from({ length: acknowledged }, (_, index) => `item.${index + 1}`)
            )
            // One more may have been stored without its acknowledgement having been seen.
            acknowledged = ids.length
          })
        )
      }
    })
  )

  it.scopedLive("fails only the appends a full disk does not take, and works on", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      // No file may grow above 2 MiB: a write beyond fails as it would on a full or broken disk.
      const body = `
        yield* log.append([record(1)])
        const large = yield* Effect.either(log.append([record(2, 3_000_000)]))
        say({ large: large._tag, error: large.left?._tag, items: log.usage().items })
        for (let n = 3; n <= 12; n++) yield* log.append([record(n, 1000)])
        // Nothing of the failed transaction stands behind the later ones.
        say(statSync(${JSON.stringify(`${path}-wal`)}).size < 1_000_000)
        const again = yield* Effect.either(log.append([record(13, 3_000_000)]))
        say({ again: again._tag })
        yield* log.append([record(14)])
        say((yield* log.read({ after: 0, maxItems: 100, maxBytes: 1e9 })).map((entry) => entry.record.version))
      `
      const limited = 'trap "" XFSZ; ulimit -f 2048; exec "$@"'
      const answers = yield* run("bash", [
        "-c",
        limited,
        "bash",
        process.execPath,
        ...nodeArguments(path, body)
      ])
      const versions = [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]
      expect(answers).toEqual([
        { large: "Left", error: "LogUnavailable", items: 1 },
        true,
        { again: "Left" },
        versions
      ])
      const { log } = yield* SqliteLog.open({ path })
      expect((yield* log.read(everything)).map(({ record }) => record.version)).toEqual(versions)
      expect(log.usage().items).toBe(12)
    })
  )

  it.scopedLive("opens and closes again and again without leaving anything behind", () =>
    Effect.gen(function* () {
      const path = yield* temporaryLog
      const handles = () =>
        process.getActiveResourcesInfo().filter((kind) => /Worker|MessagePort/.test(kind)).length
      const before = handles()
      for (let round = 0; round < 10; round++) {
        yield* Effect.scoped(
          Effect.flatMap(SqliteLog.open({ path }), ({ log }) => log.append([recordOf(round + 1)]))
        )
      }
      expect(handles()).toBe(before)
      const { log } = yield* SqliteLog.open({ path })
      expect(log.usage().items).toBe(10)
    })
  )
})
