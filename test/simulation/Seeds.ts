import { randomInt } from "node:crypto"
import { describe, expect, it } from "vitest"
import { simulate } from "./Simulation.js"

/** The same seed again: the command that does it, and how the story ended. */
const story = (seed: number, violation: string, trace: ReadonlyArray<string>): string =>
  [
    `seed ${seed}: ${violation}`,
    `again: npm run simulate -- --seed ${seed} --print`,
    ...trace.slice(-40)
  ].join("\n")

const seedsPerTest = 25

/** Runs seeds `from` to `to`; every promise has to hold in each of them. */
export const describeSeeds = (from: number, to: number) =>
  describe(`seeds ${from} to ${to}`, () => {
    for (let first = from; first <= to; first += seedsPerTest) {
      const last = Math.min(to, first + seedsPerTest - 1)
      it(`${first} to ${last} keep the promises`, async () => {
        for (let seed = first; seed <= last; seed++) {
          // The test runner has its turn, too: it takes a worker that is silent for a minute for dead.
          await new Promise((resolve) => setImmediate(resolve))
          const { trace, violation } = simulate(seed)
          if (violation !== undefined) expect.fail(story(seed, violation, trace))
        }
      })
    }
  })

/** As many seeds that no run has had before, beside the fixed ones; the first is printed. */
export const describeNewSeeds = (count: number) => {
  const first = randomInt(1_000_000, 2 ** 31)
  console.log(`new seeds of this run: ${first} to ${first + count - 1}`)
  describeSeeds(first, first + count - 1)
}
