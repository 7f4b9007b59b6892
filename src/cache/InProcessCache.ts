/**
 * The cache as a plain model in memory: same answers as the one over Redis, no I/O, no timers, time from `Clock`.
 * For tests and simulations; an application without Redis leaves the cache out instead.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Layer, Option, PubSub, type Scope, Stream } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"
import { leafDigest, leafSum } from "../merkle/Digest.js"
import { compareChildren, MerkleTree } from "../merkle/MerkleTree.js"
import { splitPath } from "../merkle/TreeDelta.js"
import { compareVersions, type ItemHead, type ItemRecord, sameVersion } from "../SyncItem.js"
import {
  Cache,
  type CacheChange,
  type CachedRecord,
  CacheError,
  type CacheLeaf,
  type CacheService,
  type CacheStatus,
  type PositionedChange,
  type PutMode,
  type PutResult
} from "./Cache.js"

/**
 * What a test does to the model from outside. Synchronous.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryCacheControl {
  /** `false`: every call fails as `unavailable`; `true`: usable again, with what it held. */
  readonly setAvailable: (available: boolean) => void
  /** Loses everything, as `FLUSHALL` or a restart without persistence does. */
  readonly flushAll: () => void
  /** Damages the stored content of an item: it reads as absent and is reported; the tree does not notice. */
  readonly corrupt: (id: string) => void
}

/**
 * @since 0.1.0
 * @category options
 */
export interface MemoryCacheOptions {
  /** Milliseconds for which the marker of a deleted item stays. Default 1 day. */
  readonly tombstoneTtlMs?: number | undefined
}

interface Entry {
  readonly record: ItemRecord
  readonly expiresAt: number
  corrupted: boolean
}

const headOf = (record: ItemRecord): ItemHead => ({
  id: record.id,
  version: record.version,
  contentHash: record.contentHash,
  deleted: record.deleted
})

const inTree = ({ expiresAt, record }: Entry): boolean =>
  !record.deleted && expiresAt === Number.POSITIVE_INFINITY

const sameRecord = (a: ItemRecord, b: ItemRecord): boolean =>
  sameVersion(a, b) && a.updatedAt === b.updatedAt && a.traceparent === b.traceparent

class Model {
  items = new Map<string, Entry>()
  tree = new MerkleTree()
  stream: Array<PositionedChange> = []
  position = 0
  hits = 0
  misses = 0
  commands = 0
  failures = 0
  corrupted = 0
  owner: { readonly lineage: string; readonly until: number } | undefined
  readonly remembered = new Set<string>()

  constructor(private readonly tombstoneTtlMs: number) {}

  private live(id: string, now: number): Entry | undefined {
    const entry = this.items.get(id)
    if (entry === undefined || entry.expiresAt > now) return entry
    this.items.delete(id)
    return undefined
  }

  put(mode: PutMode, records: ReadonlyArray<ItemRecord>, ttlMs: number, now: number): PutResult {
    let applied = 0
    let same = 0
    const newer: Array<ItemHead> = []
    for (const record of records) {
      const old = this.live(record.id, now)
      const order = old === undefined ? 1 : compareVersions(record, old.record)
      const other = order === 0 && !sameVersion(record, old!.record)
      if (order < 0 || (other && mode !== "repair" && (inTree(old!) || ttlMs > 0))) {
        newer.push(headOf(old!.record))
        continue
      }
      if (order === 0 && !other) same += 1
      else applied += 1
      // Of a version that the tree holds, another record only comes in by a repair.
      if (order === 0 && mode !== "repair" && inTree(old!) && !sameRecord(record, old!.record)) continue
      let expiresAt = ttlMs === 0 ? Number.POSITIVE_INFINITY : now + ttlMs
      if (record.deleted) expiresAt = now + this.tombstoneTtlMs
      else if (mode === "fill" && old !== undefined && !old.record.deleted) expiresAt = old.expiresAt
      const entry = { record, expiresAt, corrupted: false }
      this.items.set(record.id, entry)
      this.tree.apply([{ id: record.id, after: inTree(entry) ? record : undefined }])
    }
    return { applied, same, newer }
  }

  read(ids: ReadonlyArray<string>, now: number): Array<CachedRecord> {
    const found: Array<CachedRecord> = []
    for (const id of new Set(ids)) {
      const entry = this.live(id, now)
      if (entry !== undefined && !entry.corrupted) {
        this.hits += 1
        const { expiresAt, record } = entry
        const inTree = record.deleted || expiresAt === Number.POSITIVE_INFINITY
        found.push(inTree ? record : { ...record, volatile: true })
        continue
      }
      this.misses += 1
      if (entry === undefined) continue
      this.corrupted += 1
      if (this.remembered.size < 1_000) this.remembered.add(id)
    }
    return found
  }

  heads(ids: ReadonlyArray<string>, now: number): Array<ItemHead> {
    const found: Array<ItemHead> = []
    for (const id of new Set(ids)) {
      const entry = this.live(id, now)
      if (entry !== undefined) found.push(headOf(entry.record))
    }
    return found
  }

  remove(id: string, version: number | undefined, now: number): number {
    const entry = this.live(id, now)
    if (entry === undefined || (version !== undefined && entry.record.version > version)) return 0
    this.items.delete(id)
    this.tree.apply([{ id, after: undefined }])
    return 1
  }

  leaves(path: string): Array<CacheLeaf & { readonly name: string; readonly sum: bigint }> {
    const found: Array<CacheLeaf & { readonly name: string; readonly sum: bigint }> = []
    for (const { expiresAt, record } of this.items.values()) {
      const { name, parent } = splitPath(record.id)
      if (record.deleted || expiresAt !== Number.POSITIVE_INFINITY || parent !== path) continue
      found.push({ ...headOf(record), name, digest: leafDigest(record), sum: leafSum(record) })
    }
    return found.sort((a, b) => compareBytes(a.name, b.name))
  }

  append(entries: ReadonlyArray<CacheChange>, maxLength: number): void {
    for (const entry of entries) {
      this.position += 1
      this.stream.push({ ...entry, position: `${this.position}-0` })
    }
    this.stream.splice(0, this.stream.length - maxLength)
  }

  flushAll(): void {
    this.items = new Map()
    this.tree = new MerkleTree()
    this.stream = []
  }
}

/**
 * Makes the model and its control.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = Effect.fnUntraced(function* (
  options: MemoryCacheOptions = {}
): Effect.fn.Return<
  { readonly cache: CacheService; readonly control: MemoryCacheControl },
  never,
  Scope.Scope
> {
  const clock = yield* Effect.clock
  const published = yield* Effect.acquireRelease(PubSub.sliding<CacheStatus>(16), PubSub.shutdown)
  const model = new Model(options.tombstoneTtlMs ?? 24 * 60 * 60 * 1_000)
  let status: CacheStatus = {
    connection: "connected",
    since: clock.unsafeCurrentTimeMillis(),
    generation: 1,
    lastError: undefined,
    warnings: []
  }
  const show = (change: Partial<CacheStatus>) => {
    status = { ...status, ...change, since: clock.unsafeCurrentTimeMillis() }
    published.unsafeOffer(status)
  }
  const attempt = <A>(operation: string, run: (now: number) => A): Effect.Effect<A, CacheError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.suspend(() => {
        if (status.connection === "connected") {
          model.commands += 1
          return Effect.succeed(run(now))
        }
        model.failures += 1
        return Effect.fail(
          new CacheError({ operation, kind: "unavailable", problem: "not connected", retryAfterMs: 1_000 })
        )
      })
    )

  const cache: CacheService = {
    target: "memory",
    status: () => status,
    changes: Stream.unwrapScoped(
      Effect.map(PubSub.subscribe(published), (queue) =>
        Stream.concat(
          Stream.sync(() => status),
          Stream.fromQueue(queue)
        )
      )
    ),
    connect: attempt("connect", () => undefined),
    ping: attempt("ping", () => undefined),
    put: (records, putOptions) =>
      attempt("put", (now) => {
        const ttlMs = putOptions?.ttlMs
        return model.put("put", records, ttlMs === undefined ? 0 : Math.max(1, Math.ceil(ttlMs)), now)
      }),
    fill: (records) => attempt("fill", (now) => model.put("fill", records, 0, now)),
    repair: (records) => attempt("repair", (now) => model.put("repair", records, 0, now)),
    get: (id) => attempt("get", (now) => Option.fromNullable(model.read([id], now)[0])),
    getMany: (ids) => attempt("getMany", (now) => model.read(ids, now)),
    heads: (ids) => attempt("heads", (now) => model.heads(ids, now)),
    deleteMany: (targets) =>
      attempt("delete", (now) =>
        targets.reduce((removed, { id, version }) => removed + model.remove(id, version, now), 0)
      ),
    root: attempt("root", () => model.tree.root),
    node: (path) => attempt("node", () => Option.fromNullable(model.tree.node(path))),
    branches: (path, { after, limit }) =>
      attempt("branches", () =>
        model.tree
          .children(path)
          .filter(
            ({ kind, name }) => kind === "branch" && (after === undefined || compareBytes(name, after) > 0)
          )
          .slice(0, limit)
      ),
    children: (path, page) =>
      attempt("children", () => {
        const { after } = page
        const all = model.tree.children(path)
        const rest = after === undefined ? all : all.filter((child) => compareChildren(child, after) > 0)
        return rest.slice(0, page.limit)
      }),
    leavesOf: (path, page) =>
      attempt("leavesOf", () => {
        const { after } = page
        return model
          .leaves(path)
          .filter((leaf) => after === undefined || compareBytes(leaf.name, after) > 0)
          .slice(0, page.limit)
          .map(({ name: _, sum: __, ...leaf }) => leaf)
      }),
    leafRange: (path, { after, upTo }) =>
      attempt("leafRange", () => {
        let count = 0
        let sum = 0n
        for (const leaf of model.leaves(path)) {
          if (after !== undefined && compareBytes(leaf.name, after) <= 0) continue
          if (upTo !== undefined && compareBytes(leaf.name, upTo) > 0) break
          count += 1
          sum += leaf.sum
        }
        return { count, sum: BigInt.asUintN(256, sum) }
      }),
    rebuildTree: attempt("rebuildTree", () => {
      const durable = [...model.items.values()].filter(
        ({ expiresAt, record }) => !record.deleted && expiresAt === Number.POSITIVE_INFINITY
      )
      model.tree = MerkleTree.from(durable.map(({ record }) => record))
      return model.tree.root
    }),
    tidy: attempt("tidy", () => false),
    claim: (lineage, milliseconds) =>
      attempt("claim", (now) => {
        const { owner } = model
        if (owner !== undefined && owner.lineage !== lineage && owner.until > now) return owner.lineage
        model.owner = { lineage, until: now + milliseconds }
        return lineage
      }),
    reset: attempt("reset", () => {
      const removed = model.items.size
      model.items = new Map()
      model.tree = new MerkleTree()
      return removed
    }),
    appendChanges: (entries, maxLength) => attempt("appendChanges", () => model.append(entries, maxLength)),
    readChanges: (after, count) =>
      attempt("readChanges", () => {
        const from = after === "" ? 0 : Number.parseInt(after, 10)
        return model.stream.filter((entry) => Number.parseInt(entry.position, 10) > from).slice(0, count)
      }),
    takeCorrupted: () => {
      const ids = [...model.remembered]
      model.remembered.clear()
      return ids
    },
    stats: () => ({
      hits: model.hits,
      misses: model.misses,
      commands: model.commands,
      failures: model.failures,
      shed: 0,
      corrupted: model.corrupted,
      foreign: 0
    })
  }
  const control: MemoryCacheControl = {
    setAvailable: (available) => {
      if (available === (status.connection === "connected")) return
      show(
        available
          ? { connection: "connected", generation: status.generation + 1, lastError: undefined }
          : { connection: "reconnecting", lastError: "not connected" }
      )
    },
    flushAll: () => model.flushAll(),
    corrupt: (id) => {
      const entry = model.items.get(id)
      if (entry !== undefined) entry.corrupted = true
    }
  }
  return { cache, control }
})

/**
 * The cache as a model in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<Cache> = Layer.sync(Cache, () => ({
  open: Effect.map(makeMemory(), ({ cache }) => cache)
}))
