import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Layer, Redacted, type Scope } from "effect"
import type { EngineConfig } from "../../../src/config/Model.js"
import { fromPartial, LiveConfig } from "../../../src/EngineConfig.js"
import type { InvalidConfig } from "../../../src/EngineError.js"
import type { EngineComponents } from "../../../src/engine/DefaultComponents.js"
import * as DefaultComponents from "../../../src/engine/DefaultComponents.js"
import * as Lifecycle from "../../../src/Lifecycle.js"
import type { Engine } from "../../../src/SyncEngine.js"
import { make } from "../../../src/SyncEngine.js"

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-test-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

export interface RealEngine extends Engine {
  readonly lifecycle: typeof Lifecycle.Lifecycle.Service
  readonly live: typeof LiveConfig.Service
}

/** Wraps parts. */
export type Change = (parts: Components) => Components

export type Components = Layer.Layer<EngineComponents, InvalidConfig>

/** An engine over real tiers, not started. `change` may wrap them. */
export const makeEngine = (
  options: Partial<EngineConfig> & { readonly sql?: string; readonly redis?: string },
  change: Change = (parts) => parts
): Effect.Effect<RealEngine, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const { redis, sql, ...rest } = options
    const config = yield* fromPartial({
      ...rest,
      ...(sql === undefined ? {} : { sqlUrl: Redacted.make(sql) }),
      ...(redis === undefined ? {} : { redisUrl: Redacted.make(redis) })
    })
    const lifecycle = yield* Lifecycle.make
    const live = yield* Effect.provide(LiveConfig, LiveConfig.layer(config))
    const engine = yield* make.pipe(
      Effect.provide(change(DefaultComponents.layer(config))),
      Effect.provideService(LiveConfig, live),
      Effect.provideService(Lifecycle.Lifecycle, lifecycle)
    )
    return { ...engine, lifecycle, live }
  })

export const startEngine = (...options: Parameters<typeof makeEngine>) =>
  Effect.tap(makeEngine(...options), (engine) => engine.start)

/**
 * Polls until the answer is yes; dies after so many looks, a minute's worth on a machine that does nothing else. A busy
 * one makes the looks slow as well as the engine.
 */
export const eventually = <E, R>(
  claim: string,
  holds: Effect.Effect<boolean, E, R>,
  looks = 1_200
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let left = looks
    const poll: Effect.Effect<void, E, R> = Effect.flatMap(holds, (yes) => {
      if (yes) return Effect.void
      if (left-- === 0) return Effect.die(new Error(`not seen in ${looks} looks: ${claim}`))
      return Effect.delay(poll, "50 millis")
    })
    return poll
  })
