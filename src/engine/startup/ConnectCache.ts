/** Phase 6: the cache is opened and connected; from then on it connects itself again. */
import { Context, Data, Effect, Option } from "effect"
import { Cache } from "../../cache/Cache.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import { CacheTrust } from "../state/CacheTrust.js"
import { phase } from "./Phase.js"

/** The cache, connected; none when none is configured, or while it is not there. */
export class CacheConnected extends Context.Tag("effect-sync-engine/startup/CacheConnected")<
  CacheConnected,
  Option.Option<CacheTrust>
>() {}

export class CacheNotConnected extends Data.TaggedError("CacheNotConnected")<{ readonly problem: string }> {}

export const connectCache = Effect.gen(function* () {
  const { open } = yield* Cache
  if (open === undefined) return Option.none<CacheTrust>()
  return Option.some(yield* connect(open))
})

const connect = Effect.fnUntraced(
  function* (open: NonNullable<Cache["Type"]["open"]>) {
    const { core, shutdown } = yield* EngineRuntime
    const cache = new CacheTrust(
      yield* shutdown.open("closing the cache", open),
      core.expectsArchive ? () => core.elapsedMs() : undefined
    )
    core.cache = cache
    yield* Effect.mapError(
      cache.service.connect,
      ({ message }) => new CacheNotConnected({ problem: message })
    )
    yield* Effect.forEach(cache.service.status().warnings, (line) => Effect.logWarning(line))
    return cache
  },
  phase("Connecting", "redis_connect")
)
