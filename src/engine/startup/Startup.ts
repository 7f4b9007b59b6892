/**
 * Start-up: every phase is a layer, and their composition is their order. The phases that can end a start (the log,
 * the archive) fail with typed errors; the others go on without what they could not get, and log why. Read
 * {@link startup} from top to bottom.
 */

import { Context, Duration, Effect, Exit, Layer, Option, Schedule, Scope } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import { Archive } from "../../archive/Archive.js"
import { Cache } from "../../cache/Cache.js"
import type { ArchiveStartError, InvalidConfig } from "../../EngineError.js"
import { LogOpenError } from "../../EngineError.js"
import { ExistenceFilter } from "../../filter/ExistenceFilter.js"
import type { BootStage, StartupLabel } from "../../Lifecycle.js"
import { Lifecycle } from "../../Lifecycle.js"
import type { Digest } from "../../merkle/Tree.js"
import { counted } from "../../shared/Counted.js"
import { FilterSnapshots } from "../../wal/FilterSnapshots.js"
import { type OpenLog, WriteAheadLog } from "../../wal/WriteAheadLog.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import type { FilterMaintenance } from "../background/FilterMaintenance.js"
import { bind } from "../state/ArchiveBinding.js"
import { CacheTrust } from "../state/CacheTrust.js"
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import { indexRemaining } from "./Replay.js"

/** The log, open. */
export class LogOpened extends Context.Tag("effect-sync-engine/Startup/LogOpened")<LogOpened, OpenLog>() {}

/** The archive, connected and migrated; none when the engine runs without ground truth. */
export class GroundTruth extends Context.Tag("effect-sync-engine/Startup/GroundTruth")<
  GroundTruth,
  Option.Option<OpenArchive>
>() {}

/** The log is drained as far as the archive allowed. */
export class LogDrained extends Context.Tag("effect-sync-engine/Startup/LogDrained")<
  LogDrained,
  { readonly itemsLeft: number }
>() {}

/** The root the archive vouches for; none when it could not be read. */
export class TrustedRoot extends Context.Tag("effect-sync-engine/Startup/TrustedRoot")<
  TrustedRoot,
  Option.Option<Digest>
>() {}

/** Whether the filter is trusted from the start. */
export class FilterRestored extends Context.Tag("effect-sync-engine/Startup/FilterRestored")<
  FilterRestored,
  boolean
>() {}

/** Whether the cache is connected. */
export class CacheConnected extends Context.Tag("effect-sync-engine/Startup/CacheConnected")<
  CacheConnected,
  boolean
>() {}

/** Whether the cache's root has been proven equal to the trusted root. */
export class CacheSynced extends Context.Tag("effect-sync-engine/Startup/CacheSynced")<
  CacheSynced,
  boolean
>() {}

/** The engine serves. */
export class Serving extends Context.Tag("effect-sync-engine/Startup/Serving")<Serving, true>() {}

/**
 * The phases in their order; each sees what the earlier ones provide.
 *
 * @param tiers holds log, archive and cache. Only the shutdown closes it: a start that is stopped half-way leaves
 * them open, because the shutdown carries what the log holds to the archive.
 */
export const startup = (tiers: Scope.Scope) =>
  openLog(tiers).pipe(
    // 1 · fatal: without the log durability cannot be guaranteed
    then(connectArchive(tiers)), // 2 · fatal after the start-up retries; none configured: a warning
    then(drainLog), // 3 · degrades: the rest stays in the log; poison goes to the dead letters
    then(readTrustedRoot), // 4 · a warning: nothing can be trusted yet
    then(restoreFilter), // 5 · a filter that is not proven is rebuilt while the engine serves
    then(connectCache(tiers)), // 6 · degrades: no cache until it is back
    then(syncCache), // 7 · a warning: the cache stays untrusted and is repaired later
    then(serve) // 8 · ready
  )

const then =
  <Out, E, In>(next: Layer.Layer<Out, E, In>) =>
  <Out0, E0, In0>(earlier: Layer.Layer<Out0, E0, In0>) =>
    Layer.provideMerge(next, earlier)

/** Runs a phase at its boot stage, measured under its label. */
const phase =
  (stage: BootStage, label: StartupLabel) =>
  <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Lifecycle> =>
    Effect.flatMap(Lifecycle, (lifecycle) =>
      lifecycle.setBootStage(stage).pipe(
        Effect.tap((moved) => (moved ? Effect.logInfo(`boot stage ${stage}`) : Effect.void)),
        Effect.zipRight(lifecycle.timed(label)(body))
      )
    )

const openLog = (
  tiers: Scope.Scope
): Layer.Layer<
  LogOpened,
  LogOpenError,
  WriteAheadLog | FilterSnapshots | ExistenceFilter | EngineRuntime | Lifecycle
> =>
  Layer.effect(
    LogOpened,
    Effect.gen(function* () {
      const { core, filterMaintenance, logProbe } = yield* EngineRuntime
      const filter = yield* ExistenceFilter
      const log = yield* Scope.extend((yield* WriteAheadLog).open, tiers)
      core.openLog(log)
      // On a full volume what the log holds is carried to the archive all the same.
      yield* logProbe.probe
      // Before any write, so that everything the log holds is added to what the snapshot knows.
      core.filter = yield* filter.open({ node: log.identity })
      yield* filterMaintenance.load(yield* FilterSnapshots)
      return log
      // A shutdown that comes meanwhile waits for it: its report says what the log holds.
    }).pipe(Effect.uninterruptible, phase("Connecting", "wal_init"))
  )

const connectArchive = (
  tiers: Scope.Scope
): Layer.Layer<GroundTruth, ArchiveStartError, Archive | EngineRuntime | Lifecycle | LogOpened> =>
  Layer.scoped(
    GroundTruth,
    Effect.gen(function* () {
      const { core, filterMaintenance } = yield* EngineRuntime
      const { open } = yield* Archive
      if (open === undefined) {
        core.degrade("archive", "no SQL is configured: the engine runs without ground truth")
        yield* Effect.logWarning("no SQL is configured: writes stay in the log, and absence cannot be proven")
        return Option.none<OpenArchive>()
      }
      const giveUpAtMs = core.elapsedMs() + core.config().sqlStartTimeout
      let said: string | undefined
      return yield* connect(core, filterMaintenance, open, tiers).pipe(
        Effect.tapError(({ advice, problem }) => {
          // No second attempt is made: the start says so itself.
          if (advice !== undefined || problem === said) return Effect.void
          said = problem
          return Effect.logWarning(`SQL is not there yet: ${problem}`)
        }),
        Effect.retry({
          schedule: startPauses(() => giveUpAtMs - core.elapsedMs()),
          while: ({ advice }) => advice === undefined && core.elapsedMs() < giveUpAtMs
        }),
        Effect.map(Option.some),
        Effect.catchIf(
          ({ kind }) =>
            kind === "unreachable" && core.config().startWithoutSql && core.log.binding() !== undefined,
          ({ problem }) => {
            core.awaitsArchive = true
            return Conditions.begins(
              core,
              "archive",
              `SQL is unreachable: ${problem}`,
              `starting without SQL: writes go into the log, and nothing can be read: ${problem}`
            ).pipe(Effect.zipRight(core.lifecycle.setWritesOnly(true)), Effect.as(Option.none<OpenArchive>()))
          }
        )
      )
    }).pipe(phase("Connecting", "sql_connect"))
  )

/** One attempt to connect the archive that the log belongs to; a failed one leaves nothing behind. */
const connect = (
  core: EngineState,
  filterMaintenance: FilterMaintenance,
  open: Effect.Effect<OpenArchive, ArchiveStartError, Scope.Scope>,
  tiers: Scope.Scope
): Effect.Effect<OpenArchive, ArchiveStartError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const attempt = yield* Scope.fork(tiers, tiers.strategy)
      const connected = Effect.gen(function* () {
        const archive = yield* Scope.extend(open, attempt)
        yield* bind(core, archive)
        return archive
      })
      const exit = yield* Effect.exit(restore(connected))
      if (Exit.isFailure(exit)) {
        yield* Scope.close(attempt, exit)
        return yield* Effect.failCause(exit.cause)
      }
      const archive = exit.value
      core.connectArchive(core.filter?.guard(archive) ?? archive)
      yield* restore(filterMaintenance.join)
      return archive
    })
  )

/**
 * Connects the archive that a start did without. Writes were taken in on trust of the log's binding: when it is
 * another archive that answers, nothing more is taken in.
 */
export const connectLater = (
  tiers: Scope.Scope
): Effect.Effect<void, ArchiveStartError, Archive | EngineRuntime> =>
  Effect.gen(function* () {
    const { core, filterMaintenance } = yield* EngineRuntime
    const { open } = yield* Archive
    if (!core.awaitsArchive || open === undefined) return
    yield* connect(core, filterMaintenance, open, tiers).pipe(
      Effect.tapError(({ kind, problem }) => {
        const isNews = kind === "refused" && core.wrongArchive === undefined
        if (kind === "refused") {
          core.wrongArchive = problem
          core.degrade("archive", problem)
        }
        return isNews ? Effect.logError(`no more writes are taken: ${problem}`) : Effect.void
      })
    )
    core.awaitsArchive = false
    core.wrongArchive = undefined
    yield* core.lifecycle.setWritesOnly(false)
  })

/** How long a start waits for the cache to be repaired; after that it serves without believing it. */
const startSyncBudget = "10 seconds"

/** From 200 ms doubling to at most 5 s, jittered. */
// No pause outlasts the bound on the start: the last attempt is made when it is over.
const startPauses = (leftMs: () => number) =>
  Schedule.exponential(Duration.millis(200)).pipe(
    Schedule.union(Schedule.spaced(Duration.seconds(5))),
    Schedule.jittered,
    // Whole milliseconds: TestClock cannot tell a fraction of one in nanoseconds.
    Schedule.modifyDelay((_, delay) =>
      Duration.millis(Math.min(Math.round(Duration.toMillis(delay)), Math.max(0, Math.ceil(leftMs()))))
    )
  )

const drainLog: Layer.Layer<LogDrained, LogOpenError, EngineRuntime | Lifecycle | GroundTruth | LogOpened> =
  Layer.effect(
    LogDrained,
    Effect.gen(function* () {
      const { core, flush } = yield* EngineRuntime
      const lifecycle = yield* Lifecycle
      const truth = yield* GroundTruth
      const held = core.pendingEntries()
      if (held === 0) return { itemsLeft: 0 }
      yield* lifecycle.mark("wal_replay_started")
      yield* Effect.logInfo(
        `the log holds ${counted(held, "write")} from before, to be carried to the archive`
      )
      const drained =
        Option.isSome(truth) && Exit.isSuccess(yield* Effect.exit(flush.run({ reason: "recovery" })))
      if (!drained) {
        yield* indexRemaining(core)
        yield* Effect.logWarning(
          `${counted(core.pendingEntries(), "write stays", "writes stay")} in the log until the archive is available`
        )
      }
      yield* lifecycle.mark("wal_replay_ready")
      return { itemsLeft: core.pendingEntries() }
    }).pipe(
      // What cannot be read back would be denied to its readers: no start without it.
      Effect.mapError(
        (error) =>
          new LogOpenError({
            path: error.path,
            kind: "damaged",
            problem: `${error.operation}: ${error.problem}`
          })
      ),
      phase("DrainingWal", "wal_drain")
    )
  )

const readTrustedRoot: Layer.Layer<TrustedRoot, never, EngineRuntime | Lifecycle | GroundTruth | LogDrained> =
  Layer.effect(
    TrustedRoot,
    Effect.gen(function* () {
      const truth = yield* GroundTruth
      if (Option.isNone(truth)) return Option.none()
      return yield* truth.value.root.pipe(
        Effect.map(Option.some),
        Effect.catchAll((error) =>
          Effect.as(
            Effect.logWarning(`the archive's root cannot be read: ${error.message}`),
            Option.none<Digest>()
          )
        )
      )
    }).pipe(phase("DrainingWal", "sql_root"))
  )

const restoreFilter: Layer.Layer<FilterRestored, never, EngineRuntime | Lifecycle | TrustedRoot> =
  Layer.effect(
    FilterRestored,
    Effect.gen(function* () {
      const { core, filterMaintenance } = yield* EngineRuntime
      if (Option.isNone(yield* TrustedRoot)) return false
      const lifecycle = yield* Lifecycle
      yield* lifecycle.mark("restore_started")
      // Sees the archive's root as the only writer: that is the proof.
      yield* Effect.ignore(filterMaintenance.heartbeat)
      yield* lifecycle.mark("restore_ready")
      const status = core.filter?.status()
      if (status?.trusted === true) return true
      yield* Effect.logInfo(`the filter is not trusted yet: ${status?.reason ?? "there is none"}`)
      return false
    }).pipe(phase("WarmingUp", "cf_restore"))
  )

const connectCache = (
  tiers: Scope.Scope
): Layer.Layer<CacheConnected, InvalidConfig, Cache | EngineRuntime | Lifecycle | FilterRestored> =>
  Layer.effect(
    CacheConnected,
    Effect.gen(function* () {
      const { core } = yield* EngineRuntime
      const { open } = yield* Cache
      if (open === undefined) return false
      const service = yield* Scope.extend(open, tiers)
      const cache = new CacheTrust(service, core.expectsArchive ? () => core.elapsedMs() : undefined)
      core.cache = cache
      return yield* Effect.matchEffect(cache.service.connect, {
        onFailure: (error) => {
          core.degrade("cache", error.message)
          return Effect.as(
            Effect.logWarning(`the cache is unavailable, going on without it: ${error.message}`),
            false
          )
        },
        onSuccess: () =>
          Effect.as(
            Effect.forEach(cache.service.status().warnings, (warning) => Effect.logWarning(warning), {
              discard: true
            }),
            true
          )
      })
    }).pipe(phase("Connecting", "redis_connect"))
  )

const syncCache: Layer.Layer<CacheSynced, never, EngineRuntime | Lifecycle | CacheConnected | TrustedRoot> =
  Layer.effect(
    CacheSynced,
    Effect.gen(function* () {
      const { care, core } = yield* EngineRuntime
      const root = yield* TrustedRoot
      if (!(yield* CacheConnected)) return false
      if (Option.isNone(root)) {
        core.degrade("cache", "the archive's root could not be read, so the cache cannot be compared")
        yield* Effect.ignore(Effect.timeout(care.claim, startSyncBudget))
        return false
      }
      return yield* care.prove.pipe(
        // A very stale cache is repaired while the engine serves.
        Effect.timeoutOption(startSyncBudget),
        Effect.map((result) => Option.isSome(result) && result.value?.equal === true),
        Effect.catchAll((error) =>
          Effect.as(
            Effect.logWarning(`the cache could not be compared with the archive: ${error.message}`),
            false
          )
        ),
        phase("SyncingRedis", "redis_sync")
      )
    })
  )

const serve: Layer.Layer<Serving, never, Lifecycle | CacheSynced> = Layer.effect(
  Serving,
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    yield* lifecycle.setBootStage("WarmingUp")
    yield* lifecycle.setBootStage("Ready")
    yield* lifecycle.markReady
    yield* lifecycle.setBootStage("Running")
    return true as const
  })
)
