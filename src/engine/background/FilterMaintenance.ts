/** Keeping the existence filter: its place in the writers' register, its snapshots, its rebuilds. */
import { Data, Effect, Option } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { LogUnavailable } from "../../EngineError.js"
import type { OpenFilter } from "../../filter/ExistenceFilter.js"
import { counted } from "../../shared/Counted.js"
import type { FilterSnapshots } from "../../wal/FilterSnapshots.js"
import type { EngineState } from "../state/EngineState.js"
import type { ShutdownSteps } from "../state/ShutdownSteps.js"
import { lookForMarkOnce } from "../write/CacheOnlyItems.js"

/** A rebuild could not be finished now. */
export class RebuildLater extends Data.TaggedError("RebuildLater")<{ readonly message: string }> {}

export class FilterMaintenance {
  private warmed = false

  private constructor(
    private readonly core: EngineState,
    private readonly snapshots: FilterSnapshots["Type"]
  ) {}

  static readonly make = (core: EngineState, snapshots: FilterSnapshots["Type"], shutdown: ShutdownSteps) =>
    Effect.gen(function* () {
      const filter = new FilterMaintenance(core, snapshots)
      // After the snapshot: only a writer in the register can vouch for its root.
      yield* shutdown.add("writers' register", filter.leave)
      yield* shutdown.add("filter snapshot", filter.save)
      return filter
    })

  /** Takes the snapshot of an earlier run, if it is sound. To be called before the first write. */
  readonly load: Effect.Effect<void> = Effect.suspend(() =>
    Effect.matchEffect(this.snapshots.load, {
      onFailure: (error) => Effect.logWarning(`the filter's snapshot cannot be read: ${error.message}`),
      onSuccess: (bytes) => {
        const problem = Option.isSome(bytes) ? this.core.filter?.load(bytes.value) : undefined
        return problem === undefined
          ? Effect.void
          : Effect.logWarning(`the filter's snapshot is not used: ${problem}`)
      }
    })
  )

  /** Enters the writers' register and waits until nobody else holds the archive for itself. */
  readonly join: Effect.Effect<void> = this.withArchive((filter, archive) =>
    Effect.matchEffect(filter.join(archive.writers), {
      onFailure: (error) => Effect.logWarning(`the writers' register cannot be entered: ${error.message}`),
      onSuccess: ({ held, topVersion }) => {
        this.core.clock.observe(topVersion)
        return held
          ? Effect.logWarning(
              "another node holds the archive for itself; writes wait in the log until it gives way"
            )
          : Effect.void
      }
    })
  )

  /** Saves a snapshot if there is something new to save, and worth it: an untrusted filter is rebuilt by the next start. */
  readonly save: Effect.Effect<void, LogUnavailable> = Effect.suspend(() => {
    const { filter } = this.core
    const taken = filter?.status().snapshotDue === true ? filter.snapshot() : undefined
    return taken === undefined || typeof taken === "string"
      ? Effect.void
      : Effect.flatMap(taken.encode, this.snapshots.save).pipe(Effect.tap(() => taken.saved()))
  })

  /** Renews the place in the register; saves a snapshot when enough was inserted. */
  readonly heartbeat: Effect.Effect<void, ArchiveError | LogUnavailable> = this.withArchive(
    (filter, archive) =>
      Effect.flatMap(filter.heartbeat(archive.writers), ({ topVersion }) => {
        const { core } = this
        // A clock that is behind catches up with the other writers'.
        core.clock.observe(topVersion)
        // A lease that has just begun takes effect here, if no write came first.
        core.writer.isCertain()
        const { filterSnapshotInserts } = core.config()
        const due = filterSnapshotInserts > 0 && filter.status().insertsSinceSnapshot >= filterSnapshotInserts
        return Effect.zipRight(lookForMarkOnce(core), due ? this.save : Effect.void)
      })
  )

  /** Rebuilds the filter when that is due. Fails when it has to be tried again. */
  readonly rebuild: Effect.Effect<void, ArchiveError | RebuildLater> = this.withArchive((filter, archive) =>
    filter.needsRebuild(this.core.pendingEntries()) === undefined ? Effect.void : this.build(filter, archive)
  )

  readonly leave: Effect.Effect<void, ArchiveError> = this.withArchive((filter, archive) =>
    filter.leave(archive.writers)
  )

  private build(filter: OpenFilter, archive: OpenArchive): Effect.Effect<void, ArchiveError | RebuildLater> {
    const { core } = this
    return Effect.gen(this, function* () {
      yield* core.lifecycle.mark("index_warmup_started")
      const built = filter.warmUp(archive, {
        batch: core.config().filterWarmupBatch,
        pending: { [Symbol.iterator]: () => pendingIds(core) }
      })
      const result = this.warmed ? yield* built : yield* core.lifecycle.timed("warm_up")(built)
      if (result._tag === "NotNow") return yield* new RebuildLater({ message: result.reason })
      this.warmed = true
      yield* core.lifecycle.mark("index_warmup_ready")
      yield* Effect.logInfo(`the filter was rebuilt from ${counted(result.entries, "id")}`)
    })
  }

  /** Nothing while there is no filter or no archive. */
  private withArchive<E>(
    use: (filter: OpenFilter, archive: OpenArchive) => Effect.Effect<void, E>
  ): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      const { filter, tiers } = this.core
      return filter === undefined || tiers?.archive === undefined ? Effect.void : use(filter, tiers.archive)
    })
  }
}

function* pendingIds(core: EngineState): Generator<string> {
  for (const record of core.inFlight.records()) if (!record.deleted) yield record.id
  yield* core.pending.liveIds()
}
