/**
 * An engine whose tiers are timed: a few timestamps a batch, so that a line can say where the time goes and which
 * tier answered.
 */
import { Context, Effect, Layer } from "effect"
import { Cache, type CacheService } from "../src/cache/Cache.js"
import * as DefaultComponents from "../src/engine/DefaultComponents.js"
import type { EngineConfig, OpenArchive, OpenLog } from "../src/index.js"
import { Archive, fromPartial, SyncEngine, WriteAheadLog } from "../src/index.js"

export interface Spent {
  calls: number
  /** Milliseconds from call to answer, summed over the calls; calls may overlap. */
  ms: number
}

export interface Probe {
  readonly append: Spent
  readonly commit: Spent
  readonly put: Spent
  readonly release: Spent
  /** Ids that reads asked of the archive and of the cache. */
  readonly archiveIds: Array<string>
  readonly cacheIds: { count: number }
  readonly reset: () => void
}

const makeProbe = (): Probe => {
  const spent = (): Spent => ({ calls: 0, ms: 0 })
  const probe = {
    append: spent(),
    commit: spent(),
    put: spent(),
    release: spent(),
    archiveIds: [] as Array<string>,
    cacheIds: { count: 0 }
  }
  const reset = () => {
    for (const each of [probe.append, probe.commit, probe.put, probe.release]) {
      each.calls = 0
      each.ms = 0
    }
    probe.archiveIds.length = 0
    probe.cacheIds.count = 0
  }
  return { ...probe, reset }
}

const add = (spent: Spent, startedMs: number) => {
  spent.calls++
  spent.ms += performance.now() - startedMs
}

const timed = <A, E, R>(spent: Spent, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const startedMs = performance.now()
    return Effect.ensuring(
      effect,
      Effect.sync(() => add(spent, startedMs))
    )
  })

const probedLog = (probe: Probe, inner: OpenLog): OpenLog => ({
  ...inner,
  append: (records) => timed(probe.append, inner.append(records)),
  unsafeAppend: (records, done) => {
    const startedMs = performance.now()
    inner.unsafeAppend(records, (result) => {
      add(probe.append, startedMs)
      done(result)
    })
  },
  release: (upTo) => timed(probe.release, inner.release(upTo))
})

const probedArchive = (probe: Probe, inner: OpenArchive): OpenArchive => ({
  ...inner,
  commit: (records, absent) => timed(probe.commit, inner.commit(records, absent)),
  getMany: (ids) => {
    for (const id of ids) probe.archiveIds.push(id)
    return inner.getMany(ids)
  }
})

const probedCache = (probe: Probe, inner: CacheService): CacheService => ({
  ...inner,
  put: (records, putOptions) => timed(probe.put, inner.put(records, putOptions)),
  get: (id) => {
    probe.cacheIds.count++
    return inner.get(id)
  },
  getMany: (ids) => {
    probe.cacheIds.count += ids.length
    return inner.getMany(ids)
  }
})

/** A started engine as its configuration names it, with a probe on its tiers. Closing the scope shuts it down. */
export const probedEngine = (options: Partial<EngineConfig>) =>
  Effect.gen(function* () {
    const probe = makeProbe()
    const parts = Layer.map(DefaultComponents.layer(yield* fromPartial(options)), (context) => {
      const { open: openLog } = Context.get(context, WriteAheadLog)
      const { open: openArchive } = Context.get(context, Archive)
      const { open: openCache } = Context.get(context, Cache)
      return context.pipe(
        Context.add(WriteAheadLog, { open: Effect.map(openLog, (log) => probedLog(probe, log)) }),
        Context.add(Archive, {
          open: openArchive && Effect.map(openArchive, (archive) => probedArchive(probe, archive))
        }),
        Context.add(Cache, { open: openCache && Effect.map(openCache, (cache) => probedCache(probe, cache)) })
      )
    })
    const context = yield* Layer.build(SyncEngine.layer(options, parts))
    return { engine: Context.get(context, SyncEngine), probe }
  })

/** Waits until the filter is trusted; says why it is not when that takes too long, or when the engine has none. */
export const filterTrusted = (engine: SyncEngine["Type"], withinMs: number): Effect.Effect<true | string> =>
  Effect.gen(function* () {
    const until = performance.now() + withinMs
    for (;;) {
      const { filter } = yield* engine.health
      if (filter.trusted) return true
      if (filter.reason === undefined) return "this engine has no filter"
      if (performance.now() > until) return filter.reason
      yield* Effect.sleep("20 millis")
    }
  })
