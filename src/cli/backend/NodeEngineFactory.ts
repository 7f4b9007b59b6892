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
      const parts = yield* DefaultComponents.fromConfig(config)
      const scope = yield* Effect.scope
      const context = yield* Layer.buildWithScope(
        Layer.fresh(Layer.merge(lifecycleLayer, LiveConfig.layer(config))),
        scope
      )
      return yield* Effect.gen(function* () {
        const { service, shutdown, start } = yield* Engine.make(parts)
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
