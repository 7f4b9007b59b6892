/**
 * The write-ahead log: the engine's durability lifeline and its only queue. Entries carry ascending sequence
 * numbers; concurrent appends share one fsync (group commit); an entry leaves only through `release`.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Either, type Scope } from "effect"
import type { LogFull, LogOpenError, LogUnavailable } from "../EngineError.js"
import type { ItemRecord } from "../SyncItem.js"

/**
 * A record in the log.
 *
 * @since 0.1.0
 * @category models
 */
export interface LogEntry {
  /** Ascending; gaps are possible after a failed commit. */
  readonly sequence: number
  readonly record: ItemRecord
}

/**
 * The records of one append, made durable: `sequences` are `first .. first + count - 1`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Appended {
  readonly first: number
  readonly count: number
}

/**
 * What the log holds, without I/O.
 *
 * @since 0.1.0
 * @category models
 */
export interface LogUsage {
  /** Entries that were accepted (committed or in a commit under way) and not yet released. */
  readonly items: number
  /** Encoded bytes of those entries. */
  readonly bytes: number
  /** Dead letters and their bytes. They take their part of the bounds too: nobody else bounds them. */
  readonly letters: number
  readonly letterBytes: number
  readonly maxItems: number
  readonly maxBytes: number
  /** Highest sequence number committed so far; 0 when none. */
  readonly committed: number
  /** Everything up to this sequence number has been released. */
  readonly released: number
}

/**
 * An acknowledged write the archive refused for good.
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetter {
  readonly sequence: number
  readonly record: ItemRecord
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/**
 * The archive that a log is carried to.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArchiveBinding {
  /** See `Archive.lineage`. */
  readonly lineage: string
  /** Whether that archive has taken anything from this log: then it cannot be empty. */
  readonly archived: boolean
  /** Everything up to this sequence number is archived, or was put aside, although the change stream still holds it in the log. */
  readonly carriedTo?: number | undefined
}

/**
 * A log that is open.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenLog {
  /** Where the log lives; for messages. */
  readonly path: string
  /**
   * Who writes through this log: a random UUID, made once and kept with the log, so that whoever opens it next
   * is the same node to others. A copy of the log is another node, where that can be told.
   */
  readonly identity: string
  /** Highest version number ever appended, also across restarts: where the version clock goes on. */
  readonly maxVersion: number
  /** What the log holds now. Synchronous, no I/O. */
  readonly usage: () => LogUsage
  /**
   * Enqueues records for the next group commit and calls `done` exactly once: after the fsync, after its
   * failure, or at once with `LogFull` when the bounds (checked here, before anything is acknowledged) do
   * not admit all of them. What is `moved` (from the dead letters) has its room already. Never throws; `done` must not throw. Calls are committed in call order.
   */
  readonly unsafeAppend: (
    records: ReadonlyArray<ItemRecord>,
    done: (result: Either.Either<Appended, LogFull | LogUnavailable>) => void,
    moved?: boolean
  ) => void
  /** `unsafeAppend` as an Effect. Interrupting the wait does not revoke the append. */
  readonly append: (records: ReadonlyArray<ItemRecord>) => Effect.Effect<Appended, LogFull | LogUnavailable>
  /** A page of committed entries above `after`, in order; empty at the end. At least one entry if any is left, whatever `maxBytes`. */
  readonly read: (options: {
    readonly after: number
    readonly maxItems: number
    readonly maxBytes: number
  }) => Effect.Effect<ReadonlyArray<LogEntry>, LogUnavailable>
  /** The entries with exactly these sequence numbers that are still held (released ones are left out), in ascending order. */
  readonly readAt: (
    sequences: ReadonlyArray<number>
  ) => Effect.Effect<ReadonlyArray<LogEntry>, LogUnavailable>
  /** Everything up to and including this sequence number is archived (or a dead letter) and may leave. Durable before it returns. */
  readonly release: (upTo: number) => Effect.Effect<void, LogUnavailable>
  readonly deadLetters: {
    /** Stores letters durably; a letter with the same sequence number is stored once. */
    readonly add: (letters: ReadonlyArray<DeadLetter>) => Effect.Effect<void, LogUnavailable>
    /** A page of letters above `after`, in order; empty at the end. At least one if any is left, whatever `maxBytes`. */
    readonly list: (options: {
      readonly after: number
      readonly limit: number
      readonly maxBytes: number
    }) => Effect.Effect<ReadonlyArray<DeadLetter>, LogUnavailable>
    readonly remove: (sequences: ReadonlyArray<number>) => Effect.Effect<number, LogUnavailable>
    /** How many there are. Synchronous, no I/O. */
    readonly count: () => number
  }
  /** The archive this log is bound to, if it is to any; kept with the log. Synchronous, no I/O. */
  readonly binding: () => ArchiveBinding | undefined
  /** Binds the log to an archive, in place of the one before. Durable before it returns. */
  readonly bind: (binding: ArchiveBinding) => Effect.Effect<void, LogUnavailable>
  /** Proves that the log takes writes: durably writes, and removes, as much as it has refused last. */
  readonly probe: Effect.Effect<void, LogUnavailable>
  /** Gives disk space back to the file system after use; cheap when there is nothing to give back. */
  readonly shrink: Effect.Effect<void, LogUnavailable>
  /** Checkpoints everything into the main file; the last act of a clean shutdown. */
  readonly checkpoint: Effect.Effect<void, LogUnavailable>
}

/**
 * The write-ahead log, not opened yet: building its layer does no I/O, the first phase of the start opens it.
 *
 * @since 0.1.0
 * @category services
 */
export class WriteAheadLog extends Context.Tag("effect-sync-engine/WriteAheadLog")<
  WriteAheadLog,
  {
    /** Opens the log; closing the scope closes it, and fails what is not committed yet. */
    readonly open: Effect.Effect<OpenLog, LogOpenError, Scope.Scope>
  }
>() {}
