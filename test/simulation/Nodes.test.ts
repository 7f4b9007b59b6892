import { randomInt } from "node:crypto"
import { describe, expect, it } from "vitest"
import { type NodesOutcome, simulateNodes } from "./Nodes.js"

const story = ({ seed, trace, violation }: NodesOutcome): string =>
  [
    `seed ${seed}: ${violation}`,
    `again: npm run simulate -- --nodes --seed ${seed} --print`,
    ...trace.slice(-60)
  ].join("\n")

const run = async (first: number, count: number) => {
  const outcomes: Array<NodesOutcome> = []
  for (let seed = first; seed < first + count; seed++) {
    await new Promise((resolve) => setImmediate(resolve))
    const outcome = simulateNodes(seed)
    if (outcome.violation !== undefined) expect.fail(story(outcome))
    outcomes.push(outcome)
  }
  const sum = (name: keyof NodesOutcome["seen"]) =>
    outcomes.reduce((total, { seen }) => total + seen[name], 0)
  const seedsWith = (name: keyof NodesOutcome["seen"]) => outcomes.filter(({ seen }) => seen[name] > 0).length
  return { sum, seedsWith }
}

describe("two or three nodes on one archive and one cache", () => {
  it("seeds 1 to 40 keep the promises", async () => {
    const { seedsWith, sum } = await run(1, 40)
    // Nothing is proven by what never happened.
    expect(sum("calls")).toBeGreaterThan(1000)
    expect(sum("crashes")).toBeGreaterThan(10)
    expect(sum("pauses")).toBeGreaterThan(10)
    expect(sum("failovers")).toBeGreaterThan(5)
    expect(sum("absent")).toBeGreaterThan(200)
    expect(sum("denied")).toBeGreaterThan(50)
    expect(seedsWith("leases")).toBeGreaterThan(20)
    expect(seedsWith("lost")).toBeGreaterThan(5)
    expect(seedsWith("held")).toBeGreaterThan(1)
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
