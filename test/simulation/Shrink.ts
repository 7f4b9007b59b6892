/** Makes the story of a failing seed shorter: what can be left out of its world while the same promise still breaks. */
import { idPool, type Settings } from "./Settings.js"
import { type Outcome, simulate } from "./Simulation.js"
import { kindOf } from "./Violation.js"

export type Change = Partial<Settings>

/** What may be simpler, the most telling first. */
const simpler = (settings: Settings): ReadonlyArray<Change> => [
  ...fewer(settings.lives, 1).map((lives) => ({ lives })),
  ...fewer(settings.operationsPerLife, 1).map((operationsPerLife) => ({ operationsPerLife })),
  ...fewer(settings.clients, 1).map((clients) => ({ clients })),
  ...fewer(settings.ids.length, 1).map((count) => ({ ids: settings.ids.slice(0, count) })),
  ...without.map((name) => ({ [name]: typeof settings[name] === "boolean" ? false : 0 }) as Change),
  { fifo: true }
]

const without = [
  "crashes",
  "hasCache",
  "cdc",
  "cacheTroubles",
  "cacheFailure",
  "cacheDelayMs",
  "archiveStall",
  "archiveFailure",
  "lostAnswer",
  "archiveDelayMs",
  "outages",
  "poison",
  "logFaults",
  "commitDelayMs",
  "ownVersions",
  "memoryDurability",
  "interruptions",
  "configChanges",
  "clockSteps",
  "yieldChance",
  "pauseMs"
] as const satisfies ReadonlyArray<keyof Settings>

const fewer = (count: number, least: number): ReadonlyArray<number> =>
  [least, Math.floor(count / 2), count - 1].filter((less) => less >= least && less < count)

export interface Shrunk {
  readonly outcome: Outcome
  readonly change: Change
  readonly tried: number
}

/** Greedy, until nothing more can be left out; ends, because every step makes the settings smaller. */
export const shrink = (
  seed: number,
  first: Outcome,
  run: (seed: number, change: Change) => Outcome = simulate
): Shrunk => {
  const kind = (violation: string | undefined) => violation && kindOf(violation, idPool)
  const broken = kind(first.violation)
  let outcome = first
  let change: Change = {}
  let tried = 0
  for (let found = true; found; ) {
    found = false
    for (const step of simpler(outcome.settings)) {
      const [name, value] = Object.entries(step)[0]!
      if (JSON.stringify(outcome.settings[name as keyof Settings]) === JSON.stringify(value)) continue
      tried++
      const next = run(seed, { ...change, ...step })
      // Another broken promise is another story.
      if (kind(next.violation) !== broken) continue
      outcome = next
      change = { ...change, ...step }
      found = true
      break
    }
  }
  return { outcome, change, tried }
}
