/**
 * `get` of ids that nobody has stored, with a trusted filter: time, I/O, memory, false positives.
 */
import { Effect, Redacted } from "effect"
import { CuckooFilter } from "../src/filter/CuckooFilter.js"
import type { Fixtures } from "./fixtures.js"
import { grouped, wideId } from "./fixtures.js"
import { filterTrusted, probedEngine } from "./probe.js"
import type { Line } from "./support.js"
import { atMost, information, median, temporaryDirectory } from "./support.js"

const sizesOf = (small: boolean) =>
  small ? { items: 10_000, absent: 50_000 } : { items: 1_000_000, absent: 1_000_000 }

const rounds = 10

/** As deep and as long as the stored ids, and beside them. */
const absentId = (index: number): string => `bench.wide.x${String(index).padStart(7, "0")}`

const nanosecondsEach = (ms: ReadonlyArray<number>, count: number): string =>
  `${((median(ms) * 1e6) / count).toFixed(0)} ns`

/** Through a running engine. */
const measureGets = (fixtures: Fixtures, items: number, absent: number, denied: (id: string) => boolean) =>
  Effect.gen(function* () {
    const { engine, probe } = yield* probedEngine({
      dataDir: yield* temporaryDirectory,
      sqlUrl: Redacted.make(`sqlite:${yield* fixtures.wideSqlite(items)}`)
    })
    const trusted = yield* filterTrusted(engine, 60_000)
    if (trusted !== true) return trusted
    const perRound = absent / rounds
    const logItems = (yield* engine.stats).log.items
    probe.reset()
    const times: Array<number> = []
    let found = 0
    for (let round = 0; round < rounds; round++) {
      const ids = Array.from({ length: perRound }, (_, index) => absentId(round * perRound + index))
      const startedMs = performance.now()
      yield* Effect.gen(function* () {
        for (const id of ids) if ((yield* engine.get(id))._tag === "Some") found++
      })
      times.push(performance.now() - startedMs)
    }
    if (found > 0) return yield* Effect.die(new Error("an absent item was found"))
    if (!(yield* engine.health).filter.trusted) return "its trust ended while it was measured"
    const asked = probe.archiveIds.length + probe.cacheIds.count
    const wrongly = probe.archiveIds.filter(denied).length + probe.cacheIds.count
    return [
      information(
        "get of an absent id, trusted filter",
        nanosecondsEach(times, perRound),
        `inside a running fiber, false positives included; SQLite archive with ${grouped(items)} items, ${logItems} in the log`
      ),
      atMost(
        "  questions to a tier for ids that the filter denies",
        wrongly,
        0,
        "",
        `of ${grouped(absent)} absent ids; ${asked} others were false positives and asked of the archive`
      ),
      atMost(
        "  false positives",
        (100 * asked) / absent,
        0.02,
        " %",
        `counted at the archive, of ${grouped(absent)} absent ids`
      )
    ]
  }).pipe(Effect.scoped)

export const absent = (fixtures: Fixtures): Effect.Effect<ReadonlyArray<Line>, unknown> =>
  Effect.gen(function* () {
    const { absent, items } = sizesOf(fixtures.small)
    const filter = new CuckooFilter({ capacity: items })
    for (let index = 0; index < items; index++) filter.add(wideId(index))
    const bits = atMost(
      "  bits a key",
      filter.bitsPerKey,
      17,
      "",
      `of a filter built for these ${grouped(items)} ids: ${grouped(filter.bytes)} bytes`
    )
    const lines = yield* measureGets(fixtures, items, absent, (id) => !filter.has(id))
    if (typeof lines !== "string") return [...lines, bits]

    const perRound = absent / rounds
    const times: Array<number> = []
    let positives = 0
    for (let round = 0; round < rounds; round++) {
      const ids = Array.from({ length: perRound }, (_, index) => absentId(round * perRound + index))
      const startedMs = performance.now()
      for (const id of ids) if (filter.has(id)) positives++
      times.push(performance.now() - startedMs)
    }
    return [
      information(
        "absent id, the filter alone (not through get)",
        nanosecondsEach(times, perRound),
        `the engine's filter could not be measured: ${lines}`
      ),
      atMost(
        "  false positives",
        (100 * positives) / absent,
        0.02,
        " %",
        `of ${grouped(absent)} absent ids, counted at the filter`
      ),
      bits
    ]
  })
