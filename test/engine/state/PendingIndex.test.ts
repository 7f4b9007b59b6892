import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as FC } from "effect"
import type { Prepared } from "../../../src/engine/state/InFlightWrites.js"
import { InFlightWrites } from "../../../src/engine/state/InFlightWrites.js"
import { PendingIndex } from "../../../src/engine/state/PendingIndex.js"
import type { ItemRecord } from "../../../src/SyncItem.js"
import { compareVersions } from "../../../src/SyncItem.js"
import { recordOf } from "../support.js"

const ids = ["a", "b", "c"]

const record = FC.record({
  id: FC.constantFrom(...ids),
  version: FC.integer({ min: 1, max: 6 }),
  content: FC.constantFrom("x", "y"),
  deleted: FC.boolean()
}).map(({ content, deleted, id, version }) => recordOf(id, version, content, deleted))

/** Of several writes the newest; of the same version the later. */
const newest = <A extends ItemRecord>(records: ReadonlyArray<A>): A | undefined =>
  records.reduce<A | undefined>(
    (best, next) => (best === undefined || compareVersions(next, best) >= 0 ? next : best),
    undefined
  )

type Step =
  | { readonly _tag: "log"; readonly record: ItemRecord; readonly unchecked: boolean }
  | { readonly _tag: "early"; readonly record: ItemRecord; readonly unchecked: boolean }
  | { readonly _tag: "commit" | "fail" }
  | { readonly _tag: "settle"; readonly share: number }

const steps = FC.array(
  FC.oneof(
    FC.record({ _tag: FC.constantFrom("log" as const, "early" as const), record, unchecked: FC.boolean() }),
    FC.record({ _tag: FC.constantFrom("commit" as const, "fail" as const) }),
    FC.record({ _tag: FC.constant("settle" as const), share: FC.double({ min: 0, max: 1, noNaN: true }) })
  ) as FC.Arbitrary<Step>,
  { maxLength: 40 }
)

describe("PendingIndex", () => {
  it("knows the newest acknowledged write of each id, whatever fails and whatever is archived (property)", () => {
    FC.assert(
      FC.property(steps, (script) => {
        const index = new PendingIndex()
        let log: Array<ItemRecord & { readonly sequence: number }> = []
        let early: Array<{ readonly record: ItemRecord; readonly unchecked: boolean }> = []
        let sequence = 0
        let settled = 0
        const commit = (record: ItemRecord, unchecked: boolean) => {
          sequence++
          index.add(record, sequence, unchecked)
          log.push({ ...record, sequence })
        }
        for (const step of script) {
          switch (step._tag) {
            case "log":
              // Commits are in call order: what came early before it has been committed by then.
              for (const { record, unchecked } of early) commit(record, unchecked)
              early = []
              commit(step.record, step.unchecked)
              break
            case "early":
              index.add(step.record, 0, step.unchecked)
              early.push(step)
              break
            case "commit": {
              const first = early.shift()
              if (first !== undefined) commit(first.record, first.unchecked)
              break
            }
            case "fail": {
              const first = early.shift()
              if (first !== undefined) index.revoke(first.record)
              break
            }
            case "settle": {
              settled = Math.max(settled, Math.floor(step.share * sequence))
              for (const id of ids) index.settle(id, settled)
              // A settled id's newest version is archived; older ones with higher sequence numbers are settled later.
              log = log.filter((entry) => entry.sequence > settled)
            }
          }
          for (const id of ids) {
            const logged = newest(log.filter((entry) => entry.id === id))
            const best = newest([
              ...early.flatMap(({ record }) => (record.id === id ? [record] : [])),
              ...(logged === undefined ? [] : [logged])
            ])
            const entry = index.get(id)
            if (best !== undefined && entry !== undefined) {
              // Never older than what is known to be pending.
              expect(compareVersions(entry, best)).toBeGreaterThanOrEqual(0)
            }
            if (best !== undefined) expect(entry).toBeDefined()
            if (early.length === 0 && logged === undefined) expect(entry).toBeUndefined()
            if (entry !== undefined) expect(entry.sequence === 0).toBe(entry.record !== undefined)
          }
        }
      }),
      { numRuns: 500, seed: 2 }
    )
  })

  it("an entry is compared only when the archive's version is not newer", () => {
    const index = new PendingIndex()
    index.add(recordOf("a", 50, "x"), 1, true)
    index.compared("a", recordOf("a", 100, "y"))
    expect(index.get("a")?.unchecked).toBe(true)
    index.compared("a", recordOf("a", 50, "x"))
    expect(index.get("a")?.unchecked).toBe(false)
    index.add(recordOf("b", 50, "x"), 2, true)
    index.compared("b", undefined)
    expect(index.get("b")?.unchecked).toBe(false)
    index.compared("none", undefined)
    expect(index.get("none")).toBeUndefined()
  })

  it("live ids leave out deletions", () => {
    const index = new PendingIndex()
    index.add(recordOf("a", 1, "x"), 1, false)
    index.add(recordOf("b", 1, "", true), 2, false)
    index.add(recordOf("c", 1, "x"), 0, false)
    expect([...index.liveIds()].sort()).toEqual(["a", "c"])
  })
})

describe("InFlight", () => {
  const prepared = (id: string, version: number): Prepared => ({
    _tag: "Prepared",
    record: recordOf(id, version, "x"),
    previousVersion: undefined,
    final: false,
    expected: undefined,
    compared: true,
    unchecked: false
  })

  it("knows the newest write of an id under way, whichever ends first (property)", () => {
    FC.assert(
      FC.property(
        FC.array(
          FC.tuple(FC.constantFrom(...ids), FC.integer({ min: 1, max: 9 }), FC.nat({ max: 5 }), FC.boolean()),
          { maxLength: 40 }
        ),
        (script) => {
          const flights = new InFlightWrites()
          let model: Array<Prepared> = []
          for (const [id, version, place, twice] of script) {
            const write = prepared(id, version)
            flights.add(write)
            if (twice) flights.add(write)
            model.push(write)
            const gone = model[place]
            if (gone !== undefined) {
              model = model.filter((other) => other !== gone)
              flights.remove(gone)
              flights.remove(gone)
            }
            for (const one of ids) {
              const left = model.filter(({ record }) => record.id === one)
              expect(flights.newest(one)?.record.version).toBe(
                left.length === 0 ? undefined : Math.max(...left.map(({ record }) => record.version))
              )
            }
            expect([...flights.records()]).toHaveLength(model.length)
          }
        }
      ),
      { numRuns: 200, seed: 3 }
    )
  })

  it("tells who waits for an id when its newest commit has ended, and does not wait for later ones", async () => {
    const flights = new InFlightWrites()
    const told: Array<string> = []
    const landed = (said: string) => Effect.runFork(Effect.map(flights.landed("a"), () => told.push(said)))
    const turn = () => new Promise((resume) => setTimeout(resume))
    landed("nothing under way")
    const [first, second, third] = [prepared("a", 1), prepared("a", 2), prepared("a", 3)]
    flights.add(first)
    flights.add(second)
    landed("second")
    flights.add(third)
    landed("third")
    flights.remove(first)
    await turn()
    expect(told).toEqual(["nothing under way"])
    flights.remove(second)
    flights.remove(second)
    await turn()
    expect(told).toEqual(["nothing under way", "second"])
    flights.remove(third)
    await turn()
    expect(told).toEqual(["nothing under way", "second", "third"])
  })

  it("many writes of one id cost as much as of many ids, under way and acknowledged early", () => {
    const count = 20_000
    let compared = 0
    const counted = (version: number): Prepared => {
      const write = prepared("a", version)
      const { version: _, ...record } = write.record
      const head = Object.defineProperty(record, "version", {
        get: () => {
          compared++
          return version
        }
      })
      return { ...write, record: head as ItemRecord }
    }
    const flights = new InFlightWrites()
    const index = new PendingIndex()
    const writes = Array.from({ length: count }, (_, at) => counted(at + 1))
    for (const write of writes) {
      flights.newest("a")
      index.get("a")
      flights.add(write)
      index.add(write.record, 0, false)
    }
    expect(flights.newest("a")).toBe(writes[count - 1])
    expect(index.get("a")?.record).toBe(writes[count - 1]!.record)
    for (const [at, write] of writes.entries()) {
      flights.remove(write)
      index.add(write.record, at + 1, false)
      index.get("a")
    }
    expect(flights.newest("a")).toBeUndefined()
    expect(index.get("a")).toMatchObject({ version: count, sequence: count })
    expect(compared).toBeLessThan(40 * count)
  })
})
