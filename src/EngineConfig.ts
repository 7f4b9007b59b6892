/**
 * The engine's options: names, bounds, defaults. Times are in milliseconds, sizes in bytes.
 *
 * @since 0.1.0
 */
import {
  Config,
  ConfigError,
  Context,
  Duration,
  Effect,
  Either,
  Equal,
  Layer,
  Option,
  type Stream,
  SubscriptionRef
} from "effect"
import { load, variablePrefix } from "./config/Load.js"
import type { EngineConfig } from "./config/Model.js"
import { type ConfigOption, engineOptions } from "./config/Options.js"
import { readFile } from "./config/ReadFile.js"
import { refuse } from "./config/SqlUrl.js"
import { checkTogether } from "./config/Validation.js"
import type { InvalidConfig } from "./EngineError.js"
import { nearest } from "./shared/EditDistance.js"

const byKey: ReadonlyMap<string, ConfigOption> = new Map(engineOptions.map((option) => [option.key, option]))

/**
 * Every option's default.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults: EngineConfig = Object.fromEntries(
  engineOptions.map(({ key, definition }) => [key, definition.default])
) as unknown as EngineConfig

type DurationOption =
  | "sqlConnectTimeout"
  | "sqlQueryTimeout"
  | "sqlStartTimeout"
  | "walDrainInterval"
  | "flushTimeout"
  | "batchFlushInterval"
  | "filterSnapshotInterval"
  | "healthInterval"
  | "watchdogInterval"
  | "tombstoneRetention"
  | "shutdownDelay"
  | "shutdownTimeout"

/**
 * Options as they are given; the others have their defaults. Times in whatever stands for a `Duration`: `"100 millis"`,
 * `Duration.seconds(5)`, and a number is milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type EngineOptions = {
  readonly [Key in keyof EngineConfig]?:
    | (Key extends DurationOption ? Duration.DurationInput : EngineConfig[Key])
    | undefined
}

/** Milliseconds, where that is what is meant; what is wrong is left to the check. */
const inMilliseconds = ({ definition }: ConfigOption, value: unknown): unknown =>
  definition.kind !== "duration" || typeof value === "number"
    ? value
    : Option.match(Duration.decodeUnknown(value), { onNone: () => value, onSome: Duration.toMillis })

/** Checks the given keys one by one; `undefined` counts as not given. */
const checkPartial = (
  partial: Readonly<Partial<Record<string, unknown>>>,
  problemOf: (option: ConfigOption, value: unknown) => string | undefined
): Either.Either<Partial<EngineConfig>, InvalidConfig> =>
  Either.gen(function* () {
    const checked: Record<string, unknown> = {}
    for (const [key, given] of Object.entries(partial)) {
      if (given === undefined) continue
      const option = byKey.get(key)
      if (option === undefined) {
        const meant = nearest(key, byKey.keys())
        const hint = meant === undefined ? "" : `; did you mean ${meant}?`
        return yield* refuse(key, `is unknown${hint}`, "the keys of EngineConfig")
      }
      const value = inMilliseconds(option, given)
      const problem = problemOf(option, value)
      if (problem !== undefined) {
        const live = engineOptions.filter(({ definition }) => definition.live).map((other) => other.key)
        return yield* refuse(key, problem, live.join(", "))
      }
      const { allowed, check } = option.definition
      checked[key] = yield* Either.orElse(check(value), (wrong) => refuse(key, wrong, allowed))
    }
    return checked as Partial<EngineConfig>
  })

/**
 * A whole configuration from the options that differ from the defaults; `undefined` counts as not given.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { fromPartial } from "effect-sync-engine"
 *
 * const config = Either.getOrThrow(fromPartial({ dataDir: "data", batchFlushInterval: "50 millis" }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromPartial = (partial: EngineOptions): Either.Either<EngineConfig, InvalidConfig> =>
  Either.flatMap(
    checkPartial({ ...partial }, () => undefined),
    (checked) => checkTogether({ ...defaults, ...checked })
  )

const readVariable = (option: string) => {
  const name = variablePrefix + option
  return Effect.catchAll(
    Effect.map(Config.option(Config.string(name)), (value) => [name, Option.getOrUndefined(value)] as const),
    (error) => {
      const problem = ConfigError.isMissingData(error)
        ? "is missing"
        : "cannot be read from the ConfigProvider"
      return refuse(name, problem, "text")
    }
  )
}

/**
 * The configuration from the `ConfigProvider` of the context: the engine's `SYNC_ENGINE_*` names, `_FILE` names of
 * secrets and `SYNC_ENGINE_CONFIG` included. Unknown names go unseen here, because a provider cannot be asked for all
 * of its names; `load` does see them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const engineConfig: Effect.Effect<EngineConfig, InvalidConfig> = Effect.forEach(
  engineOptions
    .flatMap(({ definition, name }) => (definition.kind === "secret" ? [name, `${name}_FILE`] : [name]))
    .concat("CONFIG"),
  readVariable
).pipe(
  Effect.flatMap((variables) => load({ flags: {}, env: Object.fromEntries(variables), readFile })),
  Effect.map(({ engine }) => engine)
)

/**
 * The running engine's configuration: watched, so that live options take effect when it changes.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { LiveConfig } from "effect-sync-engine"
 *
 * const quieter = Effect.flatMap(LiveConfig, (live) => live.update({ healthInterval: "5 minutes" }))
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class LiveConfig extends Context.Tag("effect-sync-engine/LiveConfig")<
  LiveConfig,
  {
    /** Begins with the current values. */
    readonly changes: Stream.Stream<EngineConfig>
    /** The current values. Synchronous. */
    readonly unsafeGet: () => EngineConfig
    /**
     * Changes live options at once or not at all; returns the new configuration. Refuses unknown keys, invalid
     * values, values that do not fit the others, and changes of options that are read only at start.
     */
    readonly update: (patch: EngineOptions) => Effect.Effect<EngineConfig, InvalidConfig>
  }
>() {
  /**
   * Begins with this configuration.
   *
   * @since 0.1.0
   */
  static readonly layer = (config: EngineConfig): Layer.Layer<LiveConfig> =>
    Layer.effect(LiveConfig, makeLive(config))
}

const makeLive = (config: EngineConfig): Effect.Effect<Context.Tag.Service<LiveConfig>> =>
  Effect.map(SubscriptionRef.make(config), (ref) => {
    // What the ref holds: hot paths ask for it, and running an Effect costs a hundred times as much.
    let held = config
    return {
      changes: ref.changes,
      unsafeGet: () => held,
      update: (patch) =>
        SubscriptionRef.updateAndGetEffect(ref, (current) =>
          Effect.map(patched(current, patch), (next) => {
            held = next
            return next
          })
        ).pipe(Effect.uninterruptible)
    }
  })

const patched = (current: EngineConfig, patch: EngineOptions): Either.Either<EngineConfig, InvalidConfig> =>
  Either.flatMap(
    checkPartial({ ...patch }, (option, value) =>
      option.definition.live || Equal.equals(current[option.key as keyof EngineConfig], value)
        ? undefined
        : "is read only at start; restart to change it"
    ),
    (checked) => checkTogether({ ...current, ...checked })
  )
