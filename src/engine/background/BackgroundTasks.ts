/** What the run loop's fibers do in one round. */
import { Cause, type Context, Effect, Option, Stream } from "effect"
import type { ArchiveStartError } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import { counted } from "../../shared/Counted.js"
import { cacheFailed } from "../cache/CacheWriter.js"
import * as Conditions from "../state/Conditions.js"
import { mostClaimIntervalMs } from "./CacheResync.js"
import type { Duty, EngineRuntime } from "./EngineRuntime.js"

type Runtime = Omit<Context.Tag.Service<EngineRuntime>, "duties">

const connectMs = 1000
const hourMs = 3_600_000
const tombstonesPerPurge = 1000

/** Flush failures are recorded where they happen; a duty only goes on. */
const flushed = (
  runtime: Runtime,
  reason: "age" | "count" | "bytes" | "forced" | "recovery",
  fullOnly = false
) => Effect.ignore(runtime.flush.run({ reason, fullOnly }))

/** Flushes what is pending, unless the archive failed a moment ago. */
const flushByAge = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core, flush } = runtime
    if (core.tiers?.archive === undefined || flush.backsOff()) return Effect.void
    return core.tail.isEmpty && !flush.releaseDue() ? Effect.void : flushed(runtime, "age")
  })

/** Waits for a request and flushes. */
export const flushOnDemand = (runtime: Runtime): Effect.Effect<void> =>
  Effect.flatMap(runtime.flushSignal.next, (kind) => {
    const { core, flush } = runtime
    if (core.tiers?.archive === undefined || flush.backsOff()) {
      // The archive is unavailable: who waits for it is told that the log has the write.
      return Effect.sync(() => runtime.waiters.release(core.tail.consumed))
    }
    if (kind === "forced") return flushed(runtime, "forced")
    return flushed(runtime, core.tail.size >= core.config().batchFlushCount ? "count" : "bytes", true)
  })

/** While the archive is unavailable and anything is pending: tries again. */
const drainLog = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core } = runtime
    if (core.tiers?.archive === undefined || core.tail.isEmpty || !core.degradations.has("archive"))
      return Effect.void
    return flushed(runtime, "recovery")
  })

/** Asks the archive for a sign of life. */
const archiveHealth = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core } = runtime
    const archive = core.tiers?.archive
    if (archive === undefined) return Effect.void
    return Effect.matchEffect(archive.ping, {
      onFailure: (error) =>
        Conditions.begins(core, "archive", error.message, `the archive is unavailable: ${error.message}`),
      onSuccess: () =>
        // With something pending, the drain says whether the archive takes writes again.
        core.tail.isEmpty ? Conditions.ends(core, "archive", "the archive is available again") : Effect.void
    })
  })

/** Connects the archive that a start did without, and has the log carried to it. */
const connectArchive = (runtime: Runtime): Effect.Effect<void, ArchiveStartError> =>
  Effect.suspend(() =>
    runtime.core.gate.awaitsArchive
      ? runtime.connectArchive.pipe(
          Effect.zipRight(archiveHealth(runtime)),
          Effect.zipRight(drainLog(runtime)),
          // What keeps it from being compared is told of there.
          Effect.zipRight(Effect.ignore(runtime.cacheResync.prove))
        )
      : Effect.void
  )

/** Repairs an untrusted cache, compares the roots of a trusted one. */
const resyncCache = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { cacheResync, core } = runtime
    const { cache } = core
    if (cache === undefined) return Effect.void
    if (!cache.connected) {
      const reason = cache.reason ?? "not connected"
      return Conditions.begins(core, "cache", reason, `the cache is not used: ${reason}`)
    }
    return Effect.zipRight(
      cacheResync.check,
      Effect.suspend(() => (cache.trusted ? Effect.void : Effect.asVoid(cacheResync.prove)))
    )
  })

/** Repairs the cache as soon as it is connected again. */
export const followCache = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { cacheResync, core } = runtime
    const { cache } = core
    if (cache === undefined) return Effect.never
    return cache.service.changes.pipe(
      Stream.filter(({ connection }) => connection === "connected" && !cache.trusted),
      // A failure is logged where it happens; the next change, or the next round, tries again.
      Stream.runForEach(() => Effect.ignore(cacheResync.prove))
    )
  })

/** Gives the log's disk space back. */
const shrinkLog = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { core } = runtime
    // A log that takes no writes cannot be shrunk either; that is known already.
    return core.tiers === undefined || core.degradations.logRefusal !== undefined
      ? Effect.void
      : core.log.shrink
  })

/** Removes tombstones past their retention. */
const purgeTombstones = (runtime: Runtime): Effect.Effect<unknown, unknown> =>
  Effect.suspend(() => {
    const { core } = runtime
    const archive = core.tiers?.archive
    const { tombstoneRetention } = core.config()
    if (archive === undefined || tombstoneRetention === 0) return Effect.void
    const before = core.nowMs() - tombstoneRetention
    const page = archive.purgeTombstones(before, tombstonesPerPurge)
    return Effect.repeat(page, { until: (removed) => removed < tombstonesPerPurge })
  })

/** Whether a duty's failure is a tier's, of which the engine has told or tells now. */
export const toldByTier = (runtime: Runtime, cause: Cause.Cause<unknown>): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { core } = runtime
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    const tag = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
    if (tag === "CacheError" && core.cache !== undefined) {
      return Effect.as(cacheFailed(core, core.cache, (error as Error).message), true)
    }
    if (tag === "ArchiveStartError") return Effect.succeed(core.degradations.has("archive"))
    if (tag === "LogUnavailable") return Effect.succeed(core.degradations.has("log"))
    if (tag !== "ArchiveError") return Effect.succeed(false)
    // One statement may fail while the archive is well: it is asked.
    return Effect.map(archiveHealth(runtime), () => core.degradations.has("archive"))
  })

/** Tells of writes that were acknowledged before their commit and then not committed. */
export const tellLosses = ({ core }: Runtime): Effect.Effect<void> =>
  Effect.zipRight(
    core.early.losses.await,
    Effect.suspend(() => {
      core.early.losses.unsafeClose()
      const lost = core.early.lost - core.early.lossesTold
      core.early.lossesTold = core.early.lost
      return Effect.logError(
        `the log did not take what was acknowledged at "memory": ${counted(lost, "write is", "writes are")} lost`
      )
    })
  )

/** Something is under way and nothing moves: an alert, told once. */
const watchProgress = ({ core }: Runtime): Effect.Effect<void> => {
  const seconds = () => core.config().watchdogInterval / 1000
  /** Alerts when for an interval something was under way and nothing has moved. */
  const watch = (options: {
    readonly component: "flush" | "log"
    readonly underWay: () => boolean
    readonly moved: () => number
    readonly alert: () => string
    readonly over: string
  }) => {
    let seen: { readonly moved: number; readonly atMs: number } | undefined
    let alerted = false
    return Effect.suspend(() => {
      const moved = options.underWay() ? options.moved() : undefined
      if (moved === undefined || moved !== seen?.moved) {
        seen = moved === undefined ? undefined : { moved, atMs: core.elapsedMs() }
      } else {
        // A round by hand may come at any time; a timer may be a little early.
        if (core.elapsedMs() - seen.atMs < 0.9 * core.config().watchdogInterval) return Effect.void
        alerted = true
        Metrics.watchdogAlert()
        const alert = options.alert()
        return Conditions.begins(core, options.component, alert, `watchdog: ${alert}`)
      }
      if (!alerted) return Effect.void
      alerted = false
      return Conditions.ends(core, options.component, options.over)
    })
  }
  return Effect.zipRight(
    watch({
      component: "flush",
      // Without an archive nothing can move, and that is told elsewhere.
      underWay: () => core.tiers?.archive !== undefined && !core.tail.isEmpty,
      moved: () => core.tail.consumed,
      alert: () =>
        `${counted(core.pendingEntries(), "write is", "writes are")} pending and none has moved for ${seconds()} s`,
      over: "watchdog: pending writes move again"
    }),
    watch({
      component: "log",
      underWay: () => core.appends.size > 0,
      moved: () => core.appends.ended,
      alert: () => `${core.appends.size} calls wait for the log and none has ended for ${seconds()} s`,
      over: "watchdog: the log moves again"
    })
  )
}

/** Every duty with an interval. */
export const all = (runtime: Runtime): ReadonlyArray<Duty> => [
  { name: "flush", intervalMs: (config) => config.batchFlushInterval, round: flushByAge(runtime) },
  { name: "log drain", intervalMs: (config) => config.walDrainInterval, round: drainLog(runtime) },
  // Only for a start that did without.
  {
    name: "archive connection",
    intervalMs: () => (runtime.core.gate.awaitsArchive ? connectMs : 0),
    round: connectArchive(runtime)
  },
  { name: "archive health", intervalMs: (config) => config.healthInterval, round: archiveHealth(runtime) },
  {
    name: "writer heartbeat",
    intervalMs: () => runtime.core.filter?.heartbeatIntervalMs ?? 0,
    // While the archive is unavailable, the lease runs out and absence is no longer proven: nothing else to do.
    round: Effect.ignore(runtime.filterMaintenance.heartbeat)
  },
  {
    name: "filter rebuild",
    intervalMs: () => runtime.core.limits.lookEveryMs,
    round: runtime.filterMaintenance.rebuild
  },
  {
    name: "filter snapshot",
    intervalMs: (config) => config.filterSnapshotInterval,
    round: runtime.filterMaintenance.save
  },
  {
    name: "change stream",
    intervalMs: (config) => (config.cdc ? config.batchFlushInterval : 0),
    round: Effect.suspend(() =>
      runtime.core.cache?.usable === true ? runtime.changeStream.publish : Effect.void
    )
  },
  {
    name: "cache claim",
    // A comparison may take longer than a claim lasts.
    intervalMs: (config) =>
      runtime.core.cache === undefined ? 0 : Math.min(config.healthInterval, mostClaimIntervalMs),
    round: runtime.cacheResync.claim
  },
  { name: "cache resync", intervalMs: (config) => config.healthInterval, round: resyncCache(runtime) },
  {
    name: "log health",
    intervalMs: (config) => Math.min(runtime.core.limits.lookEveryMs, config.healthInterval),
    round: runtime.logProbe.check
  },
  { name: "log shrink", intervalMs: (config) => config.healthInterval, round: shrinkLog(runtime) },
  { name: "watchdog", intervalMs: (config) => config.watchdogInterval, round: watchProgress(runtime) },
  { name: "tombstone purge", intervalMs: () => hourMs, round: Effect.asVoid(purgeTombstones(runtime)) }
]
