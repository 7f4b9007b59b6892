import { describe, expect, it } from "vitest"
import { explore } from "./explore.js"
import { type Bounds, enginesRules, type Rules } from "./LeaseState.js"
import { leaseModel } from "./WriterLease.js"

const bounds = (some: Partial<Bounds>): Bounds => ({
  heartbeats: 2,
  commits: 0,
  otherHeartbeats: 1,
  otherCommits: 1,
  rebuilds: 1,
  crashes: 0,
  ...some
})

const run = (some: Partial<Bounds>, rules?: Rules) => explore(leaseModel(bounds(some), rules), 400_000)

describe("the writer lease, explored to its end", () => {
  it.each([
    ["own commits and a rebuild", { commits: 1 }],
    ["a lapse and a return", { heartbeats: 3, otherHeartbeats: 2 }],
    ["a crash and a snapshot", { heartbeats: 3, crashes: 1 }]
  ])("%s: a trusted filter never denies what the archive holds", (_, some) => {
    const { actions, states, violation } = run(some)
    expect(violation).toBeUndefined()
    expect(states).toBeGreaterThan(10_000)
    // Nothing is proven by what never happened.
    for (const action of ["rebuilt", "refused", "other:committed", "released"]) {
      if (action !== "refused" || "commits" in some)
        expect(actions.get(action) ?? 0, action).toBeGreaterThan(0)
    }
  })

  it.each<readonly [string, Rules]>([
    ["commits of others are not refused", { ...enginesRules, admits: () => true }],
    ["a lease lapses too early", { ...enginesRules, lapsed: (watch, now) => watch.lapsed(now + 2) }],
    ["a token is given up while it is trusted", { ...enginesRules, surrenders: false }]
  ])("notices that %s", (_, rules) => {
    const { violation } = run({ otherHeartbeats: 2, heartbeats: 3 }, rules)
    expect(violation?.way.length).toBeGreaterThan(3)
    expect(violation?.problem).toContain("trusts a filter")
  })
})
