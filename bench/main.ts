/**
 * Prints ratios against raw drivers, measured in this one run. `npm run bench -- acknowledge memory` runs a part.
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { acknowledge } from "./acknowledge.js"
import { memory } from "./memory.js"
import { stall } from "./stall.js"
import type { Line } from "./support.js"

const parts: Readonly<Record<string, Effect.Effect<ReadonlyArray<Line>, unknown>>> = {
  acknowledge,
  memory,
  stall
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => parts[name] === undefined)
if (unknown.length > 0) {
  console.error(`unknown part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}`)
  process.exit(2)
}

const show = (line: Line) => {
  const verdict = line.met === undefined ? "" : line.met ? "met" : "MISSED"
  console.log(`${line.what.padEnd(52)} ${line.ratio.padStart(10)}   ${line.budget.padEnd(16)} ${verdict}`)
  console.log(`    ${line.detail}`)
}

const program = Effect.forEach(
  Object.entries(parts).filter(([name]) => wanted.length === 0 || wanted.includes(name)),
  ([name, part]) =>
    Effect.flatMap(part, (lines) =>
      Effect.sync(() => {
        console.log(`\n${name}`)
        for (const line of lines) show(line)
      })
    ),
  { discard: true }
)

Effect.runPromise(program.pipe(Logger.withMinimumLogLevel(LogLevel.Warning))).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
