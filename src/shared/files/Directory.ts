/** Making a folder with all above it, durably and for its owner alone. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"

/** Makes a directory's entries durable, where the platform can. */
export const syncDirectory = (path: string): void => {
  if (process.platform === "win32") return
  const directory = openSync(path, "r")
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

const make = (path: string): void => {
  try {
    mkdirSync(path, 0o700)
  } catch (error) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return
    const above = dirname(path)
    const code = (error as { code?: unknown } | null)?.code
    // Where the folder above is there, the path is refused for another reason, and trying on would never end.
    if (code !== "ENOENT" || above === path || existsSync(above)) throw error
    make(above)
    make(path)
    return
  }
  syncDirectory(dirname(path))
}

/**
 * As `mkdirSync` with `recursive`, which in Node 20 never comes back from a file system that refuses new folders with
 * ENOENT (`/proc`). Every folder it makes is synced into the one above. Throws what the system says.
 */
export const makeDirectory = (path: string): void => make(resolve(path))
