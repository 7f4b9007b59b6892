/**
 * The engine's reads by id.
 *
 * @since 0.1.0
 */
import type { Effect, Option } from "effect"
import type { ReadError } from "../../EngineError.js"
import type { SyncItem } from "../../SyncItem.js"

/**
 * Reads by id; they need the phase `ready` or `draining`.
 *
 * @since 0.1.0
 * @category services
 */
export interface ReadApi {
  readonly get: (id: string) => Effect.Effect<Option.Option<SyncItem>, ReadError>
  /** Found items by id; absent ids are left out, and only proven absence counts as absent. */
  readonly getMany: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SyncItem>, ReadError>
}
