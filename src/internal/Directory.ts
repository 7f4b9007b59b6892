/**
 * Making a folder with all above it.
 *
 * @since 0.1.0
 */
import { existsSync, mkdirSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"

const make = (path: string): string | undefined => {
  try {
    mkdirSync(path)
    return path
  } catch (error) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return undefined
    const above = dirname(path)
    const code = (error as { code?: unknown } | null)?.code
    // Where the folder above is there, the path is refused for another reason, and trying on would never end.
    if (code !== "ENOENT" || above === path || existsSync(above)) throw error
    const topmost = make(above)
    return make(path) === undefined ? topmost : (topmost ?? path)
  }
}

/**
 * As `mkdirSync` with `recursive`, which in Node 20 never comes back from a file system that refuses new folders with
 * ENOENT (`/proc`). Answers the topmost folder it made, if any; throws what the system says.
 *
 * @since 0.1.0
 * @category functions
 */
export const makeDirectory = (path: string): string | undefined => make(resolve(path))
