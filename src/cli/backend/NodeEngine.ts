/** A real engine, on the configured data directory. */
import { Effect, Layer } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import { LiveConfig } from "../../EngineConfig.js"
import * as DefaultComponents from "../../engine/DefaultComponents.js"
import { Lifecycle } from "../../Lifecycle.js"
import * as SyncEngine from "../../SyncEngine.js"
import type { EngineHandle } from "./EngineFactory.js"

export const make = Effect.fnUntraced(function* (config: EngineConfig) {
  const context = yield* Layer.build(DefaultComponents.wired(config, DefaultComponents.layer(config)))
  return yield* Effect.gen(function* () {
    const { service, shutdown, start } = yield* SyncEngine.make
    const [lifecycle, liveConfig] = yield* Effect.all([Lifecycle, LiveConfig])
    return { engine: service, lifecycle, liveConfig, start, shutdown } satisfies EngineHandle
  }).pipe(Effect.provide(context))
})
