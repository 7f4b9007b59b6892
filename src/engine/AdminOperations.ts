/** Operating the engine: rounds by hand, what an operator switches, what is to be seen. */
import { type Context, Effect, type Scope, Stream } from "effect"
import type { LiveConfig } from "../EngineConfig.js"
import type { ShutdownReport } from "../Lifecycle.js"
import type { AdminApi } from "./AdminApi.js"
import type { EngineRuntime } from "./background/EngineRuntime.js"
import { checkpoint } from "./flush/Checkpoint.js"
import type { FlushBarrier } from "./flush/FlushBarrier.js"
import * as DeadLetters from "./query/DeadLetters.js"
import { guarded } from "./query/Requests.js"
import { archiveUnavailable } from "./state/ArchiveUnavailable.js"
import { healthOf, statsOf } from "./state/HealthAndStats.js"

/** @param detached holds what nobody waits for */
export const make = (
  runtime: Context.Tag.Service<EngineRuntime>,
  live: Context.Tag.Service<LiveConfig>,
  barrier: FlushBarrier,
  shutdown: Effect.Effect<ShutdownReport>,
  detached: Scope.Scope
): AdminApi => {
  const { changeStream, core } = runtime
  const { lifecycle } = core
  const started = { atMs: core.nowMs(), elapsedMs: core.elapsedMs() }

  const flush = guarded(
    core,
    Effect.tap(barrier.all("flush"), () => checkpoint(core))
  ).pipe(Effect.withSpan("SyncEngine.flush"))

  /** Waits for the end of the start, and of one without SQL: until then nothing can be flushed. */
  const served = Stream.runDrain(Stream.takeUntil(lifecycle.changes, () => lifecycle.acceptsQueries()))

  return {
    flush,
    tick: Effect.gen(function* () {
      if (!lifecycle.acceptsQueries()) return
      yield* runtime.logProbe.probe
      for (const { intervalMs, name, round } of runtime.duties) {
        if (intervalMs(core.config()) === 0) continue
        yield* Effect.catchAllCause(round, (cause) => Effect.logDebug(`${name} failed`, cause))
      }
    }),
    warmUp: guarded(core, runtime.filterMaintenance.rebuild).pipe(
      Effect.catchTags({
        ArchiveError: (error) => archiveUnavailable("warmUp")(error),
        // Another node writes, or it cannot be done while so much is pending.
        RebuildLater: ({ message }) => Effect.logInfo(`the filter is not rebuilt now: ${message}`)
      }),
      Effect.withSpan("SyncEngine.warmUp")
    ),
    setReadOnly: (readOnly) => Effect.asVoid(Effect.orDie(live.update({ readOnly }))),
    deadLetters: DeadLetters.make(core, () => flushWhenFull(runtime)),
    drain: Effect.tap(lifecycle.beginDrain, (made) =>
      made
        ? Effect.zipRight(
            Effect.logInfo("draining: no more writes"),
            // Nobody waits for it: what is left goes to the archive, and the files are complete without what is beside.
            Effect.forkIn(Effect.zipRight(served, Effect.ignore(flush)), detached)
          )
        : Effect.void
    ),
    shutdown,
    health: Effect.sync(() => healthOf(core)),
    stats: Effect.suspend(() => statsOf(core, started)),
    changes: changeStream.changes,
    phaseChanges: Stream.changes(Stream.map(lifecycle.changes, ({ phase }) => phase)),
    bootStageChanges: Stream.changes(Stream.map(lifecycle.changes, ({ bootStage }) => bootStage))
  }
}

export const flushWhenFull = ({ flush, flushSignal }: Context.Tag.Service<EngineRuntime>): void => {
  if (flush.batchIsFull()) flushSignal.ask("full")
}
