/**
 * The log's SQLite file, opened: every operation of the protocol, synchronous, in the log's worker thread.
 *
 * A group commit stores whole segments, not a row for each entry. Released segments are deleted in bounded steps
 * after the released mark is durable; what a partly released segment holds below the mark is not returned.
 */
import type Database from "better-sqlite3"
import { OverwrittenFile } from "../shared/files/OpenedFiles.js"
import { LetterTable } from "./LetterTable.js"
import { storeBinding } from "./LogBinding.js"
import type { OpenLogFile } from "./LogFileOpen.js"
import { openLogFile } from "./LogFileOpen.js"
import type {
  DeadLetterMessage,
  LettersMoved,
  LogCounters,
  LogOperations,
  LogResumption,
  OpenedFile,
  PickedEntries,
  SegmentMessage,
  SegmentSlice
} from "./LogProtocol.js"
import { segmentChecksum, stateChecksum } from "./LogSchema.js"
import type { LogStatements } from "./LogStatements.js"
import { prepareStatements, segmentsPerPrune } from "./LogStatements.js"
import { cut, entrySizes, firstDamaged, stampChecksums } from "./SegmentCodec.js"
import { SnapshotTable } from "./SnapshotTable.js"
import type { ArchiveBinding } from "./WriteAheadLog.js"

/** The -wal file is folded into the main file when about this many bytes were written to it. */
const checkpointBytes = 8 * 1024 * 1024
const pagesPerShrink = 1024
/** Free space worth giving back: this much, or half of the file. */
const shrinkBytes = 4 * 1024 * 1024
const shrinkLeastBytes = 128 * 1024

interface SegmentRow {
  readonly first: number
  readonly last: number
  readonly items: number
  readonly data: Buffer
}

export class LogFile implements LogOperations {
  /** What the file held when it was opened. */
  readonly opened: OpenedFile
  private readonly db: Database.Database
  private readonly letters: LetterTable
  private readonly snapshots: SnapshotTable
  private readonly statements: LogStatements
  private last: number
  private released: number
  private maxVersion: number
  private unprunedSegments = true
  private writtenBytes = 0
  private mustReset = false
  private shrinking = false
  private readonly counts = { commits: 0, checkpoints: 0 }

  /** Opens or creates the file, or opens the one that was in use; throws as `openLogFile` does. */
  static open(path: string, resume?: LogResumption): LogFile {
    const file = new LogFile(openLogFile(path, resume))
    if (resume !== undefined) file.forgetBehind(resume.committed)
    return file
  }

  private constructor(private readonly file: OpenLogFile) {
    this.db = file.db
    this.opened = file.content
    this.last = file.content.committed
    this.released = file.content.released
    this.maxVersion = file.content.maxVersion
    this.mustReset = file.unfolded
    this.statements = prepareStatements(this.db)
    this.letters = new LetterTable(this.db, (body) => this.transaction(body))
    this.snapshots = new SnapshotTable(this.db, (body) => this.transaction(body))
  }

  commit(segments: ReadonlyArray<SegmentMessage>): void {
    let { last, maxVersion } = this
    let bytes = 0
    this.transaction(() => {
      for (const { data, first, items, maxVersion: version } of segments) {
        stampChecksums(data, items)
        const end = first + items - 1
        const checksum = segmentChecksum(first, end, last, items, version, data)
        this.statements.insertSegment.run(first, end, last, items, version, checksum, data)
        last = end
        bytes += data.length
        if (version > maxVersion) maxVersion = version
      }
    })
    this.last = last
    this.maxVersion = maxVersion
    this.writtenBytes += bytes
    this.counts.commits++
  }

  read(after: number, maxItems: number, maxBytes: number): ReadonlyArray<SegmentSlice> {
    const from = Math.max(after, this.released)
    const slices: Array<SegmentSlice> = []
    let items = 0
    let bytes = 0
    let full = false
    for (const row of this.statements.segmentsFrom.iterate(from + 1) as IterableIterator<SegmentRow>) {
      if (row.last <= from) continue
      const sizes = new Uint32Array(row.items)
      entrySizes(row.data, row.items, sizes, 0)
      const start = Math.max(0, from + 1 - row.first)
      let end = start
      for (; end < row.items; end++) {
        const size = sizes[end]!
        if (items > 0 && (items + 1 > maxItems || bytes + size > maxBytes)) {
          full = true
          break
        }
        items++
        bytes += size
      }
      if (end > start) {
        this.assertSound(row, start, end)
        slices.push({ first: row.first, items: row.items, from: start, to: end, data: row.data })
      }
      if (full || items >= maxItems || bytes >= maxBytes) break
    }
    return slices
  }

  readAt(sequences: ReadonlyArray<number>): PickedEntries {
    const found: Array<number> = []
    const parts: Array<{ items: number; data: Uint8Array }> = []
    let index = 0
    while (index < sequences.length) {
      const row = this.statements.segmentAt.get(sequences[index]!) as SegmentRow | undefined
      const indexes: Array<number> = []
      // No segment holds it: a gap after a failed commit.
      if (row === undefined || row.last < sequences[index]!) {
        index++
        continue
      }
      for (; index < sequences.length && sequences[index]! <= row.last; index++) {
        const position = sequences[index]! - row.first
        this.assertSound(row, position, position + 1)
        indexes.push(position)
        found.push(sequences[index]!)
      }
      parts.push({ items: indexes.length, data: cut(row.data, row.items, indexes) })
    }
    return { sequences: found, parts }
  }

  release(upTo: number): { readonly more: boolean } {
    const released = Math.min(upTo, this.last)
    if (released <= this.released) return { more: this.unprunedSegments }
    const deleted = this.transaction(() => {
      this.statements.setState.run(released, this.maxVersion, stateChecksum(released, this.maxVersion))
      return this.deleteReleased(released)
    })
    this.released = released
    this.unprunedSegments = deleted === segmentsPerPrune
    return { more: this.unprunedSegments }
  }

  prune(): { readonly more: boolean } {
    if (this.unprunedSegments) {
      this.unprunedSegments = this.transaction(() => this.deleteReleased(this.released)) === segmentsPerPrune
    }
    return { more: this.unprunedSegments }
  }

  addDeadLetters(letters: ReadonlyArray<DeadLetterMessage>): LettersMoved {
    return this.letters.add(letters)
  }

  listDeadLetters(after: number, limit: number, maxBytes: number): ReadonlyArray<DeadLetterMessage> {
    return this.letters.list(after, limit, maxBytes)
  }

  removeDeadLetters(sequences: ReadonlyArray<number>): LettersMoved {
    return this.letters.remove(sequences)
  }

  bind(binding: ArchiveBinding): void {
    this.transaction(() => storeBinding(this.db, binding))
  }

  shrink(): { readonly more: boolean } {
    if (this.prune().more) return { more: true }
    const free = this.pragma("freelist_count")
    const pageSize = this.pragma("page_size")
    const freeBytes = free * pageSize
    const worthwhile =
      freeBytes > shrinkBytes || (free * 2 > this.pragma("page_count") && freeBytes > shrinkLeastBytes)
    if (worthwhile || (this.shrinking && free > 0)) {
      this.transaction(() => this.db.pragma(`incremental_vacuum(${pagesPerShrink})`))
      this.writtenBytes += Math.min(free, pagesPerShrink) * pageSize
      this.shrinking = this.pragma("freelist_count") < free
      if (this.shrinking) return { more: true }
    }
    // Only a checkpoint shortens the main file.
    if (this.shrinking) this.checkpoint()
    this.shrinking = false
    return { more: false }
  }

  checkpoint(): void {
    this.runCheckpoint("TRUNCATE")
    this.mustReset = false
  }

  probe(bytes: number): void {
    this.transaction(() =>
      this.statements.setState.run(
        this.released,
        this.maxVersion,
        stateChecksum(this.released, this.maxVersion)
      )
    )
    if (bytes > 0) this.snapshots.probe(bytes)
    this.writtenBytes += bytes
  }

  writeSnapshotPart(part: number, data: Uint8Array): void {
    this.snapshots.writePart(part, data)
    this.writtenBytes += data.length
  }

  publishSnapshot(parts: number): void {
    this.snapshots.publish(parts)
  }

  snapshotParts(): number {
    return this.snapshots.parts()
  }

  readSnapshotPart(part: number): Uint8Array | undefined {
    return this.snapshots.readPart(part)
  }

  pruneSnapshots(): { readonly more: boolean } {
    return { more: this.snapshots.prune() }
  }

  counters(): LogCounters {
    return { ...this.counts }
  }

  /** Work that should not delay an answer: folds the -wal file into the main file when it has grown. */
  afterReply(): void {
    if (this.writtenBytes < checkpointBytes || this.mustReset || !this.db.open) return
    this.writtenBytes = 0
    try {
      this.runCheckpoint("PASSIVE")
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

  private transaction<A>(body: () => A): A {
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

  /** Removes segments that were written but acknowledged to nobody, because their worker died before it could. */
  private forgetBehind(committed: number): void {
    if (this.last <= committed) return
    this.transaction(() => this.statements.deleteSegmentsBehind.run(committed))
    this.last = committed
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
    this.writtenBytes = 0
    this.counts.checkpoints++
  }

  /** What is written would be found; and nobody but a checkpoint has written to the file itself. */
  private assertOwn(): void {
    const { files } = this.file
    const problem = files.problem()
    if (problem !== undefined) throw new Error(problem)
    if (files.wasWritten()) throw new OverwrittenFile("it was overwritten while it is in use")
  }

  private deleteReleased(released: number): number {
    return this.statements.deleteSegments.run(released, released).changes
  }

  private assertSound(row: SegmentRow, from: number, to: number): void {
    const index = firstDamaged(row.data, row.items, from, to)
    if (index !== undefined) throw new Error(`the entry with sequence ${row.first + index} is damaged`)
  }
}
