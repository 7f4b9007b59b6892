/** One engine: its rooms put together, its start and its shutdown. */
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope, Stream, SubscriptionRef } from "effect"
import { Archive } from "../archive/Archive.js"
import { LiveConfig } from "../EngineConfig.js"
import type { StartError } from "../EngineError.js"
import { GateClosed } from "../EngineError.js"
import type { ShutdownReport } from "../Lifecycle.js"
import { Lifecycle } from "../Lifecycle.js"
import type { SyncEngineApi } from "../SyncEngineApi.js"
import * as BackgroundTasks from "./background/BackgroundTasks.js"
import * as CacheResync from "./background/CacheResync.js"
import { EngineRuntime } from "./background/EngineRuntime.js"
import * as FilterMaintenance from "./background/FilterMaintenance.js"
import * as LogProbe from "./background/LogProbe.js"
import * as RunLoop from "./background/RunLoop.js"
import type { EngineComponents } from "./EngineComponents.js"
import * as ChangeStream from "./flush/ChangeStream.js"
import { checkpoint } from "./flush/Checkpoint.js"
import * as FlushBarrier from "./flush/FlushBarrier.js"
import * as Flusher from "./flush/Flusher.js"
import * as FlushSignal from "./flush/FlushSignal.js"
import * as BulkDeletes from "./query/BulkDeletes.js"
import * as DeadLetters from "./query/DeadLetters.js"
import * as GetOrInsert from "./query/GetOrInsert.js"
import * as Integrity from "./query/Integrity.js"
import { Pages } from "./query/Pages.js"
import * as RangeQueries from "./query/RangeQueries.js"
import { guarded } from "./query/Requests.js"
import * as SetState from "./query/SetState.js"
import * as VerifiedReads from "./query/VerifiedReads.js"
import * as PointReads from "./read/PointReads.js"
import * as Shutdown from "./shutdown/Shutdown.js"
import { connectLater } from "./startup/ConnectArchive.js"
import { startup } from "./startup/Startup.js"
import { ArchiveWaiters } from "./state/ArchiveWaiters.js"
import { EngineLimits } from "./state/EngineLimits.js"
import { EngineState } from "./state/EngineState.js"
import { healthOf, statsOf } from "./state/HealthAndStats.js"
import * as VersionComparison from "./write/VersionComparison.js"
import * as WriteOperations from "./write/WriteOperations.js"

export interface Engine {
  /** Usable at once; until the start is through, its gate refuses with the reason. */
  readonly service: SyncEngineApi
  /** Runs the start-up phases; every call waits for the same one start. A failed start has been shut down again. */
  readonly start: Effect.Effect<void, StartError | GateClosed>
  /** Shuts down at once, without `SHUTDOWN_DELAY`; every call gets the same report. */
  readonly shutdown: Effect.Effect<ShutdownReport>
}

/** Builds an engine that has not been started. Closing the scope shuts it down if nobody has. */
export const make: Effect.Effect<Engine, never, EngineComponents | Lifecycle | LiveConfig | Scope.Scope> =
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const live = yield* LiveConfig
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    const core = new EngineState(live.unsafeGet, lifecycle, clock, yield* EngineLimits)
    const archive = yield* Archive
    core.expectsArchive = archive.open !== undefined
    const waiters = new ArchiveWaiters()
    const changeStream = ChangeStream.make(core)
    const flush = Flusher.make(core, waiters, changeStream)
    const flushSignal = FlushSignal.make()
    const cacheResync = CacheResync.make(core, flush)
    const filterMaintenance = FilterMaintenance.make(core, lifecycle)
    const logProbe = LogProbe.make(core)
    const [tiers, runLoop, readers] = yield* Effect.all([Scope.make(), Scope.make(), Scope.make()])
    const rounds: Context.Tag.Service<EngineRuntime> = {
      cacheResync,
      changeStream,
      connectArchive: Effect.suspend(() => connectLater(rounds, archive)),
      core,
      filterMaintenance,
      flush,
      flushSignal,
      logProbe,
      tiers,
      waiters
    }
    const runtime = (yield* Effect.context<EngineComponents>()).pipe(
      Context.add(EngineRuntime, rounds),
      Context.add(Lifecycle, lifecycle),
      Context.add(LiveConfig, live)
    )
    const started = { atMs: core.nowMs(), elapsedMs: core.elapsedMs() }

    // Start: once, in a fiber of its own, so that a shutdown can stop it whoever waits for it.
    const phases = Effect.gen(function* () {
      if (lifecycle.unsafeSnapshot().phase !== "starting") return yield* core.closedGate("write")
      yield* lifecycle.mark("started")
      yield* Layer.buildWithScope(startup, tiers)
      yield* Effect.provideService(RunLoop.start, Scope.Scope, runLoop)
      yield* Effect.logInfo("ready")
    }).pipe(Effect.provide(runtime), Effect.interruptible)
    const starting = yield* Effect.cached(Effect.forkDaemon(phases))
    let starter: Fiber.RuntimeFiber<void, StartError | GateClosed> | undefined

    const stopStarting = Effect.suspend(() =>
      starter === undefined ? Effect.void : Fiber.interrupt(starter)
    )

    // Shutdown: once, in a fiber of its own, so that no caller's interruption stops it half-way.
    const shutdownAfter = (problems: ReadonlyArray<string>): Effect.Effect<ShutdownReport> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (yield* lifecycle.beginShutdown) {
            yield* Shutdown.perform({ runLoop, stopStarting, tiers }, problems).pipe(
              Effect.ensuring(Scope.close(readers, Exit.void)),
              Effect.provide(runtime),
              Effect.interruptible,
              Effect.forkDaemon
            )
          }
          return yield* restore(lifecycle.awaitReport)
        })
      )
    const shutdown = shutdownAfter([])

    /** A request to stop: not ready at once, and still serving for `SHUTDOWN_DELAY`, so that whoever sends requests can go elsewhere. */
    const requestShutdown = Effect.suspend(() => {
      const { shutdownDelay } = core.config()
      if (shutdownDelay === 0 || !lifecycle.acceptsQueries()) return shutdown
      const delayed = Effect.sleep(Duration.millis(shutdownDelay)).pipe(Effect.zipRight(shutdown))
      return Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (yield* lifecycle.requestShutdown) {
            yield* Effect.logInfo(`not ready any more; shutting down in ${shutdownDelay} ms`)
            yield* Effect.forkDaemon(Effect.interruptible(delayed))
          }
          return yield* restore(lifecycle.awaitReport)
        })
      )
    })

    const start: Engine["start"] = Effect.gen(function* () {
      starter = yield* starting
      const exit = yield* Fiber.await(starter)
      if (Exit.isSuccess(exit)) return
      if (Cause.isInterruptedOnly(exit.cause)) {
        return yield* new GateClosed({ operation: "write", phase: "shutting_down", retryAfterMs: 1000 })
      }
      // Shut down before it was started.
      if (Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error instanceof GateClosed)
        return yield* exit
      yield* shutdownAfter([
        `start: ${Cause.squash(exit.cause) instanceof Error ? (Cause.squash(exit.cause) as Error).message : "failed"}`
      ])
      return yield* exit
    })

    yield* Scope.addFinalizer(scope, shutdown)

    const reads = PointReads.make(core, readers)
    const onCommitted = () => {
      if (flush.batchIsFull()) flushSignal.ask("full")
    }
    const comparison = VersionComparison.make(core, readers)
    const writes = WriteOperations.make(
      core,
      reads,
      waiters,
      onCommitted,
      () => flushSignal.ask("forced"),
      comparison
    )
    const carry = FlushBarrier.make(core, flush)
    const pages = new Pages(core, carry, reads)
    const flushed = guarded(
      core,
      Effect.tap(carry.all("flush"), () => checkpoint(core))
    ).pipe(Effect.withSpan("SyncEngine.flush"))

    /** Waits for the end of the start, and of one without SQL: until then nothing can be flushed. */
    const served = Stream.runDrain(Stream.takeUntil(lifecycle.changes, () => lifecycle.acceptsQueries()))

    const service: SyncEngineApi = {
      submit: writes.submit,
      submitMany: writes.submitMany,
      delete: writes.delete,
      deleteMany: writes.deleteMany,
      ...VerifiedReads.make(core, reads),
      ...RangeQueries.make(core, carry, pages),
      ...BulkDeletes.make(core, writes, pages),
      ...Integrity.make(core, flush, carry, cacheResync, writes.submit),
      getOrInsertWith: GetOrInsert.make(core, reads, writes),
      setState: SetState.make(core, reads, writes),
      flush: flushed,
      get: reads.get,
      getMany: reads.getMany,
      tick: Effect.gen(function* () {
        if (!lifecycle.acceptsQueries()) return
        yield* BackgroundTasks.flushByAge(rounds)
        yield* BackgroundTasks.drainLog(rounds)
        yield* logProbe.probe
        yield* BackgroundTasks.archiveHealth(rounds)
        yield* Effect.ignore(BackgroundTasks.resyncCache(rounds))
        yield* Effect.ignore(BackgroundTasks.shrinkLog(rounds))
      }),
      warmUp: Effect.void,
      setReadOnly: (readOnly) => SubscriptionRef.update(live.ref, (config) => ({ ...config, readOnly })),
      deadLetters: DeadLetters.make(core, onCommitted),
      drain: Effect.tap(lifecycle.beginDrain, (made) =>
        made
          ? Effect.zipRight(
              Effect.logInfo("draining: no more writes"),
              // Nobody waits for it: what is left goes to the archive, and the files are complete without what is beside.
              Effect.forkIn(Effect.zipRight(served, Effect.ignore(flushed)), readers)
            )
          : Effect.void
      ),
      shutdown: requestShutdown,
      health: Effect.sync(() => healthOf(core)),
      stats: Effect.suspend(() => statsOf(core, started)),
      changes: changeStream.changes,
      phaseChanges: Stream.changes(Stream.map(lifecycle.changes, ({ phase }) => phase)),
      bootStageChanges: Stream.changes(Stream.map(lifecycle.changes, ({ bootStage }) => bootStage))
    }
    return { service, start, shutdown }
  })
