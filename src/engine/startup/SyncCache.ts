/** Phase 7: the cache's root is compared with the archive's, and what differs is repaired. */
import { Data, Effect, Option } from "effect"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { CacheConnected } from "./ConnectCache.js"
import { phase } from "./Phase.js"
import { TrustedRoot } from "./ReadRoot.js"

export class CacheNotCompared extends Data.TaggedError("CacheNotCompared")<{ readonly problem: string }> {}

/** How long a start waits for the cache to be repaired: a very stale one is repaired while the engine serves. */
const startSyncBudget = "10 seconds"

export const syncCache = Effect.gen(function* () {
  const { cacheResync } = yield* EngineRuntime
  const root = yield* TrustedRoot
  if (Option.isNone(yield* CacheConnected)) return
  const work = Option.isSome(root)
    ? phase("SyncingRedis", "redis_sync")(cacheResync.prove)
    : Effect.zipRight(cacheResync.claim, Effect.fail({ message: "the archive's root could not be read" }))
  yield* work.pipe(
    Effect.timeoutFail({
      duration: startSyncBudget,
      onTimeout: () => ({
        message: `it takes longer than ${startSyncBudget} and goes on while the engine serves`
      })
    }),
    Effect.mapError(({ message }) => new CacheNotCompared({ problem: message }))
  )
})
