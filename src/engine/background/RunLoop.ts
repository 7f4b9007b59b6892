/**
 * The run loop: one supervised fiber per duty, each on its own schedule. A slow or failing duty delays no other;
 * failures are counted and followed by a backoff, and logged once when they begin and once when they end.
 */
import { type Cause, Duration, Effect, FiberMap, Schedule, type Scope, Stream } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import { LiveConfig } from "../../EngineConfig.js"
import * as Metrics from "../../Metrics.js"
import * as Conditions from "../state/Conditions.js"
import * as BackgroundTasks from "./BackgroundTasks.js"
import { EngineRuntime } from "./EngineRuntime.js"

const firstBackoffMs = 100
const maxBackoffMs = 30_000

/** The pause before the next round: the interval, or after failures a longer backoff. */
export const pauseMs = (intervalMs: number, failures: number): number =>
  failures === 0
    ? intervalMs
    : Math.max(intervalMs, Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures - 1, 20)))

/**
 * Repeats a round for ever, whatever happens in it, interruption from within included.
 *
 * @param told whether a failure is one of a tier, of which has been told already
 */
export const supervise = (
  name: string,
  intervalMs: () => number,
  round: Effect.Effect<void, unknown>,
  told: (cause: Cause.Cause<unknown>) => Effect.Effect<boolean> = () => Effect.succeed(false)
) =>
  Effect.suspend(() => {
    let failures = 0
    /** What has been logged of the failures that go on: nothing, a warning, or an error with its stack. */
    let logged: "nothing" | "warning" | "error" = "nothing"
    const schedule = Schedule.forever.pipe(
      Schedule.addDelay(() => Duration.millis(pauseMs(intervalMs(), failures)))
    )
    const succeeded = Effect.suspend(() => {
      const wasLogged = logged !== "nothing"
      const line = `${name}: works again after ${failures} failures`
      failures = 0
      logged = "nothing"
      return wasLogged ? Effect.logInfo(line) : Effect.void
    })
    const failed = (cause: Cause.Cause<unknown>) =>
      Effect.flatMap(told(cause), (isTold) => {
        failures++
        Metrics.dutyFailed(name)
        const problem = Conditions.expectedProblem(cause)
        if (isTold || logged === "error" || (problem !== undefined && logged === "warning")) {
          return Effect.logDebug(`${name} failed again`, cause)
        }
        logged = problem === undefined ? "error" : "warning"
        return problem === undefined
          ? Effect.logError(`${name} failed; it goes on after a pause`, cause)
          : Effect.logWarning(`${name}: ${problem}; it goes on after a pause`)
      })
    return round.pipe(
      // If it is this fiber that is interrupted, no handler runs.
      Effect.matchCauseEffect({ onSuccess: () => succeeded, onFailure: failed }),
      Effect.schedule(schedule),
      Effect.annotateLogs({ fiber: name })
    )
  })

/** Starts all duties in the scope. A duty whose interval changes is started again with the new one. */
export const start: Effect.Effect<void, never, EngineRuntime | LiveConfig | Scope.Scope> = Effect.gen(
  function* () {
    const runtime = yield* EngineRuntime
    const live = yield* LiveConfig
    const fibers = yield* FiberMap.make<string>()
    const supervised = (name: string, intervalMs: number, round: Effect.Effect<void, unknown>) =>
      FiberMap.run(
        fibers,
        name,
        supervise(
          name,
          () => intervalMs,
          round,
          (cause) => BackgroundTasks.toldByTier(runtime, cause)
        )
      )
    const intervals = new Map<string, number>()

    const arrange = (config: EngineConfig) =>
      Effect.forEach(
        runtime.duties,
        (duty) => {
          const interval = duty.intervalMs(config)
          if (intervals.get(duty.name) === interval) return Effect.void
          intervals.set(duty.name, interval)
          return interval > 0
            ? Effect.asVoid(supervised(duty.name, interval, duty.round))
            : FiberMap.remove(fibers, duty.name)
        },
        { discard: true }
      )

    yield* arrange(live.unsafeGet())
    yield* supervised("flush on demand", 0, BackgroundTasks.flushOnDemand(runtime))
    yield* supervised("cache follow", 1000, BackgroundTasks.followCache(runtime))
    yield* supervised("lost writes", 0, BackgroundTasks.tellLosses(runtime))
    yield* live.changes.pipe(
      Stream.runForEach((config) => {
        runtime.core.memory.setMaxBytes(config.l1MaxBytes)
        return arrange(config)
      }),
      Effect.forkScoped
    )
  }
)
