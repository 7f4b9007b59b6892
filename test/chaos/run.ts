/**
 * `npm run chaos -- --minutes 5 [--seed N] [--cluster] [--galera]`: the daemon between real servers under load and faults. Prints
 * what stood how often, what the clients were answered, and the verdict; ends with 1 when a promise was broken.
 */
import { randomInt } from "node:crypto"
import { parseArgs } from "node:util"
import { chaos, describeViolation } from "./Chaos.js"

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "5" },
    galera: { type: "boolean", default: false },
    cluster: { type: "boolean", default: false },
    loads: { type: "string", default: "2" },
    clients: { type: "string", default: "6" }
  }
})

const numberOf = (name: "seed" | "minutes" | "loads" | "clients", otherwise: number): number => {
  const number = Number(values[name] ?? otherwise)
  if (Number.isFinite(number) && number > 0) return number
  console.error(`--${name} must be a number above 0`)
  process.exit(2)
}

const counts = (map: ReadonlyMap<string, number>): string =>
  [...map]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `  ${String(count).padStart(8)}  ${name}`)
    .join("\n")

const seed = numberOf("seed", randomInt(1, 2 ** 31))
const seconds = numberOf("minutes", 5) * 60
// Each process that is started listens for the end of this one.
process.setMaxListeners(50)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))
console.log(`seed ${seed}, ${seconds} s`)
const result = await chaos({
  seed,
  seconds,
  cluster: values.cluster,
  galera: values.galera,
  loads: numberOf("loads", 2),
  clients: numberOf("clients", 6),
  say: (line) => console.log(line)
})
const { judgement, leftOut, lives, outcomes, perKind, problems } = result
console.log(`faults:\n${counts(perKind)}\nanswers:\n${counts(outcomes)}`)
for (const what of leftOut) console.log(`left out: ${what}`)
const operations = [...outcomes.values()].reduce((sum, count) => sum + count, 0)
console.log(
  `${operations} operations (${Math.round(operations / seconds)}/s) on ${judgement.ids} ids, ${judgement.unknown} of unknown outcome, ${lives} lives`
)
const broken = [...problems, ...judgement.violations.map((violation) => describeViolation(violation, result))]
for (const text of broken) console.error(text)
console.log(
  broken.length === 0
    ? "all promises kept"
    : `${broken.length} problems; again: --seed ${seed}${values.cluster ? " --cluster" : ""}${values.galera ? " --galera" : ""}`
)
process.exit(broken.length === 0 ? 0 : 1)
