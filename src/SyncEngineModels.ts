/**
 * The words that the engine's methods speak: what is handed in and what is returned.
 *
 * @since 0.1.0
 */
import type { Duration } from "effect"
import type { WriteError } from "./EngineError.js"
import type { LifecycleSnapshot } from "./Lifecycle.js"
import type { ContentType } from "./SyncItem.js"
import type { BackpressureLevel } from "./shared/Backpressure.js"
import type { LogUsage } from "./wal/WriteAheadLog.js"

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
 * How a write is acknowledged, on what condition it is done, and where it goes.
 *
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
 * How a deletion is acknowledged, and on what condition it is done.
 *
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
 * What a flush has carried to the archive.
 *
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

export type { BudgetOptions } from "./reconcile/Budget.js"
export type { Difference } from "./reconcile/Divergence.js"
export type { RepairOptions, RepairResult } from "./reconcile/Repair.js"
export type { VerifyDifference } from "./reconcile/TreeCheck.js"
export type { Unchecked, VerifyOptions, VerifyResult } from "./reconcile/Verify.js"

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
