/**
 * What the engine's service does: its methods and the words they speak.
 *
 * @since 0.1.0
 */
import type { Duration, Effect, Option, Stream } from "effect"
import type { PositionedChange } from "./cache/Cache.js"
import type { LogUnavailable, NotSupported, ReadError, WriteError } from "./EngineError.js"
import type { BootStage, LifecycleSnapshot, Phase, ShutdownReport } from "./Lifecycle.js"
import type { MerkleSource } from "./merkle/Source.js"
import type { Digest, TreeChild, TreeNode } from "./merkle/Tree.js"
import type { Difference, DivergenceCost } from "./reconcile/Divergence.js"
import type { RepairOptions, RepairResult } from "./reconcile/Repair.js"
import type { VerifyOptions, VerifyResult } from "./reconcile/Verify.js"
import type { ContentType, SyncItem } from "./SyncItem.js"
import type { BackpressureLevel } from "./shared/Backpressure.js"
import type { DeadLetter, LogUsage } from "./wal/WriteAheadLog.js"

/**
 * How far a write has got when it is acknowledged: `memory` before the log's fsync, `wal` after the log's
 * group commit (default), `archive` after the SQL commit.
 *
 * @since 0.1.0
 * @category models
 */
export type Durability = "memory" | "wal" | "archive"

/**
 * What to submit.
 *
 * @since 0.1.0
 * @category models
 */
export interface SubmitItem {
  readonly id: string
  /**
   * The exact bytes; a string is taken as UTF-8, and refused with a lone surrogate. The engine keeps the array: do not
   * change it afterwards, and do not transfer its buffer to somebody else.
   */
  readonly content: Uint8Array | string
  /** Own version; must be newer than what is stored. Without one the engine's hybrid logical clock assigns it. */
  readonly version?: number | undefined
  readonly state?: string | undefined
  /** Overrides the detection; `json` is refused unless the bytes are valid JSON. */
  readonly contentType?: ContentType | undefined
  readonly traceparent?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SubmitOptions {
  /** Default `wal`. */
  readonly durability?: Durability | undefined
  /**
   * Compare-and-set: the version that must be the current one; 0 for "absent". Only for single items. Compared with the
   * archive while other nodes are registered; two nodes may still pass between two flushes.
   */
  readonly expectedVersion?: number | undefined
  /**
   * Route to log and archive, default true. With `false` the item is volatile: it lives in the cache alone, for its
   * `ttl`; while the cache cannot be asked, reading it fails. Its receipt says `memory`. Do not use the id of a durable item.
   */
  readonly sql?: boolean | undefined
  /** Time to live of a volatile (`sql: false`) item, 1 ms to 10 years; required there, refused elsewhere. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface DeleteOptions {
  readonly durability?: Durability | undefined
  readonly expectedVersion?: number | undefined
  readonly version?: number | undefined
  readonly traceparent?: string | undefined
}

/**
 * What an acknowledged write got.
 *
 * @since 0.1.0
 * @category models
 */
export interface Receipt {
  readonly id: string
  readonly version: number
  readonly contentHash: string
  /** The level that was really reached. */
  readonly durability: Durability
  /** The version this write replaced, as far as memory and log knew without asking the archive. */
  readonly previousVersion: number | undefined
  /**
   * Compared with what the archive holds. False: it could not be asked, or other nodes write and this one knew nothing of
   * the id; the write may yet lose against a newer version, which `status` and the metrics then tell.
   */
  readonly compared: boolean
}

/**
 * Per-item outcome of a batch.
 *
 * @since 0.1.0
 * @category models
 */
export type SubmitResult =
  | { readonly _tag: "Acknowledged"; readonly receipt: Receipt }
  | { readonly _tag: "Rejected"; readonly id: string; readonly error: WriteError }

/**
 * Where an item stands.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemStatus {
  readonly id: string
  /** `pending`: acknowledged, not archived yet; `archived`; `deleted`: a tombstone is the newest version; `absent`. */
  readonly state: "pending" | "archived" | "deleted" | "absent"
  /** The newest known version. */
  readonly version: number | undefined
  readonly contentHash: string | undefined
  readonly inMemory: boolean
  /**
   * The last version this node acknowledged that then lost against what the archive had, if that has happened since its
   * start. Kept for the last 1,000 such ids.
   */
  readonly lostVersion: number | undefined
}

/**
 * Something that does not work as configured.
 *
 * @since 0.1.0
 * @category models
 */
export interface Degradation {
  readonly component: "archive" | "cache" | "filter" | "log" | "flush" | "changes"
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly since: number
}

/**
 * What `status` endpoints show. Holds no secret.
 *
 * @since 0.1.0
 * @category models
 */
export interface EngineHealth {
  readonly lifecycle: LifecycleSnapshot
  readonly acceptsWrites: boolean
  readonly acceptsQueries: boolean
  readonly readOnly: boolean
  readonly degraded: ReadonlyArray<Degradation>
  readonly archive: { readonly dialect: string; readonly target: string; readonly available: boolean }
  readonly cache: { readonly configured: boolean; readonly available: boolean; readonly trusted: boolean }
  readonly filter: {
    readonly trusted: boolean
    readonly entries: number
    /** Why absence is not proven without asking the archive, while it is not. */
    readonly reason: string | undefined
  }
  readonly backpressure: { readonly level: BackpressureLevel; readonly pressure: number }
}

/**
 * Counters and sizes since the start.
 *
 * @since 0.1.0
 * @category models
 */
export interface EngineStats {
  readonly startedAtMs: number
  readonly uptimeMs: number
  readonly log: LogUsage
  readonly memory: {
    readonly items: number
    readonly bytes: number
    readonly maxBytes: number
    readonly hits: number
    readonly misses: number
    readonly evictions: number
  }
  /** Acknowledged writes that are not archived yet. */
  readonly pending: number
  readonly acknowledged: number
  readonly archived: number
  readonly superseded: number
  readonly deadLetters: number
  /** Flushed batches by reason. */
  readonly flushes: Readonly<Record<FlushReason, number>>
  readonly flushFailures: number
  readonly startupTimings: ReadonlyArray<readonly [string, number]>
}

/**
 * Why a batch was flushed.
 *
 * @since 0.1.0
 * @category models
 */
export type FlushReason = "count" | "bytes" | "age" | "forced" | "recovery" | "shutdown"

/**
 * @since 0.1.0
 * @category models
 */
export interface FlushResult {
  /** Entries that were archived or put aside while this call was under way, by whomever: calls take turns. */
  readonly flushed: number
  /** Those of them that were put aside. */
  readonly deadLettered: number
  /** Acknowledged entries still in the log afterwards. */
  readonly pending: number
}

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  BudgetOptions
} from "./reconcile/Budget.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Difference
} from "./reconcile/Divergence.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  VerifyDifference
} from "./reconcile/Findings.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  RepairOptions,
  /**
   * @since 0.1.0
   * @category models
   */
  RepairResult
} from "./reconcile/Repair.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Unchecked,
  /**
   * @since 0.1.0
   * @category models
   */
  VerifyOptions,
  /**
   * @since 0.1.0
   * @category models
   */
  VerifyResult
} from "./reconcile/Verify.js"

/**
 * A page request: ids above `after`, at most `limit`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page {
  readonly after?: string | undefined
  /** 1 to 10,000, default 1,000. */
  readonly limit?: number | undefined
}

/**
 * The sync engine. Every method checks the lifecycle first: writes need `ready`, reads `ready` or `draining`.
 *
 * @since 0.1.0
 * @category services
 */
export interface SyncEngineApi {
  // writes
  readonly submit: (item: SubmitItem, options?: SubmitOptions) => Effect.Effect<Receipt, WriteError>
  /** One result per item, in order; items that share nothing but the commit. At most `MAX_BATCH_ITEMS`. */
  readonly submitMany: (
    items: ReadonlyArray<SubmitItem>,
    options?: Omit<SubmitOptions, "expectedVersion">
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, WriteError>
  readonly delete: (id: string, options?: DeleteOptions) => Effect.Effect<Receipt, WriteError>
  readonly deleteMany: (
    ids: ReadonlyArray<string>,
    options?: Omit<DeleteOptions, "expectedVersion" | "version">
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, WriteError>
  /** Gives the item another state (a new version of the same content); none when the item is absent. */
  readonly setState: (
    id: string,
    state: string | undefined,
    options?: Pick<SubmitOptions, "durability" | "expectedVersion">
  ) => Effect.Effect<Option.Option<Receipt>, WriteError | ReadError>
  /** Deletes every item that has the state; returns how many were deleted. */
  readonly deleteByState: (state: string) => Effect.Effect<number, WriteError | ReadError>
  /** Deletes the item `prefix` and everything below it; returns how many were deleted. The empty prefix is refused. */
  readonly deletePrefix: (prefix: string) => Effect.Effect<number, WriteError | ReadError>

  // reads
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  /** Found items by id; absent ids are left out, and only proven absence counts as absent. */
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError>
  /** Reads, compares with the newest version the archive (or the log) knows, re-hashes the bytes, repairs memory on a mismatch. */
  readonly getVerified: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  /**
   * Reads, or on proven absence makes and submits the item; concurrent callers of one id share one `make`. A `make`
   * that asks for an item whose own `make` waits for it fails with `InvalidRequest`.
   */
  readonly getOrInsertWith: <E, R>(
    id: string,
    make: Effect.Effect<Omit<SubmitItem, "id">, E, R>,
    options?: Omit<SubmitOptions, "expectedVersion">
  ) => Effect.Effect<SyncItem, E | ReadError | WriteError, R>
  readonly contains: (id: string) => Effect.Effect<boolean, ReadError>
  /** True only when a trusted filter proves absence; no I/O. */
  readonly definitelyMissing: (id: string) => Effect.Effect<boolean, ReadError>
  readonly mightExist: (id: string) => Effect.Effect<boolean, ReadError>
  /** Whether this version is the newest known one (false for deleted or absent). */
  readonly isCurrent: (id: string, version: number) => Effect.Effect<boolean, ReadError>
  readonly status: (id: string) => Effect.Effect<ItemStatus, ReadError>

  // sets: pages and streams merge the archive's rows with what is not archived yet; counts and the tree wait, up to
  // `FLUSH_TIMEOUT`, until what was acknowledged before the call is archived
  readonly getByState: (state: string) => Stream.Stream<SyncItem, ReadError>
  readonly countByState: (state: string) => Effect.Effect<number, ReadError>
  readonly listStateIds: (state: string, page?: Page) => Effect.Effect<ReadonlyArray<string>, ReadError>
  /** The item `prefix` and everything below it, by ascending id (byte order); `""` for all. At most `limit`, if given. */
  readonly scanPrefix: (
    prefix: string,
    options?: { readonly after?: string | undefined; readonly limit?: number | undefined }
  ) => Stream.Stream<SyncItem, ReadError>
  readonly scanPage: (prefix: string, page?: Page) => Effect.Effect<ReadonlyArray<SyncItem>, ReadError>
  readonly statePage: (state: string, page?: Page) => Effect.Effect<ReadonlyArray<SyncItem>, ReadError>
  readonly countPrefix: (prefix: string) => Effect.Effect<number, ReadError>

  // the tree
  readonly merkleRoot: Effect.Effect<Digest, ReadError>
  readonly merkleNode: (path: string) => Effect.Effect<Option.Option<TreeNode>, ReadError>
  readonly merkleChildren: (
    path: string,
    page?: {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
      readonly limit?: number | undefined
    }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, ReadError>
  /**
   * Proves what the tiers hold, after carrying to them what was acknowledged: without options that the roots are
   * equal and that the archive's rows hash to its tree. Changes nothing. Gives way to other work between pages.
   */
  readonly verify: (options?: VerifyOptions) => Effect.Effect<VerifyResult, ReadError>
  /**
   * Repairs what `verify` finds: the archive's tree from its rows, damaged bytes from memory or cache (as a new version),
   * the cache and its tree from the archive. Safe while others read and write. Without options everything is looked at.
   */
  readonly repair: (options?: RepairOptions) => Effect.Effect<RepairResult, ReadError>
  /** Whether the cache's root is the archive's; true without a cache, false while it is unavailable. */
  readonly isSynced: Effect.Effect<boolean, ReadError>
  /** This engine's archived tree for comparisons: pages of at most 10,000 names. */
  readonly merkleSource: MerkleSource<ReadError>
  /**
   * Where this engine's archive and another tree (of another engine, or `MerkleClient` over HTTP) differ, as it is
   * found: `missing` there, `extra` there, or `changed`. Moves few digests: about k log n for k differences. What is
   * written meanwhile may show.
   *
   * @param options.under only below this path
   */
  readonly findDivergent: <E>(
    other: MerkleSource<E>,
    options?: { readonly under?: string | undefined; readonly cost?: DivergenceCost | undefined }
  ) => Stream.Stream<Difference, ReadError | E>

  // operation
  /** Carries everything acknowledged so far to the archive now. Fails when the archive is unavailable. */
  readonly flush: Effect.Effect<FlushResult, ReadError>
  /** One round of the run loop by hand: flush what is due, archive health, shrink. */
  readonly tick: Effect.Effect<void>
  readonly warmUp: Effect.Effect<void, ReadError>
  readonly setReadOnly: (readOnly: boolean) => Effect.Effect<void>
  readonly deadLetters: {
    readonly list: (page?: {
      readonly after?: number | undefined
      readonly limit?: number | undefined
    }) => Effect.Effect<ReadonlyArray<DeadLetter>, LogUnavailable>
    /** Puts letters back into the log (all of them without sequences); returns how many. */
    readonly retry: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, WriteError | LogUnavailable>
    readonly drop: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, LogUnavailable>
  }
  /** Stops writes, keeps reads; idempotent. True for the call that made it. */
  readonly drain: Effect.Effect<boolean>
  /**
   * Shuts down; idempotent; every caller gets the same report. With `SHUTDOWN_DELAY` the engine is not ready at once
   * and goes on serving until the delay is over.
   */
  readonly shutdown: Effect.Effect<ShutdownReport>
  readonly health: Effect.Effect<EngineHealth>
  readonly stats: Effect.Effect<EngineStats>
  /**
   * The change stream (`CDC`): every write that the archive has taken, at least once, in log order, after a position
   * or from the oldest entry kept. Goes on for ever; keep the last position to go on after a restart.
   */
  readonly changes: (after?: string) => Stream.Stream<PositionedChange, ReadError | NotSupported>
  readonly phaseChanges: Stream.Stream<Phase>
  readonly bootStageChanges: Stream.Stream<BootStage>
}
