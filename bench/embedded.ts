/**
 * Throughput of the embedded default, from the log to SQLite with the tree, against a loop over better-sqlite3 without a
 * tree. From the first submit of a backlog until all of it is archived.
 */
import { join } from "node:path"
import Database from "better-sqlite3"
import { Effect, Redacted } from "effect"
import { tables as makeTables } from "../src/archive/sql/SqlDialect.js"
import * as SqliteArchive from "../src/archive/sqlite/SqliteArchive.js"
import * as SqliteDialect from "../src/archive/sqlite/SqliteDialect.js"
import type { Fixtures } from "./fixtures.js"
import { contentBytes, grouped, recordOf } from "./fixtures.js"
import { filterTrusted, probedEngine } from "./probe.js"
import { rawEmbedded } from "./rawEmbedded.js"
import type { RawItem } from "./rawTiers.js"
import type { Line } from "./support.js"
import { atLeast, contentOf, distinct, information, inTurn, seeded, temporaryDirectory } from "./support.js"

const batchItems = 1000

const sizesOf = (small: boolean) =>
  small
    ? { sizes: [2_000, 5_000], batches: 5, rounds: 1 }
    : { sizes: [10_000, 100_000, 1_000_000], batches: 30, rounds: 5 }

const idOf = (number: number): string => `bench.${number % 97}.${String(number).padStart(8, "0")}`

/** An archive with so many rows, in the order of their ids, and its tree. */
const load = (file: string, count: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const archive = yield* SqliteArchive.make({ path: file })
      const dialect = SqliteDialect.make(makeTables())
      const ids = Array.from({ length: count }, (_, number) => idOf(number)).sort()
      const database = new Database(file)
      for (let from = 0; from < count; from += 10_000) {
        const records = ids.slice(from, from + 10_000).map((id, index) => recordOf(id, from + index, 1))
        database.transaction(() => {
          for (const { params, text } of dialect.inserts(records)) database.prepare(text).run(...params)
        })()
      }
      database.close()
      yield* archive.rebuildTree
      yield* archive.checkpoint
    })
  )

const measured = (rows: number, batches: number, rounds: number) =>
  Effect.gen(function* () {
    const directory = yield* temporaryDirectory
    const file = join(directory, "archive.db")
    yield* load(file, rows)
    const raw = yield* rawEmbedded(directory, file)
    const { engine, probe } = yield* probedEngine({
      // Not the archive's own folder: it has been written to without this log.
      dataDir: join(directory, "engine"),
      sqlUrl: Redacted.make(`sqlite:${file}`)
    })
    const trusted = yield* filterTrusted(engine, 120_000)
    if (trusted !== true) return yield* Effect.die(new Error(`the filter is not trusted: ${trusted}`))

    const random = seeded(9)
    let seed = 0
    let total = rows
    const itemOf = (number: number): RawItem => ({
      id: idOf(number),
      content: contentOf(++seed, contentBytes)
    })
    const updates = () => distinct(random, batchItems, rows)
    const fresh = () => Array.from({ length: batchItems }, () => total++)
    let work: ReadonlyArray<ReadonlyArray<RawItem>> = []
    const cpuMs = { engine: 0, raw: 0 }
    const contender = (name: "engine" | "raw", effect: Effect.Effect<unknown, unknown>) =>
      Effect.suspend(() => {
        const before = process.cpuUsage()
        return Effect.tap(effect, () => {
          const { system, user } = process.cpuUsage(before)
          cpuMs[name] += (system + user) / 1000
        })
      })
    const byEngine = contender(
      "engine",
      Effect.suspend(() =>
        Effect.forEach(
          work,
          (batch, index) =>
            Effect.tap(
              // Entries are archived in the order of the log: the last says that all are.
              engine.submitMany(batch, index === work.length - 1 ? { durability: "archive" } : {}),
              (results) =>
                results.some(({ _tag }) => _tag === "Rejected")
                  ? Effect.die(new Error("a write was rejected"))
                  : Effect.void
            ),
          { discard: true }
        )
      )
    )
    const byRaw = contender(
      "raw",
      Effect.suspend(() => raw.write(work))
    )

    const lines: Array<Line> = []
    for (const [what, numbers] of [
      ["random updates", updates],
      ["new items", fresh]
    ] as const) {
      probe.reset()
      Object.assign(cpuMs, { engine: 0, raw: 0 })
      Object.assign(raw.spent, { log: 0, archive: 0, release: 0 })
      const prepare = Effect.sync(() => {
        work = Array.from({ length: batches }, () => numbers().map(itemOf))
      })
      const [engineMs, rawMs] = yield* inTurn(rounds, [byEngine, byRaw], prepare)
      const carried = batches * (rounds + 1)
      const each = (ms: number) => (ms / carried).toFixed(1)
      const perSecond = (ms: number) => grouped((batches * batchItems * 1000) / ms)
      lines.push(
        atLeast(
          `log to SQLite with the tree, ${what}, ${grouped(rows)} rows`,
          rawMs! / engineMs!,
          0.8,
          `${perSecond(engineMs!)} items/s over ${perSecond(rawMs!)} of a raw loop without a tree; 256 B, batches of 1,000`
        ),
        information(
          "  where the time goes",
          `${each(engineMs! * (rounds + 1))} ms`,
          `per 1,000 items; archive commit ${each(probe.commit.ms)} (${((carried * batchItems) / Math.max(1, probe.commit.calls)).toFixed(0)} items each), log append ${each(probe.append.ms)}, log release ${each(probe.release.ms)} ms; process CPU ${each(cpuMs.engine)} ms. The loop: log ${each(raw.spent.log)}, archive ${each(raw.spent.archive)}, log deletion ${each(raw.spent.release)} ms; process CPU ${each(cpuMs.raw)} ms`
        )
      )
    }
    const found = yield* engine.countPrefix("")
    const rawRows = raw.count()
    if (found !== rawRows) {
      return yield* Effect.die(new Error(`the engine archived ${found} items and the loop ${rawRows}`))
    }
    return lines
  }).pipe(Effect.scoped)

export const embedded = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> => {
  const { batches, rounds, sizes } = sizesOf(fixtures.small)
  return Effect.map(
    Effect.forEach(sizes, (rows) => measured(rows, batches, rounds)),
    (lines) => lines.flat()
  )
}
