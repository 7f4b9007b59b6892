/** What the phases of a start share. */
import { Effect } from "effect"
import type { BootStage, StartupLabel } from "../../Lifecycle.js"
import { Lifecycle } from "../../Lifecycle.js"

/** Runs a phase at its boot stage, measured under its label. */
export const phase =
  (stage: BootStage, label: StartupLabel) =>
  <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Lifecycle> =>
    Effect.flatMap(Lifecycle, (lifecycle) =>
      lifecycle.setBootStage(stage).pipe(
        Effect.tap((moved) => (moved ? Effect.logInfo(`boot stage ${stage}`) : Effect.void)),
        Effect.zipRight(lifecycle.timed(label)(body))
      )
    )
