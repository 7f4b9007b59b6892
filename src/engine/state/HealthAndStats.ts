/** Health and statistics: what the engine says about itself. */
import { Effect } from "effect"
import type { EngineHealth, EngineStats } from "../../SyncEngineModels.js"
import type { EngineState } from "./EngineState.js"

const emptyUsage = {
  items: 0,
  bytes: 0,
  letters: 0,
  letterBytes: 0,
  maxItems: 0,
  maxBytes: 0,
  committed: 0,
  released: 0
}

export const healthOf = (core: EngineState): EngineHealth => {
  const archive = core.tiers?.archive
  const filter = core.filter?.status()
  return {
    lifecycle: core.lifecycle.unsafeSnapshot(),
    acceptsWrites:
      core.gate.acceptsWrites && !core.config().readOnly && core.degradations.logRefusal === undefined,
    acceptsQueries: core.lifecycle.acceptsQueries(),
    readOnly: core.config().readOnly,
    degraded: core.degradations.all,
    archive: {
      dialect: archive?.dialect ?? "none",
      target: archive?.target ?? "none",
      available: archive !== undefined && !core.degradations.has("archive")
    },
    cache: {
      configured: core.cache !== undefined,
      available: core.cache?.connected ?? false,
      trusted: core.cache?.trusted ?? false
    },
    filter: { trusted: filter?.trusted ?? false, entries: filter?.entries ?? 0, reason: filter?.reason },
    backpressure: { level: core.pressure.level(), pressure: core.pressure.share }
  }
}

export const statsOf = (
  core: EngineState,
  started: { readonly atMs: number; readonly elapsedMs: number }
): Effect.Effect<EngineStats> =>
  Effect.map(core.lifecycle.timings, (startupTimings) => {
    const memory = core.memory.stats()
    return {
      startedAtMs: started.atMs,
      uptimeMs: Math.floor(core.elapsedMs() - started.elapsedMs),
      log: core.tiers?.log.usage() ?? emptyUsage,
      memory: {
        items: memory.items,
        bytes: memory.bytes,
        maxBytes: memory.maxBytes,
        hits: memory.hits,
        misses: memory.misses,
        evictions: memory.evictions
      },
      pending: core.pendingEntries(),
      acknowledged: core.counters.acknowledged,
      archived: core.counters.archived,
      superseded: core.counters.superseded,
      deadLetters: core.tiers?.log.deadLetters.count() ?? 0,
      flushes: { ...core.counters.flushes },
      flushFailures: core.counters.flushFailures,
      startupTimings
    }
  })
