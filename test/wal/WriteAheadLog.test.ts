import { describe, expect, it, vi } from "@effect/vitest"
import { type Context, Effect, Either, Exit, Fiber, FastCheck as fc, Option, Scope } from "effect"
import type { LogOpenError } from "../../src/EngineError.js"
import { FilterSnapshots } from "../../src/wal/FilterSnapshots.js"
import type { LogBounds } from "../../src/wal/GroupCommit.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import { encodedBytes } from "../../src/wal/SegmentWriter.js"
import * as SqliteLog from "../../src/wal/SqliteLog.js"
import type { DeadLetter, LogEntry, OpenLog } from "../../src/wal/WriteAheadLog.js"
import { WriteAheadLog } from "../../src/wal/WriteAheadLog.js"
import { openedIn } from "../support/components.js"
import { recordOf, recordsOf, seeded, temporaryLog } from "./support.js"

vi.setConfig({ testTimeout: 30_000 })

type Log = OpenLog

interface Opened {
  readonly log: Log
  readonly snapshots: Context.Tag.Service<FilterSnapshots>
}

/** Opens a log, again and again, on the same storage. */
type Open = (bounds?: LogBounds) => Effect.Effect<Opened, LogOpenError, Scope.Scope>

const storages: Record<string, Effect.Effect<Open, never, Scope.Scope>> = {
  SqliteLog: Effect.map(
    temporaryLog,
    (path): Open =>
      (bounds) =>
        SqliteLog.open({ path, ...bounds })
  ),
  MemoryLog: Effect.sync((): Open => {
    const disk = MemoryLog.makeDisk()
    return (bounds) => MemoryLog.open({ disk, ...bounds })
  })
}

const everything = { after: 0, maxItems: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER }

const entriesOf = (first: number, count: number, size?: number): ReadonlyArray<LogEntry> =>
  recordsOf(first, count, size).map((record, index) => ({ sequence: first + index, record }))

const bytesOf = (entries: ReadonlyArray<LogEntry>) =>
  entries.reduce((sum, { record }) => sum + encodedBytes(record), 0)

const letterOf = (sequence: number): DeadLetter => ({
  sequence,
  record: recordOf(sequence),
  reason: `refused: ü ${sequence}`,
  at: 1_700_000_000_000 + sequence / 2
})

for (const [name, storage] of Object.entries(storages)) {
  describe(name, () => {
    it.scopedLive("gives back what was appended, in order and with every field", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        expect(log.maxVersion).toBe(0)
        expect(yield* log.read(everything)).toEqual([])
        expect(yield* log.append(recordsOf(1, 10))).toEqual({ first: 1, count: 10 })
        expect(yield* log.append(recordsOf(11, 1, 300_000))).toEqual({ first: 11, count: 1 })
        expect(yield* log.append([])).toEqual({ first: 12, count: 0 })
        expect(yield* log.append(recordsOf(12, 3))).toEqual({ first: 12, count: 3 })
        const all = [...entriesOf(1, 10), ...entriesOf(11, 1, 300_000), ...entriesOf(12, 3)]
        const read = yield* log.read(everything)
        expect(read.length).toBe(14)
        for (const [index, { record, sequence }] of read.entries()) {
          const expected = all[index]!
          expect(sequence).toBe(expected.sequence)
          expect(Buffer.compare(record.content, expected.record.content)).toBe(0)
          expect({ ...record, content: [] }).toStrictEqual({ ...expected.record, content: [] })
        }
        expect(log.maxVersion).toBe(14)
        expect(log.usage()).toMatchObject({ items: 14, bytes: bytesOf(all), committed: 14, released: 0 })
      })
    )

    it.scopedLive("reads pages that keep both bounds and always move on", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        const all = entriesOf(1, 60)
        for (let index = 0; index < 60; index += 4) yield* log.append(recordsOf(1 + index, 4))
        for (const [maxItems, maxBytes] of [
          [1, 1],
          [7, 1_000_000],
          [1000, 700],
          [3, 250]
        ] as const) {
          const seen: Array<LogEntry> = []
          for (;;) {
            const page = yield* log.read({ after: seen.at(-1)?.sequence ?? 0, maxItems, maxBytes })
            if (page.length === 0) break
            expect(page.length <= maxItems && (page.length === 1 || bytesOf(page) <= maxBytes)).toBe(true)
            const next = all[seen.length + page.length]
            // A page is as full as its bounds allow.
            if (next !== undefined && page.length < maxItems) {
              expect(bytesOf(page) + encodedBytes(next.record)).toBeGreaterThan(maxBytes)
            }
            seen.push(...page)
          }
          expect(seen).toStrictEqual(all)
        }
        expect(yield* log.read({ ...everything, after: 60 })).toEqual([])
        expect(yield* log.read({ ...everything, after: 1000 })).toEqual([])
      })
    )

    it.scopedLive("reads the entries asked for, wherever they are", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        for (let index = 0; index < 30; index += 3) yield* log.append(recordsOf(1 + index, 3))
        const all = entriesOf(1, 30)
        expect(yield* log.readAt([29, 3, 4, 3, 30, 1])).toStrictEqual(
          [1, 3, 4, 29, 30].map((at) => all[at - 1])
        )
        expect(yield* log.readAt([])).toEqual([])
        expect(yield* log.readAt([0, -5, 31, 999])).toEqual([])
        yield* log.release(4)
        expect(yield* log.readAt([1, 4, 5])).toStrictEqual([all[4]])
      })
    )

    it.scopedLive("releases up to any entry, once and for all", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        yield* log.append(recordsOf(1, 10))
        yield* log.append(recordsOf(11, 10))
        const all = entriesOf(1, 20)
        yield* log.release(4)
        expect(log.usage()).toMatchObject({
          items: 16,
          bytes: bytesOf(all.slice(4)),
          released: 4,
          committed: 20
        })
        yield* log.release(2)
        yield* log.release(0)
        expect(log.usage()).toMatchObject({ items: 16, released: 4 })
        expect(yield* log.read(everything)).toStrictEqual(all.slice(4))
        yield* Effect.all([13, 12, 15, 11].map(log.release), { concurrency: "unbounded" })
        expect(log.usage()).toMatchObject({ items: 5, bytes: bytesOf(all.slice(15)), released: 15 })
        expect(yield* log.read(everything)).toStrictEqual(all.slice(15))
        // More than there is releases what there is, not what comes later.
        yield* log.release(1000)
        expect(log.usage()).toMatchObject({ items: 0, bytes: 0, released: 20 })
        yield* log.append(recordsOf(21, 1))
        expect(yield* log.read(everything)).toStrictEqual(entriesOf(21, 1))
      })
    )

    it.scopedLive("is the same writer whenever it is opened, and no other log is", () =>
      Effect.gen(function* () {
        const identityOf = (open: Open) => Effect.scoped(Effect.map(open(), ({ log }) => log.identity))
        const open = yield* storage
        const identity = yield* identityOf(open)
        expect(identity).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect(yield* identityOf(open)).toBe(identity)
        expect(yield* identityOf(open)).toBe(identity)
        expect(yield* identityOf(yield* storage)).not.toBe(identity)
      })
    )

    it.scopedLive("goes on after a restart where it was", () =>
      Effect.gen(function* () {
        const open = yield* storage
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { log } = yield* open()
            yield* log.append(recordsOf(1, 10))
            yield* log.append(recordsOf(11, 10))
            yield* log.release(13)
          })
        )
        const all = entriesOf(1, 20)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { log } = yield* open()
            expect(log.usage()).toMatchObject({
              items: 7,
              bytes: bytesOf(all.slice(13)),
              released: 13,
              committed: 20
            })
            expect(log.maxVersion).toBe(20)
            expect(yield* log.read(everything)).toStrictEqual(all.slice(13))
            expect(yield* log.readAt([13, 14])).toStrictEqual([all[13]])
            yield* log.release(20)
          })
        )
        // Nothing is held any more, and still no sequence number or version comes twice.
        const { log } = yield* open()
        expect(log.usage()).toMatchObject({ items: 0, bytes: 0, released: 20, committed: 20 })
        expect(log.maxVersion).toBe(20)
        expect(yield* log.append(recordsOf(21, 1))).toEqual({ first: 21, count: 1 })
      })
    )

    it.scopedLive("keeps the highest version, not the last one", () =>
      Effect.gen(function* () {
        const open = yield* storage
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { log } = yield* open()
            yield* log.append([{ ...recordOf(1), version: Number.MAX_SAFE_INTEGER }, recordOf(2)])
            expect(log.maxVersion).toBe(Number.MAX_SAFE_INTEGER)
            yield* log.release(2)
            yield* log.append([recordOf(3)])
          })
        )
        const { log } = yield* open()
        expect(log.maxVersion).toBe(Number.MAX_SAFE_INTEGER)
      })
    )

    it.scopedLive("refuses all of an append that its bounds do not admit", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const one = encodedBytes(recordOf(1))
        const { log } = yield* open({ maxItems: 5, maxBytes: one * 4 })
        const records = [recordOf(1), recordOf(1), recordOf(1)]
        // Nothing is committed yet when the second call comes: what is in flight counts.
        const results: Array<string> = []
        yield* Effect.async<void>((resume) => {
          const note = (call: string) => (result: Either.Either<unknown, { readonly _tag: string }>) => {
            results.push(`${call} ${Either.isRight(result) ? "stored" : result.left._tag}`)
            if (results.length === 4) resume(Effect.void)
          }
          log.unsafeAppend(records, note("three"))
          log.unsafeAppend(records.slice(1), note("two more"))
          expect(results).toEqual(["two more LogFull"])
          expect(log.usage()).toMatchObject({
            items: 3,
            bytes: one * 3,
            committed: 0,
            maxItems: 5,
            maxBytes: one * 4
          })
          log.unsafeAppend(records.slice(2), note("one more"))
          log.unsafeAppend(records.slice(2), note("none"))
        })
        expect(results).toEqual(["two more LogFull", "none LogFull", "three stored", "one more stored"])
        const refused = yield* Effect.flip(log.append([recordOf(1)]))
        expect(refused).toMatchObject({
          _tag: "LogFull",
          items: 4,
          bytes: one * 4,
          maxItems: 5,
          retryAfterMs: 1000
        })
        yield* log.release(2)
        expect(yield* log.append(records.slice(1))).toEqual({ first: 5, count: 2 })
        expect((yield* log.read(everything)).map(({ sequence }) => sequence)).toEqual([3, 4, 5, 6])
      })
    )

    it.scopedLive("bounds the number of items", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open({ maxItems: 2 })
        expect((yield* Effect.flip(log.append(recordsOf(1, 3))))._tag).toBe("LogFull")
        yield* log.append(recordsOf(1, 2))
        expect((yield* Effect.flip(log.append(recordsOf(3, 1))))._tag).toBe("LogFull")
        expect(log.usage()).toMatchObject({ items: 2 })
      })
    )

    it.scopedLive("counts dead letters towards both bounds, also when it is opened again", () =>
      Effect.gen(function* () {
        const letters = [letterOf(1), letterOf(2)]
        for (const bounds of [{ maxItems: 3 }, { maxBytes: encodedBytes(recordOf(1)) * 3.5 }]) {
          const open = yield* storage
          for (const stored of [letters, []]) {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const { log } = yield* open(bounds)
                yield* log.deadLetters.add(stored)
                expect(yield* Effect.flip(log.append(recordsOf(3, 2)))).toMatchObject({
                  _tag: "LogFull",
                  items: 2,
                  letters: 2
                })
                yield* log.release((yield* log.append([recordOf(3)])).first)
              })
            )
          }
        }
      })
    )

    it.scopedLive("does not look at the bytes again once they were appended", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        const record = recordOf(1)
        const content = new Uint8Array(record.content)
        const waiting = yield* Effect.fork(log.append([{ ...record, content }]))
        yield* Effect.yieldNow()
        content.fill(0)
        yield* Fiber.join(waiting)
        expect(yield* log.read(everything)).toStrictEqual([{ sequence: 1, record }])
      })
    )

    it.scopedLive("commits calls in call order, and interrupting the wait revokes nothing", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        const order: Array<number> = []
        yield* Effect.async<void>((resume) => {
          for (let call = 1; call <= 50; call++) {
            log.unsafeAppend([recordOf(call)], (result) => {
              order.push(Either.getOrThrow(result).first)
              if (order.length === 50) resume(Effect.void)
            })
          }
        })
        expect(order).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
        const waiting = yield* Effect.fork(log.append([recordOf(51)]))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(waiting)
        yield* log.append([recordOf(52)])
        expect(yield* log.read({ ...everything, after: 50 })).toStrictEqual(entriesOf(51, 2))
      })
    )

    it.scopedLive("keeps dead letters, each once, until they are removed", () =>
      Effect.gen(function* () {
        const open = yield* storage
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { log } = yield* open()
            expect(log.deadLetters.count()).toBe(0)
            yield* log.deadLetters.add([letterOf(5), letterOf(3)])
            yield* log.deadLetters.add([{ ...letterOf(5), reason: "again" }, letterOf(9), letterOf(6)])
            expect(log.deadLetters.count()).toBe(4)
          })
        )
        const { log } = yield* open()
        expect(log.deadLetters.count()).toBe(4)
        expect(yield* log.deadLetters.list({ after: 0, limit: 10, maxBytes: 1e9 })).toStrictEqual(
          [3, 5, 6, 9].map(letterOf)
        )
        expect(yield* log.deadLetters.list({ after: 3, limit: 2, maxBytes: 1e9 })).toStrictEqual(
          [5, 6].map(letterOf)
        )
        expect(yield* log.deadLetters.remove([3, 4, 9])).toBe(2)
        expect(yield* log.deadLetters.remove([3])).toBe(0)
        expect(log.deadLetters.count()).toBe(2)
        expect(yield* log.deadLetters.list({ after: 0, limit: 10, maxBytes: 1e9 })).toStrictEqual(
          [5, 6].map(letterOf)
        )
      })
    )

    it.scopedLive("keeps one filter snapshot, of any size", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const large = new Uint8Array(2_500_000).map((_, index) => index % 251)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { snapshots } = yield* open()
            expect(yield* snapshots.load).toEqual(Option.none())
            yield* snapshots.save(new Uint8Array(0))
            expect(Option.getOrThrow(yield* snapshots.load).length).toBe(0)
            yield* snapshots.save(new Uint8Array([1, 2, 3]))
            yield* snapshots.save(large)
          })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { snapshots } = yield* open()
            expect(Buffer.compare(Option.getOrThrow(yield* snapshots.load), large)).toBe(0)
            // An attempt that was given up half way is in nobody's way.
            const givenUp = yield* Effect.fork(snapshots.save(large))
            yield* Effect.yieldNow()
            yield* Fiber.interrupt(givenUp)
            const small = new Uint8Array([4, 5])
            yield* Effect.all([snapshots.save(large), snapshots.save(small)], { concurrency: "unbounded" })
            expect(Option.getOrThrow(yield* snapshots.load)).toStrictEqual(small)
          })
        )
        const { snapshots } = yield* open()
        expect(Option.getOrThrow(yield* snapshots.load)).toStrictEqual(new Uint8Array([4, 5]))
        yield* snapshots.save(new Uint8Array([7]))
        expect(Option.getOrThrow(yield* snapshots.load)).toStrictEqual(new Uint8Array([7]))
      })
    )

    it.scopedLive("answers every append and call when it is closed, and none of the answers is a lie", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const scope = yield* Scope.make()
        const { log, snapshots } = yield* Scope.extend(open(), scope)
        yield* log.append(recordsOf(1, 5))
        const answers: Array<boolean> = []
        for (let call = 0; call < 20; call++) {
          log.unsafeAppend([recordOf(6 + call)], (result) => answers.push(Either.isRight(result)))
        }
        yield* Scope.close(scope, Exit.void)
        expect(answers.length).toBe(20)
        const calls: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
          log.append([recordOf(99)]),
          log.read(everything),
          log.readAt([1]),
          log.release(2),
          log.deadLetters.add([letterOf(1)]),
          log.deadLetters.list({ after: 0, limit: 1, maxBytes: 1e9 }),
          log.deadLetters.remove([1]),
          log.shrink,
          log.checkpoint,
          snapshots.save(new Uint8Array(1)),
          snapshots.load
        ]
        for (const call of calls) expect((yield* Effect.flip(call))._tag).toBe("LogUnavailable")
        const again = yield* open()
        const stored = answers.filter((acknowledged) => acknowledged).length
        expect(yield* again.log.read(everything)).toStrictEqual(entriesOf(1, 5 + stored))
      })
    )

    it.scopedLive("is refused while another one has it open", () =>
      Effect.gen(function* () {
        const open = yield* storage
        const { log } = yield* open()
        yield* log.append([recordOf(1)])
        const refused = yield* Effect.flip(Effect.scoped(Effect.asVoid(open())))
        expect(refused).toMatchObject({ _tag: "LogOpenError", kind: "in-use" })
        expect(refused.path).toBe(log.path)
        yield* log.append([recordOf(2)])
        expect((yield* log.read(everything)).length).toBe(2)
      })
    )

    it.live("replays like a plain model: random appends, releases and restarts", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(
              fc.oneof(
                {
                  weight: 5,
                  arbitrary: fc.record({
                    kind: fc.constant("append" as const),
                    counts: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
                  })
                },
                {
                  weight: 3,
                  arbitrary: fc.record({
                    kind: fc.constant("release" as const),
                    share: fc.double({ min: 0, max: 1, noNaN: true })
                  })
                },
                { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
                { weight: 1, arbitrary: fc.record({ kind: fc.constant("shrink" as const) }) }
              ),
              { minLength: 1, maxLength: 14 }
            ),
            (steps) =>
              Effect.runPromise(
                Effect.scoped(
                  Effect.gen(function* () {
                    const open = yield* storage
                    let scope = yield* Scope.make()
                    let { log } = yield* Scope.extend(open(), scope)
                    let model: Array<LogEntry> = []
                    let next = 1
                    let released = 0
                    for (const step of steps) {
                      if (step.kind === "append") {
                        const batches = step.counts.map((count) => {
                          const batch = entriesOf(next, count, 1 + (next % 700))
                          next += count
                          model.push(...batch)
                          return batch
                        })
                        yield* Effect.forEach(
                          batches,
                          (batch) => log.append(batch.map(({ record }) => record)),
                          { concurrency: "unbounded" }
                        )
                      } else if (step.kind === "release") {
                        released = Math.max(released, Math.floor((next - 1) * step.share))
                        model = model.filter(({ sequence }) => sequence > released)
                        yield* log.release(released)
                      } else if (step.kind === "shrink") {
                        yield* log.shrink
                      } else {
                        yield* Scope.close(scope, Exit.void)
                        scope = yield* Scope.make()
                        log = (yield* Scope.extend(open(), scope)).log
                      }
                      expect(log.usage()).toMatchObject({
                        items: model.length,
                        bytes: bytesOf(model),
                        committed: next - 1,
                        released
                      })
                    }
                    expect(log.maxVersion).toBe(next - 1)
                    expect(yield* log.read(everything)).toStrictEqual(model)
                    const random = seeded(steps.length)
                    const some = Array.from({ length: 10 }, () => random.below(next + 3))
                    expect(yield* log.readAt(some)).toStrictEqual(
                      model.filter(({ sequence }) => some.includes(sequence))
                    )
                    yield* Scope.close(scope, Exit.void)
                  })
                )
              )
          ),
          { seed: 4, numRuns: 15 }
        )
      )
    )

    it.live("provides both services as a layer", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const path = yield* temporaryLog
          const layer = name === "SqliteLog" ? SqliteLog.layer({ path }) : MemoryLog.layerMemory()
          yield* Effect.gen(function* () {
            const log = yield* openedIn(WriteAheadLog)
            const snapshots = yield* FilterSnapshots
            yield* log.append([recordOf(1)])
            yield* snapshots.save(new Uint8Array([1]))
            expect(log.usage().items).toBe(1)
            expect(Option.isSome(yield* snapshots.load)).toBe(true)
          }).pipe(Effect.scoped, Effect.provide(layer))
        })
      )
    )
  })
}
