import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Logger, LogLevel, Option, Stream, TestClock } from "effect"
import { MemoryArchiveState, make as makeArchive } from "../../../src/archive/memory/MemoryArchive.js"
import * as InProcessCache from "../../../src/cache/InProcessCache.js"
import { LiveConfig } from "../../../src/EngineConfig.js"
import * as Engine from "../../../src/engine/Engine.js"
import { ExistenceFilter } from "../../../src/filter/ExistenceFilter.js"
import * as Lifecycle from "../../../src/Lifecycle.js"
import { contentHashOf, type ItemRecord, textOf } from "../../../src/SyncItem.js"
import * as MemoryLog from "../../../src/wal/MemoryLog.js"
import { archiveOf, cacheOf } from "../../support/components.js"
import { testConfig } from "../../support/engine.js"
import { inTime } from "../../support/inTime.js"
import { recompute } from "../../support/recompute.js"

/** An engine over a memory archive and a memory cache, and what lies behind them. */
const start = (l1MaxBytes = testConfig.l1MaxBytes) =>
  Effect.gen(function* () {
    const state = new MemoryArchiveState()
    const archive = makeArchive({ state })
    const { cache, control } = yield* InProcessCache.make()
    const config = { ...testConfig, l1MaxBytes, batchFlushInterval: 3_600_000, healthInterval: 3_600_000 }
    const lifecycle = yield* Lifecycle.make
    const live = yield* Effect.provide(LiveConfig, LiveConfig.layer(config))
    const engine = yield* Engine.make.pipe(
      Effect.provide(
        Layer.mergeAll(
          MemoryLog.layerMemory({ maxItems: config.walMaxItems, maxBytes: config.walMaxBytes }),
          archiveOf(archive),
          cacheOf(cache),
          ExistenceFilter.layer
        )
      ),
      Effect.provideService(LiveConfig, live),
      Effect.provideService(Lifecycle.Lifecycle, lifecycle)
    )
    yield* Logger.withMinimumLogLevel(engine.start, LogLevel.None)
    const damage = (id: string, change: Partial<ItemRecord>) =>
      state.records.set(id, { ...state.records.get(id)!, ...change })
    return { archive, cache, control, damage, service: engine.service, state }
  })

const items = (count: number, prefix = "r.") =>
  Array.from({ length: count }, (_, i) => ({ id: `${prefix}${i % 3}.${i}`, content: `v${i}` }))

const other = new TextEncoder().encode("other")

const everything = { roots: true, rows: true, contents: true, values: "full" } as const

describe("verify and repair of an engine", () => {
  it.scoped("verify carries what was acknowledged first", () =>
    inTime(
      Effect.gen(function* () {
        const { cache, service } = yield* start()
        yield* service.submitMany(items(30))
        const result = yield* service.verify(everything)
        expect(result).toMatchObject({
          inSync: true,
          complete: true,
          checked: { rows: 30, contents: 30, values: 30 },
          pending: 0
        })
        expect(result.cacheRoot).toBe(yield* cache.root)
        expect(yield* service.isSynced).toBe(true)
      })
    )
  )

  it.scoped("repair of sound tiers changes nothing", () =>
    inTime(
      Effect.gen(function* () {
        const { service } = yield* start()
        yield* service.submitMany(items(30))
        const root = yield* service.merkleRoot
        expect(yield* service.repair()).toEqual({
          inSync: true,
          complete: true,
          archiveRoot: root,
          cacheRoot: root,
          treeRebuilt: false,
          contentsRestored: 0,
          contentsLost: 0,
          lost: [],
          cacheWritten: 0,
          cacheRemoved: 0,
          cacheRebuilt: false,
          valuesRewritten: 0,
          memoryDropped: 0,
          checked: { rows: 30, contents: 30, values: 30 },
          problems: []
        })
      })
    )
  )

  it.scoped("repair builds the archive's tree again, and the cache follows the rows", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, damage, service, state } = yield* start()
        yield* service.submitMany(items(30))
        yield* service.flush
        state.remove("r.1.1")
        damage("r.2.2", { updatedAt: 5 })
        expect((yield* service.verify()).inSync).toBe(false)
        const repaired = yield* service.repair()
        expect(repaired).toMatchObject({ inSync: true, treeRebuilt: true, cacheRemoved: 1, memoryDropped: 2 })
        expect(yield* archive.root).toBe((yield* recompute(archive)).root)
        expect(yield* service.verify(everything)).toMatchObject({ inSync: true, checked: { rows: 29 } })
        expect(Option.isNone(yield* service.get("r.1.1"))).toBe(true)
        expect(Option.getOrThrow(yield* service.get("r.2.2")).updatedAt).toBe(5)
      })
    )
  )

  it.scoped("repair restores a node that was changed in its place", () =>
    inTime(
      Effect.gen(function* () {
        const { service, state } = yield* start()
        yield* service.submitMany(items(30))
        yield* service.flush
        const nodes = state.tree.totals() as Map<string, { count: number; sum: bigint }>
        nodes.set("r.1", { count: 10, sum: 1n })
        expect((yield* service.verify()).differences).toEqual([
          { tier: "archive", what: "node", id: "r.1", problem: "changed" }
        ])
        expect(yield* service.repair({ contents: false, values: false })).toMatchObject({
          inSync: true,
          treeRebuilt: true
        })
        expect((yield* service.verify(everything)).inSync).toBe(true)
      })
    )
  )

  it.scoped("repair restores the cache: damaged, missing, changed and foreign values", () =>
    inTime(
      Effect.gen(function* () {
        const { cache, control, service } = yield* start()
        yield* service.submitMany(items(30))
        yield* service.flush
        const row = Option.getOrThrow(yield* cache.get("r.1.1"))
        control.corrupt("r.2.2")
        yield* cache.repair([
          { ...row, id: "stranger" },
          { ...row, state: "another" }
        ])
        yield* cache.deleteMany([{ id: "r.0.0" }])
        expect(yield* service.isSynced).toBe(false)
        const repaired = yield* service.repair()
        expect(repaired).toMatchObject({ inSync: true, treeRebuilt: false, cacheRemoved: 1 })
        // The damaged one is found by whoever reads it first; each is written once at least.
        expect(repaired.cacheWritten + repaired.valuesRewritten).toBeGreaterThanOrEqual(3)
        expect((yield* service.verify(everything)).inSync).toBe(true)
        expect(yield* service.isSynced).toBe(true)
        expect(Option.getOrThrow(yield* cache.get("r.1.1")).state).toBeUndefined()
      })
    )
  )

  it.scoped("repair drops memory entries of repaired items", () =>
    inTime(
      Effect.gen(function* () {
        const { cache, service } = yield* start()
        yield* service.submitMany(items(30))
        yield* service.flush
        yield* cache.deleteMany([{ id: "r.0.0" }, { id: "r.1.1" }])
        expect((yield* service.repair()).memoryDropped).toBe(2)
        expect((yield* service.status("r.0.0")).inMemory).toBe(false)
        expect(Option.map(yield* service.get("r.0.0"), textOf)).toEqual(Option.some("v0"))
      })
    )
  )

  it.scoped("repair writes damaged bytes again from memory or the cache, as a new version", () =>
    inTime(
      Effect.gen(function* () {
        const { archive, cache, damage, service } = yield* start(1)
        const receipts = yield* service.submitMany([
          ...items(6),
          { id: "tagged", content: '{"a":1}', state: "s", contentType: "json" }
        ])
        yield* service.flush
        const before = new Map(
          receipts.flatMap((result) =>
            result._tag === "Acknowledged" ? [[result.receipt.id, result.receipt.version] as const] : []
          )
        )
        damage("r.0.0", { content: other })
        damage("tagged", { contentHash: contentHashOf(other) })
        // Only another version is held, which has other bytes, and by chance those of the damage.
        damage("r.2.2", { content: other, version: before.get("r.2.2")! + 1 })
        const row = Option.getOrThrow(yield* cache.get("r.2.2"))
        yield* cache.deleteMany([{ id: "r.2.2" }])
        yield* cache.put([{ ...row, content: other, contentHash: contentHashOf(other) }])
        const repaired = yield* service.repair()
        expect(repaired).toMatchObject({
          inSync: false,
          contentsRestored: 2,
          contentsLost: 1,
          lost: ["r.2.2"]
        })
        const [stored] = yield* archive.getMany(["r.0.0"])
        expect(textOf(stored!)).toBe("v0")
        const restored = Option.getOrThrow(yield* service.getVerified("r.0.0"))
        expect(textOf(restored)).toBe("v0")
        expect(restored.version).toBeGreaterThan(before.get("r.0.0")!)
        const tagged = Option.getOrThrow(yield* service.getVerified("tagged"))
        expect(tagged).toMatchObject({
          state: "s",
          contentType: "json",
          contentHash: contentHashOf(tagged.content)
        })
        expect((yield* service.verify({ roots: true, rows: true, contents: true })).differences).toEqual([
          { tier: "archive", what: "content", id: "r.2.2", problem: "changed" }
        ])
      })
    )
  )

  it.scoped("repair says what it cannot do while the cache is unavailable", () =>
    inTime(
      Effect.gen(function* () {
        const { control, service } = yield* start()
        yield* service.submitMany(items(30))
        yield* service.flush
        control.setAvailable(false)
        expect(yield* service.isSynced).toBe(false)
        const repaired = yield* service.repair()
        expect(repaired).toMatchObject({ inSync: false, complete: false, checked: { rows: 30 } })
        expect(repaired.problems.join()).toContain("not connected")
        control.setAvailable(true)
        expect((yield* service.repair()).inSync).toBe(true)
      })
    )
  )

  it.scoped("refuses options out of bounds, and everything while it is not ready", () =>
    inTime(
      Effect.gen(function* () {
        const { service } = yield* start()
        for (const [options, argument] of [
          [{ sample: 0 }, "sample"],
          [{ differences: 10_001 }, "differences"],
          [{ budget: { rows: 0.5 } }, "budget.rows"],
          [{ budget: { milliseconds: -1 } }, "budget.milliseconds"]
        ] as const) {
          expect(yield* Effect.flip(service.verify(options))).toMatchObject({
            _tag: "InvalidRequest",
            argument
          })
          expect(yield* Effect.flip(service.repair(options))).toMatchObject({
            _tag: "InvalidRequest",
            argument
          })
        }
        yield* service.shutdown
        expect(yield* Effect.flip(service.verify())).toMatchObject({ _tag: "GateClosed" })
        expect(yield* Effect.flip(service.repair())).toMatchObject({ _tag: "GateClosed" })
        expect(yield* Effect.flip(service.isSynced)).toMatchObject({ _tag: "GateClosed" })
        expect(yield* Effect.flip(service.merkleSource.branches("", { limit: 1 }))).toMatchObject({
          _tag: "GateClosed"
        })
      })
    )
  )
})

describe("findDivergent", () => {
  it.scoped("finds exactly what two engines hold unlike, acknowledged writes included", () =>
    inTime(
      Effect.gen(function* () {
        // What the engines write now is newer than what was there.
        yield* TestClock.adjust("1 hour")
        const a = yield* start()
        const b = yield* start()
        const shared = items(500).map((item, i) => ({ ...item, version: i + 1 }))
        yield* a.service.submitMany(shared)
        yield* a.service.flush
        // The same rows to the millisecond: another node of the same origin.
        yield* b.archive.commit([...a.state.records.values()])
        yield* a.service.submit({ id: "r.0.only-a", content: "1" })
        yield* b.service.submit({ id: "new.only-b", content: "1" })
        yield* b.service.delete("r.1.4")
        yield* b.service.submit({ id: "r.2.5", content: "changed" })
        const found = yield* Stream.runCollect(a.service.findDivergent(b.service.merkleSource))
        expect([...Chunk.toReadonlyArray(found)].sort((x, y) => (x.id < y.id ? -1 : 1))).toEqual([
          { id: "new.only-b", kind: "extra" },
          { id: "r.0.only-a", kind: "missing" },
          { id: "r.1.4", kind: "missing" },
          { id: "r.2.5", kind: "changed" }
        ])
        const below = yield* Stream.runCollect(
          a.service.findDivergent(b.service.merkleSource, { under: "r.2" })
        )
        expect(Chunk.toReadonlyArray(below)).toEqual([{ id: "r.2.5", kind: "changed" }])
        expect(
          yield* Effect.flip(
            Stream.runDrain(a.service.findDivergent(b.service.merkleSource, { under: "a..b" }))
          )
        ).toMatchObject({ _tag: "InvalidRequest", argument: "path" })
      })
    )
  )
})
