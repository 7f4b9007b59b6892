/**
 * The process lifecycle: one Ref, five phases, never backwards; marks; one shutdown report for everybody.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"

/** @since 0.1.0 @category models */
export type Phase = "starting" | "ready" | "draining" | "shutting_down" | "stopped"

/** @since 0.1.0 @category models */
export type BootStage =
  | "Created"
  | "Connecting"
  | "DrainingWal"
  | "SyncingRedis"
  | "WarmingUp"
  | "Ready"
  | "Running"
  | "ShuttingDown"

/** Labels of the startup phases' durations. @since 0.1.0 @category models */
export type StartupLabel =
  | "wal_init"
  | "sql_connect"
  | "wal_drain"
  | "sql_root"
  | "cf_restore"
  | "redis_connect"
  | "redis_sync"
  | "warm_up"

/** Why the engine is not ready yet. @since 0.1.0 @category models */
export type NotReadyReason = StartupLabel | "restore"

/** Moments that are marked once. @since 0.1.0 @category models */
export type Mark =
  | "started"
  | "ready"
  | "restore_started"
  | "restore_ready"
  | "wal_replay_started"
  | "wal_replay_ready"
  | "index_warmup_started"
  | "index_warmup_ready"

/** Phase, stage and reason, read together. @since 0.1.0 @category models */
export interface LifecycleSnapshot {
  readonly phase: Phase
  readonly bootStage: BootStage
  /** Set only while `starting`. */
  readonly reason: NotReadyReason | undefined
  /** A drain was asked for (it takes effect on ready when asked for during `starting`). */
  readonly drainRequested: boolean
}

/** What a shutdown did with every write. @since 0.1.0 @category models */
export interface ShutdownReport {
  /** Every acknowledged write is in the archive or among the dead letters. */
  readonly flushedWal: boolean
  /** The log was checkpointed and closed cleanly. */
  readonly finalCheckpoint: boolean
  /** The filter's snapshot was saved (or there was none to save). */
  readonly filterSnapshot: boolean
  /** A backup was uploaded; false when none was asked for. */
  readonly backupUploaded: boolean
  /** Entries archived by this shutdown. */
  readonly itemsFlushed: number
  /** Acknowledged entries that stay in the log for the next start. */
  readonly itemsLeftInLog: number
  /** What could not be done, in plain words; empty after a clean shutdown. */
  readonly problems: ReadonlyArray<string>
  readonly startedAtMs: number
  readonly completedAtMs: number
  readonly durationMs: number
}

/** Whether a report is clean: nothing left behind, nothing failed. @since 0.1.0 @category functions */
export const isClean = (report: ShutdownReport): boolean =>
  report.flushedWal && report.finalCheckpoint && report.filterSnapshot && report.itemsLeftInLog === 0 && report.problems.length === 0

/**
 * @since 0.1.0
 * @category services
 */
export class Lifecycle extends Context.Tag("effect-sync-engine/Lifecycle")<
  Lifecycle,
  {
    readonly snapshot: Effect.Effect<LifecycleSnapshot>
    /** The same, synchronously, for hot paths and health probes. */
    readonly unsafeSnapshot: () => LifecycleSnapshot
    /** Whether writes (`ready`) or queries (`ready`, `draining`) are accepted now. Synchronous, no allocation. */
    readonly acceptsWrites: () => boolean
    readonly acceptsQueries: () => boolean
    /** Every change, starting with the current snapshot; ends after `stopped`. */
    readonly changes: Stream.Stream<LifecycleSnapshot>
    /** starting → ready (or straight on to draining when a drain was asked for meanwhile). True when this call made it. */
    readonly markReady: Effect.Effect<boolean>
    /** ready → draining; remembered while starting. True when this call made or requested it first. */
    readonly beginDrain: Effect.Effect<boolean>
    /** any earlier phase → shutting_down. True for exactly one caller. */
    readonly beginShutdown: Effect.Effect<boolean>
    /** → stopped, with the report every waiter gets. True for the first call. */
    readonly complete: (report: ShutdownReport) => Effect.Effect<boolean>
    /** Waits for the report. */
    readonly awaitReport: Effect.Effect<ShutdownReport>
    /** The report, once there is one. */
    readonly report: Effect.Effect<Option.Option<ShutdownReport>>
    /** Boot stages move forward only; an earlier stage than the current one is ignored. */
    readonly setBootStage: (stage: BootStage) => Effect.Effect<boolean>
    /** Says why the engine is not ready; ignored once past `starting`. */
    readonly setReason: (reason: NotReadyReason) => Effect.Effect<void>
    /** Marks a moment now; false when it was marked before. */
    readonly mark: (mark: Mark) => Effect.Effect<boolean>
    /** Marks a moment that happened earlier (milliseconds since the epoch); false when it was marked before. */
    readonly backfill: (mark: Mark, atMs: number) => Effect.Effect<boolean>
    readonly marks: Effect.Effect<ReadonlyMap<Mark, number>>
    /** Pairs of name and milliseconds for completed pairs only (`restore`, `wal_replay`, `index_warmup`), and `total` (started to ready). */
    readonly coldStartDurations: Effect.Effect<ReadonlyArray<readonly [string, number]>>
    /** Runs a startup phase: sets reason, measures it with `Clock`, records the duration under its label, failed or not. */
    readonly timed: (label: StartupLabel) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Durations recorded so far, by label, in order. */
    readonly timings: Effect.Effect<ReadonlyArray<readonly [StartupLabel, number]>>
  }
>() {}
