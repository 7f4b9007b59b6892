/** What the engine's rooms share while it runs. */
import { Context, type Effect, type Scope } from "effect"
import type { ArchiveStartError } from "../../EngineError.js"
import type { ChangeStream } from "../flush/ChangeStream.js"
import type { Flusher } from "../flush/Flusher.js"
import type { FlushSignal } from "../flush/FlushSignal.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import type { EngineState } from "../state/EngineState.js"
import type { CacheResync } from "./CacheResync.js"
import type { FilterMaintenance } from "./FilterMaintenance.js"
import type { LogProbe } from "./LogProbe.js"

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
    /** Holds log, archive and cache. A start that is stopped half-way leaves them open: the shutdown carries what the log holds. */
    readonly tiers: Scope.CloseableScope
    /** Connects the archive that the start did without; nothing otherwise. */
    readonly connectArchive: Effect.Effect<void, ArchiveStartError>
    /** Opened to start a flush at once; says why. */
    readonly flushSignal: FlushSignal
  }
>() {}
