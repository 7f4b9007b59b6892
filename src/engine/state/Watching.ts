/**
 * Watching what changes while others are asked: an answer may be from before that. A watch ends with its use, also when
 * the use is interrupted before it begins.
 */
import { Effect } from "effect"
import type { EngineState, Watch } from "./EngineState.js"
import type { PendingEntry, PendingIndex } from "./PendingIndex.js"

/** Collects what leaves the pending writes meanwhile. */
export const settledMeanwhile = <A, E, R>(
  { pending }: { readonly pending: Pick<PendingIndex, "watch" | "unwatch"> },
  use: (settled: ReadonlyMap<string, PendingEntry>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => pending.watch()),
    use,
    (settled) => Effect.sync(() => pending.unwatch(settled))
  )

/** Tells which of these ids are written meanwhile. */
export const touchedMeanwhile = <A, E, R>(
  core: Pick<EngineState, "watch" | "unwatch">,
  ids: Iterable<string>,
  use: (watches: ReadonlyMap<string, Watch>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => new Map(Array.from(new Set(ids), (id) => [id, core.watch(id)]))),
    use,
    (watches) =>
      Effect.sync(() => {
        for (const [id, watch] of watches) core.unwatch(id, watch)
      })
  )
