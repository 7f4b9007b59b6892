/**
 * `npm run simulate -- --seeds 10000` runs so many new seeds (or those from `--from` on) and stops at the first one that
 * breaks a promise: it is shrunk, and its shorter story printed. `--seed N` runs one, `--print` with its whole story.
 */
import { randomInt } from "node:crypto"
import { parseArgs } from "node:util"
import { shrink } from "./Shrink.js"
import { type Outcome, simulate } from "./Simulation.js"

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "1000" },
    from: { type: "string" },
    print: { type: "boolean", default: false }
  }
})

const numberOf = (name: "seed" | "seeds" | "from"): number => {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < 1) {
    console.error(`--${name} must be a whole number above 0`)
    process.exit(2)
  }
  return number
}

const fail = (seed: number, first: Outcome): never => {
  console.error(
    `seed ${seed}: ${first.violation}\nlooking for a shorter story of ${first.trace.length} lines`
  )
  const { change, outcome, tried } = shrink(seed, first)
  console.error(
    [
      `after ${tried} attempts with ${JSON.stringify(change)}: ${outcome.violation}`,
      ...(values.print ? outcome.trace : outcome.trace.slice(-60)),
      `again: npm run simulate -- --seed ${seed}${values.print ? "" : " --print"}`
    ].join("\n")
  )
  process.exit(1)
}

const one = (seed: number): void => {
  const outcome = simulate(seed)
  if (values.print) console.log(outcome.trace.join("\n"))
  if (outcome.violation !== undefined) fail(seed, outcome)
  console.log(
    `seed ${seed} keeps the promises: ${outcome.calls} calls, ${outcome.turns} turns, ${outcome.simulatedMs} ms`
  )
}

const many = (first: number, count: number): void => {
  console.log(`seeds ${first} to ${first + count - 1}`)
  const from = performance.now()
  let calls = 0
  for (let seed = first; seed < first + count; seed++) {
    const outcome = simulate(seed)
    if (outcome.violation !== undefined) fail(seed, outcome)
    calls += outcome.calls
    const done = seed - first + 1
    if (done % 1000 === 0 || done === count) {
      console.log(`${done} seeds, ${calls} calls, ${Math.round((performance.now() - from) / 1000)} s`)
    }
  }
  console.log(`${count} seeds keep the promises`)
}

if (values.seed !== undefined) one(numberOf("seed"))
else many(values.from === undefined ? randomInt(1_000_000, 2 ** 31) : numberOf("from"), numberOf("seeds"))
