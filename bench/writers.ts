/**
 * Commits of different ids by one, two and four writers of one archive, with and without a way to the server that takes
 * time: they wait for each other only at the nodes of the tree that they share, and never for a way.
 */
import { Effect, Redacted } from "effect"
import * as MysqlArchive from "../src/archive/mysql/MysqlArchive.js"
import { proxyTo } from "../test/support/proxy.js"
import type { Fixtures } from "./fixtures.js"
import { recordOf } from "./fixtures.js"
import type { Line } from "./support.js"
import { information, inTurn } from "./support.js"

const batchItems = 250
const writerCounts = [1, 2, 4] as const
const latencies = [0, 5] as const

const sizesOf = (small: boolean) => (small ? { commits: 8, rounds: 1 } : { commits: 80, rounds: 5 })

export const writers = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { commits, rounds } = sizesOf(fixtures.small)
    const direct = new URL(yield* fixtures.mysqlDatabase("writers"))
    const proxy = yield* proxyTo(Number(direct.port))
    direct.port = String(proxy.port)
    const url = Redacted.make(direct.href)
    const archives = yield* Effect.forEach(Array.from({ length: 4 }), () => MysqlArchive.make({ url }))
    let version = 0

    /** So many commits in all, shared among the writers; each has ids of its own below one path. */
    const committed = (count: number) =>
      Effect.suspend(() => {
        version++
        const each = commits / count
        return Effect.forEach(
          archives.slice(0, count),
          (archive, writer) =>
            Effect.forEach(
              Array.from({ length: each }, (_, commit) =>
                Array.from({ length: batchItems }, (_, i) => {
                  const number = (writer * each + commit) * batchItems + i
                  return recordOf(`bench.w${number % 7}.${number}`, number, version)
                })
              ),
              (records) => archive.commit(records),
              { discard: true }
            ),
          { concurrency: "unbounded", discard: true }
        )
      })

    const lines: Array<Line> = []
    for (const latency of latencies) {
      proxy.delay(latency)
      const times = yield* inTurn(rounds, writerCounts.map(committed))
      for (const [i, count] of writerCounts.entries()) {
        const perSecond = ((commits * 1000) / times[i]!).toFixed(0)
        const way = latency === 0 ? "" : `, ${latency} ms to the server and back each`
        lines.push(
          information(
            `commits of ${count === 1 ? "one writer" : `${count} writers over one`}${way}`,
            (times[0]! / times[i]!).toFixed(2),
            `${perSecond} commits/s of ${batchItems} items, ids of their own below shared paths`
          )
        )
      }
    }
    return lines
  }).pipe(Effect.scoped)
