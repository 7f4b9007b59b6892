/** A real engine, on the configured data directory. */
import { Effect, Layer } from "effect"
import { type EngineConfig, LiveConfig } from "../../EngineConfig.js"
import * as DefaultComponents from "../../engine/DefaultComponents.js"
import * as Engine from "../../engine/Engine.js"
import { Lifecycle, layer as lifecycleLayer } from "../../Lifecycle.js"
import type { EngineHandle } from "./EngineFactory.js"

export const make = Effect.fnUntraced(function* (config: EngineConfig) {
  const context = yield* Layer.build(
    Layer.mergeAll(DefaultComponents.layer(config), lifecycleLayer, LiveConfig.layer(config))
  )
  return yield* Effect.gen(function* () {
    const { service, shutdown, start } = yield* Engine.make
    const [lifecycle, liveConfig] = yield* Effect.all([Lifecycle, LiveConfig])
    return { engine: service, lifecycle, liveConfig, start, shutdown } satisfies EngineHandle
  }).pipe(Effect.provide(context))
})
