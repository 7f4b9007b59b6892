import { describe, expect, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import * as InProcessCache from "../../src/cache/InProcessCache.js"
import { Budget } from "../../src/reconcile/Budget.js"
import { resync } from "../../src/reconcile/Resync.js"
import { nothingLasts, settledRoots, stillDiffers } from "../../src/reconcile/Roots.js"
import { treeDifferences } from "../../src/reconcile/TreeCheck.js"
import { verify } from "../../src/reconcile/Verify.js"
import type { ItemHead, ItemRecord } from "../../src/SyncItem.js"
import { recordOf, tombstoneOf } from "../cache/records.js"
import { inTime } from "../support/inTime.js"

const exclusively = <A, E, R>(effect: Effect.Effect<A, E, R>) => effect

const head = (version: number): ItemHead => recordOf("a", version)
const grave = (version: number): ItemHead => tombstoneOf("a", version)

/** Two nodes that never stop: each archives, and 100 ms later writes to the cache. */
const busy = Effect.gen(function* () {
  const archive = MemoryArchive.make()
  const { cache } = yield* InProcessCache.make()
  const quiet = Array.from({ length: 40 }, (_, i) => recordOf(`quiet.${i % 4}.${i}`, 1))
  yield* archive.commit(quiet)
  yield* cache.put(quiet)
  const node = (name: string, from: number) =>
    Effect.gen(function* () {
      for (let version = from; ; version += 2) {
        const some = Array.from({ length: 10 }, (_, i) => recordOf(`busy.${(version + i) % 15}`, version))
        const fresh = [
          recordOf(`new.${name}.${version}`, version),
          tombstoneOf(`new.${name}.${version - 8}`, version)
        ]
        yield* archive.commit([...some, ...fresh])
        yield* Effect.sleep("100 millis")
        yield* cache.put([...some, ...fresh])
        yield* Effect.sleep("7 millis")
      }
    })
  yield* Effect.forkScoped(node("one", 10))
  yield* Effect.forkScoped(Effect.delay(node("two", 11), "40 millis"))
  yield* TestClock.adjust("1 second")
  return { archive, cache, exclusively }
})

describe("what lasts", () => {
  const cases: ReadonlyArray<
    readonly [string, ItemHead | undefined, ItemHead | undefined, ItemHead | undefined, string | undefined]
  > = [
    ["the same", head(1), head(1), head(1), undefined],
    ["on its way", head(1), head(1), head(2), undefined],
    ["arrived", head(1), head(2), head(2), undefined],
    ["arrived, and the next is on its way", head(1), head(2), head(3), undefined],
    ["stale", head(2), head(1), head(2), "changed"],
    ["stale, and the next is on its way", head(2), head(1), head(3), "changed"],
    ["never written", head(1), undefined, head(1), "missing"],
    ["new", undefined, undefined, head(1), undefined],
    ["new, and arrived", undefined, head(1), head(1), undefined],
    ["deleted since, not yet there", head(1), head(1), grave(2), undefined],
    ["deleted since, and there", head(1), grave(2), grave(2), undefined],
    ["deleted since, and nothing there", head(1), undefined, grave(2), undefined],
    ["deleted before, and still there", grave(2), head(1), grave(2), "extra"],
    ["deleted before, purged since, and still there", grave(2), head(1), undefined, "extra"],
    ["older than what was deleted since", head(2), head(1), grave(3), "extra"],
    ["deleted and made again since, the deletion is there", head(1), grave(2), head(3), undefined],
    ["deleted where it was not", head(2), grave(1), head(2), "missing"],
    ["deleted before, made again since, and the oldest is there", grave(2), head(1), head(3), "extra"],
    ["never archived", undefined, head(1), undefined, "extra"],
    ["newer than the archive has", head(1), head(5), head(2), "changed"]
  ]
  it.each(cases)("%s", (_, before, held, after, kind) => {
    expect(stillDiffers(before, held, after)).toBe(kind)
  })
})

describe("roots while others write without a pause", () => {
  it.scoped("are never equal at once, and yet nothing differs", () =>
    Effect.gen(function* () {
      const tiers = yield* busy
      let unequal = 0
      for (let i = 0; i < 20; i++) {
        if ((yield* tiers.archive.root) !== (yield* tiers.cache.root)) unequal++
        yield* TestClock.adjust("13 millis")
      }
      expect(unequal).toBeGreaterThan(15)
      expect((yield* inTime(settledRoots(tiers))).equal).toBe(true)
      const all = { roots: true, values: "full" } as const
      const result = yield* inTime(verify(tiers, all, () => 0))
      expect(result.differences).toEqual([])
      expect(result.unchecked.filter(({ what }) => what === "roots")).toEqual([])
    })
  )

  const spoils = [
    [
      "changed",
      ({ archive }: Effect.Effect.Success<typeof busy>) => archive.commit([recordOf("quiet.1.1", 5)])
    ],
    ["missing", ({ cache }) => cache.deleteMany([{ id: "quiet.1.1" }])],
    ["extra", ({ archive }) => archive.commit([tombstoneOf("quiet.1.1", 5)])]
  ] satisfies ReadonlyArray<
    readonly [string, (tiers: Effect.Effect.Success<typeof busy>) => Effect.Effect<unknown, unknown>]
  >
  it.scoped.each(spoils)("an item that is %s is found all the same", ([kind, spoil]) =>
    Effect.gen(function* () {
      const tiers = yield* busy
      yield* spoil(tiers)
      expect((yield* inTime(settledRoots(tiers))).equal).toBe(false)
      const { differences, inSync } = yield* inTime(verify(tiers, { roots: true, values: "full" }, () => 0))
      expect(inSync).toBe(false)
      expect(differences).toContainEqual({ tier: "cache", what: "root", id: "", problem: "changed" })
      if (kind !== "extra") {
        expect(differences).toContainEqual({ tier: "cache", what: "value", id: "quiet.1.1", problem: kind })
      }
      const repaired = yield* inTime(resync(tiers))
      expect(repaired).toMatchObject({ equal: true, rebuilt: false })
      expect(yield* inTime(nothingLasts(tiers))).toBe(true)
    }).pipe(Effect.orDie)
  )
})

describe("bounds", () => {
  it.scoped("a resync reads a few megabytes of contents at a time", () =>
    Effect.gen(function* () {
      const archive = MemoryArchive.make()
      const { cache } = yield* InProcessCache.make()
      const records = Array.from({ length: 60 }, (_, i) => recordOf(`big.${i}`, 1, new Uint8Array(700_000)))
      const small = Array.from({ length: 600 }, (_, i) => recordOf(`small.${i}`, 1))
      const huge = recordOf("huge.1", 1, new Uint8Array(9_000_000))
      yield* archive.commit([...records, ...small, huge])
      const read: Array<number> = []
      const watched = {
        ...archive,
        getMany: (ids: ReadonlyArray<string>) =>
          Effect.tap(archive.getMany(ids), (rows) =>
            Effect.sync(() => read.push(rows.reduce((bytes, { content }) => bytes + content.length, 0)))
          )
      }
      expect(yield* resync({ archive: watched, cache, exclusively })).toMatchObject({
        equal: true,
        written: 661
      })
      expect(read.filter((bytes) => bytes > 4 * 1024 * 1024)).toEqual([9_000_000])
      expect(read.length).toBeLessThan(25)
    })
  )

  it.scoped(
    "a budget of rows counts the leaves of a tree that is walked, and one of time ends a resync",
    () =>
      Effect.gen(function* () {
        const archive = MemoryArchive.make()
        const { cache } = yield* InProcessCache.make()
        const records = Array.from({ length: 6000 }, (_, i) => recordOf(`t.${i % 5}.${i}`, 1))
        yield* archive.commit(records)
        yield* cache.put(records)
        let listed = 0
        const counted = {
          children: (...args: Parameters<typeof cache.children>) =>
            Effect.tap(cache.children(...args), (children) => Effect.sync(() => (listed += children.length)))
        }
        const rows = yield* Budget.begin({ rows: 1500 })
        yield* treeDifferences(archive, counted, rows, () => Effect.void)
        expect(rows.exhausted).toBe(true)
        // One round of pages beyond the bound at most.
        expect(listed).toBeLessThan(7000)
        const whole = yield* Budget.begin()
        listed = 0
        yield* treeDifferences(archive, counted, whole, () => Effect.die("no difference"))
        expect([whole.exhausted, listed]).toEqual([false, 6006])

        yield* cache.reset
        const slow = {
          ...cache,
          repair: (some: ReadonlyArray<ItemRecord>) => Effect.delay(cache.repair(some), "100 millis")
        }
        const time = yield* Budget.begin({ milliseconds: 250 })
        const started = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const result = yield* inTime(resync({ archive, cache: slow, exclusively }, { budget: time }))
        const took = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - started
        expect(result.equal).toBe(false)
        expect(result.written).toBeGreaterThan(0)
        expect(took).toBeLessThan(500)
      })
  )
})
