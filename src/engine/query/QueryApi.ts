/**
 * What follows from reads and writes of single items, and questions about sets of them.
 *
 * @since 0.1.0
 */
import type { Effect, Option, Stream } from "effect"
import type { ReadError, WriteError } from "../../EngineError.js"
import type { ItemStatus, Page, Receipt, SubmitItem, SubmitOptions } from "../../SyncEngineModels.js"
import type { SyncItem } from "../../SyncItem.js"

/**
 * Questions about items and sets of items. Pages and streams merge the archive's rows with what is not archived yet;
 * counts wait, up to `FLUSH_TIMEOUT`, until what was acknowledged before the call is archived.
 *
 * @since 0.1.0
 * @category services
 */
export interface QueryApi {
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
}
