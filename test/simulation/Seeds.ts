import { randomInt } from "node:crypto"
import { describe, expect, it } from "vitest"
import { simulate } from "./Simulation.js"

/** Set to replay one seed, with its whole trace. */
const replayed = process.env.SYNC_ENGINE_SIMULATION_SEED

const tailLines = 40

/** The same seed again: the command that does it, and how the story ended. */
const story = (seed: number, violation: string, trace: ReadonlyArray<string>): string =>
  [
    `seed ${seed}: ${violation}`,
    `replay: SYNC_ENGINE_SIMULATION_SEED=${seed} npx vitest run --project simulation test/simulation/Simulation.test.ts`,
    ...(replayed === undefined ? trace.slice(-tailLines) : trace)
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

/** As many seeds that no run has had before, beside the fixed ones; the first is printed, and the report of a failing one says how to replay it. */
export const describeNewSeeds = (count: number) => {
  const first = randomInt(1_000_000, 2 ** 31)
  console.log(`new seeds of this run: ${first} to ${first + count - 1}`)
  describeSeeds(first, first + count - 1)
}

/** The seed that the environment names, alone. */
export const describeReplay = (otherwise: () => void): void => {
  if (replayed === undefined) {
    otherwise()
    return
  }
  it(`seed ${replayed} keeps the promises`, () => {
    const { trace, violation } = simulate(Number(replayed))
    if (violation !== undefined) expect.fail(story(Number(replayed), violation, trace))
  })
}
