/**
 * Backpressure: from how full the log is to what a writer is told.
 *
 * | level | from | left below | writes | status | delay | retry after |
 * |---|---|---|---|---|---|---|
 * | Normal | 0 | | admitted | 200 | | |
 * | Warn | 0.70 | 0.65 | admitted; operators are told | 200 | | |
 * | Throttle | 0.80 | 0.76 | admitted after a short delay | 200 | 10 ms | |
 * | Critical | 0.90 | 0.87 | admitted after a long delay | 200 | 100 ms | |
 * | Emergency | 0.95 | 0.93 | refused: this client is to slow down | 429 | | 1 s |
 * | Shutdown | 0.98 | 0.96 | refused: this node takes no writes | 503 | | 5 s |
 *
 * The reasons. A log exists to take writes while the archive cannot, so ninety-five percent of it are for use, and
 * only the last twentieth is kept for batches that are already under way. A delay is the gentler brake: it slows
 * whoever waits for acknowledgements to about the speed of the archive and costs nobody a write. Refusals start
 * with 429, which a client honours and retries; 503 comes last, because it makes load balancers turn elsewhere.
 * Nothing is ever dropped: a refused write is told so before it is logged. `Shutdown` is the name of the highest
 * level; it stops the writes, not the engine, and reads go on at every level.
 *
 * A level is entered at its threshold and left only 0.02 to 0.05 below it, so that it does not flap while the
 * pressure stands at a threshold.
 *
 * @since 0.1.0
 */

/**
 * From no pressure to the highest.
 *
 * @since 0.1.0
 * @category models
 */
export type BackpressureLevel = "Normal" | "Warn" | "Throttle" | "Critical" | "Emergency" | "Shutdown"

/**
 * What a level means for a write.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackpressurePolicy {
  /** Whether a write may go on to the log, after `delayMs`. */
  readonly admitsWrites: boolean
  /** The status for HTTP: 200 where writes are admitted, otherwise that of the refusal. */
  readonly httpStatus: 200 | 429 | 503
  /** Milliseconds after which a refused writer may try again; 0 where writes are admitted. */
  readonly retryAfterMs: number
  /** Milliseconds an admitted write (a whole batch, not each item) waits before it is logged. */
  readonly delayMs: number
}

/**
 * All levels in ascending order.
 *
 * @since 0.1.0
 * @category constants
 */
export const backpressureLevels: ReadonlyArray<BackpressureLevel> = [
  "Normal",
  "Warn",
  "Throttle",
  "Critical",
  "Emergency",
  "Shutdown"
]

/**
 * For each level: entered at `enter` and above, left below `leave`.
 *
 * @since 0.1.0
 * @category constants
 */
export const backpressureThresholds: {
  readonly [Level in BackpressureLevel]: { readonly enter: number; readonly leave: number }
} = {
  Normal: { enter: 0, leave: 0 },
  Warn: { enter: 0.7, leave: 0.65 },
  Throttle: { enter: 0.8, leave: 0.76 },
  Critical: { enter: 0.9, leave: 0.87 },
  Emergency: { enter: 0.95, leave: 0.93 },
  Shutdown: { enter: 0.98, leave: 0.96 }
}

const policies: { readonly [Level in BackpressureLevel]: BackpressurePolicy } = {
  Normal: { admitsWrites: true, httpStatus: 200, retryAfterMs: 0, delayMs: 0 },
  Warn: { admitsWrites: true, httpStatus: 200, retryAfterMs: 0, delayMs: 0 },
  Throttle: { admitsWrites: true, httpStatus: 200, retryAfterMs: 0, delayMs: 10 },
  Critical: { admitsWrites: true, httpStatus: 200, retryAfterMs: 0, delayMs: 100 },
  Emergency: { admitsWrites: false, httpStatus: 429, retryAfterMs: 1_000, delayMs: 0 },
  Shutdown: { admitsWrites: false, httpStatus: 503, retryAfterMs: 5_000, delayMs: 0 }
}

/**
 * The level for a pressure, given the level that held before (`Normal` when left out). Rises at once to the
 * highest level whose threshold is reached; falls only through levels whose leaving mark is undercut. A pressure
 * that is not a number counts as full.
 *
 * @since 0.1.0
 * @category functions
 */
export const levelOf = (pressure: number, previous: BackpressureLevel = "Normal"): BackpressureLevel => {
  if (Number.isNaN(pressure)) return "Shutdown"
  let level = backpressureLevels.length - 1
  const held = backpressureLevels.indexOf(previous)
  while (level > 0) {
    const { enter, leave } = backpressureThresholds[backpressureLevels[level]!]
    if (pressure >= (level <= held ? leave : enter)) break
    level--
  }
  return backpressureLevels[level]!
}

/**
 * What a level means for a write.
 *
 * @since 0.1.0
 * @category functions
 */
export const policy = (level: BackpressureLevel): BackpressurePolicy => policies[level]
