import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC } from "effect"
import { entryBytes, LogTail } from "../../../src/engine/state/LogTail.js"
import { recordOf } from "../support.js"

const batch = (first: number, count: number, size: number) =>
  Array.from({ length: count }, (_, n) => recordOf(`id.${first + n}`, first + n, "x".repeat(size)))

type Step =
  | { readonly _tag: "push"; readonly count: number; readonly size: number; readonly gap: number }
  | { readonly _tag: "consume"; readonly items: number; readonly bytes: number }

const steps = FC.array(
  FC.oneof(
    FC.record({
      _tag: FC.constant("push" as const),
      count: FC.integer({ min: 1, max: 8 }),
      size: FC.integer({ min: 0, max: 400 }),
      gap: FC.constantFrom(0, 0, 0, 1, 5)
    }),
    FC.record({
      _tag: FC.constant("consume" as const),
      items: FC.integer({ min: 1, max: 6 }),
      bytes: FC.integer({ min: 1, max: 2000 })
    })
  ) as FC.Arbitrary<Step>,
  { maxLength: 60 }
)

describe("FreshQueue", () => {
  it("hands out every entry once and in order, from memory or by way of the log (property)", () => {
    FC.assert(
      FC.property(
        steps,
        FC.integer({ min: 0, max: 3000 }),
        FC.integer({ min: 0, max: 5 }),
        (script, maxBytes, held) => {
          // The log of the model: what was pushed, and what an earlier run left.
          const log: Array<{ readonly sequence: number; readonly bytes: number }> = []
          for (let n = 1; n <= held; n++) log.push({ sequence: 10 + n, bytes: 100 })
          const queue = new LogTail(maxBytes, 10, 10 + held)
          const handed: Array<number> = []
          let next = 11 + held
          const consume = (items: number, bytes: number): boolean => {
            if (queue.isEmpty) return false
            let page: ReadonlyArray<number>
            if (queue.mustReadLogAfter(queue.consumed)) {
              const { spilled } = queue
              page = log
                .filter(({ sequence }) => sequence > queue.consumed)
                .slice(0, items)
                .map(({ sequence }) => sequence)
              if (page.length === 0) queue.caughtUp(spilled)
            } else {
              const entries = queue.peek(items, bytes)
              expect(entries.length).toBeGreaterThan(0)
              expect(entries.length).toBeLessThanOrEqual(items)
              const size = entries.reduce((sum, { record }) => sum + entryBytes(record), 0)
              if (entries.length > 1) expect(size).toBeLessThanOrEqual(bytes)
              page = entries.map(({ sequence }) => sequence)
            }
            handed.push(...page)
            if (page.length > 0) queue.consume(page[page.length - 1]!)
            return true
          }
          for (const step of script) {
            if (step._tag === "push") {
              // Failed commits leave gaps in the sequence.
              next += step.gap
              const records = batch(next, step.count, step.size)
              for (let n = 0; n < step.count; n++)
                log.push({ sequence: next + n, bytes: entryBytes(records[n]!) })
              const before = queue.bytes
              queue.push(next, records)
              next += step.count
              if (before > maxBytes) expect(queue.bytes).toBe(before)
            } else consume(step.items, step.bytes)
            expect(queue.isEmpty).toBe(queue.consumed >= (log[log.length - 1]?.sequence ?? 0))
            expect(queue.bytes).toBe(
              queue
                .peek(10_000, Number.MAX_SAFE_INTEGER)
                .reduce((sum, { record }) => sum + entryBytes(record), 0)
            )
          }
          while (consume(3, 500));
          expect(handed).toEqual(log.map(({ sequence }) => sequence))
          expect([queue.size, queue.bytes, queue.isEmpty, queue.mustReadLogAfter(queue.consumed)]).toEqual([
            0,
            0,
            true,
            false
          ])
        }
      ),
      { numRuns: 300, seed: 1 }
    )
  })

  it("a read of the log that found nothing does not skip what was committed during it", () => {
    const queue = new LogTail(0, 0, 5)
    const { spilled } = queue
    queue.push(6, batch(6, 1, 10))
    queue.caughtUp(spilled)
    expect([queue.consumed, queue.isEmpty, queue.mustReadLogAfter(queue.consumed)]).toEqual([5, false, true])
  })

  it("gives its memory back: long runs keep no consumed entries", () => {
    const queue = new LogTail(Number.MAX_SAFE_INTEGER, 0, 0)
    queue.push(1, batch(1, 10_000, 1))
    for (let upTo = 100; upTo < 10_000; upTo += 100) {
      queue.consume(upTo)
      expect(queue.size).toBe(10_000 - upTo)
      expect(queue.peek(1, 1)[0]!.sequence).toBe(upTo + 1)
    }
  })
})
