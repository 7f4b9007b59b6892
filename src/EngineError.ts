/**
 * Everything that can go wrong, typed: what happened, to what, and what to do.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

const retryAfterMs = Schema.Number

/**
 * Part of a submitted item is not acceptable; nothing was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidItem extends Schema.TaggedError<InvalidItem>()("InvalidItem", {
  id: Schema.String,
  field: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `item ${JSON.stringify(this.id.slice(0, 80))}: ${this.field} ${this.problem}`
  }
}

/**
 * A request's own argument (a prefix, a limit, a cursor) is not acceptable.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  argument: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.argument} ${this.problem}`
  }
}

/**
 * Content above `MAX_PAYLOAD_BYTES`, or above what the archive can carry.
 *
 * @since 0.1.0
 * @category errors
 */
export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", {
  id: Schema.String,
  bytes: Schema.Number,
  maxBytes: Schema.Number,
  limit: Schema.String
}) {
  override get message() {
    return `item ${JSON.stringify(this.id)}: content has ${this.bytes} bytes, at most ${this.maxBytes} fit (${this.limit})`
  }
}

/**
 * The write's version cannot be stored: a newer one is, or the same one with another content, state or content type.
 * Nothing of the write is kept.
 *
 * @since 0.1.0
 * @category errors
 */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  id: Schema.String,
  submitted: Schema.Number,
  /** The stored version. */
  current: Schema.Number
}) {
  override get message() {
    return this.submitted === this.current
      ? `item ${JSON.stringify(this.id)}: version ${this.current} is stored already, with another content, state or content type`
      : `item ${JSON.stringify(this.id)}: version ${this.submitted} is older than the stored ${this.current}`
  }
}

/**
 * Compare-and-set failed: the stored version is not the expected one (0 stands for "absent").
 *
 * @since 0.1.0
 * @category errors
 */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  id: Schema.String,
  expected: Schema.Number,
  actual: Schema.Number
}) {
  override get message() {
    return `item ${JSON.stringify(this.id)}: expected version ${this.expected}, found ${this.actual === 0 ? "none" : this.actual}; read it again`
  }
}

/**
 * The lifecycle does not admit this operation now.
 *
 * @since 0.1.0
 * @category errors
 */
export class GateClosed extends Schema.TaggedError<GateClosed>()("GateClosed", {
  operation: Schema.Literal("write", "query"),
  phase: Schema.String,
  reason: Schema.optional(Schema.String),
  retryAfterMs
}) {
  override get message() {
    const why = this.reason === undefined ? "" : ` (${this.reason})`
    return `no ${this.operation === "write" ? "writes" : "queries"} while ${this.phase}${why}`
  }
}

/**
 * The machine's clock stands before 1970 or beyond the year 2200; what it would stamp could not be kept.
 *
 * @since 0.1.0
 * @category errors
 */
export class ClockOutOfRange extends Schema.TaggedError<ClockOutOfRange>()("ClockOutOfRange", {
  /** Milliseconds since the epoch, as the clock says. */
  nowMs: Schema.Number,
  retryAfterMs
}) {
  override get message() {
    return `the clock of this machine says ${this.nowMs} ms since 1970; writes are refused until it is set right`
  }
}

/**
 * An operator has set the engine read-only.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReadOnly extends Schema.TaggedError<ReadOnly>()("ReadOnly", { retryAfterMs }) {
  override get message() {
    return "the engine is read-only; an operator has to lift it (POST /admin/readonly)"
  }
}

/**
 * The engine is under pressure and asks this caller to wait.
 *
 * @since 0.1.0
 * @category errors
 */
export class Backpressure extends Schema.TaggedError<Backpressure>()("Backpressure", {
  level: Schema.String,
  pressure: Schema.Number,
  retryAfterMs
}) {
  override get message() {
    return `backpressure ${this.level} at ${(this.pressure * 100).toFixed(0)} %; retry in ${this.retryAfterMs} ms`
  }
}

/**
 * The write-ahead log is at its bound; nothing of this call was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogFull extends Schema.TaggedError<LogFull>()("LogFull", {
  /** Dead letters included. */
  items: Schema.Number,
  bytes: Schema.Number,
  maxItems: Schema.Number,
  maxBytes: Schema.Number,
  /** How many of the items are dead letters. */
  letters: Schema.optional(Schema.Number),
  retryAfterMs
}) {
  override get message() {
    const letters = this.letters
      ? `; ${this.letters} are dead letters, which wait to be retried or dropped`
      : ""
    return `the log holds ${this.items} of ${this.maxItems} items and ${this.bytes} of ${this.maxBytes} bytes; retry once the archive has caught up${letters}`
  }
}

/**
 * The log could not be written or read; what was not acknowledged is not stored.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogUnavailable extends Schema.TaggedError<LogUnavailable>()("LogUnavailable", {
  path: Schema.String,
  operation: Schema.String,
  problem: Schema.String,
  retryAfterMs
}) {
  override get message() {
    return `log ${this.path}: ${this.operation} failed: ${this.problem}`
  }
}

/** What a driver said, for the middle of a text. */
const unstopped = (problem: string): string => problem.replace(/[.\s]+$/, "")

/**
 * The log cannot be opened, is in use by another process, or is damaged. Fatal.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogOpenError extends Schema.TaggedError<LogOpenError>()("LogOpenError", {
  path: Schema.String,
  kind: Schema.Literal("cannot-open", "in-use", "damaged"),
  problem: Schema.String
}) {
  override get message() {
    const advice =
      this.kind === "in-use"
        ? "another process holds it; stop that one or use another data directory"
        : this.kind === "damaged"
          ? "keep the file, restore it from a backup or move it away to start without what it held"
          : "check that the path exists and is writable"
    return `log ${this.path}: ${unstopped(this.problem)}. Durability cannot be guaranteed without the log: ${advice}.`
  }
}

/**
 * A tier that has to be asked cannot be reached. This is never "not found".
 *
 * @since 0.1.0
 * @category errors
 */
export class TierUnavailable extends Schema.TaggedError<TierUnavailable>()("TierUnavailable", {
  tier: Schema.Literal("archive", "cache"),
  operation: Schema.String,
  problem: Schema.String,
  retryAfterMs
}) {
  override get message() {
    return `${this.tier} unavailable for ${this.operation}: ${this.problem}; retry in ${this.retryAfterMs} ms`
  }
}

/**
 * The archive could not be connected or migrated at start. `unreachable`: the server is not there or takes nobody
 * just now; `refused`: it is there, and said no.
 *
 * @since 0.1.0
 * @category errors
 */
export class ArchiveStartError extends Schema.TaggedError<ArchiveStartError>()("ArchiveStartError", {
  target: Schema.String,
  kind: Schema.Literal("unreachable", "refused"),
  problem: Schema.String,
  /** What to do, where it is known. */
  advice: Schema.optional(Schema.String)
}) {
  override get message() {
    const advice =
      this.advice ??
      (this.kind === "unreachable"
        ? "The archive is the ground truth; check that it is up and reachable."
        : "The archive is the ground truth; check the URL, and that the user may read, write and, for a new archive, create its tables.")
    return `archive ${this.target}: ${unstopped(this.problem)}. ${advice}`
  }
}

/**
 * The archive refused this acknowledged write for a permanent reason; it is among the dead letters.
 *
 * @since 0.1.0
 * @category errors
 */
export class ItemRejected extends Schema.TaggedError<ItemRejected>()("ItemRejected", {
  id: Schema.String,
  version: Schema.Number,
  problem: Schema.String
}) {
  override get message() {
    return `item ${JSON.stringify(this.id)} version ${this.version}: the archive refused it (${this.problem}); see the dead letters`
  }
}

/**
 * Stored bytes do not match their hash in any tier that could be asked.
 *
 * @since 0.1.0
 * @category errors
 */
export class CorruptItem extends Schema.TaggedError<CorruptItem>()("CorruptItem", {
  id: Schema.String,
  version: Schema.Number,
  expectedHash: Schema.String,
  actualHash: Schema.String
}) {
  override get message() {
    return `item ${JSON.stringify(this.id)} version ${this.version}: bytes hash to ${this.actualHash}, not ${this.expectedHash}`
  }
}

/**
 * A configuration value is unknown or invalid.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidConfig extends Schema.TaggedError<InvalidConfig>()("InvalidConfig", {
  name: Schema.String,
  problem: Schema.String,
  allowed: Schema.String
}) {
  override get message() {
    return `configuration ${this.name}: ${this.problem}; allowed: ${this.allowed}`
  }
}

/**
 * The engine is no longer (or not yet) able to do this at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotSupported extends Schema.TaggedError<NotSupported>()("NotSupported", {
  operation: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.operation}: ${this.problem}`
  }
}

/**
 * What a write can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type WriteError =
  | InvalidRequest
  | InvalidItem
  | PayloadTooLarge
  | VersionConflict
  | VersionMismatch
  | GateClosed
  | ClockOutOfRange
  | ReadOnly
  | Backpressure
  | LogFull
  | LogUnavailable
  | TierUnavailable
  | ItemRejected
  | NotSupported

/**
 * What a read can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type ReadError =
  | InvalidItem
  | InvalidRequest
  | GateClosed
  | TierUnavailable
  | LogUnavailable
  | CorruptItem

/**
 * What a start can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type StartError = LogOpenError | ArchiveStartError | InvalidConfig

/**
 * Every error of the engine.
 *
 * @since 0.1.0
 * @category errors
 */
export type EngineError = WriteError | ReadError | StartError
