/**
 * Backpressure: from how full the log is to what a writer is told.
 *
 * A log exists to take writes while the archive cannot, so ninety-five percent of it are for use, and
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

interface LevelRow {
  /** Entered at this pressure and above. */
  readonly enter: number
  /** Left below this one. */
  readonly leave: number
  /** Whether a write may go on to the log, after `delayMs`. */
  readonly admitsWrites: boolean
  /** The status for HTTP: 200 where writes are admitted, otherwise that of the refusal. */
  readonly httpStatus: 200 | 429 | 503
  /** Milliseconds after which a refused writer may try again; 0 where writes are admitted. */
  readonly retryAfterMs: number
  /** Milliseconds an admitted write (a whole batch, not each item) waits before it is logged. */
  readonly delayMs: number
}

const admitted = { admitsWrites: true, httpStatus: 200, retryAfterMs: 0 } as const
const refused = { admitsWrites: false, delayMs: 0 } as const

const rows: { readonly [Level in BackpressureLevel]: LevelRow } = {
  Normal: { enter: 0, leave: 0, ...admitted, delayMs: 0 },
  Warn: { enter: 0.7, leave: 0.65, ...admitted, delayMs: 0 },
  Throttle: { enter: 0.8, leave: 0.76, ...admitted, delayMs: 10 },
  Critical: { enter: 0.9, leave: 0.87, ...admitted, delayMs: 100 },
  Emergency: { enter: 0.95, leave: 0.93, ...refused, httpStatus: 429, retryAfterMs: 1_000 },
  Shutdown: { enter: 0.98, leave: 0.96, ...refused, httpStatus: 503, retryAfterMs: 5_000 }
}

/** In ascending order. */
export const backpressureLevels = Object.keys(rows) as ReadonlyArray<BackpressureLevel>

/** What a level means for a write. */
export const policy = (level: BackpressureLevel): LevelRow => rows[level]

/**
 * The level for a pressure, given the level that held before. Rises at once to the highest level whose threshold is
 * reached; falls only through levels whose leaving mark is undercut. A pressure that is not a number counts as full.
 */
export const levelOf = (pressure: number, previous: BackpressureLevel = "Normal"): BackpressureLevel => {
  // Nearly always so, and asked with every write.
  if (pressure < rows.Warn.leave) return "Normal"
  if (Number.isNaN(pressure)) return "Shutdown"
  const held = backpressureLevels.indexOf(previous)
  const reached = backpressureLevels.findLastIndex(
    (level, index) => pressure >= rows[level][index <= held ? "leave" : "enter"]
  )
  return backpressureLevels[Math.max(0, reached)]!
}
