/**
 * The service an application uses, and the layers that build it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SyncEngine } from "effect-sync-engine"
 *
 * const program = Effect.gen(function* () {
 *   const engine = yield* SyncEngine
 *   const receipt = yield* engine.submit({ id: "user.42", content: JSON.stringify({ name: "Ada" }) })
 *   const item = yield* engine.get("user.42")
 * })
 *
 * Effect.runPromise(Effect.provide(program, SyncEngine.layer({ dataDir: "./data" })))
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Scope } from "effect"
import type { EngineConfig } from "./EngineConfig.js"
import { engineConfig, fromPartial, LiveConfig } from "./EngineConfig.js"
import type { GateClosed, InvalidConfig, StartError } from "./EngineError.js"
import * as DefaultComponents from "./engine/DefaultComponents.js"
import type { Engine } from "./engine/Engine.js"
import * as EngineModule from "./engine/Engine.js"
import type { EngineComponents } from "./engine/EngineComponents.js"
import * as Lifecycle from "./Lifecycle.js"
import type { SyncEngineApi } from "./SyncEngineApi.js"

export type { Engine } from "./engine/Engine.js"
export type { EngineComponents } from "./engine/EngineComponents.js"
export * from "./SyncEngineApi.js"

/**
 * @since 0.1.0
 * @category services
 */
export class SyncEngine extends Context.Tag("effect-sync-engine/SyncEngine")<SyncEngine, SyncEngineApi>() {
  /**
   * A started engine. The layer is built when the engine serves; releasing it shuts the engine down (flush,
   * checkpoint, close) within `shutdownTimeout`. Options not given have their documented defaults.
   *
   * Errors: `InvalidConfig` for a value out of range, `LogOpenError` when durability cannot be guaranteed,
   * `ArchiveStartError` when SQL cannot be reached or migrated within `sqlStartTimeout`.
   *
   * @since 0.1.0
   */
  static readonly layer = <E = never, R = never>(
    options: Partial<EngineConfig> = {},
    components?: Layer.Layer<EngineComponents, E, R>
  ): Layer.Layer<SyncEngine | Lifecycle.Lifecycle | LiveConfig, StartError | GateClosed | E, R> =>
    Layer.unwrapEffect(Effect.map(fromPartial(options), (config) => started(config, components)))

  /**
   * As `layer`, with the options from the `SYNC_ENGINE_*` variables (or whatever `ConfigProvider` is in place).
   *
   * @since 0.1.0
   */
  static readonly layerConfig: Layer.Layer<
    SyncEngine | Lifecycle.Lifecycle | LiveConfig,
    StartError | GateClosed
  > = Layer.unwrapEffect(Effect.map(engineConfig, (config) => started(config)))

  /**
   * A started engine over the application's own parts. All are unopened: the start opens them, the log first.
   *
   * @since 0.1.0
   */
  static readonly layerWithoutDependencies: Layer.Layer<
    SyncEngine,
    StartError | GateClosed,
    EngineComponents | Lifecycle.Lifecycle | LiveConfig
  > = Layer.scoped(
    SyncEngine,
    Effect.gen(function* () {
      const engine = yield* EngineModule.make
      yield* engine.start
      return engine.service
    })
  )
}

/**
 * An engine that has not been started: for hosts which serve health probes while it starts. Closing the scope
 * shuts it down if nobody has.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Engine,
  never,
  EngineComponents | Lifecycle.Lifecycle | LiveConfig | Scope.Scope
> = EngineModule.make

const started = <E = never, R = never>(
  config: EngineConfig,
  components?: Layer.Layer<EngineComponents, E, R>
): Layer.Layer<SyncEngine | Lifecycle.Lifecycle | LiveConfig, StartError | GateClosed | E, R> => {
  const parts: Layer.Layer<EngineComponents, E | InvalidConfig, R> =
    components ?? DefaultComponents.layer(config)
  return SyncEngine.layerWithoutDependencies.pipe(
    Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, LiveConfig.layer(config))),
    Layer.provide(parts)
  )
}
