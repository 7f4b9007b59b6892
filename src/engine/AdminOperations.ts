/** Operating the engine: rounds by hand, what an operator switches, what is to be seen. */

import { type Context, Effect, Stream, Struct } from "effect"
import type { PositionedChange } from "../cache/Cache.js"
import type { LiveConfig } from "../EngineConfig.js"
import type { NotSupported, ReadError } from "../EngineError.js"
import type { BootStage, Phase, ShutdownReport } from "../Lifecycle.js"
import type { EngineHealth, EngineStats, FlushResult } from "../SyncEngineModels.js"
import type { EngineRuntime } from "./background/EngineRuntime.js"
import type { FlushBarrier } from "./flush/FlushBarrier.js"
import type { DeadLettersApi } from "./query/DeadLetters.js"
import * as DeadLetters from "./query/DeadLetters.js"
import { guarded } from "./query/Requests.js"
import { archiveUnavailable } from "./state/Conditions.js"
import type { EngineState } from "./state/EngineState.js"

/**
 * Operation: flush, rounds by hand, dead letters, drain and shutdown, what is to be seen of it.
 *
 * @since 0.1.0
 * @category services
 */
export interface AdminApi {
  /** Carries everything acknowledged so far to the archive now. Fails when the archive is unavailable. */
  readonly flush: Effect.Effect<FlushResult, ReadError>
  /** One round of every duty of the run loop that is switched on. What fails in it is logged and tried again by the run loop. */
  readonly tick: Effect.Effect<void>
  /** Rebuilds the existence filter when that is due, and waits for it; only the archive's sole writer can. */
  readonly warmUp: Effect.Effect<void, ReadError>
  readonly setReadOnly: (readOnly: boolean) => Effect.Effect<void>
  readonly deadLetters: DeadLettersApi
  /** Stops writes, keeps reads; idempotent. True for the call that made it. */
  readonly drain: Effect.Effect<boolean>
  /**
   * Shuts down; idempotent; every caller gets the same report. With `SHUTDOWN_DELAY` the engine is not ready at once
   * and goes on serving until the delay is over.
   */
  readonly shutdown: Effect.Effect<ShutdownReport>
  readonly health: Effect.Effect<EngineHealth>
  readonly stats: Effect.Effect<EngineStats>
  /**
   * The change stream (`CDC`): every write that the archive has taken, at least once, in log order, after a position
   * or from the oldest entry kept. Goes on for ever; keep the last position to go on after a restart.
   */
  readonly changes: (after?: string) => Stream.Stream<PositionedChange, ReadError | NotSupported>
  readonly phaseChanges: Stream.Stream<Phase>
  readonly bootStageChanges: Stream.Stream<BootStage>
}

export const make = (
  runtime: Context.Tag.Service<EngineRuntime>,
  live: Context.Tag.Service<LiveConfig>,
  barrier: FlushBarrier,
  shutdown: Effect.Effect<ShutdownReport>
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
            Effect.forkIn(Effect.zipRight(served, Effect.ignore(flush)), core.detached)
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

/**
 * Folds what stands beside the files of log and archive into them: a copy of the files themselves is complete then.
 * Done after an explicit flush and after a drain. A failure costs nobody a write: what is beside the files is read
 * at the next start.
 */
const checkpoint = (core: EngineState): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { tiers } = core
    if (tiers === undefined) return Effect.void
    const told = (error: { readonly message: string }) =>
      Effect.logWarning(`no checkpoint after the flush: ${error.message}`)
    return Effect.zipRight(
      Effect.catchAll(tiers.archive?.checkpoint ?? Effect.void, told),
      // Of a log that takes no writes has been told already.
      core.degradations.logRefusal === undefined ? Effect.catchAll(tiers.log.checkpoint, told) : Effect.void
    )
  })

const bounds = { maxItems: 0, maxBytes: 0 }
const emptyUsage = { ...bounds, items: 0, bytes: 0, letters: 0, letterBytes: 0, committed: 0, released: 0 }

const healthOf = (core: EngineState): EngineHealth => {
  const archive = core.tiers?.archive
  const filter = core.filter?.status()
  return {
    lifecycle: core.lifecycle.unsafeSnapshot(),
    acceptsWrites:
      core.gate.acceptsWrites && !core.config().readOnly && core.degradations.logRefusal === undefined,
    acceptsQueries: core.lifecycle.acceptsQueries(),
    readOnly: core.config().readOnly,
    degraded: core.degradations.all,
    archive: {
      dialect: archive?.dialect ?? "none",
      target: archive?.target ?? "none",
      available: archive !== undefined && !core.degradations.has("archive")
    },
    cache: {
      configured: core.cache !== undefined,
      available: core.cache?.connected ?? false,
      trusted: core.cache?.trusted ?? false
    },
    filter: { trusted: filter?.trusted ?? false, entries: filter?.entries ?? 0, reason: filter?.reason },
    backpressure: { level: core.pressure.level(), pressure: core.pressure.share }
  }
}

const statsOf = (
  core: EngineState,
  started: { readonly atMs: number; readonly elapsedMs: number }
): Effect.Effect<EngineStats> =>
  Effect.map(core.lifecycle.timings, (startupTimings) => {
    const { deadLettered: _, flushes, ...counters } = core.counters
    return {
      ...counters,
      startedAtMs: started.atMs,
      uptimeMs: Math.floor(core.elapsedMs() - started.elapsedMs),
      log: core.tiers?.log.usage() ?? emptyUsage,
      memory: Struct.omit(core.memory.stats(), "insertions"),
      pending: core.pendingEntries(),
      deadLetters: core.tiers?.log.deadLetters.count() ?? 0,
      flushes: { ...flushes },
      startupTimings
    }
  })
