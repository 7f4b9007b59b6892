/**
 * The service an application uses, and the layers that build it.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
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
  static readonly layer = (
    options: Partial<EngineConfig> = {}
  ): Layer.Layer<SyncEngine | Lifecycle.Lifecycle | LiveConfig, StartError | GateClosed> =>
    Layer.unwrapEffect(Effect.map(fromPartial(options), started))

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
   * As `layer`, with parts of the application's own: another log or archive, or fakes in tests.
   *
   * @since 0.1.0
   */
  static readonly layerParts = (
    parts: EngineComponents,
    options: Partial<EngineConfig> = {}
  ): Layer.Layer<SyncEngine | Lifecycle.Lifecycle | LiveConfig, StartError | GateClosed> =>
    Layer.unwrapEffect(Effect.map(fromPartial(options), (config) => started(config, parts)))
}

/**
 * An engine that has not been started: for hosts which serve health probes while it starts. Closing the scope
 * shuts it down if nobody has.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  config: EngineConfig,
  parts?: EngineComponents
): Effect.Effect<Engine, InvalidConfig, Lifecycle.Lifecycle | LiveConfig | Scope.Scope> =>
  Effect.flatMap(
    parts === undefined ? DefaultComponents.fromConfig(config) : Effect.succeed(parts),
    EngineModule.make
  )

const started = (config: EngineConfig, parts?: EngineComponents) =>
  Layer.scoped(
    SyncEngine,
    Effect.gen(function* () {
      const engine = yield* make(config, parts)
      yield* engine.start
      return engine.service
    })
  ).pipe(Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, LiveConfig.layer(config))))
