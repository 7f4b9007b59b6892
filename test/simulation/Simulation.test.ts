import { expect, it } from "vitest"
import { describeSeeds } from "./Seeds.js"
import { simulate } from "./Simulation.js"

it("a seed replays exactly", () => {
  for (const seed of [7, 19, 101]) {
    const first = simulate(seed)
    const again = simulate(seed)
    expect(again.fingerprint).toBe(first.fingerprint)
    expect(again.trace).toEqual(first.trace)
    expect(first.calls).toBeGreaterThan(0)
  }
  expect(simulate(7).fingerprint).not.toBe(simulate(8).fingerprint)
})
describeSeeds(1, 250)
