import { randomInt } from "node:crypto"
import { describe, expect, it } from "vitest"
import { type NodesOutcome, simulateNodes } from "./Nodes.js"

const story = ({ seed, trace, violation }: NodesOutcome): string =>
  [`seed ${seed}: ${violation}`, ...trace.slice(-60)].join("\n")

const run = async (first: number, count: number) => {
  let [calls, crashes, denied] = [0, 0, 0]
  for (let seed = first; seed < first + count; seed++) {
    await new Promise((resolve) => setImmediate(resolve))
    const outcome = simulateNodes(seed)
    if (outcome.violation !== undefined) expect.fail(story(outcome))
    calls += outcome.calls
    crashes += outcome.crashes
    denied += outcome.denied
  }
  return { calls, crashes, denied }
}

describe("two or three nodes on one archive and one cache", () => {
  it("seeds 1 to 40 keep the promises", async () => {
    const { calls, crashes, denied } = await run(1, 40)
    // Nothing is proven by what never happened.
    expect(calls).toBeGreaterThan(1000)
    expect(crashes).toBeGreaterThan(10)
    expect(denied).toBeGreaterThan(100)
  })

  it("so do new ones", async () => {
    const first = randomInt(1_000_000, 2 ** 31)
    console.log(`new seeds of this run: ${first} to ${first + 19}`)
    await run(first, 20)
  })

  it("a seed replays exactly", () => {
    expect(simulateNodes(3)).toEqual(simulateNodes(3))
  })
})
