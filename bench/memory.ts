/**
 * `get` from memory inside a running fiber, against `Map.get` in the same loop.
 */
import { Effect } from "effect"
import { SyncEngine } from "../src/index.js"
import type { Line } from "./support.js"
import { atMost, contentOf, inTurn, temporaryDirectory } from "./support.js"

const items = 10_000
const reads = 200_000

const measure = Effect.gen(function* () {
  const engine = yield* SyncEngine
  const ids = Array.from({ length: items }, (_, index) => `bench.${index % 31}.${index}`)
  yield* engine.submitMany(ids.map((id, index) => ({ id, content: contentOf(index, 256) })))
  yield* engine.flush
  const map = new Map<string, unknown>()
  for (const id of ids) map.set(id, { id })
  let found = 0
  // Both loops yield once a read: what is compared is the read, not the loop.
  const fromMap = Effect.gen(function* () {
    for (let index = 0; index < reads; index++) {
      if (map.get(ids[index % items]!) !== undefined) found++
      yield* Effect.void
    }
  })
  const fromEngine = Effect.gen(function* () {
    for (let index = 0; index < reads; index++) {
      const item = yield* engine.get(ids[index % items]!)
      if (item._tag === "Some") found++
    }
  })
  const [mapMs, engineMs] = yield* inTurn(7, [fromMap, fromEngine])
  if (found !== 16 * reads) return yield* Effect.die(new Error("a read found nothing"))
  const overMicroseconds = ((engineMs! - mapMs!) * 1000) / reads
  return [
    atMost(
      "get from memory over Map.get",
      overMicroseconds,
      1,
      " µs",
      `inside a running fiber; ${items} hot items of 256 B`
    )
  ]
})

export const memory: Effect.Effect<ReadonlyArray<Line>, unknown> = Effect.flatMap(
  temporaryDirectory,
  (directory) => Effect.provide(measure, SyncEngine.layer({ dataDir: directory }))
).pipe(Effect.scoped)
