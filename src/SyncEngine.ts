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
import type { EngineConfig } from "./config/Model.js"
import type { EngineOptions } from "./EngineConfig.js"
import { engineConfig, fromPartial, type LiveConfig } from "./EngineConfig.js"
import type { GateClosed, StartError } from "./EngineError.js"
import type { EngineComponents } from "./engine/DefaultComponents.js"
import * as DefaultComponents from "./engine/DefaultComponents.js"
import type { Engine } from "./engine/Engine.js"
import * as EngineModule from "./engine/Engine.js"
import type { Lifecycle } from "./Lifecycle.js"
import type { SyncEngineApi } from "./SyncEngineApi.js"

export type { EngineComponents } from "./engine/DefaultComponents.js"
export type { Engine } from "./engine/Engine.js"
export * from "./SyncEngineApi.js"

/**
 * The sync engine of an application: its reads, writes and operation.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { defaults, LiveConfig, SyncEngine } from "effect-sync-engine"
 *
 * const program = Effect.flatMap(SyncEngine, ({ stats }) => stats)
 * const onOptions = Effect.provide(program, SyncEngine.layer({ dataDir: "data", batchFlushInterval: "50 millis" }))
 * const onVariables = Effect.provide(program, SyncEngine.layerConfig)
 * // Requires the log, the filter's snapshots, the archive, the cache and the filter.
 * const onOwnParts = SyncEngine.layerWithoutDependencies.pipe(
 *   Layer.provideMerge(LiveConfig.layer({ ...defaults, dataDir: "data" }))
 * )
 * ```
 *
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
   * @param parts take the place of those that the options name: a log, an archive, a cache or a filter of your own.
   * Their layers are built by the application, with what they require.
   *
   * @since 0.1.0
   */
  static readonly layer = <Parts extends EngineComponents = never, E = never, R = never>(
    options: EngineOptions = {},
    parts?: Layer.Layer<Parts, E, R>
  ): Layer.Layer<SyncEngine | Lifecycle | LiveConfig, StartError | GateClosed | E, R> =>
    Layer.unwrapEffect(
      Effect.map(fromPartial(options), (config) => {
        const all = DefaultComponents.layer(config)
        // Unopened: what is replaced has cost nothing.
        return started(config, parts === undefined ? all : Layer.merge(all, parts))
      })
    )

  /**
   * A started engine for an application's tests: no files, no servers, all waiting on the test's clock, nothing kept
   * longer than its scope. `flush` returns when everything acknowledged so far is archived. Unless options say otherwise
   * it flushes and looks around once a minute, because each time that anything wakes up under `TestClock` takes real
   * milliseconds.
   *
   * @example
   * ```ts
   * import { Effect, Option, TestClock, TestContext } from "effect"
   * import { SyncEngine } from "effect-sync-engine"
   *
   * const test = Effect.gen(function* () {
   *   const engine = yield* SyncEngine
   *   yield* engine.submit({ id: "user.42", content: "Ada" })
   *   yield* TestClock.adjust("1 hour")
   *   yield* engine.flush
   *   return Option.isSome(yield* engine.get("user.42"))
   * })
   *
   * Effect.runPromise(test.pipe(Effect.provide(SyncEngine.layerMemory()), Effect.provide(TestContext.TestContext)))
   * ```
   *
   * @since 0.1.0
   */
  static readonly layerMemory = (
    options: EngineOptions = {}
  ): Layer.Layer<SyncEngine | Lifecycle | LiveConfig, StartError | GateClosed> =>
    Layer.unwrapEffect(
      Effect.map(fromPartial({ ...DefaultComponents.memoryDefaults, ...options }), (config) =>
        Layer.provide(started(config, DefaultComponents.memory(config)), DefaultComponents.memoryLimits)
      )
    )

  /**
   * As `layer`, with the options from the `SYNC_ENGINE_*` variables (or whatever `ConfigProvider` is in place).
   *
   * @since 0.1.0
   */
  static readonly layerConfig: Layer.Layer<SyncEngine | Lifecycle | LiveConfig, StartError | GateClosed> =
    Layer.unwrapEffect(Effect.map(engineConfig, (config) => started(config, DefaultComponents.layer(config))))

  /**
   * A started engine over the application's own parts. All are unopened: the start opens them, the log first.
   *
   * @since 0.1.0
   */
  static readonly layerWithoutDependencies: Layer.Layer<
    SyncEngine,
    StartError | GateClosed,
    EngineComponents | Lifecycle | LiveConfig
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
export const make: Effect.Effect<Engine, never, EngineComponents | Lifecycle | LiveConfig | Scope.Scope> =
  EngineModule.make

const started = <E, R>(config: EngineConfig, parts: Layer.Layer<EngineComponents, E, R>) =>
  Layer.provideMerge(SyncEngine.layerWithoutDependencies, DefaultComponents.wired(config, parts))
