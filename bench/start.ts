/**
 * How long a clean start takes as the archive grows.
 */
import { Effect, Exit, Redacted, Scope } from "effect"
import type { Fixtures } from "./fixtures.js"
import { grouped } from "./fixtures.js"
import { filterTrusted, probedEngine } from "./probe.js"
import type { Line } from "./support.js"
import { atMost, median, temporaryDirectory } from "./support.js"

const sizesOf = (small: boolean) =>
  small ? { few: 1_000, many: 20_000, rounds: 3 } : { few: 10_000, many: 1_000_000, rounds: 15 }

export const start = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { few, many, rounds } = sizesOf(fixtures.small)
    const sites = yield* Effect.forEach([few, many], (count) =>
      Effect.gen(function* () {
        const sqlUrl = Redacted.make(`sqlite:${yield* fixtures.wideSqlite(count)}`)
        const options = { dataDir: yield* temporaryDirectory, sqlUrl }
        // The first run builds the filter; its shutdown leaves the snapshot.
        const first = yield* Effect.scoped(
          Effect.flatMap(probedEngine(options), ({ engine }) => filterTrusted(engine, 60_000))
        )
        return { count, options, first, times: [] as Array<number>, timings: "", restored: 0 }
      })
    )
    for (let round = 0; round <= rounds; round++) {
      for (const site of sites) {
        const scope = yield* Scope.make()
        const startedMs = performance.now()
        const { engine } = yield* Scope.extend(probedEngine(site.options), scope)
        const ms = performance.now() - startedMs
        const [health, stats] = yield* Effect.all([engine.health, engine.stats])
        if (round > 0) {
          site.times.push(ms)
          if (health.filter.trusted) site.restored++
          site.timings = stats.startupTimings.map(([label, each]) => `${label} ${each.toFixed(0)}`).join(", ")
        }
        yield* Scope.close(scope, Exit.void)
      }
    }
    const [small, large] = sites
    const wired = large!.first === true
    const filter = wired
      ? `the filter was restored from its snapshot in ${large!.restored} of ${rounds} starts`
      : `the filter had no part in it: ${large!.first}`
    return [
      atMost(
        `clean start, ${grouped(many)} over ${grouped(few)} archived items`,
        median(large!.times) / median(small!.times),
        1.5,
        "",
        `SQLite, until the engine serves: ${median(large!.times).toFixed(0)} over ${median(small!.times).toFixed(0)} ms; ${filter}; last phases at ${grouped(many)}, ms: ${large!.timings}`
      )
    ]
  }).pipe(Effect.scoped)
