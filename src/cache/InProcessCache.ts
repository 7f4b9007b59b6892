/**
 * The cache as a plain model in memory: it returns what the one over Redis returns, with no I/O and no timers, and
 * takes time from `Clock`. For tests and simulations; an application without Redis leaves the cache out instead.
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect, Layer, Option, type Scope } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"
import { compareChildren, MerkleTree } from "../merkle/MerkleTree.js"
import type { NameRange } from "../merkle/Source.js"
import type { TreeChild } from "../merkle/Tree.js"
import type { ItemHead, ItemRecord } from "../SyncItem.js"
import { wholeMs } from "../shared/WholeMs.js"
import {
  Cache,
  type CacheChange,
  type CachedRecord,
  CacheError,
  type CacheService,
  type PositionedChange,
  type PutMode,
  type PutResult,
  type Removal
} from "./Cache.js"
import { decidePut } from "./PutDecision.js"
import { StatusFeed } from "./StatusFeed.js"

/**
 * What a test does to the model from outside. Synchronous.
 *
 * @since 0.1.0
 * @category models
 */
export interface InProcessCacheControl {
  /** `false`: every call fails as `unavailable`; `true`: usable again, with what it held. */
  readonly setAvailable: (available: boolean) => void
  /** Loses everything, as `FLUSHALL` or a restart without persistence does. */
  readonly flushAll: () => void
  /** Damages the stored content of an item: it reads as absent and is reported; the tree does not notice. */
  readonly corrupt: (id: string) => void
  /**
   * Copies what it holds, as a replica that falls behind from now on. What this returns puts the copy in its place, on
   * a new connection: a failover to that replica.
   */
  readonly replica: () => () => void
  /** How many calls it has returned from, failed ones left out. */
  readonly calls: () => number
}

/**
 * How the model behaves; everything may be left out.
 *
 * @since 0.1.0
 * @category options
 */
export interface InProcessCacheOptions {
  /** How long the marker of a deleted item stays. Default 1 day. */
  readonly tombstoneTtl?: Duration.DurationInput | undefined
}

interface Entry {
  readonly record: ItemRecord
  /** Milliseconds since the epoch; infinite without a time to live. */
  readonly expiresAt: number
  corrupted: boolean
}

const headOf = ({ contentHash, deleted, id, version }: ItemRecord): ItemHead => ({
  id,
  version,
  contentHash,
  deleted
})

const inTree = ({ expiresAt, record }: Entry): boolean =>
  !record.deleted && expiresAt === Number.POSITIVE_INFINITY

class Model {
  items = new Map<string, Entry>()
  tree = new MerkleTree()
  stream: Array<PositionedChange> = []
  position = 0
  calls = 0
  owner: { readonly lineage: string; readonly until: number } | undefined
  corrupted = new Set<string>()

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
      const counted = old !== undefined && inTree(old)
      const decision = decidePut(mode, record, old?.record, counted, ttlMs > 0)
      if (decision === "newer") {
        newer.push(headOf(old!.record))
        continue
      }
      if (decision === "applied") applied += 1
      else same += 1
      if (decision === "kept") continue
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
      if (entry === undefined) continue
      const { corrupted, record } = entry
      if (!corrupted) found.push(record.deleted || inTree(entry) ? record : { ...record, volatile: true })
      else if (this.corrupted.size < 1_000) this.corrupted.add(id)
    }
    return found
  }

  heads(ids: ReadonlyArray<string>, now: number): Array<ItemHead> {
    return [...new Set(ids)].flatMap((id) => {
      const entry = this.live(id, now)
      return entry === undefined ? [] : [headOf(entry.record)]
    })
  }

  remove(targets: ReadonlyArray<Removal>, now: number): number {
    let removed = 0
    for (const { id, version } of targets) {
      const entry = this.live(id, now)
      if (entry === undefined || (version !== undefined && entry.record.version > version)) continue
      this.items.delete(id)
      this.tree.apply([{ id, after: undefined }])
      removed += 1
    }
    return removed
  }

  /** Children of one kind in a range of names. */
  listed(path: string, kind: TreeChild["kind"], { after, upTo }: NameRange): Array<TreeChild> {
    return this.tree
      .children(path)
      .filter(
        (child) =>
          child.kind === kind &&
          (after === undefined || compareBytes(child.name, after) > 0) &&
          (upTo === undefined || compareBytes(child.name, upTo) <= 0)
      )
  }

  leafSum(path: string, range: NameRange) {
    const leaves = this.listed(path, "leaf", range)
    const sum = leaves.reduce((sum, { digest }) => sum + BigInt(`0x${digest}`), 0n)
    return { count: leaves.length, sum: BigInt.asUintN(256, sum) }
  }

  claim(lineage: string, milliseconds: number, now: number): string {
    const { owner } = this
    if (owner !== undefined && owner.lineage !== lineage && owner.until > now) return owner.lineage
    this.owner = { lineage, until: now + milliseconds }
    return lineage
  }

  reset(): number {
    const { size } = this.items
    this.items = new Map()
    this.tree = new MerkleTree()
    return size
  }

  copy(): () => void {
    const items = [...this.items].map(([id, entry]) => [id, { ...entry }] as const)
    const stream = [...this.stream]
    const { owner } = this
    return () => {
      this.items = new Map(items)
      this.tree = MerkleTree.from([...this.items.values()].filter(inTree).map(({ record }) => record))
      this.stream = [...stream]
      this.owner = owner
    }
  }

  append(entries: ReadonlyArray<CacheChange>, maxLength: number): void {
    for (const entry of entries) {
      this.position += 1
      this.stream.push({ ...entry, position: `${this.position}-0` })
    }
    this.stream.splice(0, this.stream.length - maxLength)
  }

  changesAfter(position: string, count: number): ReadonlyArray<PositionedChange> {
    const from = position === "" ? 0 : Number.parseInt(position, 10)
    return this.stream.filter((entry) => Number.parseInt(entry.position, 10) > from).slice(0, count)
  }
}

const serviceOf = (model: Model, status: StatusFeed): CacheService => {
  const attempt = <A>(operation: string, run: (now: number) => A): Effect.Effect<A, CacheError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (status.current.connection === "connected") {
        model.calls += 1
        return Effect.succeed(run(now))
      }
      return Effect.fail(
        new CacheError({ operation, kind: "unavailable", problem: "not connected", retryAfterMs: 1_000 })
      )
    })
  return {
    status: () => status.current,
    changes: status.changes,
    connect: attempt("connect", () => undefined),
    put: (records, options) =>
      attempt("put", (now) =>
        model.put("put", records, options?.ttl === undefined ? 0 : wholeMs(options.ttl), now)
      ),
    fill: (records) => attempt("fill", (now) => model.put("fill", records, 0, now)),
    repair: (records) => attempt("repair", (now) => model.put("repair", records, 0, now)),
    get: (id) => attempt("get", (now) => Option.fromNullable(model.read([id], now)[0])),
    getMany: (ids) => attempt("getMany", (now) => model.read(ids, now)),
    heads: (ids) => attempt("heads", (now) => model.heads(ids, now)),
    deleteMany: (targets) => attempt("delete", (now) => model.remove(targets, now)),
    root: attempt("root", () => model.tree.root),
    node: (path) => attempt("node", () => Option.fromNullable(model.tree.node(path))),
    children: (path, { after, limit }) =>
      attempt("children", () =>
        model.tree
          .children(path)
          .filter((child) => after === undefined || compareChildren(child, after) > 0)
          .slice(0, limit)
      ),
    branches: (path, page) =>
      attempt("branches", () => model.listed(path, "branch", { after: page.after }).slice(0, page.limit)),
    leaves: (path, page) =>
      attempt("leaves", () =>
        model
          .listed(path, "leaf", page)
          .slice(0, page.limit)
          .map(({ digest, name }) => ({ name, digest }))
      ),
    leafSum: (path, range) => attempt("leafSum", () => model.leafSum(path, range)),
    rebuildTree: attempt("rebuildTree", () => {
      model.tree = MerkleTree.from([...model.items.values()].filter(inTree).map(({ record }) => record))
      return model.tree.root
    }),
    tidy: attempt("tidy", () => false),
    claim: (lineage, milliseconds) => attempt("claim", (now) => model.claim(lineage, milliseconds, now)),
    reset: attempt("reset", () => model.reset()),
    appendChanges: (entries, maxLength) => attempt("appendChanges", () => model.append(entries, maxLength)),
    readChanges: (after, count) => attempt("readChanges", () => model.changesAfter(after, count)),
    takeCorrupted: () => {
      const ids = [...model.corrupted]
      model.corrupted.clear()
      return ids
    }
  }
}

const controlOf = (model: Model, status: StatusFeed): InProcessCacheControl => ({
  setAvailable: (available) => {
    const { connection, generation } = status.current
    if (available === (connection === "connected")) return
    status.set(
      available
        ? { connection: "connected", generation: generation + 1, lastError: undefined }
        : { connection: "reconnecting", lastError: "not connected" }
    )
  },
  flushAll: () => {
    model.reset()
    model.stream = []
  },
  corrupt: (id) => {
    const entry = model.items.get(id)
    if (entry !== undefined) entry.corrupted = true
  },
  replica: () => {
    const restore = model.copy()
    return () => {
      restore()
      const { connection, generation } = status.current
      if (connection === "connected")
        status.set({ connection, generation: generation + 1, lastError: undefined })
    }
  },
  calls: () => model.calls
})

/**
 * Makes the model, usable at once, and the control over it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: InProcessCacheOptions = {}
): Effect.fn.Return<
  { readonly cache: CacheService; readonly control: InProcessCacheControl },
  never,
  Scope.Scope
> {
  const status = yield* StatusFeed.make("connected", 1)
  const model = new Model(Duration.toMillis(options.tombstoneTtl ?? "1 day"))
  return { cache: serviceOf(model, status), control: controlOf(model, status) }
})

/**
 * The cache as a model in memory: empty whenever it is opened.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<Cache> = Layer.sync(Cache, () => ({
  open: Effect.map(make(), ({ cache }) => cache)
}))
