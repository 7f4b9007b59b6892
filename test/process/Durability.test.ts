import { existsSync, mkdirSync, mkdtempSync, rmSync, watch } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { Chance } from "./durability/Chance.js"
import { Expectations } from "./durability/Expectations.js"
import { readJournal } from "./durability/Journal.js"
import { ids, type KillPoint, type Life, type Moment } from "./durability/Life.js"
import { startWriters, type Writers } from "./durability/Writers.js"
import { cli } from "./support.js"

const seed = Number(process.env.SYNC_ENGINE_TEST_SEED ?? 20_240)

let writers: Writers
let directory: string

beforeAll(async () => {
  writers = await startWriters(2)
})
afterAll(() => writers.stop())

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sync-engine-durability-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** When the parent kills: so long after a moment, or after the log's lock file is there. */
interface Kill {
  readonly after: Moment | "locked"
  readonly delayMs: number
}

/** The lives on one data directory and what they leave behind. */
const makeWorld = (name: string, chance: Chance) => {
  const dataDir = join(directory, name)
  const expectations = new Expectations()
  const ends: Array<string> = []
  let lives = 0
  const live = async (
    settings: Life["settings"],
    how: Pick<Life, "killSelf" | "stopAfterMs"> & { readonly kill?: Kill; readonly archiveLevel?: boolean }
  ) => {
    lives++
    const { archiveLevel = true, kill, ...ending } = how
    const journal = join(directory, `${name}.${lives}.ndjson`)
    const title = `seed ${seed}, ${name}, life ${lives} ${JSON.stringify({ ...settings, ...how })}`
    let timer: NodeJS.Timeout | undefined
    const passed = (moment: Kill["after"], end: () => void) => {
      // A start with nothing to carry has no draining: it is killed when it serves.
      if (timer !== undefined || kill === undefined) return
      if (moment === kill.after || moment === "ready") timer = setTimeout(end, kill.delayMs)
    }
    mkdirSync(dataDir, { recursive: true })
    let end = () => {}
    const watcher = watch(dataDir, (_, file) => {
      if (file === "wal.db-lock") passed("locked", end)
    })
    const result = await writers.run(
      {
        seed: chance.below(2 ** 32),
        firstOp: lives * 1_000_000,
        journal,
        dataDir,
        settings,
        archiveLevel,
        ...ending
      },
      (moment, kills) => {
        end = kills
        passed(moment, kills)
      }
    )
    clearTimeout(timer)
    watcher.close()
    const expected = how.stopAfterMs === undefined ? "SIGKILL" : 0
    expect(result.signal ?? result.code, `${title}\n${result.errors}`).toBe(expected)
    if (existsSync(journal)) expectations.take(title, readJournal(journal))
    expect(expectations.problems.slice(0, 10)).toEqual([])
    ends.push(how.killSelf?.point ?? kill?.after ?? "stopped")
  }
  return { dataDir, ends, expectations, live }
}

const points: ReadonlyArray<KillPoint> = ["acknowledged", "logged", "archiving", "archived", "released"]

describe("kill -9", () => {
  it("loses nothing acknowledged and undoes no deletion, whenever it comes", async () => {
    const chance = new Chance(seed)
    const { dataDir, ends, expectations, live } = makeWorld("data", chance)
    const settings = (): Life["settings"] => ({
      batchFlushCount: chance.pick([1, 7, 50, 400]),
      batchFlushInterval: chance.pick([1, 20, 100]),
      l1MaxBytes: chance.pick([0, 16 * 1024, 1024 * 1024]),
      walMaxItems: chance.pick([300, 5_000])
    })
    // Nothing is flushed before the kill, so the next start has much to carry.
    const hoarding = (): Life["settings"] => ({
      ...settings(),
      batchFlushCount: 100_000,
      batchFlushInterval: 3_600_000,
      walMaxItems: 5_000
    })
    const loaded = () => ({ kill: { after: "ready" as const, delayMs: chance.below(300) } })
    for (let round = 0; round < 5; round++) {
      await live(settings(), loaded())
      await live(hoarding(), { ...loaded(), archiveLevel: false })
      await live(
        { ...settings(), batchFlushCount: chance.pick([20, 100]) },
        { kill: { after: "draining", delayMs: chance.below(25) } }
      )
      await live(settings(), { kill: { after: "opening", delayMs: chance.below(200) } })
      await live(settings(), { kill: { after: "flushing", delayMs: chance.below(12) } })
      await live(settings(), { killSelf: { point: points[round]!, count: chance.between(1, 15) } })
    }
    expect(ends.length).toBeGreaterThanOrEqual(20)
    await live(settings(), { stopAfterMs: 200 })
    await live(settings(), { stopAfterMs: 0 })

    // Seen by another program.
    const verified = await cli(["verify", "--offline", "--json", "--data-dir", dataDir])
    expect(verified.code, verified.err).toBe(0)
    expect(JSON.parse(verified.out)).toMatchObject({
      in_sync: true,
      rows_checked: expectations.items().size
    })
    const scanned = await cli(["scan", "--offline", "--json", "--data-dir", dataDir])
    const items = scanned.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly id: string; readonly version: number })
    expect(new Map(items.map(({ id, version }) => [id, version]))).toEqual(
      new Map([...expectations.items()].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
    )

    // The kills came while there was something to lose.
    expect(expectations.counts.acknowledged).toBeGreaterThan(1_000)
    expect(expectations.counts.deletions).toBeGreaterThan(100)
    expect(expectations.counts.memory).toBeGreaterThan(100)
    expect(expectations.counts.starts).toBeGreaterThanOrEqual(20)
    expect(expectations.counts.drained).toBeGreaterThanOrEqual(10)
    expect(expectations.items().size).toBeGreaterThan(ids.length / 4)
  })

  it("during the very first opening of a directory leaves one that opens and keeps its promises", async () => {
    const chance = new Chance(seed + 1)
    const settings = { batchFlushCount: 50, batchFlushInterval: 20, l1MaxBytes: 65_536, walMaxItems: 5_000 }
    let killed = 0
    let early = 0
    for (let round = 0; round < 4; round++) {
      const { expectations, live } = makeWorld(`fresh${round}`, chance)
      await live(settings, { kill: { after: "locked", delayMs: chance.below(25) } })
      await live(settings, { kill: { after: "opening", delayMs: chance.below(150) } })
      killed += 2
      early += 2 - expectations.counts.starts
      await live(settings, { stopAfterMs: 20 })
      expect(expectations.counts.acknowledged).toBeGreaterThan(0)
      await live(settings, { stopAfterMs: 0 })
    }
    // Killed before it had served.
    expect(early).toBeGreaterThan(killed / 2)
  })
})
