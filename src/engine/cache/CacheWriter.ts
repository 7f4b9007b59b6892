/**
 * Carrying what the archive has committed on to the cache. Never fails: a cache that misses a write is no longer
 * trusted, and repaired when it is back.
 */
import { Cause, Duration, Effect, Fiber } from "effect"
import type { Superseded } from "../../archive/CommitPlan.js"
import type { Removal } from "../../cache/Cache.js"
import { CacheError } from "../../cache/Cache.js"
import * as Metrics from "../../Metrics.js"
import type { TreeChange } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import type { CacheTrust } from "../state/CacheTrust.js"
import * as Conditions from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"

/** The cache could not be used: says so once, and takes its trust away. */
export const cacheFailed = (core: EngineState, cache: CacheTrust, problem: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    cache.distrust(problem)
    Metrics.cacheFailed(1)
    return Conditions.begins(core, "cache", problem, `the cache is not used: ${problem}`)
  })

/** Background fills at once; a fill is a favour, and one more is left out. */
export const mostFills = 32

/** How long a flush waits for the cache: everybody who writes waits behind it. */
const patience = Duration.seconds(1)
const missesWrites = "; it misses writes until it is back"
const silent = `it has not answered for ${Duration.toMillis(patience)} ms; it misses writes until it does`

/** Ends after that time also in a region that cannot be interrupted; the call itself may go on. */
const inTime = (
  core: EngineState,
  cache: CacheTrust,
  call: Effect.Effect<void, CacheError>
): Effect.Effect<void, CacheError> =>
  Effect.suspend(() => {
    cache.unanswered++
    const counted = Effect.ensuring(
      Effect.interruptible(call),
      Effect.sync(() => cache.unanswered--)
    )
    return Effect.flatMap(Effect.forkIn(counted, core.detached), (fiber) =>
      Effect.raceFirst(
        Effect.interruptible(Fiber.join(fiber)),
        Effect.interruptible(
          Effect.delay(
            Effect.fail(
              new CacheError({ operation: "put", kind: "unavailable", problem: silent, retryAfterMs: 1000 })
            ),
            patience
          )
        )
      )
    )
  })

/** Writes a committed batch to the cache, before readers stop being served from memory and log. */
export const carryToCache = (
  core: EngineState,
  {
    applied,
    change,
    superseded,
    taken
  }: {
    /** How many of `taken` the archive has written. */
    readonly applied: number
    readonly change: TreeChange | undefined
    readonly superseded: ReadonlyArray<Superseded>
    readonly taken: ReadonlyArray<ItemRecord>
  }
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { cache } = core
    const missed = () => {
      core.cacheMisses.add(taken)
      core.cacheMisses.add(superseded.map(({ stored }) => stored))
    }
    // Before it is opened, too: what the log still held at the start may not have reached it.
    if (cache === undefined) return Effect.sync(missed)
    if (!cache.usable) {
      missed()
      // What it misses now is found by comparing roots when it is back.
      const why = cache.reason ?? "unavailable"
      // What was said of the last batch is the reason by now.
      return cacheFailed(core, cache, why.endsWith(missesWrites) ? why : why + missesWrites)
    }
    const records = [...taken]
    const tooLarge: Array<Removal> = []
    // Whoever wrote these may not have reached the cache, and readers of this node have seen that there is something
    // newer than what the cache may hold.
    for (const { stored } of superseded) {
      if (stored.content === undefined) tooLarge.push({ id: stored.id, version: stored.version })
      else records.push({ ...stored, content: stored.content })
    }
    const put =
      records.length === 0
        ? Effect.void
        : cache.service.put(records, applied === records.length ? { change } : undefined)
    const remove = tooLarge.length === 0 ? Effect.void : cache.service.deleteMany(tooLarge)
    if (cache.unanswered > 0) {
      missed()
      return cacheFailed(core, cache, silent)
    }
    return Effect.matchCauseEffect(inTime(core, cache, Effect.zipRight(put, remove)), {
      onFailure: (cause) => {
        missed()
        // A shutdown does not wait for it: nothing is wrong with the cache, but nobody knows what it has.
        return Cause.isInterruptedOnly(cause)
          ? Effect.sync(() => cache.distrust("a write to it was not waited for"))
          : cacheFailed(core, cache, cause._tag === "Fail" ? cause.error.message : "it failed unexpectedly")
      },
      onSuccess: () => Effect.void
    })
  })

/**
 * Gives the cache what a read found in the archive, in the background of the read: a cache that is unavailable, or a
 * failure, costs the reader nothing.
 */
export const fillCache = (core: EngineState, records: ReadonlyArray<ItemRecord>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { cache } = core
    if (cache === undefined || !cache.usable) return Effect.void
    const live = records.filter((record) => !record.deleted)
    if (live.length === 0 || cache.fills === mostFills) return Effect.void
    cache.fills++
    return cache.service.fill(live).pipe(
      Effect.catchAll((error) => cacheFailed(core, cache, error.message)),
      Effect.interruptible,
      Effect.ensuring(Effect.sync(() => cache.fills--)),
      Effect.forkIn(core.detached)
    )
  })
