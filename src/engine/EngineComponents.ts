/**
 * The replaceable parts of an engine: where its log and its archive come from.
 *
 * @since 0.1.0
 */
import type { Layer } from "effect"
import type { Archive } from "../archive/Archive.js"
import type { Cache } from "../cache/Cache.js"
import type { ArchiveStartError, InvalidConfig, LogOpenError } from "../EngineError.js"
import type { FilterSnapshots } from "../wal/FilterSnapshots.js"
import type { WriteAheadLog } from "../wal/WriteAheadLog.js"

/**
 * An application replaces a part by giving its own layer; tests give fakes.
 *
 * @since 0.1.0
 * @category models
 */
export interface EngineComponents {
  readonly log: Layer.Layer<WriteAheadLog | FilterSnapshots, LogOpenError>
  /** None: the engine runs without ground truth, and says so. */
  readonly archive: Layer.Layer<Archive, ArchiveStartError> | undefined
  /** None: there is no cache. A layer builds although its server is unavailable. */
  readonly cache?: Layer.Layer<Cache, InvalidConfig> | undefined
}
