import { randomInt } from "node:crypto"
import { parseArgs } from "node:util"
import { type NodesOutcome, simulateNodes } from "./Nodes.js"
import { shrink } from "./Shrink.js"
import { type Outcome, simulate } from "./Simulation.js"

const help = `npm run simulate -- [options]

  --seeds N   run so many seeds (1000) and stop at the first that breaks a promise
  --from N    begin with this seed; new ones unless given
  --seed N    run this one seed
  --nodes     several nodes on one archive and one cache, instead of one node
  --print     with --seed: print the whole story as it goes, line by line "milliseconds what"

A seed of one node that breaks a promise is shrunk: what its world can do without, while the same promise still
breaks, is left out. The end of the shorter story follows, with --print all of it (so --print shows two stories:
the seed's, then the shorter one). A seed of several nodes is not shrunk.
Exit code 0: all promises kept; 1: one broken; 2: wrong options.`

const refuse = (problem: string): never => {
  console.error(`${problem}\n\n${help}`)
  process.exit(2)
}

const optionsOf = () => {
  try {
    return parseArgs({
      options: {
        seed: { type: "string" },
        seeds: { type: "string", default: "1000" },
        from: { type: "string" },
        nodes: { type: "boolean", default: false },
        print: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
}
const values = optionsOf()

const numberOf = (name: "seed" | "seeds" | "from"): number => {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < 1) refuse(`--${name} must be a whole number above 0`)
  return number
}

const again = (seed: number): string =>
  `again: npm run simulate -- ${values.nodes ? "--nodes " : ""}--seed ${seed}${values.print ? "" : " --print"}`

const fail = (seed: number, { trace, violation }: Told, shorter: () => ReadonlyArray<string>): never => {
  console.error(`seed ${seed}: ${violation}\n${trace.length} lines`)
  console.error([...shorter(), again(seed)].join("\n"))
  process.exit(1)
}

/** The end of a story, or with `--print` all of it. */
const endOf = (trace: ReadonlyArray<string>) => (values.print ? trace : trace.slice(-60))

const shrunk = (seed: number, first: Outcome): ReadonlyArray<string> => {
  const { change, outcome, tried } = shrink(seed, first)
  return [
    `after ${tried} attempts with ${JSON.stringify(change)}: ${outcome.violation}`,
    ...endOf(outcome.trace)
  ]
}

interface Told {
  readonly trace: ReadonlyArray<string>
  readonly violation: string | undefined
}

/** Runs a seed; does not return when it breaks a promise. */
const run = (seed: number, printed: boolean): number => {
  const one = values.nodes ? undefined : simulate(seed)
  const told = one ?? simulateNodes(seed)
  if (printed) console.log(told.trace.join("\n"))
  if (told.violation !== undefined)
    fail(seed, told, () => (one !== undefined ? shrunk(seed, one) : printed ? [] : endOf(told.trace)))
  return one === undefined ? (told as NodesOutcome).seen.calls : one.calls
}

const many = (first: number, count: number): void => {
  console.log(`seeds ${first} to ${first + count - 1}${values.nodes ? " of several nodes" : ""}`)
  const from = performance.now()
  let calls = 0
  for (let seed = first; seed < first + count; seed++) {
    calls += run(seed, false)
    const done = seed - first + 1
    if (done % 1000 === 0 || done === count) {
      console.log(`${done} seeds, ${calls} calls, ${Math.round((performance.now() - from) / 1000)} s`)
    }
  }
  console.log(`${count} seeds keep the promises`)
}

if (values.help) console.log(help)
else if (values.seed !== undefined) {
  const seed = numberOf("seed")
  console.log(`seed ${seed} keeps the promises: ${run(seed, values.print)} calls`)
} else many(values.from === undefined ? randomInt(1_000_000, 2 ** 31) : numberOf("from"), numberOf("seeds"))
// What the simulated engines wait for keeps the process otherwise.
process.exit(0)
