/** What the drivers' failures mean: whether the same call can succeed later, and whether to try again at once. */
import { Cause, Effect } from "effect"
import { redact } from "../shared/Redaction.js"
import { ArchiveError } from "./ArchiveError.js"

// MySQL/MariaDB: this very data is refused. https://mariadb.com/kb/en/mariadb-error-codes/
const permanentNumbers = new Set([
  1048, // column cannot be null
  1118, // row size too large
  1153, // packet bigger than max_allowed_packet
  1162, // result or string longer than max_allowed_packet
  1264, // out of range value for a column
  1292, // truncated wrong value
  1366, // incorrect value for a column
  1406, // data too long
  1451, // foreign key, parent
  1452, // foreign key, child
  1644, // refused by a trigger (SIGNAL)
  1690, // value out of range in an expression
  3140, // invalid JSON text
  3819, // check constraint violated (MySQL)
  4025, // check constraint violated (MariaDB)
  4078 // a value of the wrong type
])

// Another transaction was in the way: the whole transaction can be tried again at once.
const contentionNumbers = new Set([
  1020, // record has changed since last read
  1062, // duplicate entry: two nodes inserted the same new id
  1213 // deadlock
])

// The server gave up on a lock. Not tried again at once: whoever holds it has had it for long.
const lockWaitNumbers = new Set([1205])

// The server ended a statement that took too long (MariaDB, MySQL).
const overdueNumbers = new Set([1969, 3024])

// The server takes nobody, or nobody yet.
const unreachableNumbers = new Set([
  1040, // too many connections
  1047, // a Galera node that is not ready
  1053, // shutdown in progress
  1077, // normal shutdown
  1152, // connection aborted
  1158, // network error while reading
  1159, // network timeout while reading
  1160, // network error while writing
  1161, // network timeout while writing
  1184, // connection aborted
  1203, // too many connections of this user
  1226, // a limit of this user is used up
  1927, // connection was killed
  3032, // the server is offline
  3159, // the server is in offline mode
  4031 // disconnected for inactivity
])

// The system's and the driver's words for a server that is not there, or that has gone.
const unreachableCode =
  /^(E(CONN|HOST|NET|AI_|PIPE|TIMEDOUT|NOTFOUND)|PROTOCOL_CONNECTION_LOST|SERVER_READ_ONLY|ANSWER_OVERDUE)/

// Said in words already.
const ownCode = /^(ANSWER_OVERDUE|SERVER_READ_ONLY|POOL_)/

const permanentSqlite = new Set(["SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH"])
const contentionSqlite = new Set(["SQLITE_BUSY", "SQLITE_LOCKED"])

/** What is known about a failure of a driver. */
export interface Failure {
  readonly kind: "transient" | "permanent"
  /** Another transaction was in the way; the same one may be tried again at once. */
  readonly contention: boolean
  /** Nobody was there to refuse anything. */
  readonly unreachable: boolean
  /** Waited in vain for a row or a table that another transaction holds. */
  readonly lockWait: boolean
  /** The time for the statement was over. */
  readonly overdue: boolean
  readonly problem: string
}

interface DriverError {
  readonly code: string | undefined
  readonly number: number | undefined
  readonly message: string
  /** The driver or the language refused a value before it reached the server. */
  readonly invalidValue: boolean
  readonly stack: string | undefined
}

const field = (value: object, name: string): unknown => (value as Record<string, unknown>)[name]

// Effect's SqlError and defects wrap what the driver threw; the innermost error knows best.
const driverError = (failure: unknown): DriverError => {
  let code: string | undefined
  let number: number | undefined
  let message: string | undefined
  let stack: string | undefined
  let invalidValue = false
  let current: unknown = failure
  for (let depth = 0; depth < 8 && typeof current === "object" && current !== null; depth++) {
    const errno = field(current, "errno")
    const name = field(current, "code")
    const text = field(current, "sqlMessage") ?? field(current, "message")
    if (typeof errno === "number") number = errno
    if (typeof name === "string") code = name
    if (typeof text === "string" && text !== "") message = text
    if (current instanceof Error) stack = current.stack
    if (current instanceof RangeError || current instanceof TypeError) invalidValue = true
    current = field(current, "cause")
  }
  if (message === undefined) message = typeof failure === "string" ? failure : (code ?? "unknown failure")
  return { code, number, message, invalidValue, stack }
}

/**
 * The driver's error for an error's `cause`: without secrets, and without the statement that the driver hangs on it,
 * which holds the application's data and may have megabytes.
 */
const causeOf = ({ code, message, number, stack }: DriverError, secrets: ReadonlyArray<string>): Error => {
  const cause = new Error(redact(message, secrets))
  if (stack !== undefined) cause.stack = redact(stack, secrets)
  return Object.assign(cause, { code, errno: number })
}

const unknownFailure = {
  kind: "transient",
  contention: false,
  unreachable: false,
  lockWait: false,
  overdue: false
} as const

/**
 * Classifies what a driver threw. What is not known to be about the data is taken as transient: a write that
 * is tried once too often harms less than one that is given up.
 */
export const classify = (failure: unknown, secrets: ReadonlyArray<string> = []): Failure => {
  const { code, invalidValue, message, number } = driverError(failure)
  const label =
    code !== undefined && !message.includes(code) && !ownCode.test(code) ? `${code}: ${message}` : message
  const problem = redact(label, secrets).slice(0, 500)
  if (code?.startsWith("SQLITE_") === true) {
    // Extended codes add to the primary one: SQLITE_CONSTRAINT_TRIGGER, SQLITE_BUSY_SNAPSHOT.
    const primary = code.split("_").slice(0, 2).join("_")
    const contention = contentionSqlite.has(primary)
    const kind = permanentSqlite.has(primary) ? "permanent" : "transient"
    return { ...unknownFailure, kind, contention, unreachable: contention, problem }
  }
  if (number !== undefined && number > 0) {
    return {
      kind: permanentNumbers.has(number) ? "permanent" : "transient",
      contention: contentionNumbers.has(number),
      unreachable: unreachableNumbers.has(number),
      lockWait: lockWaitNumbers.has(number),
      overdue: overdueNumbers.has(number),
      problem
    }
  }
  // The language's own errors have codes too (ERR_OUT_OF_RANGE); a network's are no RangeErrors.
  if (code === undefined || (invalidValue && code.startsWith("ERR_")))
    return { ...unknownFailure, kind: invalidValue ? "permanent" : "transient", problem }
  return {
    ...unknownFailure,
    unreachable: unreachableCode.test(code),
    overdue: code === "ANSWER_OVERDUE",
    problem
  }
}

// What may be over with the next attempt: another process, a full volume, a disk that fails.
const passingSqlite = new Set([
  ...contentionSqlite,
  "SQLITE_FULL",
  "SQLITE_IOERR",
  "SQLITE_NOMEM",
  "SQLITE_WORKER"
])

const damagedFile = "Keep the file and restore it from a backup, or name another one with SQL_URL."
const fileAdvice: Readonly<Record<string, string>> = {
  SQLITE_NOTADB: damagedFile,
  SQLITE_CORRUPT: damagedFile,
  SQLITE_READONLY:
    "The file, its folder or the file system is read-only; this user has to be able to write all three.",
  SQLITE_ERROR:
    "It is a SQLite database, but not an archive of this version of the engine; name another file with SQL_URL, or start the version that wrote it."
}

/** What to do when a SQLite file cannot be opened as an archive; none when waiting may help. */
export const sqliteAdvice = (failure: unknown): string | undefined => {
  const primary = driverError(failure).code?.split("_").slice(0, 2).join("_") ?? ""
  return passingSqlite.has(primary)
    ? undefined
    : (fileAdvice[primary] ??
        "SQL_URL has to name a file, in a folder in which this user may write and make files.")
}

/** An `ArchiveError` for one operation, from whatever was thrown. */
export const archiveError = (
  operation: string,
  failure: unknown,
  secrets: ReadonlyArray<string> = []
): ArchiveError => {
  if (failure instanceof ArchiveError) return failure
  const { kind, overdue, problem } = classify(failure, secrets)
  const cause = causeOf(driverError(failure), secrets)
  return new ArchiveError({ operation, kind, problem, cause, ...(overdue ? { overdue } : {}) })
}

/** What a cause is about: its failure, else its defect; none when it is an interruption. */
export const reasonOf = (cause: Cause.Cause<unknown>): { readonly reason: unknown } | undefined => {
  for (const reason of Cause.failures(cause)) return { reason }
  for (const reason of Cause.defects(cause)) return { reason }
  return undefined
}

/** Turns every failure and defect of an effect into an `ArchiveError`; interruption stays interruption. */
export const refail =
  (operation: string, secrets: ReadonlyArray<string> = []) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, ArchiveError, R> =>
    Effect.catchAllCause(effect, (cause): Effect.Effect<never, ArchiveError> => {
      const found = reasonOf(cause)
      return found === undefined
        ? Effect.failCause(cause as Cause.Cause<never>)
        : Effect.fail(archiveError(operation, found.reason, secrets))
    })
