/**
 * Reads that become dirty. An answer of another tier may be from before a write that has become visible since; whoever
 * used it would put old news into memory, or decide by it.
 *
 * The protocol: before a tier is asked, a *watch* is set on each id. Whatever makes a version of the id visible, or may
 * have changed it in the archive, *touches* the id: the watch is dirty from then on, and later readers start one of
 * their own. Who finds a watch dirty when the answer has come throws the answer away and looks again; who finds it clean
 * may fill memory in the same synchronous step. A watch ends with its use, also when that is interrupted before it
 * begins. Pages and bulk deletes ask for what nobody can name beforehand: they collect instead what leaves the pending
 * writes meanwhile ({@link settledMeanwhile}) and look at that again.
 *
 * Rejected: versions alone, because a deletion leaves none in memory to compare with, and of one version number there
 * can be two contents on their way; a lock per id, because a reader that waits for a slow archive must not stop writers.
 */
import { Effect } from "effect"
import type { PendingEntry, PendingIndex } from "./PendingIndex.js"

export interface Watch {
  dirty: boolean
  watchers: number
}

export class Watches {
  private readonly watches = new Map<string, Watch>()

  watch(id: string): Watch {
    const watch = this.watches.get(id) ?? { dirty: false, watchers: 0 }
    watch.watchers++
    this.watches.set(id, watch)
    return watch
  }

  unwatch(id: string, watch: Watch): void {
    watch.watchers--
    if (watch.watchers === 0 && this.watches.get(id) === watch) this.watches.delete(id)
  }

  touch(id: string): void {
    if (this.watches.size === 0) return
    const watch = this.watches.get(id)
    if (watch === undefined) return
    watch.dirty = true
    this.watches.delete(id)
  }

  touchAll(): void {
    for (const watch of this.watches.values()) watch.dirty = true
    this.watches.clear()
  }
}

/** Tells which of these ids are touched meanwhile. */
export const touchedMeanwhile = <A, E, R>(
  { watches: all }: { readonly watches: Pick<Watches, "watch" | "unwatch"> },
  ids: Iterable<string>,
  use: (watches: ReadonlyMap<string, Watch>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => new Map(Array.from(new Set(ids), (id) => [id, all.watch(id)]))),
    use,
    (watches) =>
      Effect.sync(() => {
        for (const [id, watch] of watches) all.unwatch(id, watch)
      })
  )

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
