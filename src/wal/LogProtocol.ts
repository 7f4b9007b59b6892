/** What the main thread and the log's worker thread say to each other. */

import type { ArchiveBinding } from "./WriteAheadLog.js"

/** A sealed segment on its way to the file; the array buffer behind `data` is transferred. */
export interface SegmentMessage {
  readonly first: number
  readonly items: number
  readonly maxVersion: number
  readonly data: Uint8Array
}

/** Entries `from` (inclusive) to `to` (exclusive) of a segment. */
export interface SegmentSlice {
  readonly first: number
  readonly items: number
  readonly from: number
  readonly to: number
  readonly data: Uint8Array
}

/** Entries picked from anywhere: their ascending sequence numbers, and they themselves as segments. */
export interface PickedEntries {
  readonly sequences: ReadonlyArray<number>
  readonly parts: ReadonlyArray<{ readonly items: number; readonly data: Uint8Array }>
}

/** A dead letter; `data` is its record as a segment of one entry. */
export interface DeadLetterMessage {
  readonly sequence: number
  readonly reason: string
  readonly at: number
  readonly data: Uint8Array
}

/** Letters that came or went, and the bytes of their records. */
export interface LettersMoved {
  readonly items: number
  readonly bytes: number
}

/** What an opened file holds. Segment `i` has `counts[i]` entries from `firsts[i]` on. */
export interface OpenedFile {
  /** See `WriteAheadLog.identity`. */
  readonly identity: string
  readonly binding: ArchiveBinding | undefined
  readonly committed: number
  readonly released: number
  readonly maxVersion: number
  readonly letters: number
  readonly letterBytes: number
  readonly firsts: Float64Array
  readonly counts: Uint32Array
  /** Encoded bytes of all entries, segment after segment. */
  readonly sizes: Uint32Array
}

/**
 * The operations of the file, by name. Each is one transaction at most and bounded in time; `more` asks the caller
 * to call again, so that commits get their turn in between.
 */
export interface LogOperations {
  /** Stores the segments in one transaction. */
  readonly commit: (segments: ReadonlyArray<SegmentMessage>) => void
  readonly read: (after: number, maxItems: number, maxBytes: number) => ReadonlyArray<SegmentSlice>
  readonly readAt: (sequences: ReadonlyArray<number>) => PickedEntries
  readonly release: (upTo: number) => { readonly more: boolean }
  /** Deletes a bounded number of released segments. */
  readonly prune: () => { readonly more: boolean }
  readonly addDeadLetters: (letters: ReadonlyArray<DeadLetterMessage>) => LettersMoved
  readonly listDeadLetters: (
    after: number,
    limit: number,
    maxBytes: number
  ) => ReadonlyArray<DeadLetterMessage>
  readonly removeDeadLetters: (sequences: ReadonlyArray<number>) => LettersMoved
  readonly bind: (binding: ArchiveBinding) => void
  readonly shrink: () => { readonly more: boolean }
  readonly checkpoint: () => void
  /** Writes this many bytes durably, and removes them: the proof that the log takes writes. */
  readonly probe: (bytes: number) => void
  /** Adds a part to the snapshot being written; part 0 starts a new one. */
  readonly writeSnapshotPart: (part: number, data: Uint8Array) => void
  /** Makes the parts written so far the snapshot. */
  readonly publishSnapshot: (parts: number) => void
  readonly snapshotParts: () => number
  readonly readSnapshotPart: (part: number) => Uint8Array | undefined
  /** Deletes a bounded number of parts that belong to no snapshot any more. */
  readonly pruneSnapshots: () => { readonly more: boolean }
  /** Counts since the file was opened. */
  readonly counters: () => LogCounters
  readonly close: () => void
}

/** What the worker counted since it opened the file. */
export interface LogCounters {
  /** Transactions that stored segments, each with one sync. */
  readonly commits: number
  readonly checkpoints: number
}

export type LogOperation = keyof LogOperations

/** Main thread to worker. */
export interface LogRequest {
  readonly id: number
  readonly operation: LogOperation
  readonly arguments: ReadonlyArray<unknown>
}

/** Why a file could not be opened. */
export interface OpenProblem {
  readonly kind: "cannot-open" | "in-use" | "damaged"
  readonly problem: string
}

/** Worker to main thread; the first message is `opened` or `refused`. */
export type LogReply =
  | { readonly type: "opened"; readonly file: OpenedFile }
  | { readonly type: "refused"; readonly problem: OpenProblem }
  | { readonly type: "done"; readonly id: number; readonly value: unknown }
  | { readonly type: "failed"; readonly id: number; readonly problem: string }

/**
 * What an engine knows of a log whose worker has died: the file has to be that log, and hold at least this. What
 * stands behind `committed` was acknowledged to nobody and is removed.
 */
export interface LogResumption {
  readonly identity: string
  readonly committed: number
}

/** What the worker is started with. */
export interface LogWorkerData {
  readonly path: string
  /** None: the log is opened for the first time, and made when there is none. */
  readonly resume: LogResumption | undefined
}
