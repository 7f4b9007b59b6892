/**
 * Prints ratios against raw drivers, measured in this one run. `npm run bench -- acknowledge memory` runs parts;
 * `--small` runs them at sizes that check the bench and measure nothing.
 */
import { Cause, Effect, Exit, FiberId, Logger, LogLevel } from "effect"
import { absent } from "./absent.js"
import { acknowledge } from "./acknowledge.js"
import { diff } from "./diff.js"
import { embedded } from "./embedded.js"
import type { Fixtures } from "./fixtures.js"
import { fixtures } from "./fixtures.js"
import { memory } from "./memory.js"
import { redis } from "./redis.js"
import { stall } from "./stall.js"
import { start } from "./start.js"
import type { Line } from "./support.js"
import { tiers } from "./tiers.js"
import { tree } from "./tree.js"
import { writers } from "./writers.js"

type Part = (fixtures: Fixtures) => Effect.Effect<ReadonlyArray<Line>, unknown>

const parts: Readonly<Record<string, Part>> = {
  acknowledge: () => acknowledge,
  memory: () => memory,
  stall: () => stall,
  tiers,
  embedded,
  redis,
  absent,
  tree,
  writers,
  diff,
  start
}

const words = process.argv.slice(2)
const small = words.includes("--small")
const wanted = words.filter((word) => word !== "--small")
const unknown = wanted.filter((name) => parts[name] === undefined)
if (unknown.length > 0) {
  console.error(
    `unknown part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}, and --small`
  )
  process.exit(2)
}

const show = (line: Line) => {
  const verdict = line.met === undefined ? "" : line.met ? "met" : "MISSED"
  console.log(`${line.what.padEnd(60)} ${line.ratio.padStart(11)}   ${line.budget.padEnd(16)} ${verdict}`)
  console.log(`    ${line.detail}`)
}

const program = Effect.flatMap(fixtures(small), (made) =>
  Effect.forEach(
    Object.entries(parts).filter(([name]) => wanted.length === 0 || wanted.includes(name)),
    ([name, part]) =>
      Effect.gen(function* () {
        const startedMs = performance.now()
        const lines = yield* part(made)
        console.log(`\n${name} (${((performance.now() - startedMs) / 1000).toFixed(0)} s)`)
        for (const line of lines) show(line)
      }),
    { discard: true }
  )
).pipe(Effect.scoped)

if (small) console.log("--small: the figures say nothing")

const running = Effect.runFork(program.pipe(Logger.withMinimumLogLevel(LogLevel.Warning)))
// Stopped by a signal, it still ends its servers and removes its files; a second signal does not wait for that.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  let signals = 0
  process.on(signal, () => {
    signals++
    if (signals > 1) process.exit(130)
    running.unsafeInterruptAsFork(FiberId.none)
  })
}
running.addObserver((exit) => {
  if (Exit.isSuccess(exit)) process.exit(0)
  console.error(Cause.isInterruptedOnly(exit.cause) ? "interrupted" : Cause.pretty(exit.cause))
  process.exit(Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
})
