/**
 * Measuring side by side: every contender runs in each round, in turn, so that a noisy machine disturbs all alike;
 * what counts is the ratio of the medians.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"

/** One measured line: what was measured, the ratio, what the budget asks, and whether it is met. */
export interface Line {
  readonly what: string
  readonly ratio: string
  readonly budget: string
  readonly met: boolean | undefined
  readonly detail: string
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/**
 * Runs the contenders in turn for so many rounds; returns the median milliseconds of each. The first round warms up.
 * `prepare` runs before each round and is not measured.
 */
export const inTurn = (
  rounds: number,
  contenders: ReadonlyArray<Effect.Effect<unknown, unknown>>,
  prepare: Effect.Effect<unknown, unknown> = Effect.void
): Effect.Effect<ReadonlyArray<number>, unknown> =>
  Effect.gen(function* () {
    const times = contenders.map((): Array<number> => [])
    for (let round = 0; round <= rounds; round++) {
      yield* prepare
      for (const [index, contender] of contenders.entries()) {
        const startedMs = performance.now()
        yield* contender
        if (round > 0) times[index]!.push(performance.now() - startedMs)
      }
    }
    return times.map(median)
  })

/** A directory that is removed with the scope. */
export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-bench-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

export const atLeast = (what: string, ratio: number, budget: number, detail: string): Line => ({
  what,
  ratio: ratio.toFixed(2),
  budget: `at least ${budget}`,
  met: ratio >= budget,
  detail
})

export const atMost = (what: string, value: number, budget: number, unit: string, detail: string): Line => ({
  what,
  ratio: `${value.toFixed(2)}${unit}`,
  budget: `at most ${budget}${unit}`,
  met: value <= budget,
  detail
})

export const information = (what: string, value: string, detail: string): Line => ({
  what,
  ratio: value,
  budget: "",
  met: undefined,
  detail
})

/** Pseudo-random whole numbers below a bound, the same in every run (mulberry32). */
export const seeded = (seed: number): ((below: number) => number) => {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** So many different whole numbers below a bound. */
export const distinct = (random: (below: number) => number, count: number, below: number): Array<number> => {
  const chosen = new Set<number>()
  while (chosen.size < count) chosen.add(random(below))
  return [...chosen]
}

/** Deterministic bytes: about `size` of them, JSON. */
export const contentOf = (seed: number, size: number): Uint8Array =>
  Buffer.from(JSON.stringify({ seed, text: `${seed.toString(36)}-`.repeat(size).slice(0, size - 30) }))
