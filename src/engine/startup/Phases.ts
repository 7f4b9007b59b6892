/** The phases of a start, but for the connection of the archive; `Startup` puts them in order. */
import { Context, Data, Effect, Exit, Option } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import { Cache } from "../../cache/Cache.js"
import { ExistenceFilter } from "../../filter/ExistenceFilter.js"
import type { BootStage, StartupLabel } from "../../Lifecycle.js"
import { Lifecycle } from "../../Lifecycle.js"
import type { Digest } from "../../merkle/Tree.js"
import { counted } from "../../shared/Counted.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import { type OpenLog, WriteAheadLog } from "../../wal/WriteAheadLog.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { CacheTrust } from "../state/CacheTrust.js"
import type { EngineState } from "../state/EngineState.js"

/** Runs a phase at its boot stage, measured under its label. */
export const phase =
  (stage: BootStage, label: StartupLabel) =>
  <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Lifecycle> =>
    Effect.flatMap(Lifecycle, (lifecycle) =>
      lifecycle.setBootStage(stage).pipe(
        Effect.tap((moved) => (moved ? Effect.logInfo(`boot stage ${stage}`) : Effect.void)),
        Effect.zipRight(lifecycle.timed(label)(body))
      )
    )

/** The log, open. */
export class LogOpened extends Context.Tag("effect-sync-engine/startup/LogOpened")<LogOpened, OpenLog>() {}

/** Phase 1: the log is opened, and the filter takes the snapshot that lies beside it. */
export const openLog = Effect.gen(function* () {
  const { core, filterMaintenance, logProbe, shutdown } = yield* EngineRuntime
  const filter = yield* ExistenceFilter
  const log = yield* shutdown.open("closing the log", (yield* WriteAheadLog).open)
  core.openLog(log)
  // On a full volume what the log holds is carried to the archive all the same.
  yield* logProbe.probe
  // Before any write, so that everything the log holds is added to what the snapshot knows.
  core.filter = yield* filter.open({ node: log.identity })
  yield* filterMaintenance.load
  return log
  // A shutdown that comes meanwhile waits for it: its report says what the log holds.
}).pipe(Effect.uninterruptible, phase("Connecting", "wal_init"))

/** The archive, connected and migrated; none when the engine runs without ground truth, or before it is there. */
export class ArchiveConnected extends Context.Tag("effect-sync-engine/startup/ArchiveConnected")<
  ArchiveConnected,
  Option.Option<OpenArchive>
>() {}

/** What the log holds cannot be read back. */
export class ReplayError extends Data.TaggedError("ReplayError")<{
  readonly path: string
  readonly problem: string
}> {}

/** Phase 3: what the log holds from before is carried to the archive, as far as that takes it. */
export const drainLog = Effect.gen(function* () {
  const { core, flush } = yield* EngineRuntime
  const lifecycle = yield* Lifecycle
  const archive = yield* ArchiveConnected
  const log = yield* LogOpened
  const held = core.pendingEntries()
  if (held === 0) return
  yield* lifecycle.mark("wal_replay_started")
  yield* Effect.logInfo(`the log holds ${counted(held, "write")} from before, to be carried to the archive`)
  // An archive that does not take it is told of by the flush.
  const flushed = Effect.tapDefect(flush.run({ reason: "recovery" }), (cause) =>
    Effect.logError("the log could not be drained", cause)
  )
  const drained = Option.isSome(archive) && Exit.isSuccess(yield* Effect.exit(flushed))
  if (!drained) {
    yield* indexRemaining(core, log)
    yield* Effect.logWarning(
      `${counted(core.pendingEntries(), "write stays", "writes stay")} in the log until the archive is available`
    )
  }
  yield* lifecycle.mark("wal_replay_ready")
}).pipe(phase("DrainingWal", "wal_drain"))

/**
 * Reads everything the log holds above what was consumed and makes it known to readers; contents stay in the
 * log. Versions count as unchecked: the archive may hold newer ones of other nodes.
 */
const indexRemaining = Effect.fnUntraced(
  function* (core: EngineState, log: OpenLog) {
    const { replayBytes, replayItems } = core.limits
    let after = core.tail.consumed
    for (;;) {
      const page = yield* log.read({ after, maxItems: replayItems, maxBytes: replayBytes })
      if (page.length === 0) return
      core.filter?.beforeWrite(page.map(({ record }) => record))
      for (const { record, sequence } of page) core.pending.add(record, sequence, true)
      after = page[page.length - 1]!.sequence
      yield* yieldToEventLoop
    }
  },
  Effect.mapError(
    ({ operation, path, problem }) => new ReplayError({ path, problem: `${operation}: ${problem}` })
  )
)

/** None without an archive, or when it could not be read. */
export class TrustedRoot extends Context.Tag("effect-sync-engine/startup/TrustedRoot")<
  TrustedRoot,
  Option.Option<Digest>
>() {}

export class RootUnreadable extends Data.TaggedError("RootUnreadable")<{ readonly problem: string }> {}

/** Phase 4: the root that the archive vouches for; what else is to be trusted is compared with it. */
export const readRoot = Effect.gen(function* () {
  const archive = yield* ArchiveConnected
  if (Option.isNone(archive)) return Option.none<Digest>()
  const root = yield* Effect.mapError(
    archive.value.root,
    ({ message }) => new RootUnreadable({ problem: message })
  )
  return Option.some(root)
}).pipe(phase("DrainingWal", "sql_root"))

export class FilterNotProven extends Data.TaggedError("FilterNotProven")<{ readonly reason: string }> {}

/** Phase 5: the filter of the snapshot is trusted when the archive is seen at its root, with this node as the only writer. */
export const restoreFilter = Effect.gen(function* () {
  const { core, filterMaintenance } = yield* EngineRuntime
  if (Option.isNone(yield* TrustedRoot)) return
  const lifecycle = yield* Lifecycle
  yield* lifecycle.mark("restore_started")
  const failure = yield* Effect.match(filterMaintenance.heartbeat, {
    onFailure: ({ message }) => message,
    onSuccess: () => undefined
  })
  yield* lifecycle.mark("restore_ready")
  const status = core.filter?.status()
  if (status?.trusted === true) return
  return yield* new FilterNotProven({ reason: failure ?? status?.reason ?? "there is none" })
}).pipe(phase("WarmingUp", "cf_restore"))

/** The cache, connected; none when none is configured, or while it is not there. */
export class CacheConnected extends Context.Tag("effect-sync-engine/startup/CacheConnected")<
  CacheConnected,
  Option.Option<CacheTrust>
>() {}

export class CacheNotConnected extends Data.TaggedError("CacheNotConnected")<{ readonly problem: string }> {}

/** Phase 6: the cache is opened and connected; from then on it connects itself again. */
export const connectCache = Effect.gen(function* () {
  const { open } = yield* Cache
  if (open === undefined) {
    ;(yield* EngineRuntime).core.cacheMisses.end()
    return Option.none<CacheTrust>()
  }
  return Option.some(yield* connect(open))
})

const connect = Effect.fnUntraced(
  function* (open: NonNullable<Cache["Type"]["open"]>) {
    const { core, shutdown } = yield* EngineRuntime
    const cache = new CacheTrust(
      yield* shutdown.open("closing the cache", open),
      core.expectsArchive ? () => core.elapsedMs() : undefined,
      core.cacheMisses
    )
    core.cache = cache
    yield* Effect.mapError(
      cache.service.connect,
      ({ message }) => new CacheNotConnected({ problem: message })
    )
    yield* Effect.forEach(cache.service.status().warnings, (line) => Effect.logWarning(line))
    return cache
  },
  phase("Connecting", "redis_connect")
)

export class CacheNotCompared extends Data.TaggedError("CacheNotCompared")<{ readonly problem: string }> {}

/** How long a start waits for the cache to be repaired: a very stale one is repaired while the engine serves. */
const startSyncBudget = "10 seconds"

/** Phase 7: the cache's root is compared with the archive's, and what differs is repaired. */
export const syncCache = Effect.gen(function* () {
  const { cacheResync } = yield* EngineRuntime
  const root = yield* TrustedRoot
  if (Option.isNone(yield* CacheConnected)) return
  const work = Option.isSome(root)
    ? phase("SyncingRedis", "redis_sync")(cacheResync.prove)
    : Effect.zipRight(cacheResync.claim, Effect.fail({ message: "the archive's root could not be read" }))
  yield* work.pipe(
    Effect.timeoutFail({
      duration: startSyncBudget,
      onTimeout: () => ({
        message: `it takes longer than ${startSyncBudget} and goes on while the engine serves`
      })
    }),
    Effect.mapError(({ message }) => new CacheNotCompared({ problem: message }))
  )
})
