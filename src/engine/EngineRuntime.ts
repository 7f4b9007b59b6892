/**
 * What the engine's rooms share while it runs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ArchiveStartError } from "../EngineError.js"
import type { ArchiveWaiters } from "./ArchiveWaiters.js"
import type { CacheCare } from "./CacheCare.js"
import type { ChangeFeed } from "./ChangeFeed.js"
import type { EngineCore } from "./EngineCore.js"
import type { FilterCare } from "./FilterCare.js"
import type { Flush } from "./Flush.js"
import type { LogCare } from "./LogCare.js"

/**
 * @since 0.1.0
 * @category services
 */
export class EngineRuntime extends Context.Tag("effect-sync-engine/EngineRuntime")<
  EngineRuntime,
  {
    readonly core: EngineCore
    readonly flush: Flush
    readonly waiters: ArchiveWaiters
    readonly care: CacheCare
    readonly filterCare: FilterCare
    readonly feed: ChangeFeed
    readonly logCare: LogCare
    /** Connects the archive that the start did without; nothing otherwise. */
    readonly connectArchive: Effect.Effect<void, ArchiveStartError>
    /** Opened to start a flush at once; says why. */
    readonly demand: FlushDemand
  }
>() {}

/** A request to flush before the interval is over. @since 0.1.0 @category models */
export interface FlushDemand {
  /** Asks for a flush. Synchronous; requests that come before the flush has started are one. */
  readonly ask: (kind: "full" | "forced" | "recovery") => void
  /** Waits for the next request. */
  readonly next: Effect.Effect<"full" | "forced" | "recovery">
}
