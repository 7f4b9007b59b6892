/** The tables of the log's SQLite file, their statements, and the checksums that guard their rows. */
import type Database from "better-sqlite3"
import { rowChecksum } from "./SegmentCodec.js"
import type { ArchiveBinding } from "./WriteAheadLog.js"

/** Marks the file as a log of this engine ("SELg"). */
export const applicationId = 0x53454c67

/** Version of the tables below. */
export const formatVersion = 2

/** Creates the tables. */
export const schema = `
  CREATE TABLE segment (
    first_sequence INTEGER PRIMARY KEY,
    last_sequence INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    items INTEGER NOT NULL,
    max_version INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    data BLOB NOT NULL
  );
  CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    released INTEGER NOT NULL,
    max_version INTEGER NOT NULL,
    committed INTEGER NOT NULL,
    letters INTEGER NOT NULL,
    binding INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  );
  CREATE TABLE binding (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,
    archived INTEGER NOT NULL,
    carried_to INTEGER NOT NULL
  );
  CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL,
    place TEXT NOT NULL
  );
  CREATE TABLE dead_letter (
    sequence INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    checksum INTEGER NOT NULL,
    data BLOB NOT NULL
  );
  CREATE TABLE filter_snapshot (
    generation INTEGER NOT NULL,
    part INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (generation, part)
  );
  CREATE TABLE filter_snapshot_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    parts INTEGER NOT NULL
  );
`

/** The checksum of a `segment` row. */
export const segmentChecksum = (
  first: number,
  last: number,
  previous: number,
  items: number,
  maxVersion: number,
  data: Uint8Array
): number => rowChecksum([first, last, previous, items, maxVersion], data)

/** The checksum of a `dead_letter` row. */
export const deadLetterChecksum = (sequence: number, reason: string, at: number, data: Uint8Array): number =>
  rowChecksum([sequence, at, rowChecksum([], Buffer.from(reason, "utf8"))], data)

const noBytes = new Uint8Array(0)

/** The checksum of the `binding` row; 0 is that of none. */
export const bindingChecksum = (binding: ArchiveBinding | undefined): number =>
  binding === undefined
    ? 0
    : rowChecksum([binding.archived ? 1 : 0, binding.carriedTo ?? 0], Buffer.from(binding.lineage, "utf8"))

/** That of all dead letters, when this one comes (`sign` 1) or goes (-1). */
export const withLetter = (letters: number, checksum: number, sign: 1 | -1): number =>
  (letters + sign * checksum) >>> 0

/**
 * The `state` row: how far the log is released, and what the rest of the file holds. A page of the file that was never
 * written, whatever the disk said, is one as of earlier: sound by itself, and without the rows that came since. This
 * row stands on a page of its own, so that one of the two tells of the other.
 *
 * `committed` is written with every release and before the -wal file is folded in, not with every group commit: the
 * -wal file tells of lost writes itself. The file holds at least that much.
 */
export interface LogState {
  readonly released: number
  readonly maxVersion: number
  /** The last sequence number when this was written. */
  readonly committed: number
  /** The sum of the dead letters' checksums. */
  readonly letters: number
  /** The binding's checksum. */
  readonly binding: number
}

/** The checksum of the `state` row. */
export const stateChecksum = ({ binding, committed, letters, maxVersion, released }: LogState): number =>
  rowChecksum([released, maxVersion, committed, letters, binding], noBytes)

/** A release deletes at most this many segments in one transaction. */
export const segmentsPerRelease = 128
/** Parts of superseded snapshots that are deleted in one transaction. */
export const partsPerPrune = 8

const texts = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  setState: `INSERT OR REPLACE INTO state (id, released, max_version, committed, letters, binding, checksum)
     VALUES (1, ?, ?, ?, ?, ?, ?)`,
  insertSegment: `INSERT INTO segment (first_sequence, last_sequence, previous, items, max_version, checksum, data)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  segmentsFrom: `SELECT first_sequence AS first, last_sequence AS last, items, data FROM segment
     WHERE first_sequence >= coalesce((SELECT max(first_sequence) FROM segment WHERE first_sequence <= ?), 0)
     ORDER BY first_sequence`,
  segmentAt: `SELECT first_sequence AS first, last_sequence AS last, items, data FROM segment
     WHERE first_sequence <= ? ORDER BY first_sequence DESC LIMIT 1`,
  wholeSegments: `SELECT coalesce(sum(items), 0) AS items, coalesce(sum(length(data)), 0) AS bytes FROM segment
     WHERE first_sequence > ? AND first_sequence <= ? AND last_sequence <= ?`,
  deleteSegments: `DELETE FROM segment WHERE first_sequence <= ? AND last_sequence <= ?
     ORDER BY first_sequence LIMIT ${segmentsPerRelease}`,
  deleteSegmentsBehind: "DELETE FROM segment WHERE first_sequence > ?",
  insertLetter:
    "INSERT OR IGNORE INTO dead_letter (sequence, reason, at, checksum, data) VALUES (?, ?, ?, ?, ?)",
  lettersAfter:
    "SELECT sequence, reason, at, checksum, data FROM dead_letter WHERE sequence > ? ORDER BY sequence LIMIT ?",
  deleteLetter: "DELETE FROM dead_letter WHERE sequence = ? RETURNING length(data) AS bytes, checksum",
  snapshotHead: "SELECT generation, parts FROM filter_snapshot_head",
  setSnapshotHead: "INSERT OR REPLACE INTO filter_snapshot_head (id, generation, parts) VALUES (1, ?, ?)",
  insertPart: "INSERT INTO filter_snapshot (generation, part, data) VALUES (?, ?, ?)",
  snapshotPart: "SELECT data FROM filter_snapshot WHERE generation = ? AND part = ?",
  deleteSnapshot: "DELETE FROM filter_snapshot WHERE generation = ?",
  deleteOtherParts: `DELETE FROM filter_snapshot WHERE generation <> ? LIMIT ${partsPerPrune}`
}

export type LogStatements = Readonly<Record<keyof typeof texts, Database.Statement>>

export const prepareStatements = (db: Database.Database): LogStatements =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, db.prepare(text)])) as LogStatements

/** Writes the `state` row. */
export const writeState = ({ setState }: LogStatements, state: LogState): void => {
  const { binding, committed, letters, maxVersion, released } = state
  setState.run(released, maxVersion, committed, letters, binding, stateChecksum(state))
}
