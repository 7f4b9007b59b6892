/** The proof that a log's file lost and changed nothing. Runs in the log's worker thread; synchronous. */
import type Database from "better-sqlite3"
import { type DeadLetterMessage, damaged, type OpenedFile } from "./LogProtocol.js"
import { deadLetterChecksum, segmentChecksum, stateChecksum } from "./LogSchema.js"
import { firstDamaged, slotBytes } from "./SegmentCodec.js"

// A volume without room says the first, a quota or a limit on file sizes the second.
const noRoom = new Set<unknown>(["SQLITE_FULL", "SQLITE_IOERR_WRITE"])

/**
 * Writes, and says whether there was room. A log on a full volume is opened all the same: what it holds can be read
 * and carried to the archive.
 */
export const hasRoom = (write: () => void): boolean => {
  try {
    write()
    return true
  } catch (error) {
    if (noRoom.has((error as { code?: unknown } | null)?.code)) return false
    throw error
  }
}

/** What was proven. */
export interface Proven {
  readonly content: Omit<OpenedFile, "identity" | "binding" | "items" | "bytes">
  /** See `OpenLogFile.unfolded`. */
  readonly unfolded: boolean
}

/**
 * Reads everything in the database once and checks it: SQLite's structure, the checksum of every row, and that no
 * segment is missing between two others. Throws an `OpenRefused` of kind `damaged` that names what it found.
 */
export const prove = (db: Database.Database): Proven => {
  try {
    return proveRows(db)
  } catch (error) {
    // A value of a type that no row of ours has: SQLite's structure is whole, what it holds is not.
    if (error instanceof TypeError || error instanceof RangeError)
      throw damaged("it holds a row that is damaged")
    throw error
  }
}

const proveRows = (db: Database.Database): Proven => {
  const check = db.pragma("quick_check(1)", { simple: true })
  if (check !== "ok") throw damaged(`its SQLite database is damaged (${String(check).replaceAll("\n", " ")})`)
  // What a crash left behind in the -wal file must not be taken for damage at the next start.
  const folded = hasRoom(() => db.pragma("wal_checkpoint(TRUNCATE)"))
  const state = db.prepare("SELECT released, max_version AS maxVersion, checksum FROM state").get() as
    | { released: number; maxVersion: number; checksum: number }
    | undefined
  if (state === undefined || state.checksum !== stateChecksum(state.released, state.maxVersion)) {
    throw damaged("its state row is damaged")
  }
  const segments = proveSegments(db, state.released)
  const content = {
    committed: Math.max(state.released, segments.last),
    released: state.released,
    maxVersion: Math.max(state.maxVersion, segments.maxVersion),
    ...proveDeadLetters(db)
  }
  return { content, unfolded: !folded }
}

interface SegmentRow {
  readonly first: number
  readonly last: number
  readonly previous: number
  readonly items: number
  readonly maxVersion: number
  readonly checksum: number
  readonly data: Buffer
}

const proveSegments = (db: Database.Database, released: number) => {
  const rows = db
    .prepare(
      `SELECT first_sequence AS first, last_sequence AS last, previous, items, max_version AS maxVersion, checksum, data
       FROM segment ORDER BY first_sequence`
    )
    .iterate() as IterableIterator<SegmentRow>
  let last: number | undefined
  let maxVersion = 0
  for (const row of rows) {
    proveSegment(row)
    if (last === undefined ? row.previous > released : row.previous !== last) {
      throw damaged(`entries between sequence ${last ?? released} and ${row.first} are missing`)
    }
    last = row.last
    if (row.maxVersion > maxVersion) maxVersion = row.maxVersion
  }
  return { last: last ?? 0, maxVersion }
}

const proveSegment = (row: SegmentRow): void => {
  const { first, last, previous, items, maxVersion, data } = row
  if (row.checksum === segmentChecksum(first, last, previous, items, maxVersion, data)) return
  const index = data.length >= items * slotBytes ? firstDamaged(data, items) : undefined
  throw damaged(
    index === undefined
      ? `the entries from sequence ${first} on are damaged`
      : `the entry with sequence ${first + index} is damaged`
  )
}

const proveDeadLetters = (db: Database.Database) => {
  const rows = db
    .prepare("SELECT sequence, reason, at, checksum, data FROM dead_letter")
    .iterate() as IterableIterator<DeadLetterMessage & { readonly checksum: number }>
  let letters = 0
  let letterBytes = 0
  for (const { at, checksum, data, reason, sequence } of rows) {
    if (checksum !== deadLetterChecksum(sequence, reason, at, data))
      throw damaged(`the dead letter with sequence ${sequence} is damaged`)
    letters++
    letterBytes += data.length
  }
  return { letters, letterBytes }
}
