/**
 * `npm run soak -- --hours 2 [--seed N] [--out FILE]`: the daemon under an even load for hours, with restarts and outages
 * now and then. Plots memory, descriptors, log and latencies; ends with 1 when something grew in one life, or a promise
 * was broken. `--out`: the samples as CSV.
 */
import { randomInt } from "node:crypto"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { describeViolation, judgeFiles, startLoads } from "./Chaos.js"
import { now, sleep } from "./Common.js"
import { endState } from "./EndState.js"
import type { HistoryRecord } from "./History.js"
import { growth, Probe, plot, type Quantity, quantities, type Sample } from "./Samples.js"
import type { Stood } from "./Schedule.js"
import { openWorld, type World } from "./World.js"

const { values } = parseArgs({
  options: { hours: { type: "string", default: "2" }, seed: { type: "string" }, out: { type: "string" } }
})
const seconds = Number(values.hours) * 3_600
const seed = Number(values.seed ?? randomInt(1, 2 ** 31))
if (!(seconds >= 30) || !Number.isInteger(seed)) {
  console.error("--hours must be a number (0.01 at least), --seed a whole one")
  process.exit(2)
}

interface Event {
  readonly sign: string
  readonly kind: string
  readonly run: (world: World, lastsMs: number) => Promise<void>
}

const restart = { sign: "T", kind: "daemon restarted (SIGTERM)" }
const kill: Event = {
  sign: "K",
  kind: "daemon killed",
  run: async ({ node }) => {
    await node.kill()
    node.start()
  }
}
const stop: Event = {
  ...restart,
  run: async ({ node }) => {
    const { code, report } = await node.stop()
    if (code !== 0 || report?.clean !== true)
      throw new Error(`a shutdown in calm ended with ${code}: ${JSON.stringify(report)}`)
    node.start()
  }
}
const outage = (sign: string, name: "mysql" | "redis", way: "killed" | "stalled"): Event => ({
  sign,
  kind: `${name} ${way}`,
  run: async (world, lastsMs) => {
    const server = name === "mysql" ? world.mysql : world.cache.single!
    process.kill(server.pid, way === "killed" ? "SIGKILL" : "SIGSTOP")
    await sleep(lastsMs)
    if (way === "killed") await server.restart()
    else process.kill(server.pid, "SIGCONT")
  }
})

/** One at the end of each twelfth of the time. The daemon's third life is the long one, in which nothing may grow. */
const events: ReadonlyArray<Event | undefined> = [
  kill,
  stop,
  outage("s", "mysql", "killed"),
  outage("r", "redis", "killed"),
  outage("S", "mysql", "stalled"),
  outage("R", "redis", "stalled"),
  outage("s", "mysql", "killed"),
  outage("r", "redis", "killed"),
  undefined,
  kill,
  stop
]

const csv = (samples: ReadonlyArray<Sample>): string => {
  const names = Object.keys(quantities) as Array<Quantity>
  const rows = samples.map(({ at, life, values: measured }) =>
    [Math.round(at), life, ...names.map((name) => measured[name]?.toFixed(2) ?? "")].join()
  )
  return `${[`ms,life,${names.join()}`, ...rows].join("\n")}\n`
}

const notes: Array<HistoryRecord> = []
const problems: Array<string> = []
const samples: Array<Sample> = []
const stood: Array<Stood> = []
const signs: Array<{ readonly at: number; readonly sign: string }> = []

const world = await openWorld({
  seed,
  note: (record) => notes.push(record),
  onFall: (served, log) => {
    if (served) problems.push(`the daemon ended by itself:\n${log.slice(-3_000)}`)
  }
})
console.log(`seed ${seed}, ${seconds} s`)
try {
  world.node.start()
  const first = await world.node.rest(60_000)
  if (first !== undefined) throw new Error(`it does not start: ${first}\n${world.node.log}`)
  const load = startLoads(world, { seed, loads: 1, clients: 4 })
  const probe = new Probe(world)
  const begun = now()
  const end = begun + seconds * 1_000
  const every = Math.max(1_000, (seconds * 1_000) / 720)
  const measuring = (async () => {
    for (let next = begun + every; now() < end; await sleep(100)) {
      await probe.once()
      if (now() < next) continue
      samples.push(await probe.sample(begun))
      next = now() + every
    }
  })()
  const period = (seconds * 1_000) / 12
  for (const [n, event] of events.entries()) {
    await sleep(begun + (n + 1) * period - now())
    if (event === undefined) continue
    const from = now()
    signs.push({ at: from - begun, sign: event.sign })
    await event.run(world, Math.min(60_000, period / 4))
    stood.push({ kind: event.kind, from, to: now() })
    if (!(await world.node.started(60_000))) problems.push(`it does not serve a minute after: ${event.kind}`)
    console.log(`${Math.round((from - begun) / 1_000)} s: ${event.kind}`)
  }
  await measuring
  const codes = await load.stop()
  if (codes.some((code) => code !== 0)) problems.push(`the load ended with ${codes.join()}`)
  problems.push(...(await endState(world, (record) => notes.push(record), console.log)))
  const { judgement, outcomes, problems: more } = await judgeFiles(load.files, notes)
  const operations = [...outcomes.values()].reduce((sum, count) => sum + count, 0)
  problems.push(...more, ...growth(samples))
  problems.push(...judgement.violations.map((violation) => describeViolation(violation, { faults: stood })))
  console.log(plot(samples, signs))
  console.log("K killed, T restarted, s/S MariaDB killed/stalled, r/R Redis killed/stalled")
  console.log(`${operations} operations, ${world.node.lives} lives`)
} finally {
  if (values.out !== undefined) writeFileSync(values.out, csv(samples))
  await world.close()
}
for (const text of problems) console.error(text)
console.log(problems.length === 0 ? "nothing grew, all promises kept" : `${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
