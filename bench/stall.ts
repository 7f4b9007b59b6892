/**
 * How long the main thread is blocked under full load: a 1 ms timer's lateness while batches are submitted and flushed.
 */
import { Effect, Fiber } from "effect"
import { SyncEngine } from "../src/index.js"
import type { Line } from "./support.js"
import { atMost, contentOf, percentile, temporaryDirectory } from "./support.js"

const batches = 150
const batchItems = 1000

const lateness = Effect.async<never>(() => {
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    late.push(Math.max(0, now - last - 1))
    last = now
  }, 1)
  return Effect.sync(() => clearInterval(timer))
})
let late: Array<number> = []

const measure = Effect.gen(function* () {
  const engine = yield* SyncEngine
  // Contents are made before: making them is the caller's work.
  const all = Array.from({ length: batches }, (_, batch) =>
    Array.from({ length: batchItems }, (_, index) => {
      const number = batch * batchItems + index
      return { id: `bench.${number % 97}.${number}`, content: contentOf(number, 256) }
    })
  )
  yield* Effect.forEach(all.slice(0, 20), (batch) => engine.submitMany(batch), {
    concurrency: 2,
    discard: true
  })
  late = []
  const watch = yield* Effect.fork(lateness)
  yield* Effect.forEach(all.slice(20), (batch) => engine.submitMany(batch), { concurrency: 2, discard: true })
  yield* engine.flush
  yield* Fiber.interrupt(watch)
  const detail = `${late.length} samples while ${batches - 20} batches of ${batchItems} are acknowledged and archived; median ${percentile(late, 0.5).toFixed(1)} ms`
  return [atMost("main-thread stall under full load, p99", percentile(late, 0.99), 10, " ms", detail)]
})

export const stall: Effect.Effect<ReadonlyArray<Line>, unknown> = Effect.flatMap(
  temporaryDirectory,
  (directory) => Effect.provide(measure, SyncEngine.layer({ dataDir: directory }))
).pipe(Effect.scoped)
