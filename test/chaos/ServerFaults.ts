/** What a fault is, and those of any server and of the network before it. */
import type { Chance } from "../process/durability/Chance.js"
import type { Proxy } from "../support/proxy.js"
import type { RunningServer } from "../support/servers.js"

/** What a fault acts on; one fault at a time acts on each. */
export type Part = "daemon" | "clock" | "disk" | "sql" | "redis" | "sql network" | "redis network"

export interface Fault {
  readonly kind: string
  readonly parts: ReadonlyArray<Part>
  /** How long it stands, in milliseconds: from, to. */
  readonly lasts: readonly [number, number]
  /** Begins it; what that returns ends it. Undefined when it cannot be had now. */
  readonly begin: (chance: Chance) => Promise<(() => Promise<void> | void) | undefined>
}

export const signals = (name: string, part: Part, server: RunningServer): ReadonlyArray<Fault> => [
  {
    kind: `${name} SIGKILL`,
    parts: [part],
    lasts: [100, 2_500],
    begin: async () => {
      process.kill(server.pid, "SIGKILL")
      return () => server.restart()
    }
  },
  {
    kind: `${name} SIGSTOP`,
    parts: [part],
    lasts: [200, 5_000],
    begin: async () => {
      process.kill(server.pid, "SIGSTOP")
      return () => void process.kill(server.pid, "SIGCONT")
    }
  }
]

export const network = (name: string, part: Part, proxy: Proxy): ReadonlyArray<Fault> => {
  const kinds: Readonly<Record<string, (chance: Chance) => void>> = {
    latency: (chance) => proxy.delay(chance.between(20, 800)),
    "low rate": (chance) => proxy.limitRate(chance.between(500, 50_000)),
    "half-open, client gone": () => proxy.dieInSilence(),
    "half-open, server gone": () => proxy.loseServer(),
    "stall in mid-answer": (chance) => proxy.stallAnswersAfter(chance.below(400)),
    "reset after some bytes": (chance) => proxy.resetAfter(chance.below(2_000)),
    "black hole": () => proxy.blackHole()
  }
  return Object.entries(kinds).map(([kind, begin]) => ({
    kind: `${name} ${kind}`,
    parts: [part],
    lasts: [200, 4_000],
    begin: async (chance) => {
      begin(chance)
      return () => proxy.mend()
    }
  }))
}
