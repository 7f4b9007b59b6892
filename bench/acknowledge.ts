/**
 * Durable acknowledgement: batches of 1,000 against a raw better-sqlite3 loop over the same rows; 1,000 fibers with one
 * item each against those batches, and against one fsync per item.
 */
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect, Fiber } from "effect"
import { contentHashOf, type SubmitItem, SyncEngine } from "../src/index.js"
import type { Line } from "./support.js"
import { atLeast, contentOf, information, inTurn, temporaryDirectory } from "./support.js"

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

/** A fiber for each item; returns when all have ended. */
const inFibers = (
  items: ReadonlyArray<SubmitItem>,
  use: (item: SubmitItem) => Effect.Effect<unknown, unknown>
) =>
  Effect.flatMap(
    Effect.forEach(items, (item) => Effect.fork(use(item))),
    (fibers) => Effect.forEach(fibers, Fiber.join, { discard: true })
  )

/** What fibers cost that all wait for one turn of the event loop. */
const waiting: Array<() => void> = []
const nothing = Effect.async<void>((resume) => {
  if (waiting.push(() => resume(Effect.void)) > 1) return
  setImmediate(() => {
    for (const wake of waiting.splice(0)) wake()
  })
})

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
    const fibers = Effect.forEach(batches, (batch) => inFibers(batch, engine.submit), { discard: true })
    const idle = Effect.forEach(batches, (batch) => inFibers(batch, () => nothing), { discard: true })
    const oursSingles = inFibers(singles, engine.submit)
    const settle = Effect.asVoid(engine.flush)

    const [rawMs, , oursMs, , fibersMs, , idleMs] = yield* inTurn(7, [
      raw,
      settle,
      ours,
      settle,
      fibers,
      settle,
      idle
    ])
    const [singleMs, , oneEachMs] = yield* inTurn(5, [rawSingles, settle, oursSingles, settle])
    return [
      atLeast(
        "durable acknowledge, batches of 1,000",
        rawMs! / oursMs!,
        0.8,
        "throughput over a raw better-sqlite3 loop (prepared insert, one transaction a batch, synchronous=FULL, same SHA-256)"
      ),
      atLeast(
        "durable acknowledge, 1,000 fibers, one item each",
        oursMs! / fibersMs!,
        0.4,
        "throughput over batches of 1,000"
      ),
      information(
        "1,000 fibers that only wait for one turn",
        (oursMs! / idleMs!).toFixed(2),
        "the same 1,000 fibers without a write, over batches of 1,000: more than this no write in a fiber of its own can reach"
      ),
      atLeast(
        "durable acknowledge, 1,000 fibers, one item each",
        singleMs! / oneEachMs!,
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
