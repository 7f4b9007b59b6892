/**
 * Opening the log's SQLite file: the lock, the creation, the proof that nothing is missing. Runs in the log's
 * worker thread; synchronous.
 */
import { randomUUID } from "node:crypto"
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import Database from "better-sqlite3"
import { makeDirectory, syncDirectory } from "../shared/files/Directory.js"
import { OpenedFiles } from "../shared/files/OpenedFiles.js"
import { privateDatabase } from "../shared/files/PrivateFiles.js"
import { hasRoom, prove } from "./LogFileProof.js"
import { cannotOpen, damaged, type LogResumption, type OpenedFile } from "./LogProtocol.js"
import {
  applicationId,
  formatVersion,
  type LogState,
  prepareStatements,
  schema,
  writeState
} from "./LogSchema.js"
import { inspectWalFile } from "./SqliteWalFile.js"

/** An open, locked and proven log file. */
export interface OpenLogFile {
  readonly db: Database.Database
  readonly content: Omit<OpenedFile, "items" | "bytes">
  readonly state: LogState
  /** The -wal file could not be folded in, because the volume is full: no transaction before that is done. */
  readonly unfolded: boolean
  /** Whether file and -wal file are still what was opened. */
  readonly files: OpenedFiles
  /** Closes the database, then gives the lock back. */
  readonly close: () => void
}

/**
 * Takes the lock that keeps a second engine out: an exclusive transaction on an empty database beside the log,
 * which ends with the process whatever happens. The log itself is locked too, but only once SQLite has read it,
 * which is too late for the look at its -wal file.
 */
const lock = (path: string): Database.Database => {
  privateDatabase(`${path}-lock`)
  const db = new Database(`${path}-lock`, { timeout: 0 })
  try {
    db.pragma("journal_mode = MEMORY")
    db.exec("BEGIN EXCLUSIVE")
    return db
  } catch (error) {
    db.close()
    if ((error as { code?: unknown }).code === "SQLITE_NOTADB") {
      throw cannotOpen(`${path}-lock should be an empty file, but something else wrote to it`)
    }
    throw error
  }
}

/** Creates an empty log beside its place and moves it there whole: a crash leaves all of it or nothing. */
const create = (path: string): void => {
  const building = `${path}-new`
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(building + suffix, { force: true })
  privateDatabase(building)
  const db = new Database(building)
  try {
    db.pragma("page_size = 8192")
    db.pragma("auto_vacuum = INCREMENTAL")
    db.pragma("synchronous = FULL")
    db.exec(schema)
    writeState(prepareStatements(db), { released: 0, maxVersion: 0, committed: 0, letters: 0, binding: 0 })
    db.pragma(`application_id = ${applicationId}`)
    db.pragma(`user_version = ${formatVersion}`)
    db.pragma("journal_mode = WAL")
  } finally {
    db.close()
  }
  const file = openSync(building, "r+")
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(building, path)
  syncDirectory(dirname(path))
}

/**
 * Opens the file, creating it and its directory when there is none. Everything it holds is read once and checked:
 * the -wal file's frames, SQLite's own structure, the checksum of every row, and that no row is missing between
 * two others. Throws an `OpenRefused`, or what SQLite and `node:fs` throw (see `openProblemOf`).
 */
export const openLogFile = (given: string, resume?: LogResumption): OpenLogFile => {
  if (resume === undefined) makeDirectory(dirname(given))
  const exists = existsSync(given)
  if (!exists && resume !== undefined) throw cannotOpen("it was removed while it was in use")
  if (exists && statSync(given).isDirectory()) throw cannotOpen("it is a directory")
  if (exists && !statSync(given).isFile()) throw cannotOpen("it is not a regular file")
  const path = exists ? realpathSync(given) : join(realpathSync(dirname(given)), basename(given))
  const locked = lock(path)
  let db: Database.Database | undefined
  const close = () => {
    try {
      db?.close()
    } finally {
      locked.close()
    }
  }
  try {
    prepareFile(path)
    privateDatabase(path)
    db = new Database(path, { fileMustExist: true, timeout: 0 })
    configure(db)
    const { content, state, unfolded } = prove(db)
    const identity = identityOf(db, path)
    if (resume !== undefined) assertResumes(resume, identity, content.committed)
    const files = new OpenedFiles(given)
    return { db, content: { ...content, identity }, state, unfolded, files, close }
  } catch (error) {
    close()
    throw error
  }
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The name of the log, under which others know who writes through it: the one stored in the file, or a new one,
 * durable before it is returned. The inode is stored with it: a copied file has another one and becomes a log of its
 * own, because two logs under one name would pass for one writer. A new name is always safe: to others the old one
 * is a node that has gone.
 */
const identityOf = (db: Database.Database, path: string): string => {
  const place = String(statSync(path, { bigint: true }).ino)
  const stored = db.prepare("SELECT name, place FROM identity WHERE id = 1").get() as
    | { readonly name: unknown; readonly place: unknown }
    | undefined
  if (stored?.place === place && typeof stored.name === "string" && uuidPattern.test(stored.name)) {
    return stored.name
  }
  const name = randomUUID()
  // Where there is no room the next start makes another one.
  hasRoom(() => {
    db.prepare("INSERT OR REPLACE INTO identity (id, name, place) VALUES (1, ?, ?)").run(name, place)
    // As after the proof: nothing stands in the -wal file that a later start would have to judge.
    db.pragma("wal_checkpoint(TRUNCATE)")
  })
  return name
}

const assertResumes = (resume: LogResumption, identity: string, committed: number): void => {
  if (identity !== resume.identity) throw damaged("it is another log than the one that was in use")
  if (committed < resume.committed) {
    throw damaged(`it ends at sequence ${committed}, but entries up to ${resume.committed} were acknowledged`)
  }
}

const prepareFile = (path: string): void => {
  const wal = inspectWalFile(`${path}-wal`)
  if (!existsSync(path)) {
    // SQLite would delete it, and with it what it holds.
    if (wal.commits > 0 || wal.kind === "damaged")
      throw damaged("its -wal file is there but the log itself is gone")
    create(path)
  } else if (statSync(path).size < 512) {
    // SQLite would take so short a file for a new database.
    throw damaged(`it has ${statSync(path).size} bytes; a log of this engine never has so few`)
  } else if (wal.kind === "damaged") {
    throw damaged(wal.problem)
  }
}

const configure = (db: Database.Database): void => {
  // Before the file is first read: in this mode SQLite needs no shared memory and lets nobody else in.
  db.pragma("locking_mode = EXCLUSIVE")
  if (db.pragma("application_id", { simple: true }) !== applicationId) {
    throw cannotOpen("it is a SQLite database, but not a log of this engine")
  }
  const version = db.pragma("user_version", { simple: true })
  if (version !== formatVersion) {
    throw cannotOpen(
      `it has format ${String(version)}, and this version of the engine reads format ${formatVersion}`
    )
  }
  if (db.pragma("journal_mode = WAL", { simple: true }) !== "wal")
    throw cannotOpen("it cannot be set to WAL mode")
  db.pragma("synchronous = FULL")
  db.pragma("wal_autocheckpoint = 0")
  db.pragma(`journal_size_limit = ${16 * 1024 * 1024}`)
  db.pragma("cache_size = -8192")
  // Fails here, and not at the first write, when the file cannot be written.
  db.exec("BEGIN IMMEDIATE")
  db.exec("ROLLBACK")
}
