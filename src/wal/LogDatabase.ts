/** The log's open SQLite database: transactions, checkpoints and disk space. Runs in the log's worker thread. */
import type Database from "better-sqlite3"
import { OverwrittenFile } from "../shared/files/OpenedFiles.js"
import type { OpenLogFile } from "./LogFileOpen.js"
import { type LogStatements, prepareStatements } from "./LogSchema.js"

/** The -wal file is folded into the main file when this many bytes of it are not yet. */
const checkpointBytes = 8 * 1024 * 1024
const pagesPerShrink = 1024
/** Free space worth giving back: this much, or half of the file. */
const shrinkBytes = 4 * 1024 * 1024
const shrinkLeastBytes = 128 * 1024

export abstract class LogDatabase {
  protected readonly db: Database.Database
  protected readonly statements: LogStatements
  protected checkpoints = 0
  /** Bytes at which the -wal file is folded in; more than usual once that has failed. */
  private foldAt = checkpointBytes
  private mustReset: boolean
  private shrinking = false

  constructor(private readonly file: OpenLogFile) {
    this.db = file.db
    this.mustReset = file.unfolded
    this.statements = prepareStatements(this.db)
  }

  checkpoint(): void {
    this.trySeal()
    this.runCheckpoint("TRUNCATE")
    this.mustReset = false
  }

  /** Folds the -wal file into the main file when it has grown. */
  afterReply(): void {
    if (this.mustReset || !this.db.open) return
    try {
      const unfolded = this.unfoldedBytes()
      if (unfolded < this.foldAt) return
      this.foldAt = unfolded + checkpointBytes
      this.trySeal()
      this.runCheckpoint("PASSIVE")
      this.foldAt = checkpointBytes
    } catch {
      // A failure costs nothing yet: the -wal file keeps growing and the next attempt comes.
    }
  }

  close(): void {
    try {
      this.checkpoint()
    } catch {
      // The -wal file stays and the next start reads it.
    } finally {
      this.file.close()
    }
  }

  /** Notes in the file what it holds; see `LogState`. */
  protected abstract seal(): void

  private trySeal(): void {
    if (this.mustReset) return
    try {
      this.seal()
    } catch {
      // There is no room for it, perhaps, and what is in the -wal file has to be folded in all the same.
    }
  }

  protected transaction<A>(body: () => A): A {
    // What a failed transaction left in the -wal file must not stand behind later ones, where the next start
    // would take it for damage (see SqliteWalFile).
    if (this.mustReset) this.checkpoint()
    try {
      this.statements.begin.run()
      const result = body()
      this.assertOwn()
      this.statements.commit.run()
      return result
    } catch (error) {
      this.mustReset = true
      if (this.db.inTransaction) this.statements.rollback.run()
      throw error
    }
  }

  /** Gives free pages back to the file system, some at a time; whether there are more. */
  protected shrinkPages(): boolean {
    const free = this.pragma("freelist_count")
    const pageSize = this.pragma("page_size")
    const freeBytes = free * pageSize
    const worthwhile =
      freeBytes > shrinkBytes || (free * 2 > this.pragma("page_count") && freeBytes > shrinkLeastBytes)
    if (worthwhile || (this.shrinking && free > 0)) {
      this.transaction(() => this.db.pragma(`incremental_vacuum(${pagesPerShrink})`))
      this.shrinking = this.pragma("freelist_count") < free
      if (this.shrinking) return true
    }
    // Only a checkpoint shortens the main file.
    if (this.shrinking) this.checkpoint()
    this.shrinking = false
    return false
  }

  private unfoldedBytes(): number {
    const [state] = this.db.pragma("wal_checkpoint(NOOP)") as [{ log: number; checkpointed: number }]
    return (state.log - state.checkpointed) * this.pragma("page_size")
  }

  private pragma(name: string): number {
    return this.db.pragma(name, { simple: true }) as number
  }

  private runCheckpoint(mode: "PASSIVE" | "TRUNCATE"): void {
    this.assertOwn()
    try {
      const [result] = this.db.pragma(`wal_checkpoint(${mode})`) as Array<{ busy: number }>
      if (result?.busy !== 0) throw new Error("the -wal file could not be folded into the log")
    } finally {
      this.file.files.wasWritten()
    }
    this.checkpoints++
  }

  /** What is written would be found; and nobody but a checkpoint has written to the file itself. */
  private assertOwn(): void {
    const { files } = this.file
    const problem = files.problem()
    if (problem !== undefined) throw new Error(problem)
    if (files.wasWritten()) throw new OverwrittenFile("it was overwritten while it is in use")
  }
}
