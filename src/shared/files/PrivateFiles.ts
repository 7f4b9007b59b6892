/** Files and folders that nobody but their owner may read. */
import { chmodSync, closeSync, openSync, statSync } from "node:fs"

const forOthers = 0o077
const sticky = 0o1000

/**
 * Takes from group and others what they may do with this file or folder, if it is there. What belongs to somebody
 * else, or is a folder for everybody, stays as it is.
 */
export const keepPrivate = (path: string): void => {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined || (stat.mode & forOthers) === 0 || (stat.mode & sticky) !== 0) return
  if (process.getuid?.() !== stat.uid) return
  try {
    chmodSync(path, stat.mode & 0o700)
  } catch {
    // A read-only file system, or one without rights: who opens the file says what is wrong with it.
  }
}

/**
 * Makes an empty private file unless there is one, and keeps it and what SQLite has put beside it private. SQLite
 * gives new files beside it the same rights.
 */
export const privateDatabase = (path: string): void => {
  try {
    // Only a file that was not there is opened: closing one would give back the locks that this process has on it.
    closeSync(openSync(path, "wx", 0o600))
  } catch {
    // It is there, or SQLite is about to say why it cannot be.
  }
  for (const suffix of ["", "-wal", "-shm", "-journal"]) keepPrivate(path + suffix)
}
