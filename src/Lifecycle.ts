/**
 * The process lifecycle: one `SubscriptionRef`, five phases, never backwards; marks; one shutdown report for everybody.
 *
 * @since 0.1.0
 */
import { Context, Deferred, Effect, Layer, Option, Stream, SubscriptionRef } from "effect"
import type {
  BootStage,
  LifecycleSnapshot,
  LifecycleState,
  Mark,
  NotReadyReason,
  ShutdownReport,
  StartupLabel,
  Transition
} from "./shared/LifecycleState.js"
import * as State from "./shared/LifecycleState.js"

export type {
  BootStage,
  LifecycleSnapshot,
  Mark,
  NotReadyReason,
  Phase,
  ShutdownReport,
  StartupLabel
} from "./shared/LifecycleState.js"
export {
  /**
   * The boot stages in their order.
   *
   * @since 0.1.0
   * @category constants
   */
  bootStages,
  /**
   * The phases in their order.
   *
   * @since 0.1.0
   * @category constants
   */
  phases
} from "./shared/LifecycleState.js"

/**
 * Whether a report is clean: nothing left behind, nothing failed.
 *
 * @since 0.1.0
 * @category functions
 */
export const isClean = (report: ShutdownReport): boolean =>
  report.flushedWal &&
  report.finalCheckpoint &&
  report.filterSnapshot &&
  report.itemsLeftInLog === 0 &&
  report.problems.length === 0

/**
 * Where the engine stands: phase, boot stage, marks, durations, the report of its shutdown.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Lifecycle } from "effect-sync-engine"
 *
 * const untilReady = Effect.flatMap(Lifecycle, ({ changes }) =>
 *   Stream.runDrain(Stream.takeUntil(changes, ({ phase }) => phase === "ready"))
 * )
 * ```
 *
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
    /** Starts with the current snapshot, and ends after `stopped`. For a slow reader the newest 64 are kept. */
    readonly changes: Stream.Stream<LifecycleSnapshot>
    /**
     * starting → ready, or straight to draining when a drain was asked for meanwhile (`ready` is then never to be
     * seen, so no write slips in). Marks `ready` unless that was marked before. True when this call made it.
     */
    readonly markReady: Effect.Effect<boolean>
    /** ready → draining; remembered while starting. True when this call made or requested it first. */
    readonly beginDrain: Effect.Effect<boolean>
    /**
     * A ready or draining engine says that it is not ready any more and goes on serving, until `beginShutdown`. True
     * for exactly one caller.
     */
    readonly requestShutdown: Effect.Effect<boolean>
    /** Takes writes and no queries, or both again. */
    readonly setWritesOnly: (on: boolean) => Effect.Effect<void>
    /** Any earlier phase → shutting_down, and boot stage `ShuttingDown` with it. True for exactly one caller. */
    readonly beginShutdown: Effect.Effect<boolean>
    /** Any phase → stopped, with the report every waiter gets. True for the first call; later reports are dropped. */
    readonly complete: (report: ShutdownReport) => Effect.Effect<boolean>
    /** Waits for the report; the same object for everybody. */
    readonly awaitReport: Effect.Effect<ShutdownReport>
    /** The report, once there is one. */
    readonly report: Effect.Effect<Option.Option<ShutdownReport>>
    /** Stages before `Ready` follow the start-up phases; from `Ready` on they move forward only. True when it changed. */
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
    /**
     * Runs a startup phase: sets the reason, measures it with `Clock`, records the milliseconds under its label when
     * it ends, failed and interrupted ones too. A label's first run counts.
     */
    readonly timed: (
      label: StartupLabel
    ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Durations recorded so far, by label, in order. */
    readonly timings: Effect.Effect<ReadonlyArray<readonly [StartupLabel, number]>>
  }
>() {}

/**
 * The service inside the tag.
 *
 * @since 0.1.0
 * @category models
 */
export type LifecycleService = Context.Tag.Service<Lifecycle>

/** The wall clock, to show, and the clock that only goes on, to measure. */
const now = Effect.clockWith((clock) =>
  Effect.sync(() => ({
    atMs: clock.unsafeCurrentTimeMillis(),
    elapsedMs: Number(clock.unsafeCurrentTimeNanos()) / 1e6
  }))
)

/**
 * Makes a lifecycle in `starting`. It holds no resource and needs no scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<LifecycleService> = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make(State.initial)
  const reported = yield* Deferred.make<ShutdownReport>()
  // What the ref holds, for readers that cannot run an Effect.
  let current = State.initial.snapshot

  const transition = <A>(f: (state: LifecycleState) => Transition<A>): Effect.Effect<A> =>
    SubscriptionRef.modifyEffect(ref, (state) => {
      const moved = f(state)
      return Effect.sync(() => {
        current = moved[1].snapshot
        return moved
      })
    }).pipe(Effect.uninterruptible)

  const stateNow = SubscriptionRef.get(ref)
  const setReason = (reason: NotReadyReason) => transition((state) => State.setReason(state, reason))

  return Lifecycle.of({
    snapshot: Effect.map(stateNow, ({ snapshot }) => snapshot),
    unsafeSnapshot: () => current,
    acceptsWrites: () => current.phase === "ready",
    acceptsQueries: () =>
      (current.phase === "ready" || current.phase === "draining") && current.writesOnly !== true,
    changes: ref.changes.pipe(
      Stream.map(({ snapshot }) => snapshot),
      Stream.changesWith((a, b) => a === b),
      // The ref keeps every value for a slow reader, without a bound.
      Stream.buffer({ capacity: 64, strategy: "sliding" }),
      Stream.takeUntil(({ phase }) => phase === "stopped")
    ),
    markReady: Effect.flatMap(now, ({ atMs, elapsedMs }) =>
      transition((state) => State.markReady(state, atMs, elapsedMs))
    ),
    beginDrain: transition(State.beginDrain),
    requestShutdown: transition(State.requestShutdown),
    setWritesOnly: (on) => transition((state) => State.setWritesOnly(state, on)),
    beginShutdown: transition(State.beginShutdown),
    complete: (report) =>
      Effect.tap(
        transition((state) => State.complete(state, report)),
        (made) => (made ? Deferred.succeed(reported, report) : Effect.void)
      ).pipe(Effect.uninterruptible),
    awaitReport: Deferred.await(reported),
    report: Effect.map(stateNow, ({ report }) => Option.fromNullable(report)),
    setBootStage: (stage) => transition((state) => State.setBootStage(state, stage)),
    setReason,
    mark: (mark) =>
      Effect.flatMap(now, ({ atMs, elapsedMs }) =>
        transition((state) => State.setMark(state, mark, atMs, elapsedMs))
      ),
    backfill: (mark, atMs) =>
      Effect.flatMap(now, (at) =>
        transition((state) => State.setMark(state, mark, atMs, at.elapsedMs - (at.atMs - atMs)))
      ),
    marks: Effect.map(stateNow, ({ marks }) => marks),
    coldStartDurations: Effect.map(stateNow, State.coldStartDurations),
    timed: (label) => (effect) =>
      Effect.flatMap(Effect.zipRight(setReason(label), now), (start) =>
        Effect.ensuring(
          effect,
          Effect.flatMap(now, (end) =>
            transition((state) => State.recordTiming(state, label, end.elapsedMs - start.elapsedMs))
          )
        )
      ),
    timings: Effect.map(stateNow, ({ timings }) => Array.from(timings))
  })
})

/**
 * A lifecycle of its own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Lifecycle> = Layer.effect(Lifecycle, make)
