/** Why a file could not be opened as a log. */
import type { OpenProblem } from "./LogProtocol.js"

/** Thrown when a file cannot be opened as a log. */
export class OpenRefused extends Error {
  constructor(readonly reason: OpenProblem) {
    super(reason.problem)
  }
}

/** The path or its file system does not allow it. */
export const cannotOpen = (problem: string) => new OpenRefused({ kind: "cannot-open", problem })

/** The file is there, but not all it held. */
export const damaged = (problem: string) => new OpenRefused({ kind: "damaged", problem })

/** Another engine has it open. */
export const inUse = () => new OpenRefused({ kind: "in-use", problem: "it is in use" })

/** What a thrown value means for the opening of a file. */
export const openProblemOf = (error: unknown): OpenProblem => {
  if (error instanceof OpenRefused) return error.reason
  const code = (error as { code?: unknown } | null)?.code
  const message = error instanceof Error ? error.message : String(error)
  if (typeof code === "string") {
    if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) return inUse().reason
    if (code === "SQLITE_NOTADB")
      return damaged("it is not a SQLite database, or its first page is damaged").reason
    if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_IOERR_SHORT_READ") {
      return damaged(`its SQLite database is damaged (${message})`).reason
    }
  }
  return cannotOpen(`it cannot be opened (${message})`).reason
}

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
