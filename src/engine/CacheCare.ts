/**
 * Proving and mending the cache: at start, after a reconnect, after a write it missed, and by a comparison of the
 * roots now and then.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ArchiveError } from "../archive/Archive.js"
import type { CacheError } from "../cache/Cache.js"
import { mend, type ResyncResult, resync } from "../reconcile/Resync.js"
import { cacheFailed } from "./CacheWrites.js"
import type { EngineCore } from "./EngineCore.js"
import type { Flush } from "./Flush.js"
import * as Volatile from "./Volatile.js"

/** @since 0.1.0 @category models */
export interface CacheCare {
  /** Compares, mends what differs, and trusts the cache when the roots are equal. Nothing without cache or archive. */
  readonly prove: Effect.Effect<ResyncResult | undefined, ArchiveError | CacheError>
  /** As `prove`; tells the ids of mended items. */
  readonly proveTelling: (
    mended: (ids: ReadonlyArray<string>) => void
  ) => Effect.Effect<ResyncResult | undefined, ArchiveError | CacheError>
  /** Compares the roots of a trusted cache; a difference takes its trust away. */
  readonly check: Effect.Effect<void, ArchiveError | CacheError>
}

/** @since 0.1.0 @category constructors */
export const make = (core: EngineCore, flush: Flush): CacheCare => {
  const turn = Effect.unsafeMakeSemaphore(1)

  const prove = (
    mended?: (ids: ReadonlyArray<string>) => void
  ): Effect.Effect<ResyncResult | undefined, ArchiveError | CacheError> =>
    turn.withPermits(1)(
      Effect.suspend(() => {
        const { cache } = core
        const archive = core.tiers?.archive
        if (cache === undefined || archive === undefined || !cache.connected) return Effect.succeed(undefined)
        const { generation } = cache.service.status()
        const doubts = cache.doubtsSoFar
        // Values that were found damaged count as absent there; writing them again mends them.
        const damaged = cache.service.takeCorrupted().map((id) => ({ id, kind: "changed" as const }))
        return Volatile.lookForMark(cache).pipe(
          Effect.zipRight(damaged.length === 0 ? Effect.void : mend(archive, cache.service, damaged)),
          Effect.zipRight(resync(archive, cache.service, flush.exclusively, mended)),
          Effect.tap((result) => {
            if (!result.equal)
              return cacheFailed(core, cache, "its root still differs after mending; trying again")
            if (!cache.trust(generation, doubts)) return Effect.void
            const changed = result.written + result.removed
            const back = core.recover("cache")
            if (changed === 0 && !back) return Effect.void
            return Effect.logInfo(
              changed === 0
                ? "the cache is trusted: its root equals the archive's"
                : `the cache is trusted again: ${result.written} items written, ${result.removed} removed`
            )
          }),
          // An archive that cannot be asked is told of elsewhere, and says nothing about the cache.
          Effect.tapError((error) =>
            error._tag === "CacheError" ? cacheFailed(core, cache, error.message) : Effect.void
          )
        )
      })
    )

  const check: CacheCare["check"] = Effect.suspend(() => {
    const { cache } = core
    const archive = core.tiers?.archive
    if (cache === undefined || archive === undefined || !cache.trusted) return Effect.void
    const roots = flush.exclusively(Effect.zip(archive.root, cache.service.root))
    // Another node may be between its two writes: only a difference that stays counts.
    const differs = Effect.map(roots, ([mine, theirs]) => mine !== theirs)
    return Effect.flatMap(differs, (first) =>
      first
        ? Effect.flatMap(Effect.delay(differs, settleTime), (second) =>
            second ? cacheFailed(core, cache, "its root differs from the archive's") : Effect.void
          )
        : Effect.void
    )
  })

  return { prove: prove(), proveTelling: prove, check }
}

const settleTime = "500 millis"
