/** What a duty of the run loop is. */
import type { Effect } from "effect"
import type { EngineConfig } from "../../config/Model.js"

/** Something the run loop does again and again. */
export interface Duty {
  readonly name: string
  /** Milliseconds between two rounds; 0 switches the duty off. */
  readonly intervalMs: (config: EngineConfig) => number
  readonly round: Effect.Effect<void, unknown>
}
