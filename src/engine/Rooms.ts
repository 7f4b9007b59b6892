/**
 * The rooms of an engine, from the ground up. What a room has to do at the end it registers here, when it is built: read
 * from the bottom, this is the shutdown.
 */
import { type Context, Effect } from "effect"
import { Archive } from "../archive/Archive.js"
import { LiveConfig } from "../EngineConfig.js"
import { Lifecycle } from "../Lifecycle.js"
import { FilterSnapshots } from "../wal/FilterSnapshots.js"
import * as BackgroundTasks from "./background/BackgroundTasks.js"
import * as CacheResync from "./background/CacheResync.js"
import type { EngineRuntime } from "./background/EngineRuntime.js"
import { FilterMaintenance } from "./background/FilterMaintenance.js"
import * as LogProbe from "./background/LogProbe.js"
import { ChangeStream } from "./flush/ChangeStream.js"
import { Flusher } from "./flush/Flusher.js"
import * as FlushSignal from "./flush/FlushSignal.js"
import { connectLater } from "./startup/ConnectArchive.js"
import { ArchiveWaiters } from "./state/ArchiveWaiters.js"
import { EngineLimits } from "./state/EngineLimits.js"
import { EngineState } from "./state/EngineState.js"
import { ShutdownSteps } from "./state/ShutdownSteps.js"

export const make = Effect.gen(function* () {
  const live = yield* LiveConfig
  const archive = yield* Archive
  const core = new EngineState(live.unsafeGet, yield* Lifecycle, yield* Effect.clock, yield* EngineLimits)
  core.expectsArchive = archive.open !== undefined

  // Log, archive and cache close behind all of these; the phases of the start register them.
  const shutdown = yield* ShutdownSteps.make(() => core.elapsedMs())
  yield* shutdown.add("log checkpoint", checkpoint(core))
  const changeStream = new ChangeStream(core)
  yield* shutdown.add("change stream", changeStream.publish)
  const filterMaintenance = yield* FilterMaintenance.make(core, yield* FilterSnapshots, shutdown)
  const waiters = new ArchiveWaiters()
  // Nobody waits any more for an archive that has not taken it: the log has their writes.
  yield* shutdown.addSync(() => waiters.close(core.tail.consumed))
  const flush = new Flusher(core, waiters, changeStream)
  yield* shutdown.add("flush", lastFlush(core, flush), () => !shutdown.startFailed && !core.tail.isEmpty)
  const runLoop = yield* shutdown.scoped("run loop")
  yield* shutdown.add("writes under way", core.appends.settled.await)

  const runtime: Omit<Context.Tag.Service<EngineRuntime>, "duties"> = {
    cacheResync: CacheResync.make(core, flush),
    changeStream,
    connectArchive: Effect.suspend(() => connectLater(runtime, archive)),
    core,
    filterMaintenance,
    flush,
    flushSignal: FlushSignal.make(),
    logProbe: LogProbe.make(core),
    runLoop,
    shutdown,
    waiters
  }
  return { ...runtime, duties: BackgroundTasks.all(runtime) }
})

const checkpoint = (core: EngineState) =>
  Effect.suspend(() =>
    core.tiers === undefined ? Effect.void : Effect.zipRight(core.log.shrink, core.log.checkpoint)
  )

/**
 * An archive that fails for a time may take what is left; nobody waits for one after a failed start, nor for a log that
 * cannot release what is archived.
 */
const lastFlush = (core: EngineState, flush: Flusher) =>
  Effect.gen(function* () {
    if (core.tiers?.archive === undefined || (core.pendingEntries() === 0 && !flush.releaseDue())) return
    yield* flush.run({ reason: "shutdown" })
    if (flush.releaseDue() && core.degradations.logRefusal !== undefined) yield* core.degradations.logRefusal
  })
