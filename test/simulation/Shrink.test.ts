import { expect, it } from "vitest"
import { Chance } from "./Chance.js"
import { settingsOf } from "./Settings.js"
import { type Change, shrink } from "./Shrink.js"
import type { Outcome } from "./Simulation.js"

/** A world that breaks whenever its archive goes down while two clients are at work. */
const played = (seed: number, change: Change = {}): Outcome => {
  const settings = { ...settingsOf(new Chance(seed)), outages: true, clients: 5, lives: 3, ...change }
  const violation = settings.outages && settings.clients >= 2 ? "broken" : undefined
  return { seed, settings, violation, trace: [], fingerprint: "", turns: 0, calls: 0, simulatedMs: 0 }
}

it("a failing seed is shrunk to what it needs", () => {
  for (const seed of [1, 2, 3]) {
    const { change, outcome } = shrink(seed, played(seed), played)
    expect(outcome.violation).toBe("broken")
    expect(outcome.settings).toMatchObject({
      clients: 2,
      outages: true,
      lives: 1,
      operationsPerLife: 1,
      crashes: 0,
      hasCache: false,
      poison: false,
      clockSteps: false
    })
    expect(outcome.settings.ids).toHaveLength(1)
    expect(played(seed, change).violation).toBe("broken")
  }
})
