/**
 * Database files that stand open and may be changed by somebody else: a descriptor goes on working after its file
 * was removed or replaced, and what is written to it then is found by nobody.
 */
import { realpathSync, statSync } from "node:fs"
import { resolve } from "node:path"

/** A file that was overwritten in its place: it and what is remembered of it do not belong together. */
export class OverwrittenFile extends Error {}

/** Whether this failure says that a database is not, or not all, what it was: nothing heals that. */
export const isDamage = (error: unknown): boolean => {
  const code = String((error as { code?: unknown } | null)?.code)
  return error instanceof OverwrittenFile || code === "SQLITE_NOTADB" || code.startsWith("SQLITE_CORRUPT")
}

/** What is told of a damaged database until the process ends. */
export const damageAdvice =
  "nothing is read from it or written to it until the engine is started again: stop it, keep the file, and restore it from a backup"

export class OpenedFiles {
  private readonly seen = new Map<string, string>()
  private readonly database: string
  private readonly paths: ReadonlyArray<string>
  private written: string | undefined

  /**
   * The database at this path and the files beside it are open now; one that is not there yet counts from when it
   * is first seen. The path is followed as it was given: what stands behind a link may change.
   */
  constructor(path: string) {
    this.database = resolve(path)
    this.paths = [this.database, `${realpathSync(path)}-wal`]
    this.problem()
    this.wasWritten()
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

  /** Whether somebody has written to the database itself, and not to what is beside it, since the last call. */
  wasWritten(): boolean {
    const stat = statSync(this.database, { bigint: true, throwIfNoEntry: false })
    const before = this.written
    // No finer than what a copy or a restored date keeps.
    this.written = stat === undefined ? before : `${stat.mtimeMs}:${stat.size}`
    return before !== this.written
  }
}
