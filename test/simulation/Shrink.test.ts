import { expect, it } from "vitest"
import { Chance } from "./Chance.js"
import { idPool, settingsOf } from "./Settings.js"
import { type Change, shrink } from "./Shrink.js"
import type { Outcome } from "./Simulation.js"
import { kindOf } from "./Violation.js"

/** A world that breaks whenever its archive goes down while two clients are at work; with one, in another way. */
const played = (seed: number, change: Change = {}): Outcome => {
  const settings = { ...settingsOf(new Chance(seed)), outages: true, clients: 5, lives: 3, ...change }
  const violation = settings.outages ? (settings.clients >= 2 ? "broken" : "broken otherwise") : undefined
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

it("a promise is known by what is told of it, whatever the ids and numbers are", () => {
  const kind = (violation: string) => kindOf(violation, idPool)
  expect(kind("#12 (get a.b) answered a.b 1790/00ab, which is older than 1791x, acknowledged before")).toBe(
    kind("#3 (getMany z z,a) answered z z 5x, which is older than 6/beef, acknowledged before")
  )
  expect(kind('#12 (scanPrefix "") left out a none')).toBe(kind("#1 (getByState new) left out ab 17/0123"))
  expect(kind("#12 (get a) answered a 5x, which is not durable")).not.toBe(
    kind("#12 (get a) answered a 5x, which was never written")
  )
})
