/**
 * What the engine's service does: the sum of its rooms' interfaces, and the words they speak.
 *
 * @since 0.1.0
 */
import type { AdminApi } from "./engine/AdminOperations.js"
import type { QueryApi } from "./engine/query/QueryApi.js"
import type { TreeApi } from "./engine/query/TreeApi.js"
import type { ReadApi } from "./engine/read/PointReads.js"
import type { WriteApi } from "./engine/write/WriteOperations.js"

export type { AdminApi } from "./engine/AdminOperations.js"
export type { DeadLettersApi } from "./engine/query/DeadLetters.js"
export type { QueryApi } from "./engine/query/QueryApi.js"
export type { TreeApi } from "./engine/query/TreeApi.js"
export type { ReadApi } from "./engine/read/PointReads.js"
export type { WriteApi } from "./engine/write/WriteOperations.js"
export * from "./SyncEngineModels.js"

/**
 * The sync engine. Every method checks the lifecycle first: writes need `ready`, reads `ready` or `draining`.
 *
 * @since 0.1.0
 * @category services
 */
export interface SyncEngineApi extends WriteApi, ReadApi, QueryApi, TreeApi, AdminApi {}
