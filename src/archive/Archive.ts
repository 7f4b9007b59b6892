/**
 * The archive: SQL, the ground truth. One service over two dialects (MySQL/MariaDB and SQLite).
 * Rows and the Merkle tree change in one transaction, so the root always describes the rows.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Layer, type Option, type Scope } from "effect"
import type { ArchiveStartError } from "../EngineError.js"
import type { LeafHead, NameRange } from "../merkle/Source.js"
import type { Digest, Leaf, TreeChild, TreeNode } from "../merkle/Tree.js"
import type { Total, TreeChange } from "../merkle/TreeDelta.js"
import type { ItemRecord, ItemVersion, SyncItem } from "../SyncItem.js"
import type { ArchiveError } from "./ArchiveError.js"
import type { NotTaken } from "./CommitPlan.js"
import type { WriterRegister } from "./WriterLease.js"

/**
 * What a commit did, and what it found instead of what it did not write.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommitResult extends NotTaken {
  /** How many records were newer than the stored ones and were written. */
  readonly applied: number
  /** What these have changed, where the archive says so. */
  readonly change?: TreeChange | undefined
  /** The root digest before and after this commit. `before` differs from the last `after` this node saw exactly when another node has written. */
  readonly rootBefore: Digest
  readonly rootAfter: Digest
  /** Highest version that was ever stored, after this commit. */
  readonly topVersion: number
}

/**
 * What to select in a scan; byte ranges, never LIKE.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScanRange {
  /** Items whose id equals the prefix or lies below it (`prefix.`); empty for all. */
  readonly prefix: string
  /** Only items with this state. */
  readonly state?: string | undefined
  /** Exclusive keyset cursor: only ids above this one, byte for byte. */
  readonly after?: string | undefined
}

/**
 * A root that was computed from the rows.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecomputedRoot {
  readonly root: Digest
  /** Live items read. */
  readonly rows: number
}

/**
 * One stored row of the tree.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredNode extends Total {
  readonly path: string
}

/**
 * Plain reads of rows and of the stored tree, for whoever proves that they agree.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArchiveReader {
  /** All reads see one state. Where not, a root that is the same before and after says that nothing has changed. */
  readonly consistent: boolean
  /** The digest at the top of the stored tree. */
  readonly root: Effect.Effect<Digest, ArchiveError>
  /** A page of live rows by ascending id, above `after` (`""` for the first). */
  readonly leaves: (after: string, limit: number) => Effect.Effect<ReadonlyArray<Leaf>, ArchiveError>
  /** The stored nodes of these paths; left out are those that are not stored, or listed below a wrong path. */
  readonly nodes: (paths: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<StoredNode>, ArchiveError>
  /** How many nodes are stored, the top not counted. */
  readonly nodeCount: Effect.Effect<number, ArchiveError>
  /** A page of the paths of stored nodes by ascending path, without the top. */
  readonly nodePaths: (after: string, limit: number) => Effect.Effect<ReadonlyArray<string>, ArchiveError>
}

/**
 * An archive that is connected, its tables up to date.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenArchive {
  readonly dialect: "sqlite" | "mysql" | "memory"
  /** For messages and status; never holds a secret. */
  readonly target: string
  /** The largest content one item may have here, in bytes. */
  readonly maxContentBytes: number
  /**
   * Writes a batch (ids distinct) and the tree's change in one transaction. Each record is applied only if
   * its version is newer than the stored row's. Idempotent. Fails as transient, without any
   * effect, when it would change something while another node is the sole writer: whose commits these are
   * is known from `writers`. `absent` names ids that are thought to have no row: a wrong guess costs time alone.
   */
  readonly commit: (
    records: ReadonlyArray<ItemRecord>,
    absent?: ReadonlySet<string>
  ) => Effect.Effect<CommitResult, ArchiveError>
  /** The stored rows of these ids, tombstones included; absent ids are left out. */
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<ItemRecord>, ArchiveError>
  /** As `getMany`, without contents. */
  readonly heads: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<ItemVersion>, ArchiveError>
  /** How many bytes of content the rows of these ids have; absent ids are left out. */
  readonly sizes: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, ArchiveError>
  /** A page of live items by ascending id; contents read. At least one item if any is left, whatever `maxBytes`. */
  readonly scan: (
    range: ScanRange,
    page: { readonly limit: number; readonly maxBytes: number }
  ) => Effect.Effect<ReadonlyArray<SyncItem>, ArchiveError>
  /** As `scan`, only the ids. */
  readonly scanIds: (range: ScanRange, limit: number) => Effect.Effect<ReadonlyArray<string>, ArchiveError>
  readonly count: (range: ScanRange) => Effect.Effect<number, ArchiveError>
  /** The digest at the top of the tree. */
  readonly root: Effect.Effect<Digest, ArchiveError>
  /** One interior node; none when no live item lies below the path. */
  readonly node: (path: string) => Effect.Effect<Option.Option<TreeNode>, ArchiveError>
  /** A page of the children of a path, branches and leaves, by ascending name then branch before leaf. */
  readonly children: (
    path: string,
    page: {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
      readonly limit: number
    }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, ArchiveError>
  /** A page of the branches of a path, by ascending name; `after` is an exclusive cursor. */
  readonly branches: (
    path: string,
    page: { readonly after?: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, ArchiveError>
  /** A page of the leaves of a path, by ascending name. */
  readonly leaves: (
    path: string,
    page: NameRange & { readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<LeafHead>, ArchiveError>
  /**
   * Runs reads of rows and tree, in one snapshot where the dialect can hold one open without keeping writers
   * waiting. Each read is bounded, the whole is not.
   */
  readonly reading: <A>(
    use: (reader: ArchiveReader) => Effect.Effect<A, ArchiveError>
  ) => Effect.Effect<A, ArchiveError>
  /** Rebuilds the stored tree from the rows, in one consistent step; returns the new root. */
  readonly rebuildTree: Effect.Effect<RecomputedRoot, ArchiveError>
  /** Removes at most `limit` tombstones last changed before `before` (milliseconds since the epoch); returns how many. */
  readonly purgeTombstones: (before: number, limit: number) => Effect.Effect<number, ArchiveError>
  /**
   * What the store finds wrong with its own file when it looks at all of it: a damaged page, an index that is not what
   * its rows say. None where a server sees to that.
   */
  readonly damage: Effect.Effect<string | undefined, ArchiveError>
  /** Highest version stored; 0 when empty. */
  readonly maxVersion: Effect.Effect<number, ArchiveError>
  /**
   * Who writes this archive. The node whose heartbeats come here is the one whose commits this service makes, from the
   * first heartbeat until it leaves; a service takes one node at a time and refuses any other for good. Names,
   * tokens and heartbeats have 1 to 64 bytes, a lease is a whole number of milliseconds.
   */
  readonly writers: WriterRegister
  /**
   * The name this archive got when its tables were made; a copy or a restored backup has the same. A log is bound
   * to one lineage, so that it is not carried to another archive unnoticed.
   */
  readonly lineage: Effect.Effect<string, ArchiveError>
  /** Folds what stands beside the archive's file into it; nothing to do where there is no such file. */
  readonly checkpoint: Effect.Effect<void, ArchiveError>
  /** A cheap round trip. */
  readonly ping: Effect.Effect<void, ArchiveError>
}

/**
 * The archive, not connected yet: building its layer does no I/O, a phase of the start connects it.
 *
 * @since 0.1.0
 * @category services
 */
export class Archive extends Context.Tag("effect-sync-engine/Archive")<
  Archive,
  {
    /**
     * Connects and brings the tables up to date. A failed attempt leaves nothing behind; it is made again within
     * `sqlStartTimeout` where the failure may pass. None: the engine runs without ground truth, and says so.
     */
    readonly open: Effect.Effect<OpenArchive, ArchiveStartError, Scope.Scope> | undefined
  }
>() {
  /**
   * No archive: writes stay in the log, and absence cannot be proven.
   *
   * @since 0.1.0
   */
  static readonly layerNone: Layer.Layer<Archive> = Layer.sync(this, () => ({ open: undefined }))
}
