/** One engine: its rooms put together, its start and its shutdown. */
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Archive } from "../archive/Archive.js"
import { LiveConfig } from "../EngineConfig.js"
import type { StartError } from "../EngineError.js"
import { GateClosed } from "../EngineError.js"
import type { ShutdownReport } from "../Lifecycle.js"
import { Lifecycle } from "../Lifecycle.js"
import type { SyncEngineApi } from "../SyncEngineApi.js"
import { FilterSnapshots } from "../wal/FilterSnapshots.js"
import * as AdminOperations from "./AdminOperations.js"
import * as BackgroundTasks from "./background/BackgroundTasks.js"
import * as CacheResync from "./background/CacheResync.js"
import { EngineRuntime } from "./background/EngineRuntime.js"
import { FilterMaintenance } from "./background/FilterMaintenance.js"
import * as LogProbe from "./background/LogProbe.js"
import * as RunLoop from "./background/RunLoop.js"
import type { EngineComponents } from "./DefaultComponents.js"
import { ChangeStream } from "./flush/ChangeStream.js"
import { FlushBarrier } from "./flush/FlushBarrier.js"
import { Flusher } from "./flush/Flusher.js"
import { FlushSignal } from "./flush/FlushSignal.js"
import * as GetOrInsert from "./query/GetOrInsert.js"
import * as Integrity from "./query/Integrity.js"
import { Pages } from "./query/Pages.js"
import * as RangeQueries from "./query/RangeQueries.js"
import * as VerifiedReads from "./query/VerifiedReads.js"
import { PointReads } from "./read/PointReads.js"
import * as Shutdown from "./shutdown/Shutdown.js"
import { connectLater } from "./startup/ConnectArchive.js"
import { startup } from "./startup/Startup.js"
import { ArchiveWaiters } from "./state/ArchiveWaiters.js"
import { EngineLimits } from "./state/EngineLimits.js"
import { EngineState } from "./state/EngineState.js"
import { ShutdownSteps } from "./state/ShutdownSteps.js"
import { LogAppend } from "./write/LogAppend.js"
import { VersionComparison } from "./write/VersionComparison.js"
import * as WriteOperations from "./write/WriteOperations.js"

/**
 * An engine that its host starts and stops.
 *
 * @since 0.1.0
 * @category models
 */
export interface Engine {
  /** Usable at once; until the start is through, its gate refuses with the reason. */
  readonly service: SyncEngineApi
  /** Runs the start-up phases; every call waits for the same one start. A failed start has been shut down again. */
  readonly start: Effect.Effect<void, StartError | GateClosed>
  /** Shuts down at once, without `SHUTDOWN_DELAY`; every call gets the same report. */
  readonly shutdown: Effect.Effect<ShutdownReport>
}

type Runtime = Context.Tag.Service<EngineRuntime>

/** Builds an engine that has not been started. Closing the scope shuts it down if nobody has. */
export const make: Effect.Effect<Engine, never, EngineComponents | Lifecycle | LiveConfig | Scope.Scope> =
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const runtime = yield* makeRooms
    const shutdownAfter = (problems: ReadonlyArray<string>): Effect.Effect<ShutdownReport> =>
      // In a fiber of its own, so that no caller's interruption stops it half-way.
      once(
        lifecycle,
        lifecycle.beginShutdown,
        Effect.ensuring(Shutdown.perform(runtime, problems), Scope.close(runtime.core.detached, Exit.void))
      )
    const shutdown = shutdownAfter([])
    const starting = yield* makeStarting(runtime)

    const start: Engine["start"] = Effect.gen(function* () {
      const exit = yield* starting
      if (Exit.isSuccess(exit)) return
      if (Cause.isInterruptedOnly(exit.cause)) {
        return yield* new GateClosed({ operation: "write", phase: "shutting_down", retryAfterMs: 1000 })
      }
      const error = Cause.squash(exit.cause)
      // Otherwise it was shut down before it was started.
      if (!(error instanceof GateClosed)) {
        yield* shutdownAfter([`start: ${error instanceof Error ? error.message : "failed"}`])
      }
      return yield* exit
    })

    yield* Effect.addFinalizer(() => shutdown)
    const service = serviceOf(runtime, yield* LiveConfig, requestShutdown(runtime, shutdown))
    return { service, start, shutdown }
  })

/** The phases of the start and then the run loop: once, in a fiber of its own, so that a shutdown can stop it whoever waits for it. */
const makeStarting = (runtime: Runtime) =>
  Effect.gen(function* () {
    const { core, runLoop, shutdown } = runtime
    const { lifecycle } = core
    const context = yield* Effect.context<EngineComponents | Lifecycle | LiveConfig>()
    const phases = Effect.gen(function* () {
      if (lifecycle.unsafeSnapshot().phase !== "starting") return yield* core.gate.closed("write")
      yield* lifecycle.mark("started")
      yield* Effect.scoped(Layer.build(startup))
      yield* Effect.provideService(RunLoop.start, Scope.Scope, runLoop)
      yield* Effect.logInfo("ready")
    }).pipe(Effect.provide(Context.add(context, EngineRuntime, runtime)), Effect.interruptible)

    let fiber: Fiber.RuntimeFiber<void, StartError | GateClosed> | undefined
    const begun = yield* Effect.cached(
      Effect.tap(Effect.forkDaemon(phases), (forked) =>
        Effect.sync(() => {
          fiber = forked
        })
      )
    )
    yield* shutdown.add(
      "start-up",
      Effect.suspend(() => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
    )
    return Effect.flatMap(begun, Fiber.await)
  })

/** Does something beside the caller if this call is the first; every caller waits for the one report. */
const once = (
  lifecycle: Lifecycle["Type"],
  isFirst: Effect.Effect<boolean>,
  work: Effect.Effect<unknown>
): Effect.Effect<ShutdownReport> =>
  Effect.uninterruptibleMask((restore) =>
    isFirst.pipe(
      Effect.flatMap((first) => (first ? Effect.forkDaemon(Effect.interruptible(work)) : Effect.void)),
      Effect.zipRight(restore(lifecycle.awaitReport))
    )
  )

/** A request to stop: not ready at once, and still serving for `SHUTDOWN_DELAY`, so that whoever sends requests can go elsewhere. */
const requestShutdown = ({ core }: Runtime, shutdown: Effect.Effect<ShutdownReport>) =>
  Effect.suspend(() => {
    const { lifecycle } = core
    const { shutdownDelay } = core.config()
    if (shutdownDelay === 0 || !lifecycle.acceptsQueries()) return shutdown
    const later = Effect.logInfo(`not ready any more; shutting down in ${shutdownDelay} ms`).pipe(
      Effect.zipRight(Effect.sleep(Duration.millis(shutdownDelay))),
      Effect.zipRight(shutdown)
    )
    return once(lifecycle, lifecycle.requestShutdown, later)
  })

const serviceOf = (
  runtime: Runtime,
  live: LiveConfig["Type"],
  shutdown: Effect.Effect<ShutdownReport>
): SyncEngineApi => {
  const { cacheResync, core, flush, flushSignal, waiters } = runtime
  const reads = new PointReads(core)
  const log = new LogAppend(
    core,
    waiters,
    () => AdminOperations.flushWhenFull(runtime),
    () => flushSignal.ask("forced")
  )
  const writes = WriteOperations.make(core, reads, log, new VersionComparison(core))
  const barrier = new FlushBarrier(core, flush)
  const pages = new Pages(core, barrier, reads)
  return {
    submit: writes.submit,
    submitMany: writes.submitMany,
    delete: writes.delete,
    deleteMany: writes.deleteMany,
    get: reads.get,
    getMany: reads.getMany,
    getOrInsertWith: GetOrInsert.make(core, reads, writes),
    setState: GetOrInsert.setState(core, reads, writes),
    ...VerifiedReads.make(core, reads),
    ...RangeQueries.make(core, barrier, pages),
    ...RangeQueries.deletes(core, writes, pages),
    ...Integrity.make(core, flush, barrier, cacheResync, writes.submit),
    ...AdminOperations.make(runtime, live, barrier, shutdown)
  }
}

/**
 * The rooms of an engine, from the ground up. What a room has to do at the end it registers here, when it is built: read
 * from the bottom, this is the shutdown.
 */
const makeRooms = Effect.gen(function* () {
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
    flushSignal: new FlushSignal(),
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

/** Nobody waits for an archive after a failed start, nor for a log that cannot release what is archived. */
const lastFlush = (core: EngineState, flush: Flusher) =>
  Effect.gen(function* () {
    if (core.tiers?.archive === undefined || (core.pendingEntries() === 0 && !flush.releaseDue())) return
    yield* flush.run({ reason: "shutdown" })
    if (flush.releaseDue() && core.degradations.logRefusal !== undefined) yield* core.degradations.logRefusal
  })
