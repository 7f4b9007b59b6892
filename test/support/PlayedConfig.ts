import { type Context, Effect, SubscriptionRef } from "effect"
import type { EngineConfig } from "../../src/config/Model.js"
import type { LiveConfig } from "../../src/EngineConfig.js"

/** A live configuration that can be set to anything, also to what the checks would refuse. */
export interface PlayedConfig extends Context.Tag.Service<LiveConfig> {
  readonly set: (change: Partial<EngineConfig>) => Effect.Effect<void>
}

export const playedConfig = (config: EngineConfig): Effect.Effect<PlayedConfig> =>
  Effect.map(SubscriptionRef.make(config), (ref) => {
    let held = config
    const set: PlayedConfig["set"] = (change) =>
      SubscriptionRef.update(ref, (current) => {
        held = { ...current, ...change }
        return held
      })
    return {
      changes: ref.changes,
      unsafeGet: () => held,
      set,
      update: (patch) => Effect.map(set(patch as Partial<EngineConfig>), () => held)
    }
  })
