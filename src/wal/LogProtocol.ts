/** What the main thread and the log's worker thread say to each other. */
import type { LogOpenError } from "../EngineError.js"
import type { Segment } from "./SegmentWriter.js"
import type { ArchiveBinding } from "./WriteAheadLog.js"

/** Entries `from` (inclusive) to `to` (exclusive) of a segment whose first entry has the sequence number `first`. */
export interface SegmentSlice {
  readonly first: number
  readonly items: number
  readonly from: number
  readonly to: number
  readonly data: Uint8Array
}

/** A dead letter; `data` is its record as a segment of one entry. */
export interface DeadLetterMessage {
  readonly sequence: number
  readonly reason: string
  readonly at: number
  readonly data: Uint8Array
}

/** Entries or letters, and the bytes of their records. */
export interface Amount {
  readonly items: number
  readonly bytes: number
}

/** What an opened file holds: `items` and `bytes` of the entries that are not released. */
export interface OpenedFile extends Amount {
  /** See `WriteAheadLog.identity`. */
  readonly identity: string
  readonly binding: ArchiveBinding | undefined
  readonly committed: number
  readonly released: number
  readonly maxVersion: number
  readonly letters: number
  readonly letterBytes: number
}

/**
 * The operations of the file, by name. Each is one transaction at most and bounded in time; `more` asks the caller
 * to call again, so that commits get their turn in between. Told here
 * and not by `LogFile`, whose declaration needs the types of the SQLite driver.
 */
export interface LogOperations {
  readonly commit: (segments: ReadonlyArray<Segment>) => void
  readonly read: (after: number, maxItems: number, maxBytes: number) => ReadonlyArray<SegmentSlice>
  readonly readAt: (sequences: ReadonlyArray<number>) => ReadonlyArray<SegmentSlice>
  /** Durably notes the release, and deletes a bounded number of released segments; returns what was set free. */
  readonly release: (upTo: number) => Amount & { readonly more: boolean }
  readonly addDeadLetters: (letters: ReadonlyArray<DeadLetterMessage>) => Amount
  readonly listDeadLetters: (
    after: number,
    limit: number,
    maxBytes: number
  ) => ReadonlyArray<DeadLetterMessage>
  readonly removeDeadLetters: (sequences: ReadonlyArray<number>) => Amount
  readonly bind: (binding: ArchiveBinding) => void
  readonly shrink: () => { readonly more: boolean }
  readonly checkpoint: () => void
  /** Writes this many bytes durably, and removes them: the proof that the log takes writes. */
  readonly probe: (bytes: number) => void
  /** Adds a part to the snapshot being written; part 0 starts a new one. */
  readonly writeSnapshotPart: (part: number, data: Uint8Array) => void
  /** Makes the parts written so far the snapshot. */
  readonly publishSnapshot: (parts: number) => void
  /** Nothing behind the last one, or where there is no snapshot. */
  readonly readSnapshotPart: (part: number) => Uint8Array | undefined
  /** Deletes a bounded number of parts that belong to no snapshot any more. */
  readonly pruneSnapshots: () => { readonly more: boolean }
  /** Since the file was opened; each commit is one sync. */
  readonly counters: () => { readonly commits: number; readonly checkpoints: number }
  readonly close: () => void
}

/**
 * What an engine knows of a log whose worker has died: the file has to be that log, and hold at least this. What
 * stands behind `committed` was acknowledged to nobody and is removed.
 */
export interface LogResumption {
  readonly identity: string
  readonly committed: number
}

export interface LogWorkerData {
  readonly path: string
  /** None: the log is opened for the first time, and made when there is none. */
  readonly resume: LogResumption | undefined
}

export interface OpenProblem {
  readonly kind: LogOpenError["kind"]
  readonly problem: string
}

/** Thrown when a file cannot be opened as a log. */
export class OpenRefused extends Error {
  constructor(
    readonly code: OpenProblem["kind"],
    problem: string
  ) {
    super(problem)
  }
}

/** The path or its file system does not allow it. */
export const cannotOpen = (problem: string) => new OpenRefused("cannot-open", problem)

/** The file is there, but not all it held. */
export const damaged = (problem: string) => new OpenRefused("damaged", problem)

/** What a thrown value, or what the worker told of it, means for the opening of a file. */
export const openProblemOf = (error: unknown): OpenProblem => {
  const { code: given, message = String(error) } = (error ?? {}) as { code?: unknown; message?: string }
  const code = String(given)
  if (code === "cannot-open" || code === "damaged") return { kind: code, problem: message }
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return { kind: "in-use", problem: "it is in use" }
  }
  if (code === "SQLITE_NOTADB") {
    return { kind: "damaged", problem: "it is not a SQLite database, or its first page is damaged" }
  }
  if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_IOERR_SHORT_READ") {
    return { kind: "damaged", problem: `its SQLite database is damaged (${message})` }
  }
  return { kind: "cannot-open", problem: `it cannot be opened (${message})` }
}
