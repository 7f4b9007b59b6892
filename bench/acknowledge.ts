/**
 * Durable acknowledgement: batches of 1,000 against a raw better-sqlite3 loop over the same rows, and 1,000 fibers
 * with one item each against one fsync per item.
 */
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect } from "effect"
import { contentHashOf, SyncEngine } from "../src/index.js"
import type { Line } from "./support.js"
import { atLeast, contentOf, inTurn, temporaryDirectory } from "./support.js"

const batchItems = 1000
const batchesPerRound = 20
const contentBytes = 256

const rawLog = (path: string) => {
  const database = new Database(path)
  database.pragma("journal_mode = WAL")
  database.pragma("synchronous = FULL")
  database.exec(
    "CREATE TABLE log (sequence INTEGER PRIMARY KEY, id TEXT, version INTEGER, updated_at INTEGER, type INTEGER, hash BLOB, content BLOB)"
  )
  const insert = database.prepare(
    "INSERT INTO log (id, version, updated_at, type, hash, content) VALUES (?, ?, ?, ?, ?, ?)"
  )
  return { database, insert }
}

/** The queue is emptied between rounds, so that only acknowledgement is measured. */
const measure = (directory: string) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const { database, insert } = rawLog(join(directory, "raw.db"))
    yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
    let next = 0
    const items = (count: number) =>
      Array.from({ length: count }, () => {
        next++
        return { id: `bench.${next % 97}.${next}`, content: contentOf(next, contentBytes) }
      })
    const batches = Array.from({ length: batchesPerRound }, () => items(batchItems))
    const singles = items(1000)

    const raw = Effect.sync(() => {
      for (const batch of batches) {
        database.exec("BEGIN")
        for (const item of batch) {
          insert.run(
            item.id,
            ++next,
            Date.now(),
            0,
            Buffer.from(contentHashOf(item.content), "hex"),
            item.content
          )
        }
        database.exec("COMMIT")
      }
    })
    const rawSingles = Effect.sync(() => {
      for (const item of singles) {
        insert.run(
          item.id,
          ++next,
          Date.now(),
          0,
          Buffer.from(contentHashOf(item.content), "hex"),
          item.content
        )
      }
    })
    const ours = Effect.forEach(batches, (batch) => engine.submitMany(batch), { discard: true })
    const oursSingles = Effect.forEach(singles, (item) => engine.submit(item), {
      concurrency: "unbounded",
      discard: true
    })
    const settle = Effect.asVoid(engine.flush)

    const [rawMs, , oursMs] = yield* inTurn(7, [raw, settle, ours, settle])
    const [singleMs, , fibersMs] = yield* inTurn(5, [rawSingles, settle, oursSingles, settle])
    return [
      atLeast(
        "durable acknowledge, batches of 1,000",
        rawMs! / oursMs!,
        0.7,
        "throughput over a raw better-sqlite3 loop (prepared insert, one transaction a batch, synchronous=FULL, same SHA-256)"
      ),
      atLeast(
        "durable acknowledge, 1,000 fibers, one item each",
        singleMs! / fibersMs!,
        10,
        "throughput over one synced transaction per item"
      )
    ]
  })

export const acknowledge: Effect.Effect<ReadonlyArray<Line>, unknown> = Effect.flatMap(
  temporaryDirectory,
  (directory) =>
    // The flush must not run in the measured time: the raw loop has none.
    Effect.provide(
      measure(directory),
      SyncEngine.layer({
        dataDir: directory,
        batchFlushInterval: 60_000,
        batchFlushCount: 100_000,
        batchFlushBytes: 256 * 1024 * 1024
      })
    )
).pipe(Effect.scoped)
