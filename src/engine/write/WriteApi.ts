/**
 * The engine's writes.
 *
 * @since 0.1.0
 */
import type { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import type {
  DeleteOptions,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult
} from "../../SyncEngineModels.js"

/**
 * Writes; they need the phase `ready`.
 *
 * @since 0.1.0
 * @category services
 */
export interface WriteApi {
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
}
