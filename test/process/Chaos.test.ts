import { randomInt } from "node:crypto"
import { expect, it } from "vitest"
import { chaos, describeViolation } from "../chaos/Chaos.js"

// `npm run chaos -- --minutes 60` is the same for longer.
it("a short run of chaos keeps the promises", async () => {
  const seed = Number(process.env.SYNC_ENGINE_TEST_SEED ?? randomInt(1, 2 ** 31))
  const result = await chaos({ seed, seconds: 20, loads: 1, clients: 8, say: () => {} })
  const { faults, judgement, outcomes, problems } = result
  const violations = judgement.violations.map((violation) => describeViolation(violation, result))
  const title = `npm run chaos -- --seed ${seed}`
  // Told in full: a difference of texts would be cut.
  expect(problems.length + violations.length, [title, ...problems, ...violations].join("\n")).toBe(0)
  // There was something to lose.
  expect(faults.length, title).toBeGreaterThan(4)
  expect(outcomes.get("write acknowledged"), title).toBeGreaterThan(500)
  expect(outcomes.get("read"), title).toBeGreaterThan(500)
}, 600_000)
