/**
 * Files that stand open and may lose their names: a descriptor goes on working after its file was removed or
 * replaced, and what is written to it then is found by nobody.
 *
 * @since 0.1.0
 */
import { statSync } from "node:fs"

/**
 * @since 0.1.0
 * @category models
 */
export class OpenedFiles {
  private readonly seen = new Map<string, string>()

  /**
   * The database at this path and the files beside it are open now; one that is not there yet counts from when it
   * is first seen.
   */
  constructor(
    private readonly database: string,
    private readonly paths: ReadonlyArray<string> = [database, `${database}-wal`]
  ) {
    this.problem()
  }

  /** What has become of one of them, if anything. A few microseconds. */
  problem(): string | undefined {
    for (const path of this.paths) {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
      const now = stat === undefined ? undefined : `${stat.dev}:${stat.ino}`
      const before = this.seen.get(path)
      // Nothing else is read of it: closing a descriptor of its own would drop SQLite's locks.
      if (path === this.database && before === now && stat?.size === 0n) {
        return `${path} was emptied while it is in use; stop the engine before files are changed`
      }
      if (before === now) continue
      if (now === undefined)
        return `${path} was removed while it is in use; stop the engine before files are moved`
      if (before !== undefined) {
        return `${path} was replaced by another file while it is in use; stop the engine before files are moved`
      }
      this.seen.set(path, now)
    }
    return undefined
  }
}
