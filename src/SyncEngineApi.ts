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
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { SyncEngine } from "effect-sync-engine"
 *
 * const program = Effect.gen(function* () {
 *   const engine = yield* SyncEngine
 *   const results = yield* engine.submitMany([{ id: "user.1", content: "Ada" }, { id: "user.2", content: "Alan" }])
 *   const found = yield* engine.getMany(["user.1", "user.2"])
 *   const user = yield* engine.getOrInsertWith("user.3", Effect.succeed({ content: "Grace" }))
 *   if (yield* engine.contains("user.2")) yield* engine.delete("user.2", { durability: "archive" })
 *   yield* Stream.runForEach(engine.scanPrefix("user"), ({ id }) => Effect.log(id))
 *   yield* engine.flush
 *   if (!(yield* engine.verify()).inSync) yield* engine.repair()
 *   const { backpressure, degraded } = yield* engine.health
 *   yield* engine.drain
 *   const report = yield* engine.shutdown
 *   return { results, found, user, backpressure, degraded, left: report.itemsLeftInLog }
 * })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export interface SyncEngineApi extends WriteApi, ReadApi, QueryApi, TreeApi, AdminApi {}
