/**
 * What an application imports. The parts that it can replace, and the endpoints, have entries of their own
 * (`effect-sync-engine/MemoryLog`).
 *
 * @since 0.1.0
 */
export type { CommitResult, OpenArchive, RecomputedRoot, ScanRange } from "./archive/Archive.js"
export { Archive } from "./archive/Archive.js"
export { ArchiveError } from "./archive/ArchiveError.js"
export type { EngineConfig } from "./config/Model.js"
export type { EngineOptions } from "./EngineConfig.js"
export { defaults, engineConfig, fromPartial, LiveConfig } from "./EngineConfig.js"
export * from "./EngineError.js"
export type {
  BootStage,
  LifecycleSnapshot,
  Mark,
  NotReadyReason,
  Phase,
  ShutdownReport,
  StartupLabel
} from "./Lifecycle.js"
export { isClean, Lifecycle } from "./Lifecycle.js"
export type { Digest, TreeChild, TreeNode } from "./merkle/Tree.js"
export * from "./SyncEngine.js"
export * from "./SyncItem.js"
export type { BackpressureLevel } from "./shared/Backpressure.js"
export { FilterSnapshots } from "./wal/FilterSnapshots.js"
export type { Appended, DeadLetter, LogEntry, LogUsage, OpenLog } from "./wal/WriteAheadLog.js"
export { WriteAheadLog } from "./wal/WriteAheadLog.js"
