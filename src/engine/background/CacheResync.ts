/**
 * Proving and repairing the cache: at start, after a reconnect, after a write it missed, and by a comparison of the
 * roots now and then.
 */
import { Effect } from "effect"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { CacheError } from "../../cache/Cache.js"
import { type ResyncOptions, type ResyncResult, repairItems, resync } from "../../reconcile/Resync.js"
import { settledRoots } from "../../reconcile/Roots.js"
import { counted } from "../../shared/Counted.js"
import { cacheFailed } from "../cache/CacheWriter.js"
import type { Flusher } from "../flush/Flusher.js"
import { type CacheTrust, othersProblem } from "../state/CacheTrust.js"
import type { EngineState } from "../state/EngineState.js"
import * as CacheOnlyItems from "../write/CacheOnlyItems.js"

export type CacheResync = ReturnType<typeof make>

type Proof = Effect.Effect<ResyncResult | undefined, ArchiveError | CacheError>

/** How long a cache stays an archive's when nobody renews that. */
const claimMs = 60_000
/** How often that is renewed at least. */
export const mostClaimIntervalMs = claimMs / 4

class OtherArchive {
  readonly _tag = "OtherArchive"
}

/** Two archives behind one prefix would take each other's items out. */
const claimOf = (core: EngineState, cache: CacheTrust): Effect.Effect<void, CacheError | OtherArchive> =>
  Effect.suspend(() => {
    // Before SQL is there, the log knows its archive.
    const lineage = core.lineage ?? core.log.binding()?.lineage
    if (lineage === undefined || !core.expectsArchive) return Effect.void
    const { generation } = cache.service.status()
    const untilMs = core.elapsedMs() + claimMs
    return Effect.flatMap(cache.service.claim(lineage, claimMs), (owner) => {
      const isOurs = owner === lineage
      cache.claimed(isOurs, generation, untilMs)
      return isOurs ? Effect.void : Effect.fail(new OtherArchive())
    })
  })

const proveOurs = (core: EngineState, flush: Flusher, cache: CacheTrust, options: ResyncOptions): Proof => {
  const archive = core.tiers?.archive
  if (archive === undefined) return Effect.succeed(undefined)
  const { generation } = cache.service.status()
  const doubts = cache.doubtsSoFar
  // Values that were found damaged count as absent there; writing them again repairs them.
  const damaged = cache.service.takeCorrupted().map((id) => ({ id, kind: "changed" as const }))
  return CacheOnlyItems.lookForMark(core, cache).pipe(
    Effect.zipRight(damaged.length === 0 ? Effect.void : repairItems(archive, cache.service, damaged)),
    Effect.zipRight(
      resync(
        { archive, cache: cache.service, exclusively: flush.exclusively },
        { ...options, missed: cache.misses.listed }
      )
    ),
    Effect.tap((result) => {
      if (!result.equal && options.budget?.exhausted === true) return Effect.void
      if (!result.equal)
        return cacheFailed(core, cache, "its root still differs after the repair; trying again")
      if (!cache.trust(generation, doubts)) return Effect.void
      const changed = result.written + result.removed
      const back = core.degradations.end("cache")
      if (changed === 0 && !back) return Effect.void
      return Effect.logInfo(
        changed === 0
          ? "the cache is trusted: its root equals the archive's"
          : `the cache is trusted again: ${counted(result.written, "item")} written, ${result.removed} removed`
      )
    })
  )
}

export const make = (core: EngineState, flush: Flusher) => {
  const turn = Effect.unsafeMakeSemaphore(1)

  const othersCache = (cache: CacheTrust) => Effect.as(cacheFailed(core, cache, othersProblem), undefined)

  /** Compares, repairs what differs, and trusts the cache when the roots are equal. Nothing without cache or archive. */
  const prove = (options: ResyncOptions = {}): Proof =>
    turn.withPermits(1)(
      Effect.suspend(() => {
        const { cache } = core
        if (cache === undefined || !cache.connected) return Effect.succeed(undefined)
        return claimOf(core, cache).pipe(
          Effect.zipRight(Effect.suspend(() => proveOurs(core, flush, cache, options))),
          Effect.catchTag("OtherArchive", () => othersCache(cache)),
          // An archive that cannot be asked is told of elsewhere, and says nothing about the cache.
          Effect.tapError((error) =>
            error._tag === "CacheError" ? cacheFailed(core, cache, error.message) : Effect.void
          )
        )
      })
    )

  /** Compares the roots of a trusted cache; a difference takes its trust away. */
  const check: Effect.Effect<void, ArchiveError | CacheError> = Effect.suspend(() => {
    const { cache } = core
    const archive = core.tiers?.archive
    if (cache === undefined || archive === undefined || !cache.trusted) return Effect.void
    const tiers = { archive, cache: cache.service, exclusively: flush.exclusively }
    return CacheOnlyItems.lookForMark(core, cache).pipe(
      Effect.zipRight(settledRoots(tiers)),
      Effect.flatMap(({ equal }) =>
        equal ? Effect.void : cacheFailed(core, cache, "its root differs from the archive's")
      )
    )
  })

  /** Makes sure that the cache is this archive's, or goes on being it; until that is known it is not used. */
  const renew: Effect.Effect<void, CacheError> = Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined || !cache.connected) return Effect.void
    return Effect.catchTag(claimOf(core, cache), "OtherArchive", () => othersCache(cache))
  })

  /** `proveWithin`: within a budget; tells the ids of repaired items. */
  return { prove: prove(), proveWithin: prove, check, claim: renew }
}
