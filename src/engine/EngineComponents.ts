/**
 * The parts of an engine that an application may replace. All are unopened: the start opens them, the log first.
 *
 * @since 0.1.0
 */
import type { Archive } from "../archive/Archive.js"
import type { Cache } from "../cache/Cache.js"
import type { ExistenceFilter } from "../filter/ExistenceFilter.js"
import type { FilterSnapshots } from "../wal/FilterSnapshots.js"
import type { WriteAheadLog } from "../wal/WriteAheadLog.js"

/**
 * The parts of an engine that an application may replace.
 *
 * @since 0.1.0
 * @category models
 */
export type EngineComponents = WriteAheadLog | FilterSnapshots | Archive | Cache | ExistenceFilter
