/**
 * The service an application uses.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { SyncEngineService } from "./engine/EngineService.js"

export * from "./engine/EngineService.js"

/**
 * @since 0.1.0
 * @category services
 */
export class SyncEngine extends Context.Tag("effect-sync-engine/SyncEngine")<
  SyncEngine,
  SyncEngineService
>() {}
