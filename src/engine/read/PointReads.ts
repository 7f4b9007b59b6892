/**
 * Reads by id: memory, then what a trusted filter proves absent, then the tiers below.
 *
 * @since 0.1.0
 */
import { Effect, Option } from "effect"
import type { ReadError } from "../../EngineError.js"
import { InvalidItem, InvalidRequest } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import { idProblem } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import type { EngineState } from "../state/EngineState.js"
import { SharedMisses, visible } from "./SharedMisses.js"
import { decisions, pages, readers, stored, type TierError, TierReads } from "./TierReads.js"

/**
 * Reads by id; they need the phase `ready` or `draining`.
 *
 * @since 0.1.0
 * @category services
 */
export interface ReadApi {
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  /** Found items by id; absent ids are left out, and only proven absence counts as absent. */
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError>
}

type Fetch = (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, ItemRecord>, TierError>

export class PointReads implements ReadApi {
  private readonly tiers: TierReads
  private readonly misses: SharedMisses

  constructor(private readonly core: EngineState) {
    this.tiers = new TierReads(core)
    this.misses = new SharedMisses(core, this.tiers)
  }

  /** The newest records of valid ids, tombstones included, without looking at the gate; fills memory. */
  readonly fetch: Fetch = (ids) => this.tiers.all(ids, readers)

  /** As `fetch`, for pages beside the archive's rows: fails where a pending write cannot be compared with the archive. */
  readonly fetchCompared: Fetch = (ids) => this.tiers.all(ids, pages)

  /**
   * As `fetch`, for decisions: while others may write the archive, from log and archive alone. Fails where the archive
   * would have to be asked and cannot be.
   */
  readonly fetchProven: Fetch = (ids) => this.tiers.all(ids, decisions)

  /** As `fetchProven`, past memory and cache in any case. */
  readonly fetchStored: Fetch = (ids) => this.tiers.all(ids, stored)

  readonly get: ReadApi["get"] = (id) =>
    Effect.suspend(() => {
      const { core } = this
      if (!core.lifecycle.acceptsQueries()) return Effect.fail(core.gate.closed("query"))
      const held = core.memory.get(id)
      return held === undefined ? this.miss(id) : Effect.succeed(visible(held))
    })

  readonly getMany: ReadApi["getMany"] = (ids) =>
    Effect.suspend((): Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError> => {
      const { core } = this
      const refused = core.gate.query() ?? this.problemOf(ids)
      if (refused !== undefined) return Effect.fail(refused)
      const items = new Map<string, SyncItem>()
      const missing = new Set<string>()
      for (const id of ids) {
        const held = core.memory.get(id)
        if (held === undefined) missing.add(id)
        else if (!held.deleted) items.set(id, held)
      }
      if (missing.size === 0) return Effect.succeed(items)
      return Effect.map(this.fetch([...missing]), (records) => {
        for (const [id, record] of records) if (!record.deleted) items.set(id, record)
        return items
      })
    })

  private miss(id: string): Effect.Effect<Option.Option<SyncItem>, ReadError> {
    const problem = idProblem(id)
    if (problem !== undefined) return Effect.fail(new InvalidItem({ id: nameOf(id), field: "id", problem }))
    if (!this.core.provenAbsent(id)) return this.misses.read(id)
    Metrics.read("filter", 1)
    return Effect.succeed(Option.none())
  }

  private problemOf(ids: ReadonlyArray<string>): InvalidRequest | InvalidItem | undefined {
    if (!Array.isArray(ids)) return new InvalidRequest({ argument: "ids", problem: "must be an array" })
    const { maxBatchItems } = this.core.config()
    if (ids.length > maxBatchItems) {
      const problem = `has ${ids.length} entries; at most ${maxBatchItems} are allowed`
      return new InvalidRequest({ argument: "ids", problem })
    }
    for (const id of ids) {
      const problem = idProblem(id)
      if (problem !== undefined) return new InvalidItem({ id: nameOf(id), field: "id", problem })
    }
    return undefined
  }
}
