/** Real engines, on the configured data directory. */
import { Effect, Layer } from "effect"
import { LiveConfig } from "../../EngineConfig.js"
import * as DefaultComponents from "../../engine/DefaultComponents.js"
import * as Engine from "../../engine/Engine.js"
import { Lifecycle, layer as lifecycleLayer } from "../../Lifecycle.js"
import { EngineFactory, type EngineHandle } from "./EngineFactory.js"

export const layer: Layer.Layer<EngineFactory> = Layer.succeed(EngineFactory, {
  make: (config) =>
    Effect.gen(function* () {
      const context = yield* Layer.build(
        Layer.mergeAll(DefaultComponents.layer(config), lifecycleLayer, LiveConfig.layer(config))
      )
      return yield* Effect.gen(function* () {
        const { service, shutdown, start } = yield* Engine.make
        return {
          engine: service,
          lifecycle: yield* Lifecycle,
          liveConfig: yield* LiveConfig,
          start,
          shutdown
        } satisfies EngineHandle
      }).pipe(Effect.provide(context))
    })
})
