/**
 * What the run loop's fibers do in one round.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Metrics from "../Metrics.js"
import type { EngineRuntime } from "./EngineRuntime.js"
import type { Duty } from "./RunLoop.js"

type Runtime = Context.Tag.Service<EngineRuntime>

const hourMs = 3_600_000
const filterRebuildMs = 1000
/** How soon a log that refused a write is tried again. */
const logCheckMs = 1000
const tombstonesPerPurge = 1000

/** Flush failures are recorded where they happen; a duty only goes on. */
const flushed = (
  runtime: Runtime,
  reason: "age" | "count" | "bytes" | "forced" | "recovery",
  fullOnly = false
) => Effect.ignore(runtime.flush.run({ reason, fullOnly }))

/** Flushes what is pending, unless the archive failed a moment ago. @since 0.1.0 @category duties */
export const flushByAge = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core, flush } = runtime
    if (core.tiers?.archive === undefined || core.nowMs() < flush.notBefore()) return Effect.void
    return core.fresh.isEmpty && !flush.releaseDue() ? Effect.void : flushed(runtime, "age")
  })

/** Waits for a request and flushes. @since 0.1.0 @category duties */
export const flushOnDemand = (runtime: Runtime): Effect.Effect<void> =>
  Effect.flatMap(runtime.demand.next, (kind) => {
    const { core, flush } = runtime
    if (kind === "recovery") return flushed(runtime, "recovery")
    if (core.tiers?.archive === undefined || core.nowMs() < flush.notBefore()) {
      // The archive is away: who waits for it is told that the log has the write.
      return Effect.sync(() => runtime.waiters.release(core.fresh.consumed))
    }
    if (kind === "forced") return flushed(runtime, "forced")
    return flushed(runtime, core.fresh.size >= core.config().batchFlushCount ? "count" : "bytes", true)
  })

/** While the archive is away and anything is pending: tries again. @since 0.1.0 @category duties */
export const drainLog = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core } = runtime
    if (core.tiers?.archive === undefined || core.fresh.isEmpty || !core.degradations.has("archive"))
      return Effect.void
    return flushed(runtime, "recovery")
  })

/** Asks the archive for a sign of life; when it is back, the log is drained at once. @since 0.1.0 @category duties */
export const archiveHealth = (runtime: Runtime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { core, demand } = runtime
    const archive = core.tiers?.archive
    if (archive === undefined) return Effect.void
    return Effect.matchEffect(archive.ping, {
      onFailure: (error) =>
        core.degrade("archive", error.message)
          ? Effect.logWarning(`the archive does not answer: ${error.message}`)
          : Effect.void,
      onSuccess: () =>
        Effect.suspend(() => {
          if (!core.degradations.has("archive")) return Effect.void
          if (!core.fresh.isEmpty) {
            // The drain itself says whether the archive takes writes again.
            demand.ask("recovery")
            return Effect.void
          }
          core.recover("archive")
          return Effect.logInfo("the archive answers again")
        })
    })
  })

/** Mends an untrusted cache, compares the roots of a trusted one. @since 0.1.0 @category duties */
export const careForCache = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { care, core } = runtime
    const { cache } = core
    if (cache === undefined) return Effect.void
    if (!cache.connected) {
      core.degrade("cache", cache.reason ?? "not connected")
      return Effect.void
    }
    return Effect.zipRight(
      care.check,
      Effect.suspend(() => (cache.trusted ? Effect.void : Effect.asVoid(care.prove)))
    )
  })

/** Mends the cache as soon as it is connected again. @since 0.1.0 @category duties */
export const followCache = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { care, core } = runtime
    const { cache } = core
    if (cache === undefined) return Effect.never
    return cache.service.changes.pipe(
      Stream.filter(({ connection }) => connection === "connected" && !cache.trusted),
      // A failure is logged where it happens; the next change, or the next round of care, tries again.
      Stream.runForEach(() => Effect.ignore(care.prove))
    )
  })

/** Keeps this node's place among the archive's writers. @since 0.1.0 @category duties */
export const attendAsWriter = (runtime: Runtime): Effect.Effect<void> =>
  // While the archive is away, the lease runs out and absence is no longer proven: nothing else to do.
  Effect.ignore(runtime.filterCare.attend)

/** Gives the log's disk space back. @since 0.1.0 @category duties */
export const shrinkLog = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { core } = runtime
    // A log that takes no writes cannot be shrunk either; that is known already.
    return core.tiers === undefined || core.logRefusal !== undefined ? Effect.void : core.log.shrink
  })

/** Removes tombstones past their retention. @since 0.1.0 @category duties */
export const purgeTombstones = (runtime: Runtime): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { core } = runtime
    const archive = core.tiers?.archive
    const { tombstoneRetention } = core.config()
    if (archive === undefined || tombstoneRetention === 0) return Effect.void
    const before = core.nowMs() - tombstoneRetention
    const page: Effect.Effect<void, unknown> = Effect.flatMap(
      archive.purgeTombstones(before, tombstonesPerPurge),
      (removed) => (removed < tombstonesPerPurge ? Effect.void : page)
    )
    return page
  })

/** Something is pending and nothing moves: an alert. @since 0.1.0 @category duties */
export const watchProgress = (runtime: Runtime): Effect.Effect<void> => {
  let seen = -1
  return Effect.suspend(() => {
    const { core, flush } = runtime
    const progress = flush.progress()
    const stuck = !core.fresh.isEmpty && progress === seen
    seen = core.fresh.isEmpty ? -1 : progress
    if (!stuck) {
      core.recover("flush")
      return Effect.void
    }
    Metrics.watchdogAlert()
    const seconds = core.config().watchdogInterval / 1000
    core.degrade("flush", `${core.pendingEntries()} writes are pending and none has moved for ${seconds} s`)
    return Effect.logError(
      `watchdog: ${core.pendingEntries()} writes are pending and none has moved for ${seconds} s`
    )
  })
}

/** Every duty with an interval. @since 0.1.0 @category duties */
export const all = (runtime: Runtime): ReadonlyArray<Duty> => [
  { name: "flush", intervalMs: (config) => config.batchFlushInterval, round: flushByAge(runtime) },
  { name: "log drain", intervalMs: (config) => config.walDrainInterval, round: drainLog(runtime) },
  { name: "archive health", intervalMs: (config) => config.healthInterval, round: archiveHealth(runtime) },
  {
    name: "writer attendance",
    intervalMs: () => runtime.core.filter?.attendanceIntervalMs ?? 0,
    round: attendAsWriter(runtime)
  },
  { name: "filter rebuild", intervalMs: () => filterRebuildMs, round: runtime.filterCare.rebuild },
  {
    name: "filter snapshot",
    intervalMs: (config) => config.filterSnapshotInterval,
    round: Effect.asVoid(runtime.filterCare.save)
  },
  {
    name: "change stream",
    intervalMs: (config) => (config.cdc ? config.batchFlushInterval : 0),
    round: Effect.suspend(() => (runtime.core.cache?.connected === true ? runtime.feed.publish : Effect.void))
  },
  { name: "cache care", intervalMs: (config) => config.healthInterval, round: careForCache(runtime) },
  {
    name: "log health",
    intervalMs: (config) => Math.min(logCheckMs, config.healthInterval),
    round: runtime.logCare.check
  },
  { name: "log shrink", intervalMs: (config) => config.healthInterval, round: shrinkLog(runtime) },
  { name: "watchdog", intervalMs: (config) => config.watchdogInterval, round: watchProgress(runtime) },
  { name: "tombstone purge", intervalMs: () => hourMs, round: purgeTombstones(runtime) }
]
