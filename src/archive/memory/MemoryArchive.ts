/**
 * The archive in memory: the model that the SQL archives are tested against, and the archive of simulations.
 * Deterministic; its state outlives the layer, as a server outlives its clients.
 *
 * @since 0.1.0
 */

import { Effect, Either, Iterable, Layer, Option } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { compareChildren, MerkleTree } from "../../merkle/MerkleTree.js"
import { type ItemRecord, type ItemVersion, type SyncItem, sameHead } from "../../SyncItem.js"
import {
  Archive,
  type ArchiveReader,
  type CommitResult,
  type OpenArchive,
  type ScanRange
} from "../Archive.js"
import type { ArchiveError } from "../ArchiveError.js"
import { refail } from "../ArchiveErrors.js"
import { CommitPlan, inLockOrder, notTaken, type StoredHead } from "../CommitPlan.js"
import { type Guess, KnownHeads, noGuess } from "../KnownHeads.js"
import { inPrefix } from "../sql/Ranges.js"
import { type CallGuard, type OpenArchiveCalls, typed, type Untyped } from "../TypedCalls.js"
import {
  Committer,
  heldByAnother,
  MemoryWriters,
  refusedRequest,
  type WriterRegister
} from "../WriterLease.js"

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
 * What the archive starts with, and what a test lets happen to it.
 *
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

const headOf = ({ content: _, traceparent: __, updatedAt: ___, ...head }: ItemRecord): ItemVersion => head

const select = function* (state: MemoryArchiveState, range: ScanRange): Generator<ItemRecord> {
  for (const id of state.sortedIds()) {
    if (range.after !== undefined && compareBytes(id, range.after) <= 0) continue
    const record = state.records.get(id)!
    if (record.deleted || !inPrefix(id, range.prefix)) continue
    if (range.state === undefined || record.state === range.state) yield record
  }
}

const firstOf = <A>(values: Iterable<A>, limit: number): ReadonlyArray<A> =>
  Array.from(Iterable.take(values, limit))

/** A call in memory as the call of an archive. */
const calling =
  <P extends ReadonlyArray<unknown>, A>(call: (...args: P) => A) =>
  (...args: P): Effect.Effect<A> =>
    Effect.sync(() => call(...args))

const rowsOf = (
  state: MemoryArchiveState
): Untyped<Pick<OpenArchive, "getMany" | "heads" | "sizes" | "scan" | "scanIds" | "count">> => {
  const found = (ids: ReadonlyArray<string>) => ids.flatMap((id) => state.records.get(id) ?? [])
  return {
    getMany: calling(found),
    heads: calling((ids) => found(ids).map(headOf)),
    sizes: calling((ids) => new Map(found(ids).map(({ content, id }) => [id, content.length] as const))),
    scan: calling((range, page) => {
      const items: Array<SyncItem> = []
      let bytes = 0
      for (const record of select(state, range)) {
        bytes += record.content.length
        if (items.length > 0 && (items.length >= page.limit || bytes > page.maxBytes)) break
        items.push(itemOf(record))
      }
      return items
    }),
    scanIds: calling((range, limit) => firstOf(select(state, range), limit).map(({ id }) => id)),
    count: calling((range) => Iterable.size(select(state, range)))
  }
}

const readerOf = (state: MemoryArchiveState): Untyped<Omit<ArchiveReader, "consistent">> => {
  const nodePaths = () => [...state.tree.totals().keys()].filter((path) => path !== "").sort(compareBytes)
  return {
    root: Effect.sync(() => state.tree.root),
    leaves: calling((after, limit) => firstOf(select(state, { prefix: "", after }), limit)),
    nodes: calling((paths) => {
      const totals = state.tree.totals()
      return paths.flatMap((path) => (totals.has(path) ? [{ path, ...totals.get(path)! }] : []))
    }),
    nodeCount: Effect.sync(() => nodePaths().length),
    nodePaths: calling((after, limit) =>
      nodePaths()
        .filter((path) => compareBytes(path, after) > 0)
        .slice(0, limit)
    )
  }
}

const treeOf = (
  state: MemoryArchiveState
): Untyped<Pick<OpenArchive, "root" | "node" | "branches" | "leaves" | "children" | "rebuildTree">> => ({
  root: Effect.sync(() => state.tree.root),
  node: calling((path) => Option.fromNullable(state.tree.node(path))),
  branches: calling((path, { after, limit }) =>
    state.tree
      .children(path)
      .filter(({ kind, name }) => kind === "branch" && (after === undefined || compareBytes(name, after) > 0))
      .slice(0, limit)
  ),
  leaves: calling((path, { after, limit, upTo }) =>
    state.tree
      .children(path)
      .filter(
        ({ kind, name }) =>
          kind === "leaf" &&
          (after === undefined || compareBytes(name, after) > 0) &&
          (upTo === undefined || compareBytes(name, upTo) <= 0)
      )
      .slice(0, limit)
      .map(({ digest, name }) => ({ name, digest }))
  ),
  children: calling((path, { after, limit }) =>
    state.tree
      .children(path)
      .filter((child) => after === undefined || compareChildren(child, after) > 0)
      .slice(0, limit)
  ),
  rebuildTree: Effect.sync(() => {
    const live = state.live()
    state.tree = MerkleTree.from(live)
    return { root: state.tree.root, rows: live.length }
  })
})

/** Decides by what is guessed; none when a row that the plan is about to write is not what it was thought to be. */
const planned = (
  { records: rows }: MemoryArchiveState,
  records: ReadonlyArray<ItemRecord>,
  guess: Guess
): CommitPlan | undefined => {
  const stored = new Map<string, StoredHead>()
  for (const record of records) {
    const head = guess(record) ?? rows.get(record.id) ?? "absent"
    if (head !== "absent") stored.set(record.id, head)
  }
  const plan = new CommitPlan()
  plan.decide(records, stored)
  const { before, inserts } = plan
  const holds = ({ id, ...head }: StoredHead) => {
    const row = rows.get(id)
    return row !== undefined && sameHead(row, head) && row.updatedAt === head.updatedAt
  }
  return inserts.every(({ id }) => !rows.has(id)) && [...before.values()].every(holds) ? plan : undefined
}

const commit = (
  state: MemoryArchiveState,
  records: ReadonlyArray<ItemRecord>,
  node: string | undefined,
  heads: KnownHeads,
  absent: ReadonlySet<string> | undefined
): Either.Either<CommitResult, ArchiveError> => {
  const sorted = inLockOrder(records)
  let plan = planned(state, sorted, heads.guess(absent))
  if (plan === undefined) {
    heads.clear()
    plan = planned(state, sorted, noGuess)!
  }
  const untaken = notTaken(plan, state.records)
  const rootBefore = state.tree.root
  const winners = [...plan.inserts, ...plan.updates]
  // No node has an empty name.
  if (winners.length > 0 && !state.writers.admits(node ?? "")) return Either.left(heldByAnother())
  for (const record of winners) state.records.set(record.id, record)
  heads.learn(plan)
  state.tree.apply(winners.map((record) => ({ id: record.id, after: record.deleted ? undefined : record })))
  state.topVersion = Math.max(state.topVersion, plan.maxVersion)
  const { topVersion, tree } = state
  const rootAfter = tree.root
  return Either.right({
    applied: winners.length,
    change: plan.change,
    ...untaken,
    rootBefore,
    rootAfter,
    topVersion
  })
}

const purge = (state: MemoryArchiveState, before: number, limit: number): number => {
  const gone = Array.from(state.records.values())
    .filter((record) => record.deleted && record.updatedAt < before)
    .sort((a, b) => a.updatedAt - b.updatedAt || compareBytes(a.id, b.id))
    .slice(0, limit)
  for (const { id } of gone) state.remove(id)
  return gone.length
}

const writersOf = (state: MemoryArchiveState, committer: Committer): Untyped<WriterRegister> => ({
  heartbeat: (request) =>
    Effect.suspend(() => {
      const refused = refusedRequest(request) ?? committer.enter(request.node)
      if (refused !== undefined) return refused
      const { topVersion, tree } = state
      const entries = tree.node("")?.count ?? 0
      return Effect.succeed({ ...state.writers.heartbeat(request), root: tree.root, entries, topVersion })
    }),
  release: calling((own) => state.writers.release(own)),
  leave: calling((own) => {
    state.writers.leave(own)
    committer.left(own.node)
  })
})

/**
 * An open archive over the given state, or over an empty one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: MemoryArchiveOptions = {}): OpenArchive => {
  const state = options.state ?? new MemoryArchiveState()
  const { after, before } = options.hooks ?? {}
  const committer = new Committer()
  const heads = new KnownHeads()

  const guard: CallGuard = (operation, call, [records]) => {
    const details =
      operation === "commit" ? { operation, records: records as Array<ItemRecord> } : { operation }
    const hooked = before === undefined ? call : Effect.zipRight(before(details), call)
    return refail(operation)(after === undefined ? hooked : Effect.tap(hooked, () => after(details)))
  }
  const calls: Untyped<OpenArchiveCalls> = {
    ...rowsOf(state),
    ...treeOf(state),
    commit: (records, absent) => {
      const { node } = committer
      return Effect.suspend(() => commit(state, records, node, heads, absent))
    },
    purgeTombstones: calling((before, limit) => purge(state, before, limit)),
    maxVersion: Effect.sync(() => state.topVersion),
    lineage: Effect.sync(() => state.lineage),
    damage: Effect.succeed(undefined),
    checkpoint: Effect.void,
    ping: Effect.void
  }
  const reader = { consistent: false, ...typed<Omit<ArchiveReader, "consistent">>(readerOf(state), guard) }
  return {
    dialect: "memory",
    target: "memory",
    maxContentBytes: options.maxContentBytes ?? 256 * 1024 * 1024,
    ...typed<OpenArchiveCalls>(calls, guard),
    reading: (use) => use(reader),
    writers: typed<WriterRegister>(writersOf(state, committer), guard)
  }
}

/**
 * An archive in memory, for tests and simulations.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options: MemoryArchiveOptions = {}): Layer.Layer<Archive> =>
  Layer.sync(Archive, () => ({ open: Effect.sync(() => make(options)) }))
