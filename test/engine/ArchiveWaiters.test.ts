import { describe, expect, it } from "@effect/vitest"
import * as FC from "effect/FastCheck"
import type { ArchiveOutcome } from "../../src/engine/ArchiveWaiters.js"
import { ArchiveWaiters } from "../../src/engine/ArchiveWaiters.js"

type Step =
  | { readonly _tag: "add"; readonly count: number; readonly gap: number }
  | { readonly _tag: "reject"; readonly place: number }
  | { readonly _tag: "settle" | "release"; readonly share: number }

const share = FC.double({ min: 0, max: 1, noNaN: true })

const steps = FC.array(
  FC.oneof(
    FC.record({
      _tag: FC.constant("add" as const),
      count: FC.integer({ min: 1, max: 5 }),
      gap: FC.nat({ max: 3 })
    }),
    FC.record({ _tag: FC.constant("reject" as const), place: FC.nat({ max: 60 }) }),
    FC.record({ _tag: FC.constantFrom("settle" as const, "release" as const), share })
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
              if (step._tag === "settle") {
                archived = Math.max(archived, Math.floor(step.share * (next - 1)))
                waiters.settle(archived)
              } else waiters.release(archived)
              for (const { count, first, told } of before) {
                if (step._tag === "settle" && first + count - 1 > archived) expect(told).toBeUndefined()
                else expect(told?.map(({ _tag }) => _tag)).toEqual(outcomesOf(first, count, "InLog"))
              }
            }
          }
          expect(waiters.size).toBe(waiting.filter(({ told }) => told === undefined).length)
        }
        waiters.release(archived)
        expect(waiting.every(({ told }) => told !== undefined)).toBe(true)
      }),
      { numRuns: 500, seed: 5 }
    )
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
