import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC } from "effect"
import type { ArchiveOutcome } from "../../../src/engine/state/ArchiveWaiters.js"
import { ArchiveWaiters } from "../../../src/engine/state/ArchiveWaiters.js"

type Step =
  | { readonly _tag: "add"; readonly count: number; readonly gap: number }
  | { readonly _tag: "reject"; readonly place: number }
  | { readonly _tag: "answer" | "settle" | "release"; readonly share: number }

const share = FC.double({ min: 0, max: 1, noNaN: true })

const steps = FC.array(
  FC.oneof(
    FC.record({
      _tag: FC.constant("add" as const),
      count: FC.integer({ min: 1, max: 5 }),
      gap: FC.nat({ max: 3 })
    }),
    FC.record({ _tag: FC.constant("reject" as const), place: FC.nat({ max: 60 }) }),
    FC.record({ _tag: FC.constantFrom("answer" as const, "settle" as const, "release" as const), share })
  ) as FC.Arbitrary<Step>,
  { maxLength: 40 }
)

describe("ArchiveWaiters", () => {
  it("everybody is told once, the truth about each entry, and as soon as it is known (property)", () => {
    FC.assert(
      FC.property(steps, (script) => {
        const waiters = new ArchiveWaiters()
        const waiting: Array<{
          first: number
          count: number
          told: ReadonlyArray<ArchiveOutcome> | undefined
        }> = []
        const rejected = new Set<number>()
        let next = 1
        let archived = 0
        const outcomesOf = (first: number, count: number, rest: string) =>
          Array.from({ length: count }, (_, n) =>
            rejected.has(first + n) ? "Rejected" : first + n <= archived ? "Archived" : rest
          )
        for (const step of script) {
          switch (step._tag) {
            case "add": {
              next += step.gap
              const entry = {
                first: next,
                count: step.count,
                told: undefined as ReadonlyArray<ArchiveOutcome> | undefined
              }
              waiting.push(entry)
              waiters.add(next, step.count, (outcomes) => {
                expect(entry.told).toBeUndefined()
                entry.told = outcomes
              })
              next += step.count
              break
            }
            case "reject": {
              // A flush rejects entries above what it has settled so far.
              const sequence = archived + 1 + step.place
              const open = waiting.some(
                ({ count, first, told }) =>
                  told === undefined && sequence >= first && sequence < first + count
              )
              expect(waiters.decide(sequence, { _tag: "Rejected", problem: "no" })).toBe(open)
              if (open) rejected.add(sequence)
              break
            }
            default: {
              const before = waiting.filter(({ told }) => told === undefined)
              const upTo = Math.max(archived, Math.floor(step.share * (next - 1)))
              if (step._tag === "settle") archived = upTo
              if (step._tag === "release") waiters.release(archived)
              else waiters.settle(upTo, step._tag === "answer")
              for (const { count, first, told } of before) {
                const lost = Array.from({ length: count }, (_, n) => first + n).filter((n) => rejected.has(n))
                const waits = {
                  answer: first + count - 1 > upTo || lost.length > 0,
                  settle: first + count - 1 > upTo,
                  // Decided, and about to be settled.
                  release: lost.some((sequence) => sequence > archived)
                }
                if (waits[step._tag]) expect(told).toBeUndefined()
                else {
                  const rest = step._tag === "answer" ? "Archived" : "InLog"
                  expect(told?.map(({ _tag }) => _tag)).toEqual(outcomesOf(first, count, rest))
                }
              }
            }
          }
          expect(waiters.size).toBe(waiting.filter(({ told }) => told === undefined).length)
        }
        waiters.close(archived)
        expect(waiting.every(({ told }) => told !== undefined)).toBe(true)
      }),
      { numRuns: 500, seed: 5 }
    )
  })

  it("who lost waits until readers see it, others do not wait for that, and a release changes nothing", () => {
    const waiters = new ArchiveWaiters()
    const told: Array<string> = []
    const note = (name: string) => (outcomes: ReadonlyArray<ArchiveOutcome>) => {
      told.push(`${name}: ${outcomes.map(({ _tag }) => _tag).join()}`)
    }
    waiters.add(1, 2, note("lost"))
    waiters.add(3, 1, note("archived"))
    waiters.add(4, 1, note("open"))
    waiters.decide(2, { _tag: "Rejected", problem: "no" })
    waiters.settle(3, true)
    expect(told).toEqual(["archived: Archived"])
    waiters.release(0)
    expect(told).toEqual(["archived: Archived", "open: InLog"])
    waiters.settle(3)
    expect([told.slice(2), waiters.size]).toEqual([["lost: Archived,Rejected"], 0])
  })

  it("who is told may wait again at once", () => {
    const waiters = new ArchiveWaiters()
    const told: Array<string> = []
    waiters.add(1, 1, () => {
      told.push("first")
      waiters.add(2, 1, () => told.push("second"))
    })
    waiters.settle(1)
    expect([told, waiters.size]).toEqual([["first"], 1])
    waiters.release(1)
    expect([told, waiters.size]).toEqual([["first", "second"], 0])
  })
})
