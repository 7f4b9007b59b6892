/** How an application is tested on an engine in memory: under `TestClock`, half an hour takes no time. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer, TestClock } from "effect"
import { SyncEngine } from "effect-sync-engine"
import { Baskets } from "./Baskets.js"

const application = Layer.provideMerge(Baskets.layer, SyncEngine.layerMemory({ maxPayloadBytes: 10_000 }))

it.effect("a basket that nobody touches is given up after half an hour", () =>
  Effect.gen(function* () {
    const baskets = yield* Baskets
    yield* baskets.put("ada", ["tea"])
    yield* TestClock.adjust("20 minutes")
    yield* baskets.put("bob", ["milk", "bread"])
    expect(yield* baskets.open).toEqual(["baskets.ada", "baskets.bob"])
    yield* TestClock.adjust("15 minutes")
    expect(yield* baskets.open).toEqual(["baskets.bob"])
  }).pipe(Effect.provide(application))
)

it.effect("everything flushed is waited for without sleeping", () =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const baskets = yield* Baskets
    yield* baskets.put("ada", ["tea"])
    expect((yield* engine.status("baskets.ada")).state).toBe("pending")
    expect(yield* engine.flush).toMatchObject({ flushed: 1, pending: 0 })
    expect((yield* engine.status("baskets.ada")).state).toBe("archived")
    expect((yield* engine.verify()).inSync).toBe(true)
  }).pipe(Effect.provide(application))
)
