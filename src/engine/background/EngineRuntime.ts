/** What the engine's rooms share while it runs. */
import { Context, type Effect, type Scope } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import type { ArchiveStartError } from "../../EngineError.js"
import type { ChangeStream } from "../flush/ChangeStream.js"
import type { Flusher } from "../flush/Flusher.js"
import type { FlushSignal } from "../flush/FlushSignal.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import type { EngineState } from "../state/EngineState.js"
import type { ShutdownSteps } from "../state/ShutdownSteps.js"
import type { CacheResync } from "./CacheResync.js"
import type { FilterMaintenance } from "./FilterMaintenance.js"
import type { LogProbe } from "./LogProbe.js"

/** Something the run loop does again and again. */
export interface Duty {
  readonly name: string
  /** Milliseconds between two rounds; 0 switches the duty off. */
  readonly intervalMs: (config: EngineConfig) => number
  readonly round: Effect.Effect<void, unknown>
}

export class EngineRuntime extends Context.Tag("effect-sync-engine/EngineRuntime")<
  EngineRuntime,
  {
    readonly core: EngineState
    readonly flush: Flusher
    readonly waiters: ArchiveWaiters
    readonly cacheResync: CacheResync
    readonly filterMaintenance: FilterMaintenance
    readonly changeStream: ChangeStream
    readonly logProbe: LogProbe
    /** What the run loop does again and again. */
    readonly duties: ReadonlyArray<Duty>
    /** Holds the run loop's fibers. */
    readonly runLoop: Scope.Scope
    readonly shutdown: ShutdownSteps
    /** Connects the archive that the start did without; nothing otherwise. */
    readonly connectArchive: Effect.Effect<void, ArchiveStartError>
    /** Opened to start a flush at once; says why. */
    readonly flushSignal: FlushSignal
  }
>() {}
