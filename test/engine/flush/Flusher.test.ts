import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, TestClock } from "effect"
import { ArchiveError } from "../../../src/archive/ArchiveError.js"
import { mostOverdueAlone } from "../../../src/engine/flush/Flusher.js"
import type { SyncEngineApi } from "../../../src/SyncEngineApi.js"
import { textOf } from "../../../src/SyncItem.js"
import { makeDisk } from "../../../src/wal/MemoryLog.js"
import { beside, items, PlayedArchive, settle, start } from "../support.js"

const textIn = (item: Option.Option<Parameters<typeof textOf>[0]>) =>
  Option.getOrUndefined(Option.map(item, textOf))

const letters = (service: SyncEngineApi) =>
  Effect.map(service.deadLetters.list({ limit: 10_000 }), (list) => list.map(({ record }) => record.id))

describe("batches", () => {
  it.scoped("carry the newest version of each id, in the order of the log", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(["a", "b", "a", "c", "b", "a"].map((id, n) => ({ id, content: `${n}` })))
      const result = yield* service.flush
      expect(result).toEqual({ flushed: 6, deadLettered: 0, pending: 0 })
      expect(archive.commits).toEqual([["a", "b", "c"]])
      expect(["a", "b", "c"].map((id) => textOf(archive.state.records.get(id)!))).toEqual(["5", "4", "3"])
      expect((yield* service.stats).archived).toBe(6)
    })
  )

  it.scoped("are bounded by count and by bytes; one item above the bytes goes alone", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { batchFlushCount: 10, batchFlushBytes: 5000, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      yield* service.submitMany(items(25, "count."))
      yield* service.submitMany([
        { id: "big.1", content: "x".repeat(9000) },
        { id: "big.2", content: "x".repeat(9000) },
        { id: "small", content: "x" }
      ])
      archive.down = false
      archive.calls.length = 0
      yield* service.flush
      expect(archive.commits.map((ids) => ids.length)).toEqual([10, 10, 5, 1, 1, 1])
      expect(archive.commits[3]).toEqual(["big.1"])
    })
  )

  it.scoped("are halved while the archive's time is over for them, and grow again", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { before } = archive.options.hooks!
      const problem = "no answer within 60000 ms"
      let most = 30
      const slow: typeof before = (call) =>
        (call.records?.length ?? 0) > most
          ? new ArchiveError({ operation: "commit", kind: "transient", overdue: true, problem })
          : before!(call)
      const { service } = yield* start({
        archive: { ...archive.options, hooks: { ...archive.options.hooks, before: slow } },
        config: { batchFlushCount: 100, batchFlushInterval: 3_600_000 }
      })
      const sizes = () => archive.commits.map((ids) => ids.length)
      yield* service.submitMany(items(90, "a."))
      for (let attempt = 1; attempt <= 2; attempt++)
        expect((yield* Effect.exit(service.flush))._tag).toBe("Failure")
      expect((yield* service.flush).pending).toBe(0)
      expect(sizes()).toEqual([25, 25, 25, 15])
      most = 1_000
      archive.calls.length = 0
      yield* service.submitMany(items(900, "b."))
      yield* service.flush
      expect(Math.max(...sizes())).toBe(100)
      expect(sizes().slice(0, 4)).toEqual([25, 25, 25, 25])
    })
  )

  it.scoped("a write for which the archive's time is over again and again, alone, blocks nothing", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { before } = archive.options.hooks!
      let alone = 0
      const slow: typeof before = (call) => {
        if (call.records?.some(({ id }) => id === "slow") !== true) return before!(call)
        if (call.records.length === 1) alone++
        const problem = "no answer within 60000 ms"
        return new ArchiveError({ operation: "commit", kind: "transient", overdue: true, problem })
      }
      const { service } = yield* start({
        archive: { ...archive.options, hooks: { ...archive.options.hooks, before: slow } },
        config: { batchFlushCount: 4, batchFlushInterval: 3_600_000 }
      })
      yield* service.submitMany(["slow", "a", "b", "c", "d"].map((id) => ({ id, content: "x" })))
      // Nothing is put aside while the archive is unavailable.
      archive.down = true
      for (let attempt = 0; attempt < 20; attempt++)
        expect((yield* Effect.exit(service.flush))._tag).toBe("Failure")
      expect((yield* service.stats).deadLetters).toBe(0)
      archive.down = false
      alone = 0
      while ((yield* Effect.exit(service.flush))._tag === "Failure")
        expect(alone).toBeLessThan(mostOverdueAlone)
      expect(alone).toBe(mostOverdueAlone)
      expect(archive.live()).toEqual(["a", "b", "c", "d"])
      const [letter, ...others] = yield* service.deadLetters.list()
      expect([letter!.record.id, others]).toEqual(["slow", []])
      expect(letter!.reason).toContain("no answer within 60000 ms, tried")
    })
  )

  it.scoped("a flush takes what was acknowledged before it, early writes included, and no more", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        commitDelay: Effect.sleep(10),
        config: { batchFlushInterval: 3_600_000 }
      })
      yield* service.submit({ id: "early", content: "x" }, { durability: "memory" })
      const flush = yield* beside(service.flush)
      yield* TestClock.adjust(5)
      const late = yield* beside(service.submit({ id: "late", content: "x" }))
      yield* TestClock.adjust(100)
      yield* Fiber.join(late)
      expect((yield* Fiber.join(flush)).flushed).toBe(1)
      expect(archive.live()).toEqual(["early"])
    })
  )

  it.scoped("an older write never replaces another node's newer one, and memory follows", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "mine" })
      const { version } = Option.getOrThrow(yield* service.get("a"))
      archive.put("a", version + 1000, "theirs")
      yield* service.flush
      expect(textIn(yield* service.get("a"))).toBe("theirs")
      expect((yield* service.stats).superseded).toBe(1)
      expect((yield* service.submit({ id: "a", content: "again" })).version).toBeGreaterThan(version + 1000)
    })
  )
})

describe("turns", () => {
  /** An archive that takes 10 ms for a commit, and writers that never let the log become empty. */
  const busy = (config: Parameters<typeof start>[0]) =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const before = archive.options.hooks!.before!
      const engine = yield* start({
        archive: {
          ...archive.options,
          hooks: {
            ...archive.options.hooks,
            before: (call) =>
              Effect.zipLeft(before(call), call.operation === "commit" ? Effect.sleep(10) : Effect.void)
          }
        },
        ...config
      })
      let batch = 0
      const writes = Effect.suspend(() => engine.service.submitMany(items(40, `w${batch++}.`))).pipe(
        Effect.zipRight(Effect.sleep(10)),
        Effect.forever
      )
      yield* Effect.forkScoped(writes)
      return { archive, ...engine }
    })

  it.scoped("counts, root, verification and a flush come through while writers go on for ever", () =>
    Effect.gen(function* () {
      // Ten entries a commit: the backlog grows by 30 in 10 ms and never ends.
      const { service } = yield* busy({ config: { batchFlushCount: 10, batchFlushInterval: 20 } })
      yield* TestClock.adjust(200)
      const questions: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        service.countPrefix("w0"),
        service.merkleRoot,
        service.flush,
        service.isSynced
      ]
      const asked = yield* Effect.forEach(questions, beside)
      // 800 entries were acknowledged before the questions: 80 commits, and a few that were queued ahead.
      yield* TestClock.adjust(1500)
      const answers = yield* Effect.forEach(asked, Fiber.poll)
      expect(answers.map((answer) => Option.getOrUndefined(answer)?._tag)).toEqual(
        questions.map(() => "Success")
      )
      expect((yield* service.stats).pending).toBeGreaterThan(1000)
      expect(yield* Fiber.join(asked[0]!)).toBe(40)
    })
  )

  it.scoped("what cannot be carried within FLUSH_TIMEOUT is an error that says so, and costs nothing", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options, config: { flushTimeout: 2000 } })
      archive.hold("commit")
      yield* service.submit({ id: "a", content: "x" })
      const asked = yield* Effect.forEach(
        [service.countPrefix(""), service.merkleRoot, service.verify(), service.flush],
        (question) => beside(Effect.flip(question as Effect.Effect<unknown, unknown>))
      )
      yield* TestClock.adjust(1999)
      expect((yield* Effect.forEach(asked, Fiber.poll)).every(Option.isNone)).toBe(true)
      yield* TestClock.adjust(1)
      for (const fiber of asked) {
        const error = yield* Fiber.join(fiber)
        expect(error).toMatchObject({ _tag: "TierUnavailable", tier: "archive", retryAfterMs: 1000 })
        expect(String((error as Error).message)).toContain("FLUSH_TIMEOUT (2000 ms); 1 write is pending")
      }
      archive.letGo("commit")
      yield* settle
      expect(yield* service.countPrefix("")).toBe(1)
    })
  )
})

describe("one bad row blocks nothing", () => {
  const cases: ReadonlyArray<readonly [name: string, bad: (n: number) => boolean, culprits: number]> = [
    ["1 of 1,000", (n) => n === 613, 1],
    ["the first", (n) => n === 0, 1],
    ["the last", (n) => n === 999, 1],
    ["alternate ones", (n) => n % 2 === 1, 500],
    ["all", () => true, 1000]
  ]

  it.scoped.each(cases)("%s", ([, bad, culprits]) =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = ({ id }) => bad(Number(id.slice(5)))
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(items(1000))
      const result = yield* service.flush
      expect(result).toEqual({ flushed: 1000, deadLettered: culprits, pending: 0 })
      const good = items(1000).filter((_, n) => !bad(n))
      expect(archive.live()).toHaveLength(good.length)
      expect(new Set(yield* letters(service))).toEqual(
        new Set(items(1000).flatMap(({ id }, n) => (bad(n) ? [id] : [])))
      )
      // A single culprit is found by halving, not one by one.
      if (culprits === 1) expect(archive.commits.length).toBeLessThanOrEqual(2 * 10 + 1)
      const stats = yield* service.stats
      expect([stats.archived, stats.deadLetters]).toEqual([1000 - culprits, culprits])
    })
  )

  it.scoped("the reason is told; the refused write is not read any more, its predecessor is", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({ archive: archive.options })
      yield* service.submit({ id: "a", content: "good" })
      yield* service.flush
      archive.refuses = (record) => textOf(record) === "poison"
      yield* service.submit({ id: "a", content: "poison" })
      yield* service.submit({ id: "new", content: "poison" })
      expect(textIn(yield* service.get("a"))).toBe("poison")
      yield* service.flush
      expect(textIn(yield* service.get("a"))).toBe("good")
      expect(textIn(yield* service.get("new"))).toBeUndefined()
      expect(yield* service.deadLetters.list()).toMatchObject([
        { record: { id: "a" }, reason: "no room for a" },
        { record: { id: "new" }, reason: "no room for new" }
      ])
    })
  )

  it.scoped("in place of a refused version the batch's newest good one is archived", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = (record) => textOf(record).startsWith("bad")
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(
        ["good 1", "good 2", "bad 3", "bad 4"].map((content) => ({ id: "a", content }))
      )
      yield* service.submit({ id: "b", content: "x" })
      const result = yield* service.flush
      expect(textOf(archive.state.records.get("a")!)).toBe("good 2")
      expect(textIn(yield* service.get("a"))).toBe("good 2")
      expect(result).toMatchObject({ flushed: 5, deadLettered: 2 })
      expect(archive.live()).toEqual(["a", "b"])
    })
  )

  it.scoped("each caller that waits for the archive hears of its own write", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = (record) => textOf(record).startsWith("bad")
      const { service } = yield* start({ archive: archive.options })
      const fiber = yield* beside(
        service.submitMany(
          ["good", "bad", "good again"].map((content, n) => ({ id: n === 2 ? "b" : "a", content })),
          { durability: "archive" }
        )
      )
      expect((yield* Fiber.join(fiber)).map(({ _tag }) => _tag)).toEqual([
        "Acknowledged",
        "Rejected",
        "Acknowledged"
      ])
    })
  )

  it.scoped("a transient failure in the middle of a split loses and repeats nothing", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = ({ id }) => id === "item.3"
      let stumbles = 1
      archive.stumbles = (call) =>
        call.operation === "commit" && archive.commits.length === 3 && stumbles-- > 0
      const { service } = yield* start({ archive: archive.options })
      yield* service.submitMany(items(8))
      expect((yield* Effect.flip(service.flush))._tag).toBe("TierUnavailable")
      expect((yield* service.stats).pending).toBe(8)
      expect(yield* letters(service)).toEqual([])
      expect(yield* service.flush).toEqual({ flushed: 8, deadLettered: 1, pending: 0 })
      expect(archive.live()).toHaveLength(7)
      expect(yield* letters(service)).toEqual(["item.3"])
    })
  )

  it.scoped("dead letters that cannot be stored keep the batch in the log", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      archive.refuses = ({ id }) => id === "item.1"
      const { service } = yield* start({ archive: archive.options, disk })
      yield* service.submitMany(items(3))
      disk.faults.writes = 1
      expect((yield* Effect.flip(service.flush))._tag).toBe("LogUnavailable")
      expect(disk.entries).toHaveLength(3)
      expect((yield* service.health).degraded.map(({ component }) => component)).toEqual(["log"])
      expect(yield* service.flush).toEqual({ flushed: 3, deadLettered: 1, pending: 0 })
      expect((yield* service.health).degraded).toEqual([])
      expect(yield* letters(service)).toEqual(["item.1"])
    })
  )
})

describe("failures around the commit", () => {
  it.scoped("a commit whose answer was lost is repeated, and counts once", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      archive.lostAnswers = 1
      const { service } = yield* start({ archive: archive.options, disk })
      yield* service.submitMany(items(5))
      yield* Effect.flip(service.flush)
      expect(archive.live()).toHaveLength(5)
      expect(disk.entries).toHaveLength(5)
      expect((yield* service.status("item.0")).state).toBe("pending")
      expect(yield* service.flush).toEqual({ flushed: 5, deadLettered: 0, pending: 0 })
      expect(disk.entries).toHaveLength(0)
      expect((yield* service.verify()).inSync).toBe(true)
      expect((yield* service.stats).archived).toBe(5)
    })
  )

  it.scoped("a release that failed is made up for, without another write", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      const { service } = yield* start({ archive: archive.options, disk })
      yield* service.submitMany(items(5))
      disk.faults.writes = 1
      expect((yield* service.flush).pending).toBe(0)
      expect(archive.live()).toHaveLength(5)
      expect(disk.entries).toHaveLength(5)
      yield* TestClock.adjust(2000)
      expect(disk.entries).toHaveLength(0)
      expect((yield* service.health).degraded).toEqual([])
      expect((yield* service.stats).pending).toBe(0)
      expect(archive.commits).toHaveLength(1)
    })
  )

  it.scoped("a release that failed just before the shutdown leaves nothing in the log", () =>
    Effect.gen(function* () {
      const disk = makeDisk()
      const { service } = yield* start({ disk })
      yield* service.submitMany(items(5))
      disk.faults.writes = 1
      yield* service.flush
      expect(disk.entries).toHaveLength(5)
      expect(yield* service.shutdown).toMatchObject({ flushedWal: true, itemsLeftInLog: 0, problems: [] })
    })
  )

  it.scoped("after a crash between the commit and the release the next start repeats it without harm", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ archive: archive.options, disk })
          yield* service.submitMany(items(5))
          yield* service.delete("item.2")
          archive.lostAnswers = 1000
          yield* Effect.flip(service.flush)
        })
      )
      archive.lostAnswers = 0
      expect(disk.entries).toHaveLength(6)
      const { service } = yield* start({ archive: archive.options, disk })
      expect(disk.entries).toHaveLength(0)
      expect(archive.live()).toHaveLength(4)
      expect((yield* service.verify()).inSync).toBe(true)
    })
  )
})

describe("several transactions and batches at once", () => {
  it.scoped("the outcome is that of one after the other", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        config: { sqlWriteConcurrency: 4, batchFlushCount: 10, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      const written = Array.from({ length: 500 }, (_, n) => ({
        id: `item.${(n * 7) % 90}`,
        content: n % 11 === 0 ? `bad ${n}` : `good ${n}`
      }))
      yield* service.submitMany(written)
      archive.down = false
      archive.refuses = (record) => textOf(record).startsWith("bad")
      const result = yield* service.flush
      expect(result).toMatchObject({ flushed: 500, pending: 0 })
      for (const { id } of written) {
        const good = written.filter((other) => other.id === id && !other.content.startsWith("bad"))
        expect(textOf(archive.state.records.get(id)!)).toBe(good[good.length - 1]!.content)
      }
      expect((yield* service.stats).deadLetters).toBe(result.deadLettered)
      expect((yield* service.verify()).inSync).toBe(true)
    })
  )

  it.scoped("a batch whose end fails while the next one is committed is repeated with it", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      let slow = false
      const { service } = yield* start({
        archive: archive.options,
        disk,
        commitDelay: Effect.suspend(() => (slow ? Effect.sleep(10) : Effect.void)),
        config: { batchFlushCount: 10, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      yield* service.submitMany(items(30))
      // The flush that the full batches ask for fails first.
      yield* settle
      archive.down = false
      archive.refuses = ({ id }) => id === "item.3" || id === "item.13"
      slow = true
      disk.faults.writes = 1
      const flush = yield* beside(Effect.flip(service.flush))
      yield* TestClock.adjust(1000)
      expect((yield* Fiber.join(flush))._tag).toBe("LogUnavailable")
      expect(disk.entries).toHaveLength(30)
      // Nothing of it may count before its letters are stored.
      expect((yield* service.status("item.0")).state).toBe("pending")
      slow = false
      expect(yield* service.flush).toEqual({ flushed: 30, deadLettered: 2, pending: 0 })
      expect(new Set(yield* letters(service))).toEqual(new Set(["item.3", "item.13"]))
      expect(archive.live()).toHaveLength(28)
      expect(disk.entries).toHaveLength(0)
    })
  )
})

describe("the queue beyond memory", () => {
  it.scoped("what spilled is read back from the log, in order, and nothing is carried twice", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const { service } = yield* start({
        archive: archive.options,
        limits: { freshQueueBytes: 0 },
        config: { batchFlushBytes: 1024, batchFlushCount: 10, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      for (let batch = 0; batch < 20; batch++)
        yield* service.submitMany(items(10, `b${batch}.`, "x".repeat(200)))
      archive.down = false
      archive.calls.length = 0
      const flush = yield* beside(service.flush)
      // Writes go on while the log is read.
      yield* service.submitMany(items(10, "late.", "x".repeat(200)))
      yield* settle
      expect((yield* Fiber.join(flush)).flushed).toBeGreaterThanOrEqual(200)
      yield* service.flush
      const order = archive.commits.flat()
      expect(order).toHaveLength(210)
      expect(order).toEqual([
        ...Array.from({ length: 20 }, (_, batch) => items(10, `b${batch}.`).map(({ id }) => id)).flat(),
        ...items(10, "late.").map(({ id }) => id)
      ])
      // Caught up: the next writes take the short way again.
      yield* service.submit({ id: "fresh", content: "x" })
      expect(yield* service.flush).toEqual({ flushed: 1, deadLettered: 0, pending: 0 })
    })
  )

  it.scoped("a log that cannot be read for a while delays the flush, no more", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      const { service } = yield* start({
        archive: archive.options,
        disk,
        limits: { freshQueueBytes: 0 },
        config: { batchFlushBytes: 1024, batchFlushInterval: 3_600_000 }
      })
      archive.down = true
      yield* service.submitMany(items(50, "a.", "x".repeat(500)))
      yield* service.submitMany(items(50, "b.", "x".repeat(500)))
      archive.down = false
      disk.faults.reads = 1
      expect((yield* Effect.flip(service.flush))._tag).toBe("LogUnavailable")
      yield* service.flush
      expect(archive.live()).toHaveLength(100)
      expect((yield* service.stats).pending).toBe(0)
    })
  )
})

describe("dead letters", () => {
  const poisoned = (count: number, limits = {}) =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      archive.refuses = () => true
      const engine = yield* start({ archive: archive.options, disk, limits })
      yield* engine.service.submitMany(items(count))
      yield* engine.service.flush
      return { archive, disk, service: engine.service }
    })

  it.scoped("are listed in pages, of bounded size whatever is asked", () =>
    Effect.gen(function* () {
      const { service } = yield* poisoned(250)
      expect(yield* service.deadLetters.list()).toHaveLength(100)
      const page = yield* service.deadLetters.list({ after: 200, limit: 20 })
      expect(page.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 20 }, (_, n) => 201 + n))
      for (const limit of [0, -5, Number.NaN, 0.5]) {
        const list = yield* service.deadLetters.list({ limit })
        expect(list.length).toBeGreaterThan(0)
        expect(list.length).toBeLessThanOrEqual(100)
      }
    })
  )

  it.scoped("retry puts them back: archived once the archive takes them", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* poisoned(30, { lettersPerPage: 7 })
      archive.refuses = () => false
      expect(yield* service.deadLetters.retry([3, 5, 999])).toBe(2)
      yield* service.flush
      expect(archive.live()).toEqual(["item.2", "item.4"])
      expect(yield* service.deadLetters.retry()).toBe(28)
      yield* service.flush
      expect(archive.live()).toHaveLength(30)
      expect((yield* service.stats).deadLetters).toBe(0)
    })
  )

  it.scoped("a retried letter that is older than what is stored now changes nothing", () =>
    Effect.gen(function* () {
      const { archive, service } = yield* poisoned(1)
      archive.refuses = () => false
      yield* service.submit({ id: "item.0", content: "newer" })
      yield* service.flush
      expect(yield* service.deadLetters.retry()).toBe(1)
      expect(textIn(yield* service.get("item.0"))).toBe("newer")
      yield* service.flush
      expect(textIn(yield* service.get("item.0"))).toBe("newer")
      expect(textOf(archive.state.records.get("item.0")!)).toBe("newer")
    })
  )

  it.scoped("retry ends, also when the archive refuses them again as fast as they are put back", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      archive.refuses = () => true
      const { service } = yield* start({
        archive: archive.options,
        commitDelay: Effect.sleep(50),
        limits: { lettersPerPage: 1 },
        config: { batchFlushInterval: 20 }
      })
      const submitted = yield* beside(service.submitMany(items(3)))
      yield* TestClock.adjust(800)
      yield* Fiber.join(submitted)
      expect((yield* service.stats).deadLetters).toBe(3)
      const retry = yield* beside(service.deadLetters.retry())
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(retry)).toBe(3)
      expect((yield* service.stats).deadLetters).toBe(3)
    })
  )

  it.scoped("a retry that the log refuses leaves the letters where they are", () =>
    Effect.gen(function* () {
      const { disk, service } = yield* poisoned(5)
      disk.faults.commits = 1
      expect((yield* Effect.flip(service.deadLetters.retry()))._tag).toBe("LogUnavailable")
      expect((yield* service.stats).deadLetters).toBe(5)
    })
  )

  it.scoped("drop removes the named ones, or all", () =>
    Effect.gen(function* () {
      const { service } = yield* poisoned(10, { lettersPerPage: 3 })
      expect(yield* service.deadLetters.drop([2, 4, 400])).toBe(2)
      expect(yield* letters(service)).toHaveLength(8)
      expect(yield* service.deadLetters.drop()).toBe(8)
      expect(yield* letters(service)).toEqual([])
    })
  )

  it.scoped("they survive a restart, and the log beside them is empty", () =>
    Effect.gen(function* () {
      const archive = new PlayedArchive()
      const disk = makeDisk()
      archive.refuses = ({ id }) => id === "item.1"
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { service } = yield* start({ archive: archive.options, disk })
          yield* service.submitMany(items(3))
          const report = yield* service.shutdown
          expect(report).toMatchObject({ flushedWal: true, itemsLeftInLog: 0, itemsFlushed: 2 })
        })
      )
      const { service } = yield* start({ archive: archive.options, disk })
      expect(yield* letters(service)).toEqual(["item.1"])
      expect((yield* service.stats).pending).toBe(0)
    })
  )
})
