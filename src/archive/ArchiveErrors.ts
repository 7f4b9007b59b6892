/** What the drivers' failures mean: whether the same call can succeed later, and whether to try again at once. */
import { Cause, Effect } from "effect"
import { redact } from "../shared/Redaction.js"
import { ArchiveError } from "./ArchiveError.js"

// MySQL/MariaDB: this very data is refused. https://mariadb.com/kb/en/mariadb-error-codes/
const permanentNumbers = new Set([
  1048, // column cannot be null
  1118, // row size too large
  ...[1153, 1162], // packet, result or string longer than max_allowed_packet
  1264, // out of range value for a column
  ...[1292, 1366, 4078], // truncated or incorrect value, or one of the wrong type
  1406, // data too long
  ...[1451, 1452], // foreign key
  1644, // refused by a trigger (SIGNAL)
  1690, // value out of range in an expression
  3140, // invalid JSON text
  ...[3819, 4025] // check constraint violated (MySQL, MariaDB)
])

// Another transaction was in the way: the whole transaction can be tried again at once.
const contentionNumbers = new Set([
  1020, // record has changed since last read
  1062, // duplicate entry: two nodes inserted the same new id
  1213 // deadlock
])

// The server gave up on a lock. Not tried again at once: whoever holds it has had it for long.
const lockWaitNumber = 1205

// The server ended a statement that took too long (MariaDB, MySQL).
const overdueNumbers = new Set([1969, 3024])

// The server takes nobody, or nobody yet.
const unreachableNumbers = new Set([
  ...[1040, 1203], // too many connections, or too many of this user
  1047, // a Galera node that is not ready
  ...[1053, 1077], // shutting down
  ...[1152, 1184], // connection aborted
  ...[1158, 1159, 1160, 1161], // network error or timeout while reading or writing
  1226, // a limit of this user is used up
  1927, // connection was killed
  ...[3032, 3159], // offline
  4031 // disconnected for inactivity
])

// The system's and the driver's words for a server that is not there, or that has gone.
const unreachableCode =
  /^(E(CONN|HOST|NET|AI_|PIPE|TIMEDOUT|NOTFOUND)|PROTOCOL_CONNECTION_LOST|SERVER_READ_ONLY|ANSWER_OVERDUE)/

// Said in words already.
const ownCode = /^(ANSWER_OVERDUE|SERVER_READ_ONLY|POOL_)/

const permanentSqlite = new Set(["SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH"])
const contentionSqlite = new Set(["SQLITE_BUSY", "SQLITE_LOCKED"])

// Extended codes add to the primary one: SQLITE_CONSTRAINT_TRIGGER, SQLITE_BUSY_SNAPSHOT.
const primaryOf = (code: string): string => code.split("_").slice(0, 2).join("_")

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

// Effect's SqlError and defects wrap what the driver threw; the innermost error knows best.
const driverError = (failure: unknown) => {
  let code: string | undefined
  let number: number | undefined
  let message: string | undefined
  let stack: string | undefined
  // The driver or the language refused a value before it reached the server.
  let invalidValue = false
  let current: unknown = failure
  for (let depth = 0; depth < 8 && typeof current === "object" && current !== null; depth++) {
    const fields = current as Readonly<Record<string, unknown>>
    const text = fields.sqlMessage ?? fields.message
    if (typeof fields.errno === "number") number = fields.errno
    if (typeof fields.code === "string") code = fields.code
    if (typeof text === "string" && text !== "") message = text
    if (current instanceof Error) stack = current.stack
    if (current instanceof RangeError || current instanceof TypeError) invalidValue = true
    current = fields.cause
  }
  message ??= typeof failure === "string" ? failure : (code ?? "unknown failure")
  return { code, number, message, invalidValue, stack }
}

/**
 * The driver's error for an error's `cause`: without secrets, and without the statement that the driver hangs on it,
 * which holds the application's data and may have megabytes.
 */
const causeOf = (failure: unknown, secrets: ReadonlyArray<string>): Error => {
  const { code, message, number, stack } = driverError(failure)
  const cause = new Error(redact(message, secrets))
  if (stack !== undefined) cause.stack = redact(stack, secrets)
  return Object.assign(cause, { code, errno: number })
}

/**
 * Classifies what a driver threw. What is not known to be about the data is taken as transient: a write that
 * is tried once too often harms less than one that is given up.
 */
export const classify = (failure: unknown, secrets: ReadonlyArray<string> = []): Failure => {
  const { code, invalidValue, message, number } = driverError(failure)
  const label =
    code !== undefined && !message.includes(code) && !ownCode.test(code) ? `${code}: ${message}` : message
  const failed = (known: Partial<Failure>): Failure => ({
    ...{ kind: "transient", contention: false, unreachable: false, lockWait: false, overdue: false },
    problem: redact(label, secrets).slice(0, 500),
    ...known
  })
  if (code?.startsWith("SQLITE_") === true) {
    const primary = primaryOf(code)
    const contention = contentionSqlite.has(primary)
    const kind = permanentSqlite.has(primary) ? "permanent" : "transient"
    return failed({ kind, contention, unreachable: contention })
  }
  if (number !== undefined && number > 0) {
    return failed({
      kind: permanentNumbers.has(number) ? "permanent" : "transient",
      contention: contentionNumbers.has(number),
      unreachable: unreachableNumbers.has(number),
      lockWait: number === lockWaitNumber,
      overdue: overdueNumbers.has(number)
    })
  }
  // The language's own errors have codes too (ERR_OUT_OF_RANGE); a network's are no RangeErrors.
  if (code === undefined || (invalidValue && code.startsWith("ERR_")))
    return failed({ kind: invalidValue ? "permanent" : "transient" })
  return failed({ unreachable: unreachableCode.test(code), overdue: code === "ANSWER_OVERDUE" })
}

// What may be over with the next attempt: another process, a full volume, a disk that fails.
const passingSqlite = new Set(["SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_WORKER"])

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
  const primary = primaryOf(driverError(failure).code ?? "")
  return passingSqlite.has(primary) || contentionSqlite.has(primary)
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
  const cause = causeOf(failure, secrets)
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
