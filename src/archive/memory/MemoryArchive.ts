/**
 * The archive in memory: the model that the SQL archives are tested against, and the archive of simulations.
 * Deterministic; its state outlives the layer, as a server outlives its clients.
 *
 * @since 0.1.0
 */

import { Effect, Either, Layer, Option } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { compareChildren, MerkleTree } from "../../merkle/MerkleTree.js"
import type { ItemRecord, ItemVersion, SyncItem } from "../../SyncItem.js"
import type { OpenArchive } from "../Archive.js"
import { Archive, type CommitResult, type ScanRange } from "../Archive.js"
import type { ArchiveError } from "../ArchiveError.js"
import { refail } from "../ArchiveErrors.js"
import { inLockOrder, notTaken, planCommit } from "../CommitPlan.js"
import { inPrefix } from "../sql/Ranges.js"
import { MemoryWriters, type WriterRegister } from "../WriterLease.js"
import { Committer, heldByAnother, refusedRequest } from "../Writers.js"

/**
 * What the archive holds. Tests may change `records` behind the tree's back to play damage.
 *
 * @since 0.1.0
 * @category models
 */
export class MemoryArchiveState {
  readonly records = new Map<string, ItemRecord>()
  readonly writers = new MemoryWriters()
  /** See `Archive.lineage`; another archive has another one. */
  lineage = "memory"
  tree = new MerkleTree()
  topVersion = 0
  private order: Array<string> = []

  /** Ids of all records, tombstones included, by ascending bytes. */
  sortedIds(): ReadonlyArray<string> {
    if (this.order.length !== this.records.size) this.order = [...this.records.keys()].sort(compareBytes)
    return this.order
  }

  /** Forgets a record. */
  remove(id: string): void {
    if (this.records.delete(id)) this.order = []
  }

  live(): Array<ItemRecord> {
    return Array.from(this.records.values()).filter((record) => !record.deleted)
  }
}

/**
 * One call of the service.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryArchiveCall {
  readonly operation: string
  /** The batch of a `commit`. */
  readonly records?: ReadonlyArray<ItemRecord>
}

/**
 * Where faults and delays come in. `before` runs before the call has any effect; `after` runs when it has
 * taken effect, so that its failure is a lost answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryArchiveHooks {
  readonly before?: (call: MemoryArchiveCall) => Effect.Effect<void, ArchiveError>
  readonly after?: (call: MemoryArchiveCall) => Effect.Effect<void, ArchiveError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryArchiveOptions {
  readonly state?: MemoryArchiveState
  readonly hooks?: MemoryArchiveHooks
  /** Bytes; 256 MiB unless given. */
  readonly maxContentBytes?: number
}

const itemOf = ({ deleted: _, ...item }: ItemRecord): SyncItem => item

const headOf = (record: ItemRecord): ItemVersion => ({
  id: record.id,
  version: record.version,
  contentHash: record.contentHash,
  deleted: record.deleted,
  contentType: record.contentType,
  state: record.state
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: MemoryArchiveOptions = {}): OpenArchive => {
  const state = options.state ?? new MemoryArchiveState()
  const { after, before } = options.hooks ?? {}

  const attempt = <A>(
    operation: string,
    body: () => Either.Either<A, ArchiveError>,
    records?: ReadonlyArray<ItemRecord>
  ) => {
    const details = records === undefined ? { operation } : { operation, records }
    return refail(operation)(
      Effect.suspend(() => {
        const first = before === undefined ? Effect.suspend(body) : Effect.flatMap(before(details), body)
        return after === undefined ? first : Effect.tap(first, () => after(details))
      })
    )
  }

  const call = <A>(operation: string, body: () => A) => attempt(operation, () => Either.right(body()))

  const committer = new Committer()

  const select = function* (range: ScanRange): Generator<ItemRecord> {
    for (const id of state.sortedIds()) {
      if (range.after !== undefined && compareBytes(id, range.after) <= 0) continue
      const record = state.records.get(id)!
      if (record.deleted || !inPrefix(id, range.prefix)) continue
      if (range.state === undefined || record.state === range.state) yield record
    }
  }

  const commit = (
    records: ReadonlyArray<ItemRecord>,
    node: string | undefined
  ): Either.Either<CommitResult, ArchiveError> => {
    const plan = planCommit(inLockOrder(records), state.records)
    const { repeated, superseded } = notTaken(plan, state.records)
    const rootBefore = state.tree.root
    const winners = [...plan.inserts, ...plan.updates]
    // No node has an empty name.
    if (winners.length > 0 && !state.writers.admits(node ?? "")) return Either.left(heldByAnother())
    for (const record of winners) state.records.set(record.id, record)
    state.tree.apply(winners.map((record) => ({ id: record.id, after: record.deleted ? undefined : record })))
    state.topVersion = Math.max(state.topVersion, plan.maxVersion)
    return Either.right({
      applied: winners.length,
      superseded,
      repeated,
      rootBefore,
      rootAfter: state.tree.root,
      topVersion: state.topVersion
    })
  }

  const found = <A>(ids: ReadonlyArray<string>, map: (record: ItemRecord) => A): ReadonlyArray<A> =>
    ids.flatMap((id) => {
      const record = state.records.get(id)
      return record === undefined ? [] : [map(record)]
    })

  const writers: WriterRegister = {
    heartbeat: (request) =>
      attempt("heartbeat", () => {
        const refused = refusedRequest(request) ?? committer.enter(request.node)
        if (refused !== undefined) return Either.left(refused)
        const answer = state.writers.heartbeat(request)
        return Either.right({
          ...answer,
          root: state.tree.root,
          entries: state.tree.node("")?.count ?? 0,
          topVersion: state.topVersion
        })
      }),
    release: (own) => call("release", () => state.writers.release(own)),
    leave: (own) =>
      call("leave", () => {
        state.writers.leave(own)
        committer.left(own.node)
      })
  }

  const nodePaths = (): ReadonlyArray<string> =>
    [...state.tree.totals().keys()].filter((path) => path !== "").sort(compareBytes)

  return {
    dialect: "memory",
    target: "memory",
    maxContentBytes: options.maxContentBytes ?? 256 * 1024 * 1024,
    commit: (records) =>
      Effect.suspend(() => {
        const { node } = committer
        return attempt("commit", () => commit(records, node), records)
      }),
    getMany: (ids) => call("getMany", () => found(ids, (record) => record)),
    heads: (ids) => call("heads", () => found(ids, headOf)),
    sizes: (ids) =>
      call("sizes", () => new Map(found(ids, ({ content, id }) => [id, content.length] as const))),
    scan: (range, page) =>
      call("scan", () => {
        const items: Array<SyncItem> = []
        let bytes = 0
        for (const record of select(range)) {
          bytes += record.content.length
          if (items.length > 0 && (items.length >= page.limit || bytes > page.maxBytes)) break
          items.push(itemOf(record))
        }
        return items
      }),
    scanIds: (range, limit) =>
      call("scanIds", () => {
        const ids: Array<string> = []
        for (const record of select(range)) {
          if (ids.length >= limit) break
          ids.push(record.id)
        }
        return ids
      }),
    count: (range) => call("count", () => Array.from(select(range)).length),
    root: call("root", () => state.tree.root),
    node: (path) => call("node", () => Option.fromNullable(state.tree.node(path))),
    branches: (path, { after, limit }) =>
      call("branches", () =>
        state.tree
          .children(path)
          .filter(
            ({ kind, name }) => kind === "branch" && (after === undefined || compareBytes(name, after) > 0)
          )
          .slice(0, limit)
      ),
    children: (path, page) =>
      call("children", () => {
        const { after } = page
        const all = state.tree.children(path)
        return (after === undefined ? all : all.filter((child) => compareChildren(child, after) > 0)).slice(
          0,
          page.limit
        )
      }),
    recompute: call("recompute", () => {
      const live = state.live()
      return { root: MerkleTree.from(live).root, rows: live.length }
    }),
    reading: (use) =>
      use({
        consistent: false,
        root: call("root", () => state.tree.root),
        leaves: (after, limit) =>
          call("leaves", () => {
            const page: Array<ItemRecord> = []
            for (const record of select({ prefix: "", after })) {
              if (page.length >= limit) break
              page.push(record)
            }
            return page
          }),
        nodes: (paths) =>
          call("nodes", () =>
            paths.flatMap((path) => {
              const total = state.tree.totals().get(path)
              return total === undefined ? [] : [{ path, ...total }]
            })
          ),
        nodeCount: call("nodeCount", () => nodePaths().length),
        nodePaths: (after, limit) =>
          call("nodePaths", () =>
            nodePaths()
              .filter((path) => compareBytes(path, after) > 0)
              .slice(0, limit)
          )
      }),
    rebuildTree: call("rebuildTree", () => {
      const live = state.live()
      state.tree = MerkleTree.from(live)
      return { root: state.tree.root, rows: live.length }
    }),
    purgeTombstones: (before, limit) =>
      call("purgeTombstones", () => {
        const gone = Array.from(state.records.values())
          .filter((record) => record.deleted && record.updatedAt < before)
          .sort((a, b) => a.updatedAt - b.updatedAt || compareBytes(a.id, b.id))
          .slice(0, limit)
        for (const { id } of gone) state.remove(id)
        return gone.length
      }),
    maxVersion: call("maxVersion", () => state.topVersion),
    writers,
    lineage: call("lineage", () => state.lineage),
    checkpoint: call("checkpoint", () => undefined),
    ping: call("ping", () => undefined)
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options: MemoryArchiveOptions = {}): Layer.Layer<Archive> =>
  Layer.sync(Archive, () => ({ open: Effect.sync(() => make(options)) }))
