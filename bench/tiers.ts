/**
 * Throughput from the log to MariaDB and Redis with both trees, against loops over the raw drivers that write the
 * same rows and fields without trees. From the first submit of a backlog until all of it is archived and cached.
 */
import { Effect, Redacted } from "effect"
import type { Fixtures } from "./fixtures.js"
import { contentBytes, grouped } from "./fixtures.js"
import { probedEngine } from "./probe.js"
import type { RawItem } from "./rawTiers.js"
import { rawTiers } from "./rawTiers.js"
import type { Line } from "./support.js"
import { atLeast, contentOf, distinct, information, inTurn, seeded, temporaryDirectory } from "./support.js"

const batchItems = 1000

const sizesOf = (small: boolean) =>
  small
    ? { known: 5_000, batches: 5, rounds: 1, naiveItems: 100 }
    : { known: 100_000, batches: 30, rounds: 5, naiveItems: 1_000 }

const idOf = (number: number): string => `bench.${number % 97}.${number}`

export const tiers = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { batches, known, naiveItems, rounds } = sizesOf(fixtures.small)
    const directory = yield* temporaryDirectory
    const redisUrl = yield* fixtures.redis
    const raw = (name: string) =>
      Effect.flatMap(fixtures.mysqlDatabase(name), (mysqlUrl) =>
        rawTiers({ directory, name, mysqlUrl, redisUrl })
      )
    const tuned = yield* raw("raw_tuned")
    const overlapped = yield* raw("raw_overlapped")
    const naive = yield* raw("raw_naive")
    const { engine, probe } = yield* probedEngine({
      dataDir: directory,
      sqlUrl: Redacted.make(yield* fixtures.mysqlDatabase("engine")),
      redisUrl: Redacted.make(redisUrl)
    })

    const random = seeded(1)
    let seed = 0
    let total = known
    const itemOf = (number: number): RawItem => ({
      id: idOf(number),
      content: contentOf(++seed, contentBytes)
    })
    const batchesOf = (count: number, numbers: () => ReadonlyArray<number>) =>
      Array.from({ length: count }, () => numbers().map(itemOf))
    const updates = () => distinct(random, batchItems, known)
    const fresh = () => Array.from({ length: batchItems }, () => total++)

    let work: ReadonlyArray<ReadonlyArray<RawItem>> = []
    const cpuMs = new Map<string, number>()
    const contender = (name: string, effect: Effect.Effect<unknown, unknown>) =>
      Effect.suspend(() => {
        const before = process.cpuUsage()
        return Effect.tap(effect, () => {
          const { system, user } = process.cpuUsage(before)
          cpuMs.set(name, (cpuMs.get(name) ?? 0) + (system + user) / 1000)
        })
      })
    const submitted = (some: ReadonlyArray<ReadonlyArray<RawItem>>) =>
      Effect.forEach(
        some,
        (batch) =>
          Effect.tap(engine.submitMany(batch), (results) =>
            results.some(({ _tag }) => _tag === "Rejected")
              ? Effect.die(new Error("a write was rejected"))
              : Effect.void
          ),
        { discard: true }
      )
    const byEngine = contender(
      "engine",
      Effect.suspend(() => Effect.zipRight(submitted(work), engine.flush))
    )
    const byTuned = contender(
      "tuned",
      Effect.tryPromise(() => tuned.tuned(work))
    )
    const byOverlapped = contender(
      "overlapped",
      Effect.tryPromise(() => overlapped.overlapped(work))
    )
    const byNaive = Effect.tryPromise(() => naive.naive(work.flat().slice(0, naiveItems)))

    // Everybody begins with the same rows.
    let number = 0
    const stock = batchesOf(known / batchItems, () => Array.from({ length: batchItems }, () => number++))
    yield* Effect.tryPromise(async () => {
      for (const each of [tuned, overlapped, naive]) await each.tuned(stock)
    })
    yield* Effect.zipRight(submitted(stock), engine.flush)

    const lines: Array<Line> = []
    for (const [what, numbers] of [
      ["random updates", updates],
      ["new items", fresh]
    ] as const) {
      probe.reset()
      cpuMs.clear()
      Object.assign(tuned.spent, { log: 0, sql: 0, redis: 0, release: 0 })
      const prepare = Effect.sync(() => {
        work = batchesOf(batches, numbers)
      })
      const [engineMs, tunedMs, overlappedMs, naiveMs] = yield* inTurn(
        rounds,
        [byEngine, byTuned, byOverlapped, byNaive],
        prepare
      )
      const items = batches * batchItems
      const perSecond = (ms: number, count = items) => grouped((count * 1000) / ms)
      const carried = (batches * (rounds + 1) * batchItems) / 1000
      const each = (ms: number) => (ms / carried).toFixed(1)
      lines.push(
        atLeast(
          `log to MariaDB and Redis, both trees, ${what}`,
          tunedMs! / engineMs!,
          0.8,
          `${perSecond(engineMs!)} items/s over ${perSecond(tunedMs!)} of a hand-tuned loop without trees (better-sqlite3, mysql2, ioredis; a batch: one synced log transaction, one guarded upsert beside guarded scripts, log deletion); 256 B, batches of 1,000, ${grouped(known)} ids`
        ),
        information(
          `  the same, the loop's log beside its servers`,
          (overlappedMs! / engineMs!).toFixed(2),
          `the loop writes the next batch to its log while the servers work: ${perSecond(overlappedMs!)} items/s`
        ),
        information(
          `  over one upsert and one HSET per item`,
          `${(naiveMs! / naiveItems / (engineMs! / items)).toFixed(1)} times`,
          `a naive loop without log and trees: ${perSecond(naiveMs!, naiveItems)} items/s`
        ),
        information(
          `  where the engine's time goes`,
          `${each(engineMs! * (rounds + 1))} ms`,
          `per 1,000 items; archive commit ${each(probe.commit.ms)}, cache put ${each(probe.put.ms)}, log append ${each(probe.append.ms)} (beside the flush), log release ${each(probe.release.ms)} ms; ${((carried * 1000) / Math.max(1, probe.commit.calls)).toFixed(0)} items a commit; process CPU ${each(cpuMs.get("engine")!)} ms`
        ),
        information(
          `  where the loop's time goes`,
          `${each(tunedMs! * (rounds + 1))} ms`,
          `per 1,000 items; log ${each(tuned.spent.log)}, MariaDB ${each(tuned.spent.sql)} beside Redis ${each(tuned.spent.redis)}, log deletion ${each(tuned.spent.release)} ms; process CPU ${each(cpuMs.get("tuned")!)} ms`
        )
      )
    }

    const [stats, health] = yield* Effect.all([engine.stats, engine.health])
    const rows = yield* engine.countPrefix("")
    const rawRows = yield* Effect.tryPromise(() => tuned.count())
    if (stats.pending > 0 || stats.deadLetters > 0 || stats.flushFailures > 0 || !health.cache.trusted) {
      return yield* Effect.die(new Error("the engine has not carried everything to both tiers"))
    }
    if (rows !== rawRows) {
      return yield* Effect.die(new Error(`the engine archived ${rows} items and the loop ${rawRows}`))
    }
    return lines
  }).pipe(Effect.scoped)
