/** The statements of the log's file. */
import type Database from "better-sqlite3"

/** A release deletes at most this many segments in one transaction. */
export const segmentsPerPrune = 128

export type LogStatements = Record<
  | "begin"
  | "commit"
  | "rollback"
  | "insertSegment"
  | "segmentsFrom"
  | "segmentAt"
  | "deleteSegments"
  | "deleteSegmentsBehind"
  | "setState",
  Database.Statement
>

/** Prepares all of them. */
export const prepareStatements = (db: Database.Database): LogStatements => ({
  begin: db.prepare("BEGIN IMMEDIATE"),
  commit: db.prepare("COMMIT"),
  rollback: db.prepare("ROLLBACK"),
  insertSegment: db.prepare(
    `INSERT INTO segment (first_sequence, last_sequence, previous, items, max_version, checksum, data)
     VALUES (?, ?, ?, ?, ?, ?, ?)`
  ),
  segmentsFrom: db.prepare(
    `SELECT first_sequence AS first, last_sequence AS last, items, data FROM segment
     WHERE first_sequence >= coalesce((SELECT max(first_sequence) FROM segment WHERE first_sequence <= ?), 0)
     ORDER BY first_sequence`
  ),
  segmentAt: db.prepare(
    `SELECT first_sequence AS first, last_sequence AS last, items, data FROM segment
     WHERE first_sequence <= ? ORDER BY first_sequence DESC LIMIT 1`
  ),
  deleteSegments: db.prepare(
    `DELETE FROM segment WHERE first_sequence <= ? AND last_sequence <= ?
     ORDER BY first_sequence LIMIT ${segmentsPerPrune}`
  ),
  deleteSegmentsBehind: db.prepare("DELETE FROM segment WHERE first_sequence > ?"),
  setState: db.prepare("UPDATE state SET released = ?, max_version = ?, checksum = ? WHERE id = 1")
})
