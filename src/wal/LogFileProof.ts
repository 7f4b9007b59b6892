/** The proof that a log's file lost and changed nothing. Runs in the log's worker thread; synchronous. */
import type Database from "better-sqlite3"
import { type DeadLetterMessage, damaged, type OpenedFile } from "./LogProtocol.js"
import {
  bindingChecksum,
  deadLetterChecksum,
  type LogState,
  segmentChecksum,
  stateChecksum,
  withLetter
} from "./LogSchema.js"
import { firstDamaged, slotBytes } from "./SegmentCodec.js"
import type { ArchiveBinding } from "./WriteAheadLog.js"

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
  readonly content: Omit<OpenedFile, "identity" | "items" | "bytes">
  /** As the file has it. */
  readonly state: LogState
  /** See `OpenLogFile.unfolded`. */
  readonly unfolded: boolean
}

/**
 * Reads everything in the database once and checks it: SQLite's structure, the checksum of every row, that no segment
 * is missing between two others, and that the file holds what its state row says. Throws an `OpenRefused` of kind
 * `damaged` that names what it found.
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
  // The whole check, for the sake of the few indexes: the quick one does not look into them.
  const check = db.pragma("integrity_check(1)", { simple: true })
  if (check !== "ok") throw damaged(`its SQLite database is damaged (${String(check).replaceAll("\n", " ")})`)
  // What a crash left behind in the -wal file must not be taken for damage at the next start.
  const folded = hasRoom(() => db.pragma("wal_checkpoint(TRUNCATE)"))
  const state = proveState(db)
  const { released } = state
  const segments = proveSegments(db, released)
  const committed = Math.max(released, segments.last)
  if (committed < state.committed)
    throw damaged(`entries from sequence ${committed + 1} to ${state.committed} are missing`)
  const { letterBytes, letters, sum } = proveDeadLetters(db)
  if (sum !== state.letters) throw damaged("its dead letters are not those that were written last")
  const bound = bindingOf(db)
  if (bindingChecksum(bound) !== state.binding) throw damaged("what it says about its archive is damaged")
  const maxVersion = Math.max(state.maxVersion, segments.maxVersion)
  return {
    content: { committed, released, maxVersion, letters, letterBytes, binding: bound },
    state,
    unfolded: !folded
  }
}

const proveState = (db: Database.Database): LogState => {
  const row = db
    .prepare("SELECT released, max_version AS maxVersion, committed, letters, binding, checksum FROM state")
    .get() as (LogState & { readonly checksum: number }) | undefined
  if (row === undefined) throw damaged("its state row is damaged")
  const { checksum, ...state } = row
  if (checksum !== stateChecksum(state)) throw damaged("its state row is damaged")
  return state
}

/** The archive that the log belongs to, if it does to any. */
const bindingOf = (db: Database.Database): ArchiveBinding | undefined => {
  const row = db.prepare("SELECT lineage, archived, carried_to FROM binding WHERE id = 1").get() as
    | { readonly lineage: string; readonly archived: number; readonly carried_to: number }
    | undefined
  if (row === undefined) return undefined
  const bound = { lineage: row.lineage, archived: row.archived === 1 }
  return row.carried_to === 0 ? bound : { ...bound, carriedTo: row.carried_to }
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
  let sum = 0
  for (const { at, checksum, data, reason, sequence } of rows) {
    if (checksum !== deadLetterChecksum(sequence, reason, at, data))
      throw damaged(`the dead letter with sequence ${sequence} is damaged`)
    letters++
    letterBytes += data.length
    sum = withLetter(sum, checksum, 1)
  }
  return { letters, letterBytes, sum }
}
