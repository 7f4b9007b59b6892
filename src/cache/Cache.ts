/**
 * The cache: an optional tier between memory and the archive. It holds what it was given and keeps a Merkle
 * tree of exactly that, so its root speaks for itself and can be compared with the archive's. Losing the cache
 * degrades, never fails: the error of every method is typed, and the engine may step over it.
 *
 * @since 0.1.0
 */
import {
  Context,
  Data,
  type Duration,
  type Effect,
  Layer,
  type Option,
  type Scope,
  type Stream
} from "effect"
import type { InvalidConfig } from "../EngineError.js"
import type { MerkleSource } from "../merkle/Source.js"
import type { Digest, TreeChild } from "../merkle/Tree.js"
import type { TreeChange } from "../merkle/TreeDelta.js"
import type { ItemHead, ItemRecord } from "../SyncItem.js"

/**
 * Any failure of the cache. `unavailable`: there is no connection, or it broke during the call. `timeout`: no
 * reply in time; a write may still take effect later, which the version guard makes harmless. `circuit-open`:
 * not even tried, because the last calls failed. `refused`: the server replied with an error (out of memory,
 * read-only replica, missing permission). `malformed`: a reply that is not of the expected form.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheError extends Data.TaggedError("CacheError")<{
  readonly operation: string
  readonly kind: "unavailable" | "timeout" | "circuit-open" | "refused" | "malformed"
  /** What the driver or the server said; never holds a secret or a content. */
  readonly problem: string
  /** When a retry makes sense, in milliseconds. */
  readonly retryAfterMs: number
}> {
  override get message() {
    return `cache ${this.operation}: ${this.problem} (${this.kind})`
  }
}

/**
 * `connecting`: the first attempt is under way. `connected`: usable. `reconnecting`: the connection was lost or
 * could not be made; attempts go on for ever in the background. `circuit-open`: connected, but the last calls
 * failed; a probe follows after the cool-down. `closed`: shut down.
 *
 * @since 0.1.0
 * @category models
 */
export type CacheConnection = "connecting" | "connected" | "reconnecting" | "circuit-open" | "closed"

/**
 * How the connection to the cache stands.
 *
 * @since 0.1.0
 * @category models
 */
export interface CacheStatus {
  readonly connection: CacheConnection
  /** Milliseconds since the epoch at which `connection` last changed. */
  readonly since: number
  /**
   * How often the cache has become usable: at the first connection, after every reconnect, whenever the circuit
   * closed again, and when the server behind the connection or its data are no longer those that were seen. Whoever
   * sees a new number must compare the roots, since writes may have been missed or lost.
   */
  readonly generation: number
  /** The last connection failure, secrets removed. */
  readonly lastError: string | undefined
  /** What an operator should change, found at connect; empty when all is well. */
  readonly warnings: ReadonlyArray<string>
}

/**
 * How records are written: what was committed, what a read found, what a comparison found.
 *
 * @since 0.1.0
 * @category models
 */
export type PutMode = "put" | "fill" | "repair"

/**
 * How records are put.
 *
 * @since 0.1.0
 * @category models
 */
export interface PutOptions {
  /** Time to live, one millisecond or more. Items with a time to live stay outside the tree. */
  readonly ttl?: Duration.DurationInput | undefined
  /**
   * What the archive's commit of exactly these records has changed. The cache mostly held what the archive did, which
   * spares looking first and adding up again; where it did not, that is found out and nothing of this is used.
   */
  readonly change?: TreeChange | undefined
}

/**
 * What became of the records of a put.
 *
 * @since 0.1.0
 * @category models
 */
export interface PutResult {
  /** Records that were newer than what was stored. */
  readonly applied: number
  /**
   * Records of the version that was stored. The very record is written again, which repairs a damaged value; one that
   * differs in state, content type, time or trace leaves the stored one, unless it is a repair.
   */
  readonly same: number
  /** What the cache holds instead of the records it did not take because it already has a newer version. */
  readonly newer: ReadonlyArray<ItemHead>
}

/**
 * A record as the cache holds it.
 *
 * @since 0.1.0
 * @category models
 */
export interface CachedRecord extends ItemRecord {
  /** It has a time to live and is not in the tree: gone when that is over. */
  readonly volatile?: true | undefined
}

/**
 * An item to remove; with `version`, only unless a newer version is stored.
 *
 * @since 0.1.0
 * @category models
 */
export interface Removal {
  readonly id: string
  readonly version?: number | undefined
}

/**
 * An entry for the change stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface CacheChange {
  readonly operation: "PUT" | "DELETE"
  readonly id: string
  readonly version: number
  readonly contentHash: string
  /** The log's sequence number; consumers deduplicate with it. */
  readonly sequence: number
}

/**
 * An entry of the change stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface PositionedChange extends CacheChange {
  /** Where the entry stands in the stream; pass it to `readChanges` to go on after it. */
  readonly position: string
}

/**
 * What a cache does. Batches may have any size; the implementation cuts them by count and bytes. A batch is not
 * one transaction: after a failure any part of it may have been written, each item whole and the tree right.
 *
 * @since 0.1.0
 * @category models
 */
export interface CacheService
  extends Pick<MerkleSource<CacheError>, "root" | "node" | "branches" | "leaves" | "leafSum"> {
  /** Synchronous, no I/O. */
  readonly status: () => CacheStatus
  /** The present status, then every change of it. A slow reader misses the oldest changes, never the last. */
  readonly changes: Stream.Stream<CacheStatus>
  /** Waits until the cache is usable; fails with the first attempt that fails, or after the connect timeout. Attempts go on regardless. */
  readonly connect: Effect.Effect<void, CacheError>
  /**
   * Writes records, tombstones included, each only if it is not older than what is stored by
   * (version, contentHash). Without `ttl` items enter the tree and lose any time to live; with it they leave
   * the tree. Tombstones stay as small markers for a bounded time and guard against older puts.
   */
  readonly put: (
    records: ReadonlyArray<ItemRecord>,
    options?: PutOptions
  ) => Effect.Effect<PutResult, CacheError>
  /** As `put`, for what a read found in the archive: an item that has a time to live keeps what is left of it. */
  readonly fill: (records: ReadonlyArray<ItemRecord>) => Effect.Effect<PutResult, CacheError>
  /** As `put`, for what a comparison with the archive found: of a version that is stored, this record takes the place. */
  readonly repair: (records: ReadonlyArray<ItemRecord>) => Effect.Effect<PutResult, CacheError>
  /** One record, tombstones included. Concurrent calls share commands. None says only that the cache does not hold it. */
  readonly get: (id: string) => Effect.Effect<Option.Option<CachedRecord>, CacheError>
  /** The stored records of these ids, tombstones included, in no particular order; absent ids are left out. */
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<CachedRecord>, CacheError>
  /** As `getMany`, without contents (and without checking them). */
  readonly heads: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<ItemHead>, CacheError>
  /** Removes items physically, from the tree too; leaves no tombstone. Returns how many keys were removed. */
  readonly deleteMany: (targets: ReadonlyArray<Removal>) => Effect.Effect<number, CacheError>
  /**
   * A page of the children of a path, branches and leaves, by ascending name then branch before leaf. A leaf that is
   * listed, but gone, has a digest of zeros, here and in `leaves`.
   */
  readonly children: (
    path: string,
    page: {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
      readonly limit: number
    }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, CacheError>
  /**
   * Rebuilds the tree from the items that are really there; returns the new root. Needed when the root still
   * differs after every differing item was repaired: the tree itself was damaged from outside. Writes may go on.
   */
  readonly rebuildTree: Effect.Effect<Digest, CacheError>
  /**
   * Ends a rebuild or reset that was broken off, whoever began it; says whether there was one. Until then its items
   * are partly in no tree, so equal roots prove nothing.
   */
  readonly tidy: Effect.Effect<boolean, CacheError>
  /**
   * Names the archive that this cache belongs to, for some time; returns the one it belongs to. It stays with the
   * first until that one has not renewed its claim for so long.
   */
  readonly claim: (lineage: string, milliseconds: number) => Effect.Effect<string, CacheError>
  /** Empties the cache (only what it wrote itself); returns how many items were removed. Puts during a reset are kept, unless they are tombstones or have a time to live. */
  readonly reset: Effect.Effect<number, CacheError>
  /** Appends to the change stream, in order, and trims it to about `maxLength` entries. */
  readonly appendChanges: (
    entries: ReadonlyArray<CacheChange>,
    maxLength: number
  ) => Effect.Effect<void, CacheError>
  /** At most `count` entries after a position (`""` for the beginning). */
  readonly readChanges: (
    after: string,
    count: number
  ) => Effect.Effect<ReadonlyArray<PositionedChange>, CacheError>
  /** Ids whose values were found corrupted since the last call, at most 1,000: what to repair. Synchronous. */
  readonly takeCorrupted: () => ReadonlyArray<string>
}

/**
 * The cache, not connected yet: building its layer does no I/O, a phase of the start opens it.
 *
 * @since 0.1.0
 * @category services
 */
export class Cache extends Context.Tag("effect-sync-engine/Cache")<
  Cache,
  {
    /** Starts to connect in the background: succeeds although the server is unavailable. None: there is no cache. */
    readonly open: Effect.Effect<CacheService, InvalidConfig, Scope.Scope> | undefined
  }
>() {
  /**
   * No cache.
   *
   * @since 0.1.0
   */
  static readonly layerNone: Layer.Layer<Cache> = Layer.sync(this, () => ({ open: undefined }))
}
