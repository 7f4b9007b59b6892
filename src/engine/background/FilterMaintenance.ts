/** Keeping the existence filter: its place in the writers' register, its snapshots, its rebuilds. */
import { Effect, Option } from "effect"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { LogUnavailable } from "../../EngineError.js"
import type { Lifecycle } from "../../Lifecycle.js"
import { counted } from "../../shared/Counted.js"
import type { FilterSnapshots } from "../../wal/FilterSnapshots.js"
import type { EngineState } from "../state/EngineState.js"
import { lookForMarkOnce } from "../write/CacheOnlyItems.js"

export interface FilterMaintenance {
  /** Takes the snapshot of an earlier run, if it is sound. To be called before the first write. */
  readonly load: (snapshots: FilterSnapshots["Type"]) => Effect.Effect<void>
  /** Enters the writers' register and waits until nobody else holds the archive for itself. */
  readonly join: Effect.Effect<void>
  /** Renews the place in the register; saves a snapshot when enough was inserted. */
  readonly heartbeat: Effect.Effect<void, ArchiveError | LogUnavailable>
  /** Saves a snapshot if there is something new to save. True when what is stored is up to date, or there is nothing to store. */
  readonly save: Effect.Effect<boolean, LogUnavailable>
  /** Rebuilds the filter when that is due. Fails when it has to be tried again. */
  readonly rebuild: Effect.Effect<void, ArchiveError | RebuildLater>
  readonly leave: Effect.Effect<void, ArchiveError>
}

/** A rebuild could not be finished now. */
export class RebuildLater extends Error {
  readonly _tag = "RebuildLater"
}

export const make = (core: EngineState, lifecycle: Lifecycle["Type"]): FilterMaintenance => {
  let snapshots: FilterSnapshots["Type"] | undefined
  let warmed = false

  const pendingIds = function* (): Generator<string> {
    for (const record of core.inFlight.records()) if (!record.deleted) yield record.id
    yield* core.pending.liveIds()
  }

  const load: FilterMaintenance["load"] = (store) =>
    Effect.suspend(() => {
      snapshots = store
      return Effect.matchEffect(store.load, {
        onFailure: (error) => Effect.logWarning(`the filter's snapshot cannot be read: ${error.message}`),
        onSuccess: Option.match({
          onNone: () => Effect.void,
          onSome: (bytes) => {
            const problem = core.filter?.load(bytes)
            return problem === undefined
              ? Effect.void
              : Effect.logWarning(`the filter's snapshot is not used: ${problem}`)
          }
        })
      })
    })

  const join: FilterMaintenance["join"] = Effect.suspend(() => {
    const archive = core.tiers?.archive
    if (core.filter === undefined || archive === undefined) return Effect.void
    return Effect.matchEffect(core.filter.join(archive.writers), {
      onFailure: (error) => Effect.logWarning(`the writers' register cannot be entered: ${error.message}`),
      onSuccess: (status) => {
        core.clock.observe(status.topVersion)
        return status.held
          ? Effect.logWarning(
              "another node holds the archive for itself; writes wait in the log until it gives way"
            )
          : Effect.void
      }
    })
  })

  const save: FilterMaintenance["save"] = Effect.suspend(() => {
    if (core.filter === undefined || snapshots === undefined || !core.filter.status().snapshotDue) {
      return Effect.succeed(true)
    }
    const taken = core.filter.snapshot()
    // Untrusted: there is nothing worth keeping, the next start rebuilds it.
    if (typeof taken === "string") return Effect.succeed(true)
    return Effect.map(snapshots.save(taken.bytes), () => {
      taken.saved()
      return true
    })
  })

  const heartbeat: FilterMaintenance["heartbeat"] = Effect.suspend(() => {
    const archive = core.tiers?.archive
    if (core.filter === undefined || archive === undefined) return Effect.void
    const { filter } = core
    return Effect.flatMap(filter.heartbeat(archive.writers), ({ topVersion }) => {
      // A clock that is behind catches up with the other writers'.
      core.clock.observe(topVersion)
      // A lease that has just begun takes effect here, if no write came first.
      core.soleWriter()
      const { filterSnapshotInserts } = core.config()
      const due = filterSnapshotInserts > 0 && filter.status().insertsSinceSnapshot >= filterSnapshotInserts
      return Effect.zipRight(lookForMarkOnce(core), due ? Effect.asVoid(save) : Effect.void)
    })
  })

  const rebuild: FilterMaintenance["rebuild"] = Effect.suspend(() => {
    const archive = core.tiers?.archive
    const { filter } = core
    if (filter === undefined || archive === undefined) return Effect.void
    const due = filter.needsRebuild(core.pendingEntries())
    if (due === undefined) return Effect.void
    return Effect.gen(function* () {
      yield* lifecycle.mark("index_warmup_started")
      const built = filter.warmUp(archive, {
        batch: core.config().filterWarmupBatch,
        pending: { [Symbol.iterator]: pendingIds }
      })
      const result = warmed ? yield* built : yield* lifecycle.timed("warm_up")(built)
      if (result._tag === "NotNow") return yield* Effect.fail(new RebuildLater(result.reason))
      warmed = true
      yield* lifecycle.mark("index_warmup_ready")
      yield* Effect.logInfo(`the filter was rebuilt from ${counted(result.entries, "id")}`)
    })
  })

  const leave: FilterMaintenance["leave"] = Effect.suspend(() => {
    const archive = core.tiers?.archive
    if (core.filter === undefined || archive === undefined) return Effect.void
    return core.filter.leave(archive.writers)
  })

  return { heartbeat, join, leave, load, rebuild, save }
}
