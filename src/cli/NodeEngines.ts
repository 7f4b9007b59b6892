/**
 * Real engines, on the configured data directory.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { LiveConfig } from "../EngineConfig.js"
import * as DefaultParts from "../engine/DefaultParts.js"
import * as Engine from "../engine/Engine.js"
import { Lifecycle, layer as lifecycleLayer } from "../Lifecycle.js"
import { type EngineHandle, Engines } from "./Engines.js"

/** @since 0.1.0 @category layers */
export const layer: Layer.Layer<Engines> = Layer.succeed(Engines, {
  make: (config) =>
    Effect.gen(function* () {
      const parts = yield* DefaultParts.fromConfig(config)
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
