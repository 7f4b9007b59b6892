/**
 * Finding few changes among very many siblings: what the comparison of MariaDB and Redis moves.
 */
import { Effect, Redacted, Stream } from "effect"
import * as MysqlArchive from "../src/archive/mysql/MysqlArchive.js"
import * as RedisCache from "../src/cache/RedisCache.js"
import type { DivergenceCost } from "../src/reconcile/Divergence.js"
import { divergence } from "../src/reconcile/Divergence.js"
import { ofArchive, ofCache } from "../src/reconcile/Sources.js"
import type { Fixtures } from "./fixtures.js"
import { grouped, recordOf, wideId } from "./fixtures.js"
import type { Line } from "./support.js"
import { atMost, distinct, seeded } from "./support.js"

const changes = 100
const pageItems = 5_000
const pageBytes = 4 * 1024 * 1024

const sizesOf = (small: boolean) => ({ items: small ? 20_000 : 1_000_000 })

export const diff = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { items } = sizesOf(fixtures.small)
    const archive = yield* MysqlArchive.make({ url: Redacted.make(yield* fixtures.wideMysql(items)) })
    const cache = yield* RedisCache.make({ url: Redacted.make(yield* fixtures.redis) })
    yield* cache.connect

    const loadedMs = performance.now()
    let after: string | undefined
    for (;;) {
      const page = yield* archive.scan({ prefix: "", after }, { limit: pageItems, maxBytes: pageBytes })
      if (page.length === 0) break
      yield* cache.put(page.map((item) => ({ ...item, deleted: false })))
      after = page[page.length - 1]!.id
    }
    const loadSeconds = (performance.now() - loadedMs) / 1000
    if ((yield* archive.root) !== (yield* cache.root)) {
      return yield* Effect.die(new Error("the roots differ before anything was changed"))
    }

    const version = (yield* archive.maxVersion) + 1
    const changed = distinct(seeded(4), changes, items).map((index) =>
      recordOf(wideId(index), items + index, version)
    )
    yield* archive.commit(changed)

    const cost: DivergenceCost = { digests: 0, requests: 0 }
    const startedMs = performance.now()
    const found = yield* Stream.runCollect(divergence(ofArchive(archive), ofCache(cache), { cost }))
    const seconds = (performance.now() - startedMs) / 1000
    const expected = new Set(changed.map(({ id }) => id))
    const right = [...found].filter(({ id, kind }) => kind === "changed" && expected.has(id)).length
    if (right !== changes || found.length !== changes) {
      return yield* Effect.die(new Error(`${found.length} differences found, ${right} of them right`))
    }
    const bound = changes * Math.log2(items)
    return [
      atMost(
        `diff of ${changes} changed among ${grouped(items)}, digests moved over k log2 n`,
        cost.digests / bound,
        3,
        "",
        `${grouped(cost.digests)} taken from Redis by MariaDB's side in ${grouped(cost.requests)} requests; k log2 n is ${grouped(bound)}`
      ),
      atMost(
        "  time",
        seconds,
        1,
        " s",
        `all siblings of one path; putting the ${grouped(items)} items into Redis before took ${loadSeconds.toFixed(0)} s (${grouped(items / loadSeconds)} items/s, read from MariaDB)`
      )
    ]
  }).pipe(Effect.scoped)
