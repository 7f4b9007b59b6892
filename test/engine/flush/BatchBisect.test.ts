import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as FC } from "effect"
import * as MemoryArchive from "../../../src/archive/memory/MemoryArchive.js"
import { commitSplitting, newestPerId, olderVersions } from "../../../src/engine/flush/BatchBisect.js"
import { FlushSignal } from "../../../src/engine/flush/FlushSignal.js"
import { contentBytes } from "../../../src/engine/state/InFlightWrites.js"
import { compareVersions, sameVersion, textOf } from "../../../src/SyncItem.js"
import type { LogEntry } from "../../../src/wal/WriteAheadLog.js"
import { beside, ended, PlayedArchive, recordOf } from "../support.js"

const entries = FC.array(
  FC.record({
    id: FC.constantFrom("a", "b", "c", "d"),
    version: FC.integer({ min: 1, max: 8 }),
    content: FC.constantFrom("good 1", "good 2", "bad 1", "bad 2"),
    deleted: FC.constantFrom(false, false, true)
  }),
  { maxLength: 25 }
).map((list) =>
  list.map(
    ({ content, deleted, id, version }, n): LogEntry => ({
      sequence: n + 1,
      record: recordOf(id, version, content, deleted)
    })
  )
)

describe("batches", () => {
  it("keep the newest version of each id, in the order of first appearance (property)", () => {
    FC.assert(
      FC.property(entries, (list) => {
        const batch = newestPerId(list)
        expect(batch.map(({ record }) => record.id)).toEqual([
          ...new Set(list.map(({ record }) => record.id))
        ])
        for (const kept of batch) {
          const others = list.filter(({ record }) => record.id === kept.record.id)
          for (const other of others)
            expect(compareVersions(kept.record, other.record)).toBeGreaterThanOrEqual(0)
          const older = olderVersions(list, kept)
          // Of the number that is kept the first; the others of it are what to try next.
          const equals = others.filter(({ record }) => record.version === kept.record.version)
          expect(equals[0]).toBe(kept)
          const rest = equals.filter(({ record }) => !sameVersion(record, kept.record))
          expect(older.slice(0, rest.length)).toEqual(rest)
          expect(older).toHaveLength(rest.length + others.length - equals.length)
          for (let n = 1; n < older.length; n++) {
            expect(compareVersions(older[n - 1]!.record, older[n]!.record)).toBeGreaterThanOrEqual(0)
          }
        }
      }),
      { numRuns: 300, seed: 6 }
    )
    expect(contentBytes([recordOf("a", 1, "xyz"), recordOf("b", 1, "é")])).toBe(5)
  })

  it.effect(
    "splitting: what can be archived is, as its newest good version; the culprits are exactly the others",
    () =>
      Effect.promise(() =>
        FC.assert(
          FC.asyncProperty(entries, (list) =>
            Effect.gen(function* () {
              const played = new PlayedArchive()
              const isBad = (record: LogEntry["record"]) =>
                !record.deleted && textOf(record).startsWith("bad")
              played.refuses = isBad
              const archive = MemoryArchive.make(played.options)
              const result = yield* commitSplitting(archive, newestPerId(list), list)
              for (const id of new Set(list.map(({ record }) => record.id))) {
                const own = list.filter(({ record }) => record.id === id)
                const good = newestPerId(own.filter(({ record }) => !isBad(record)))[0]
                expect(played.state.records.get(id)?.version).toBe(good?.record.version)
                const worse = own.filter(
                  ({ record, sequence }) =>
                    isBad(record) &&
                    (good === undefined ||
                      record.version > good.record.version ||
                      (record.version === good.record.version && sequence < good.sequence))
                )
                const named = result.culprits.filter(({ entry }) => entry.record.id === id)
                // The same version twice stands for one culprit at least.
                expect(named.length).toBeGreaterThanOrEqual(worse.length === 0 ? 0 : 1)
                expect(named.length).toBeLessThanOrEqual(worse.length)
                for (const { entry } of named) expect(worse).toContain(entry)
              }
              expect(result.applied).toBe(played.state.records.size)
            }).pipe(Effect.runPromise)
          ),
          { numRuns: 200, seed: 7 }
        )
      )
  )
})

describe("FlushDemand", () => {
  it.effect("several requests before the flush are one, the most urgent; none is lost", () =>
    Effect.gen(function* () {
      const demand = new FlushSignal()
      demand.ask("full")
      demand.ask("forced")
      demand.ask("full")
      expect(yield* demand.next).toBe("forced")
      const waiting = yield* beside(demand.next)
      expect(yield* ended(waiting)).toBe(false)
      demand.ask("full")
      demand.ask("forced")
      expect(yield* waiting).toBe("forced")
      demand.ask("full")
      expect(yield* demand.next).toBe("full")
    })
  )

  it.effect("an interrupted wait takes no request with it", () =>
    Effect.gen(function* () {
      const demand = new FlushSignal()
      const waiting = yield* beside(demand.next)
      yield* waiting.interruptAsFork(yield* Effect.fiberId)
      yield* beside(Effect.void)
      demand.ask("forced")
      expect(yield* demand.next).toBe("forced")
    })
  )
})
