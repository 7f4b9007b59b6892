import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { MemoryArchiveState, make as makeArchive } from "../../src/archive/memory/MemoryArchive.js"
import * as InProcessCache from "../../src/cache/InProcessCache.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { Budget } from "../../src/reconcile/Budget.js"
import type { Tiers } from "../../src/reconcile/Roots.js"
import { sampleIds } from "../../src/reconcile/ValueCheck.js"
import { type VerifyOptions, verify } from "../../src/reconcile/Verify.js"
import { contentHashOf, type ItemRecord, tombstone } from "../../src/SyncItem.js"
import { put } from "../archive/records.js"
import { inTime } from "../support/inTime.js"

const quiet: Tiers["exclusively"] = (effect) => effect

const rows = (count: number) => Array.from({ length: count }, (_, i) => put(`r.${i % 7}.${i}`, 1 + i))

const extras = [put("r", 1), put("r.3", 1), put("r-s.t", 1), put("r s", 1), tombstone("r.gone", 4, 4)]

/** Archive and cache with the same items, and what lies behind the archive. */
const tiers = (count = 300) =>
  Effect.gen(function* () {
    const state = new MemoryArchiveState()
    const archive = makeArchive({ state })
    const { cache, control } = yield* InProcessCache.make()
    const records = [...rows(count), ...extras]
    yield* archive.commit(records)
    yield* cache.put(records)
    const check = (options: VerifyOptions = {}, exclusively = quiet) =>
      verify({ archive, cache, exclusively }, options, () => 0)
    const damage = (id: string, change: Partial<ItemRecord>) =>
      state.records.set(id, { ...state.records.get(id)!, ...change })
    return { archive, cache, check, control, damage, records, state }
  })

const live = 300 + extras.length - 1

describe("verify", () => {
  it.scoped("says what it has looked at, and only that", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, check } = yield* tiers()
        const root = yield* archive.root
        const all = { inSync: true, complete: true, archiveRoot: root, differences: [], differencesTotal: 0 }
        expect(yield* check()).toEqual({
          ...all,
          cacheRoot: root,
          recomputed: { root, rows: live },
          checked: { rows: live, contents: 0, values: 0 },
          unchecked: [],
          pending: 0
        })
        expect(yield* check({ roots: true })).toMatchObject({
          ...all,
          cacheRoot: root,
          recomputed: undefined
        })
        expect(yield* check({ rows: true })).toMatchObject({ ...all, cacheRoot: undefined })
        expect(yield* check({ contents: true })).toMatchObject({
          ...all,
          checked: { rows: 0, contents: live, values: 0 }
        })
        expect(yield* check({ values: "sample", sample: 20 })).toMatchObject({
          ...all,
          checked: { rows: 0, contents: 0, values: 20 }
        })
        expect(yield* check({ rows: true, contents: true, values: "full" })).toMatchObject({
          ...all,
          checked: { rows: live, contents: live, values: live }
        })
      })
    )
  )

  it.scoped("needs no cache, and says when one is unavailable", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, check, control } = yield* tiers()
        expect(
          yield* verify(
            { archive, cache: undefined, exclusively: quiet },
            { roots: true, values: "full" },
            () => 3
          )
        ).toMatchObject({ inSync: true, complete: true, cacheRoot: undefined, pending: 3 })
        control.setAvailable(false)
        const result = yield* check({ roots: true, rows: true, values: "full" })
        expect(result).toMatchObject({
          inSync: false,
          complete: false,
          cacheRoot: undefined,
          differences: []
        })
        expect(result.unchecked.map(({ what }) => what)).toEqual(["roots", "values"])
        expect(result.recomputed?.rows).toBe(live)
      })
    )
  )

  it.scoped("finds rows that changed, came and went behind the tree's back", () =>
    inTime(
      Effect.gen(function* () {
        for (const tamper of [
          ({ damage }: Effect.Effect.Success<ReturnType<typeof tiers>>) => damage("r.2.9", { updatedAt: 77 }),
          ({ state }: Effect.Effect.Success<ReturnType<typeof tiers>>) => state.remove("r.2.9"),
          ({ state }: Effect.Effect.Success<ReturnType<typeof tiers>>) =>
            state.records.set("r.2.new", put("r.2.new", 1))
        ]) {
          const all = yield* tiers()
          tamper(all)
          const result = yield* all.check({ rows: true })
          expect(result.inSync).toBe(false)
          expect(result.recomputed!.root).toBe(MerkleTree.from(all.state.live()).root)
          expect(result.differences).toEqual([
            { tier: "archive", what: "node", id: "r.2", problem: "changed" },
            { tier: "archive", what: "node", id: "r", problem: "changed" },
            { tier: "archive", what: "root", id: "", problem: "changed" }
          ])
        }
      })
    )
  )

  it.scoped("finds nodes that were changed, lost or added although the root is right", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, check, state } = yield* tiers()
        const nodes = state.tree.totals() as Map<string, { count: number; sum: bigint }>
        const changed = nodes.get("r.1")!
        nodes.set("r.1", { ...changed, sum: changed.sum + 1n })
        nodes.delete("r.4")
        nodes.set("r.5.5", { count: 1, sum: 5n })
        nodes.set("nothing.here", { count: 0, sum: 0n })
        const result = yield* check({ rows: true })
        expect(result.recomputed!.root).toBe(yield* archive.root)
        expect(result.differencesTotal).toBe(4)
        expect([...result.differences].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
          { tier: "archive", what: "node", id: "nothing.here", problem: "extra" },
          { tier: "archive", what: "node", id: "r.1", problem: "changed" },
          { tier: "archive", what: "node", id: "r.4", problem: "missing" },
          { tier: "archive", what: "node", id: "r.5.5", problem: "extra" }
        ])
        expect((yield* check({ rows: true, differences: 1 })).differences).toHaveLength(1)
        expect((yield* check({ rows: true, differences: 1 })).differencesTotal).toBe(4)
      })
    )
  )

  it.scoped("finds bytes that are not what their hash says, large ones too", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, check, damage } = yield* tiers()
        const large = new Uint8Array(3 * 1024 * 1024 + 17).fill(7)
        yield* archive.commit([put("large", 1, "", { content: large })])
        expect((yield* check({ contents: true })).inSync).toBe(true)
        damage("large", { content: large.slice(1) })
        damage("r.2.9", { content: new TextEncoder().encode("other") })
        damage("r.3.10", { contentHash: contentHashOf(new Uint8Array([1])) })
        const result = yield* check({ contents: true })
        expect(result.differences.map(({ id, what }) => `${what} ${id}`)).toEqual([
          "content large",
          "content r.2.9",
          "content r.3.10"
        ])
      })
    )
  )

  it.scoped("finds values of the cache that are missing, damaged or others than the rows", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, cache, check, control } = yield* tiers()
        control.corrupt("r.2.9")
        yield* cache.repair([{ ...put("r.3.10", 11), state: "another" }])
        yield* cache.put([put("r.4.11", 99)])
        yield* cache.deleteMany([{ id: "r.5.12" }])
        yield* cache.put([put("stranger", 1)])
        const values = (id: string, problem: string) => ({ tier: "cache", what: "value", id, problem })
        const result = yield* check({ values: "full" })
        expect(result.checked.values).toBe(live)
        expect(result.differences.filter(({ what }) => what === "value")).toEqual([
          values("r.2.9", "missing"),
          values("r.3.10", "changed"),
          values("r.4.11", "changed"),
          values("r.5.12", "missing")
        ])
        // The state is no part of a leaf, and the tree does not notice damage.
        expect(result.differences.filter(({ what }) => what === "leaf")).toEqual([
          { tier: "cache", what: "leaf", id: "stranger", problem: "extra" },
          { tier: "cache", what: "leaf", id: "r.4.11", problem: "changed" },
          { tier: "cache", what: "leaf", id: "r.5.12", problem: "missing" }
        ])
        expect(result.differences.flatMap(({ id, what }) => (what === "node" ? [id] : []))).toEqual([
          "r",
          "r.4",
          "r.5"
        ])
        const sampled = yield* check({ values: "sample", sample: live })
        expect(sampled.checked.values).toBe(live)
        expect(sampled.differences.filter(({ what }) => what === "value")).toHaveLength(4)
        expect((yield* check({ roots: true })).differences).toEqual([
          { tier: "cache", what: "root", id: "", problem: "changed" }
        ])
        expect((yield* check()).archiveRoot).toBe(yield* archive.root)
      })
    )
  )

  it.scoped("a value that reaches the cache meanwhile is no difference", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, cache } = yield* tiers()
        const next = put("r.2.9", 50)
        yield* archive.commit([next])
        let looks = 0
        const late = {
          ...cache,
          getMany: (ids: ReadonlyArray<string>) =>
            Effect.zipRight(looks++ === 0 ? Effect.void : cache.put([next]), cache.getMany(ids))
        }
        const result = yield* verify(
          { archive, cache: late, exclusively: quiet },
          { values: "full" },
          () => 0
        )
        expect(result.differences).toEqual([])
      })
    )
  )

  it.scoped("goes again when a write comes between, at last while nothing is written", () =>
    inTime(
      Effect.gen(function* () {
        const state = new MemoryArchiveState()
        let passes = 0
        let blocked = false
        const archive = makeArchive({
          state,
          hooks: {
            // In the middle of each pass another write, until it is kept out.
            before: ({ operation }) =>
              Effect.suspend(() => {
                if (operation !== "nodes") return Effect.void
                passes++
                return blocked ? Effect.void : Effect.asVoid(archive.commit([put(`w.${passes}`, 1)]))
              })
          }
        })
        yield* archive.commit(rows(50))
        const exclusively: Tiers["exclusively"] = (effect) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              blocked = true
            }),
            () => effect,
            () =>
              Effect.sync(() => {
                blocked = false
              })
          )
        const result = yield* verify({ archive, cache: undefined, exclusively }, { rows: true }, () => 0)
        expect(result).toMatchObject({ inSync: true, complete: true, differences: [] })
        expect(result.recomputed!.rows).toBe(52)
        const never = yield* verify(
          { archive, cache: undefined, exclusively: quiet },
          { rows: true },
          () => 0
        )
        expect(never).toMatchObject({
          inSync: false,
          complete: false,
          differences: [],
          recomputed: undefined
        })
        expect(never.unchecked).toEqual([{ what: "rows", problem: "others kept writing meanwhile" }])
      })
    )
  )

  it.scoped("a value that differs in one field alone is a difference, whatever the field", () =>
    inTime(
      Effect.gen(function* () {
        const row = {
          ...put("r.2.9", 1),
          contentType: "json" as const,
          state: "new",
          traceparent: "00-1-2-01"
        }
        for (const change of [
          { traceparent: "00-1-3-01" },
          { traceparent: undefined },
          { state: "old" },
          { state: undefined },
          { contentType: "binary" as const },
          { updatedAt: row.updatedAt + 1 }
        ]) {
          const archive = makeArchive({ state: new MemoryArchiveState() })
          const { cache } = yield* InProcessCache.make()
          yield* archive.commit([row, put("r.1.1", 1)])
          yield* cache.put([{ ...row, ...change }, put("r.1.1", 1)])
          for (const values of ["full", "sample"] as const) {
            const result = yield* verify({ archive, cache, exclusively: quiet }, { values }, () => 0)
            expect([change, result.differences.filter(({ what }) => what === "value")]).toEqual([
              change,
              [{ tier: "cache", what: "value", id: "r.2.9", problem: "changed" }]
            ])
          }
        }
      })
    )
  )

  it.scoped("a budget of rows ends it, and says so", () =>
    inTime(
      Effect.gen(function* () {
        const { check, damage } = yield* tiers(3000)
        const ended = yield* check({ rows: true, budget: { rows: 1200 } })
        expect(ended).toMatchObject({ inSync: true, complete: false, recomputed: undefined })
        expect(ended.checked.rows).toBe(1200)
        const values = yield* check({ contents: true, values: "full", budget: { rows: 700 } })
        expect(values.checked).toEqual({ rows: 0, contents: 700, values: 700 })
        expect(values.complete).toBe(false)
        expect(yield* check({ values: "sample", budget: { rows: 700 } })).toMatchObject({
          complete: false,
          checked: { values: 700 }
        })
        damage("r.0.0", { updatedAt: 5 })
        const found = yield* check({ rows: true, budget: { rows: 1200 } })
        expect(found).toMatchObject({ inSync: false, complete: false })
        expect(found.differences).toEqual([{ tier: "archive", what: "node", id: "r.0", problem: "changed" }])
      })
    )
  )

  it.scoped("a budget of time ends it", () =>
    Effect.gen(function* () {
      const { archive, cache } = yield* tiers(3000)
      const slow = {
        ...archive,
        scan: (...page: Parameters<typeof archive.scan>) => Effect.delay(archive.scan(...page), "1 second")
      }
      const check = yield* Effect.fork(
        verify(
          { archive: slow, cache, exclusively: quiet },
          { contents: true, budget: { milliseconds: 2500 } },
          () => 0
        )
      )
      // The pages give way through the event loop, which the test's clock does not wait for.
      while ((yield* Fiber.poll(check))._tag === "None") {
        yield* TestClock.adjust("1 second")
        yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
      }
      const result = yield* Fiber.join(check)
      expect(result.complete).toBe(false)
      expect(result.checked.contents).toBeGreaterThanOrEqual(500)
      expect(result.checked.contents).toBeLessThan(2000)
    })
  )

  it.scoped("samples evenly", () =>
    inTime(
      Effect.gen(function* () {
        const archive = makeArchive()
        yield* archive.commit(
          Array.from({ length: 200 }, (_, i) => put(`s.${String(i).padStart(3, "0")}`, 1))
        )
        const seen = new Map<string, number>()
        for (let round = 0; round < 400; round++) {
          const ids = yield* sampleIds(archive, yield* Budget.begin(), 20)
          expect(new Set(ids).size).toBe(20)
          for (const id of ids) seen.set(id, (seen.get(id) ?? 0) + 1)
        }
        // 40 expected, standard deviation 6.
        expect(seen.size).toBe(200)
        for (const times of seen.values()) expect(Math.abs(times - 40)).toBeLessThan(30)
      })
    )
  )
})
