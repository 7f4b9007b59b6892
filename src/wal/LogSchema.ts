/** The tables of the log's SQLite file, and the checksums that guard their rows. */
import { rowChecksum } from "./SegmentCodec.js"

/** Marks the file as a log of this engine ("SELg"). */
export const applicationId = 0x53454c67

/** Version of the tables below. */
export const formatVersion = 1

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
    checksum INTEGER NOT NULL
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

/** The checksum of the `state` row. */
export const stateChecksum = (released: number, maxVersion: number): number =>
  rowChecksum([released, maxVersion], new Uint8Array(0))
