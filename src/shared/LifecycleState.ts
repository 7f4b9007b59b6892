/**
 * The lifecycle as plain data: what is known, and the transitions between two states. No Effect, no clock.
 * Every transition takes a state and returns its result and the next state, so that one `Ref.modify`
 * makes it atomic. A transition that changes nothing returns the very same state.
 */

/**
 * The five phases, in the only order they can follow each other.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = "starting" | "ready" | "draining" | "shutting_down" | "stopped"

/**
 * How far the start has come; `Running` after the warm-up, `ShuttingDown` to the end.
 *
 * @since 0.1.0
 * @category models
 */
export type BootStage =
  | "Created"
  | "Connecting"
  | "DrainingWal"
  | "SyncingRedis"
  | "WarmingUp"
  | "Ready"
  | "Running"
  | "ShuttingDown"

/**
 * Labels of the startup phases' durations.
 *
 * @since 0.1.0
 * @category models
 */
export type StartupLabel =
  | "wal_init"
  | "sql_connect"
  | "wal_drain"
  | "sql_root"
  | "cf_restore"
  | "redis_connect"
  | "redis_sync"
  | "warm_up"

/**
 * Why the engine is not ready yet.
 *
 * @since 0.1.0
 * @category models
 */
export type NotReadyReason = StartupLabel | "restore"

/**
 * Moments that are marked once.
 *
 * @since 0.1.0
 * @category models
 */
export type Mark =
  | "started"
  | "ready"
  | "restore_started"
  | "restore_ready"
  | "wal_replay_started"
  | "wal_replay_ready"
  | "index_warmup_started"
  | "index_warmup_ready"

/**
 * Phase, stage and reason, read together.
 *
 * @since 0.1.0
 * @category models
 */
export interface LifecycleSnapshot {
  readonly phase: Phase
  readonly bootStage: BootStage
  /** Set only while `starting`. */
  readonly reason: NotReadyReason | undefined
  /** A drain was asked for (it takes effect on ready when asked for during `starting`). */
  readonly drainRequested: boolean
  /** A shutdown was asked for and waits for `SHUTDOWN_DELAY`: not ready any more, and still serving. */
  readonly shutdownRequested?: true
  /** Started without the archive: writes are taken, and queries wait until it is connected. */
  readonly writesOnly?: true
}

/**
 * What a shutdown did with every write.
 *
 * @since 0.1.0
 * @category models
 */
export interface ShutdownReport {
  /** Every acknowledged write is in the archive or among the dead letters. */
  readonly flushedWal: boolean
  /** The log was checkpointed and closed cleanly. */
  readonly finalCheckpoint: boolean
  /** The filter's snapshot was saved (or there was none to save). */
  readonly filterSnapshot: boolean
  /** Entries archived by this shutdown. */
  readonly itemsFlushed: number
  /** Acknowledged entries that stay in the log for the next start; undefined when it could not be opened, so that nobody knows. */
  readonly itemsLeftInLog: number | undefined
  /** What could not be done, in plain words; empty after a clean shutdown. */
  readonly problems: ReadonlyArray<string>
  readonly startedAtMs: number
  readonly completedAtMs: number
  readonly durationMs: number
}

/** The phases in their order. */
export const phases: ReadonlyArray<Phase> = ["starting", "ready", "draining", "shutting_down", "stopped"]

/** The boot stages in their order. */
export const bootStages: ReadonlyArray<BootStage> = [
  "Created",
  "Connecting",
  "DrainingWal",
  "SyncingRedis",
  "WarmingUp",
  "Ready",
  "Running",
  "ShuttingDown"
]

/** All that one lifecycle knows. */
export interface LifecycleState {
  readonly snapshot: LifecycleSnapshot
  readonly marks: ReadonlyMap<Mark, number>
  /** When each mark was made on a clock that only goes on, in milliseconds: the wall clock may step in between. */
  readonly moments: ReadonlyMap<Mark, number>
  /** Milliseconds by label, in the order in which the phases ended. */
  readonly timings: ReadonlyMap<StartupLabel, number>
  readonly report: ShutdownReport | undefined
}

/** A result and the next state. */
export type Transition<A> = readonly [result: A, next: LifecycleState]

/** The state before anything happened. */
export const initial: LifecycleState = {
  snapshot: { phase: "starting", bootStage: "Created", reason: undefined, drainRequested: false },
  marks: new Map(),
  moments: new Map(),
  timings: new Map(),
  report: undefined
}

const withSnapshot = (state: LifecycleState, change: Partial<LifecycleSnapshot>): LifecycleState => ({
  ...state,
  snapshot: { ...state.snapshot, ...change }
})

/**
 * starting → ready, or straight to draining when a drain was asked for meanwhile: `ready` is then never to be
 * seen, so no write slips in. Marks `ready` unless that was backfilled.
 */
export const markReady = (state: LifecycleState, nowMs: number, elapsedMs = nowMs): Transition<boolean> => {
  if (state.snapshot.phase !== "starting") return [false, state]
  const phase = state.snapshot.drainRequested ? "draining" : "ready"
  return [true, withSnapshot(setMark(state, "ready", nowMs, elapsedMs)[1], { phase, reason: undefined })]
}

/** ready → draining; remembered while starting. */
export const beginDrain = (state: LifecycleState): Transition<boolean> => {
  if (state.snapshot.drainRequested) return [false, state]
  switch (state.snapshot.phase) {
    case "starting":
      return [true, withSnapshot(state, { drainRequested: true })]
    case "ready":
      return [true, withSnapshot(state, { phase: "draining", drainRequested: true })]
    default:
      return [false, state]
  }
}

/** Whether queries are refused although the phase would take them. */
export const setWritesOnly = (state: LifecycleState, on: boolean): Transition<void> => {
  if ((state.snapshot.writesOnly === true) === on) return [undefined, state]
  const { writesOnly: _, ...snapshot } = state.snapshot
  return [undefined, { ...state, snapshot: on ? { ...snapshot, writesOnly: true } : snapshot }]
}

/** Not ready any more, and the phase stays; for a ready or draining engine. */
export const requestShutdown = (state: LifecycleState): Transition<boolean> => {
  const { phase, shutdownRequested } = state.snapshot
  return shutdownRequested === true || (phase !== "ready" && phase !== "draining")
    ? [false, state]
    : [true, withSnapshot(state, { shutdownRequested: true })]
}

/** Any earlier phase → shutting_down, with the boot stage `ShuttingDown`. */
export const beginShutdown = (state: LifecycleState): Transition<boolean> =>
  state.snapshot.phase === "shutting_down" || state.snapshot.phase === "stopped"
    ? [false, state]
    : [true, withSnapshot(state, { phase: "shutting_down", bootStage: "ShuttingDown", reason: undefined })]

/** Any earlier phase → stopped, with its report. */
export const complete = (state: LifecycleState, report: ShutdownReport): Transition<boolean> =>
  state.snapshot.phase === "stopped"
    ? [false, state]
    : [
        true,
        {
          ...withSnapshot(state, { phase: "stopped", bootStage: "ShuttingDown", reason: undefined }),
          report
        }
      ]

const readyStage = bootStages.indexOf("Ready")

/**
 * Up to `Ready` the start-up phases say where they are (SQL and Redis both connect, the filter and the rest both
 * warm up); from `Ready` on, forward only.
 */
export const setBootStage = (state: LifecycleState, stage: BootStage): Transition<boolean> => {
  const current = bootStages.indexOf(state.snapshot.bootStage)
  const next = bootStages.indexOf(stage)
  const allowed = current < readyStage ? next > 0 && next !== current : next > current
  return allowed ? [true, withSnapshot(state, { bootStage: stage })] : [false, state]
}

/** Only while starting. */
export const setReason = (state: LifecycleState, reason: NotReadyReason): Transition<void> =>
  state.snapshot.phase !== "starting" || state.snapshot.reason === reason
    ? [undefined, state]
    : [undefined, withSnapshot(state, { reason })]

/** Once. */
export const setMark = (
  state: LifecycleState,
  mark: Mark,
  atMs: number,
  elapsedMs = atMs
): Transition<boolean> =>
  state.marks.has(mark)
    ? [false, state]
    : [
        true,
        {
          ...state,
          marks: new Map(state.marks).set(mark, atMs),
          moments: new Map(state.moments).set(mark, elapsedMs)
        }
      ]

/** Once a label: a phase that runs again later leaves the start's figure alone. */
export const recordTiming = (state: LifecycleState, label: StartupLabel, ms: number): Transition<void> =>
  state.timings.has(label)
    ? [undefined, state]
    : [undefined, { ...state, timings: new Map(state.timings).set(label, ms) }]

const pairs: ReadonlyArray<readonly [name: string, from: Mark, to: Mark]> = [
  ["restore", "restore_started", "restore_ready"],
  ["wal_replay", "wal_replay_started", "wal_replay_ready"],
  ["index_warmup", "index_warmup_started", "index_warmup_ready"],
  ["total", "started", "ready"]
]

/** Completed pairs only; never below 0, also when a moment was marked that is said to have come before. */
export const coldStartDurations = (state: LifecycleState): ReadonlyArray<readonly [string, number]> =>
  pairs.flatMap(([name, from, to]) => {
    const start = state.moments.get(from)
    const end = state.moments.get(to)
    return start === undefined || end === undefined ? [] : [[name, Math.max(0, end - start)] as const]
  })
