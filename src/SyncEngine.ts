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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { EngineConfig } from "./EngineConfig.js"
import { engineConfig, fromPartial, LiveConfig } from "./EngineConfig.js"
import type { GateClosed, InvalidConfig, StartError } from "./EngineError.js"
import * as DefaultParts from "./engine/DefaultParts.js"
import type { Engine } from "./engine/Engine.js"
import * as EngineModule from "./engine/Engine.js"
import type { EngineParts } from "./engine/EngineParts.js"
import type { SyncEngineService } from "./engine/EngineService.js"
import * as Lifecycle from "./Lifecycle.js"

export type { Engine } from "./engine/Engine.js"
export type { EngineParts } from "./engine/EngineParts.js"
export * from "./engine/EngineService.js"

/**
 * @since 0.1.0
 * @category services
 */
export class SyncEngine extends Context.Tag("effect-sync-engine/SyncEngine")<
  SyncEngine,
  SyncEngineService
>() {
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
    parts: EngineParts,
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
  parts?: EngineParts
): Effect.Effect<Engine, InvalidConfig, Lifecycle.Lifecycle | LiveConfig | Scope.Scope> =>
  Effect.flatMap(
    parts === undefined ? DefaultParts.fromConfig(config) : Effect.succeed(parts),
    EngineModule.make
  )

const started = (config: EngineConfig, parts?: EngineParts) =>
  Layer.scoped(
    SyncEngine,
    Effect.gen(function* () {
      const engine = yield* make(config, parts)
      yield* engine.start
      return engine.service
    })
  ).pipe(Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, LiveConfig.layer(config))))
