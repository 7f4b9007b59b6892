/**
 * Operating the engine.
 *
 * @since 0.1.0
 */
import type { Effect, Stream } from "effect"
import type { PositionedChange } from "../cache/Cache.js"
import type { NotSupported, ReadError } from "../EngineError.js"
import type { BootStage, Phase, ShutdownReport } from "../Lifecycle.js"
import type { EngineHealth, EngineStats, FlushResult } from "../SyncEngineModels.js"
import type { DeadLettersApi } from "./query/DeadLetters.js"

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
