/** Where commands get an engine of their own from. A service, so that tests give them another one. */
import { Context, type Effect, type Scope } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import type { LiveConfig } from "../../EngineConfig.js"
import type { GateClosed, InvalidConfig, StartError } from "../../EngineError.js"
import type { Lifecycle, ShutdownReport } from "../../Lifecycle.js"
import type { SyncEngineApi } from "../../SyncEngine.js"

/** An engine that has not been started. */
export interface EngineHandle {
  /** Usable at once; until the start is through, its gate refuses with the reason. */
  readonly engine: SyncEngineApi
  readonly lifecycle: Context.Tag.Service<Lifecycle>
  readonly liveConfig: Context.Tag.Service<LiveConfig>
  /** Returns when the engine serves. A failed start has been shut down again. */
  readonly start: Effect.Effect<void, StartError | GateClosed>
  /** Shuts down; every call gets the same report. */
  readonly shutdown: Effect.Effect<ShutdownReport>
}

export class EngineFactory extends Context.Tag("effect-sync-engine/cli/backend/EngineFactory")<
  EngineFactory,
  {
    /** Closing the scope shuts the engine down if nobody has. */
    readonly make: (config: EngineConfig) => Effect.Effect<EngineHandle, InvalidConfig, Scope.Scope>
  }
>() {}
