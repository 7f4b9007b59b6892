/** The cache as the processes of a world reach it: one model that outlives them, over a line that fails. */
import { isDeepStrictEqual } from "node:util"
import { Effect, Exit, Scope } from "effect"
import { type CacheChange, CacheError, type CacheService } from "../../src/cache/Cache.js"
import * as InProcessCache from "../../src/cache/InProcessCache.js"
import { type TreeChange, TreeDelta } from "../../src/merkle/TreeDelta.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import type { Process } from "./Turns.js"
import type { World } from "./World.js"

/** What a commit says it has changed is what its records make of what was there before. */
const checkChange = (records: ReadonlyArray<ItemRecord>, change: TreeChange | undefined): void => {
  if (change === undefined) return
  const delta = new TreeDelta()
  for (const record of records) {
    const before = change.before.get(record.id)
    delta.change(
      before?.deleted === false ? { ...before, id: record.id } : undefined,
      record.deleted ? undefined : record
    )
  }
  if (!isDeepStrictEqual(change.delta, delta.toMap())) {
    throw new Error("a commit says of its tree what its records do not")
  }
}

export class SharedCache {
  readonly model: CacheService
  readonly control: InProcessCache.InProcessCacheControl

  constructor(
    private readonly world: World,
    other?: SharedCache
  ) {
    if (other !== undefined) {
      this.model = other.model
      this.control = other.control
      return
    }
    const { cache, control } = Effect.runSync(
      InProcessCache.make().pipe(
        Scope.extend(Effect.runSync(Scope.make())),
        Effect.withClock(world.turns.clockOf(world.self))
      )
    )
    this.model = cache
    this.control = control
  }

  /** The cache as this process reaches it. */
  openedBy(process: Process): CacheService {
    const { model } = this
    const over = <A>(operation: string, call: Effect.Effect<A, CacheError>) =>
      this.line(process, operation, call)
    return {
      ...model,
      connect: over("connect", model.connect),
      root: over("root", model.root),
      rebuildTree: over("rebuildTree", model.rebuildTree),
      tidy: over("tidy", model.tidy),
      reset: over("reset", model.reset),
      put: (records, options) => {
        checkChange(records, options?.change)
        return over("put", model.put(records, options))
      },
      fill: (records) => over("fill", model.fill(records)),
      repair: (records) => over("repair", model.repair(records)),
      get: (id) => over("get", model.get(id)),
      getMany: (ids) => over("getMany", model.getMany(ids)),
      heads: (ids) => over("heads", model.heads(ids)),
      deleteMany: (targets) => over("deleteMany", model.deleteMany(targets)),
      node: (path) => over("node", model.node(path)),
      children: (path, page) => over("children", model.children(path, page)),
      branches: (path, page) => over("branches", model.branches(path, page)),
      leaves: (path, page) => over("leaves", model.leaves(path, page)),
      leafSum: (path, range) => over("leafSum", model.leafSum(path, range)),
      appendChanges: (entries, maxLength) => this.append(process, entries, maxLength),
      readChanges: (after, count) => over("readChanges", model.readChanges(after, count)),
      claim: (lineage, milliseconds) => over("claim", model.claim(lineage, milliseconds))
    }
  }

  /** Of a failed append some of the first entries may have arrived. */
  private append(process: Process, entries: ReadonlyArray<CacheChange>, maxLength: number) {
    const { chance, feed } = this.world
    const appended = (count: number) =>
      Effect.suspend(() => {
        const part = entries.slice(0, count)
        return Effect.tap(this.model.appendChanges(part, maxLength), () =>
          Effect.sync(() => feed.appended(part))
        )
      })
    const some = Effect.suspend(() => Effect.ignore(appended(chance.int(entries.length))))
    return Effect.onExit(this.line(process, "appendChanges", appended(entries.length), some), (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) feed.failed()
      })
    )
  }

  /** A call takes its time both ways, may fail on its way, and its answer may be lost. */
  private line<A>(
    process: Process,
    operation: string,
    call: Effect.Effect<A, CacheError>,
    /** What a failed call does all the same. */
    partly: Effect.Effect<void> = Effect.void
  ): Effect.Effect<A, CacheError> {
    const { chance, settings } = this.world
    const failed = (problem: string, kind: CacheError["kind"]) =>
      Effect.suspend(() => {
        this.world.hand("cache")
        return Effect.fail(
          new CacheError({ operation, kind, problem, retryAfterMs: chance.between(1, 1000) })
        )
      })
    return Effect.suspend(() => {
      if (!process.alive) return call
      const faulty = !this.world.calm
      const before =
        faulty && chance.bool(settings.cacheFailure)
          ? Effect.zipRight(partly, failed("a transient failure", "unavailable"))
          : call
      const lost = faulty && chance.bool(settings.cacheFailure)
      const answered = lost ? Effect.zipRight(before, failed("the answer was lost", "timeout")) : before
      return Effect.zipRight(this.delay, Effect.zipLeft(answered, this.delay))
    })
  }

  private get delay(): Effect.Effect<void> {
    const { chance, settings } = this.world
    return Effect.suspend(() =>
      settings.cacheDelayMs === 0 || chance.bool(0.6)
        ? Effect.void
        : this.world.takes("cache slow", chance.between(1, settings.cacheDelayMs))
    )
  }
}
