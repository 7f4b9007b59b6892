/**
 * Every operation of the protocol on the log's SQLite file, synchronous, in the log's worker thread.
 *
 * A group commit stores whole segments, not a row for each entry. Released segments are deleted in bounded steps
 * after the released mark is durable; what a partly released segment holds below the mark is not returned. The
 * filter's snapshot is written part by part, so that commits get their turn between them, and published at once.
 */
import { LogDatabase } from "./LogDatabase.js"
import { type OpenLogFile, openLogFile } from "./LogFileOpen.js"
import type {
  Amount,
  DeadLetterMessage,
  LogOperations,
  LogResumption,
  OpenedFile,
  SegmentSlice
} from "./LogProtocol.js"
import {
  bindingChecksum,
  deadLetterChecksum,
  type LogState,
  partsPerPrune,
  segmentChecksum,
  segmentsPerRelease,
  withLetter,
  writeState
} from "./LogSchema.js"
import { cut, entrySizes, firstDamaged, stampChecksums } from "./SegmentCodec.js"
import type { Segment } from "./SegmentWriter.js"
import type { ArchiveBinding } from "./WriteAheadLog.js"

interface SegmentRow {
  readonly first: number
  readonly last: number
  readonly items: number
  readonly data: Buffer
}

export class LogFile extends LogDatabase implements LogOperations {
  /** What the file held when it was opened. */
  readonly opened: OpenedFile
  private last: number
  private maxVersion: number
  /** As the file has it. */
  private state: LogState
  private unprunedSegments = true
  private commits = 0
  private published: { readonly generation: number; readonly parts: number } | undefined

  /** Opens or creates the file, or opens the one that was in use; throws as `openLogFile` does. */
  static open(path: string, resume?: LogResumption): LogFile {
    const file = openLogFile(path, resume)
    try {
      return new LogFile(file, resume)
    } catch (error) {
      // A column whose name is damaged shows when the statements are prepared.
      file.close()
      throw error
    }
  }

  private constructor(file: OpenLogFile, resume: LogResumption | undefined) {
    super(file)
    this.last = file.content.committed
    this.maxVersion = file.content.maxVersion
    this.state = file.state
    this.published = this.statements.snapshotHead.get() as typeof this.published
    if (resume !== undefined) this.forgetBehind(resume.committed)
    // What a crash left in the -wal file is in the file itself now.
    if (!file.unfolded && this.isUnsealed) this.checkpoint()
    this.opened = { ...file.content, ...this.amount(this.released, this.last) }
  }

  commit(segments: ReadonlyArray<Segment>): void {
    let { last, maxVersion } = this
    this.transaction(() => {
      for (const { data, first, items, maxVersion: version } of segments) {
        stampChecksums(data, items)
        const end = first + items - 1
        const checksum = segmentChecksum(first, end, last, items, version, data)
        this.statements.insertSegment.run(first, end, last, items, version, checksum, data)
        last = end
        if (version > maxVersion) maxVersion = version
      }
    })
    this.last = last
    this.maxVersion = maxVersion
    this.commits++
  }

  read(after: number, maxItems: number, maxBytes: number): ReadonlyArray<SegmentSlice> {
    const from = Math.max(after, this.released)
    const slices: Array<SegmentSlice> = []
    let items = 0
    let bytes = 0
    let full = false
    for (const row of this.statements.segmentsFrom.iterate(from + 1) as IterableIterator<SegmentRow>) {
      if (row.last <= from) continue
      const sizes = entrySizes(row.data, row.items)
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

  /** Takes ascending numbers and returns their neighbours together. */
  readAt(sequences: ReadonlyArray<number>): ReadonlyArray<SegmentSlice> {
    const slices: Array<SegmentSlice> = []
    let row: SegmentRow | undefined
    for (let index = 0; index < sequences.length; ) {
      const first = sequences[index]!
      if (row === undefined || row.last < first) {
        row = this.statements.segmentAt.get(first) as SegmentRow | undefined
      }
      let items = 1
      // No segment holds it: a gap after a failed commit.
      if (row !== undefined && first <= row.last) {
        while (first + items <= row.last && sequences[index + items] === first + items) items++
        const from = first - row.first
        this.assertSound(row, from, from + items)
        slices.push({ first, items, from: 0, to: items, data: cut(row.data, row.items, from, from + items) })
      }
      index += items
    }
    return slices
  }

  /** Durably notes the release, and deletes a bounded number of released segments; returns what was set free. */
  release(upTo: number): Amount & { readonly more: boolean } {
    const before = this.released
    const released = Math.min(Math.max(upTo, before), this.last)
    const freed = this.amount(before, released)
    if (released > before || this.unprunedSegments) {
      const remove = () => this.statements.deleteSegments.run(released, released).changes
      const deleted =
        released > before ? this.changing(() => [{ released }, remove()] as const) : this.transaction(remove)
      this.unprunedSegments = deleted === segmentsPerRelease
    }
    return { ...freed, more: this.unprunedSegments }
  }

  addDeadLetters(letters: ReadonlyArray<DeadLetterMessage>): Amount {
    return this.changing(() => {
      const added = { items: 0, bytes: 0 }
      let sum = this.state.letters
      for (const { at, data, reason, sequence } of letters) {
        const checksum = deadLetterChecksum(sequence, reason, at, data)
        if (this.statements.insertLetter.run(sequence, reason, at, checksum, data).changes === 0) continue
        added.items++
        added.bytes += data.length
        sum = withLetter(sum, checksum, 1)
      }
      return [{ letters: sum }, added] as const
    })
  }

  listDeadLetters(after: number, limit: number, maxBytes: number): ReadonlyArray<DeadLetterMessage> {
    const page: Array<DeadLetterMessage> = []
    let bytes = 0
    const rows = this.statements.lettersAfter.iterate(after, limit)
    for (const row of rows as IterableIterator<DeadLetterMessage & { readonly checksum: number }>) {
      const { at, checksum, data, reason, sequence } = row
      bytes += data.length
      if (page.length > 0 && bytes > maxBytes) break
      if (checksum !== deadLetterChecksum(sequence, reason, at, data))
        throw new Error(`the dead letter with sequence ${sequence} is damaged`)
      page.push({ sequence, reason, at, data })
    }
    return page
  }

  removeDeadLetters(sequences: ReadonlyArray<number>): Amount {
    return this.changing(() => {
      const removed = { items: 0, bytes: 0 }
      let sum = this.state.letters
      for (const sequence of sequences) {
        const rows = this.statements.deleteLetter.all(sequence) as ReadonlyArray<{
          readonly bytes: number
          readonly checksum: number
        }>
        for (const { bytes, checksum } of rows) {
          removed.items++
          removed.bytes += bytes
          sum = withLetter(sum, checksum, -1)
        }
      }
      return [{ letters: sum }, removed] as const
    })
  }

  bind(binding: ArchiveBinding): void {
    const { archived, carriedTo, lineage } = binding
    this.changing(() => {
      this.db
        .prepare("INSERT OR REPLACE INTO binding (id, lineage, archived, carried_to) VALUES (1, ?, ?, ?)")
        .run(lineage, archived ? 1 : 0, carriedTo ?? 0)
      return [{ binding: bindingChecksum(binding) }, undefined] as const
    })
  }

  shrink(): { readonly more: boolean } {
    return this.release(this.released).more ? { more: true } : { more: this.shrinkPages() }
  }

  /** Writes this many bytes durably, and removes them: the proof that the log takes writes. */
  probe(bytes: number): void {
    this.changing(() => [{}, undefined])
    if (bytes === 0) return
    // A part that belongs to no snapshot.
    this.transaction(() => this.statements.insertPart.run(-1, 0, Buffer.alloc(bytes)))
    this.transaction(() => this.statements.deleteSnapshot.run(-1))
  }

  /** Adds a part to the snapshot being written; part 0 starts a new one. */
  writeSnapshotPart(part: number, data: Uint8Array): void {
    this.transaction(() => {
      // What an earlier attempt left.
      if (part === 0) this.statements.deleteSnapshot.run(this.nextGeneration())
      this.statements.insertPart.run(this.nextGeneration(), part, data)
    })
  }

  /** Makes the parts written so far the snapshot. */
  publishSnapshot(parts: number): void {
    const generation = this.nextGeneration()
    this.transaction(() => this.statements.setSnapshotHead.run(generation, parts))
    this.published = { generation, parts }
  }

  /** Nothing behind the last one, or where there is no snapshot. */
  readSnapshotPart(part: number): Uint8Array | undefined {
    if (this.published === undefined || part >= this.published.parts) return undefined
    const row = this.statements.snapshotPart.get(this.published.generation, part)
    return (row as { readonly data: Uint8Array } | undefined)?.data
  }

  /** Deletes a bounded number of parts that belong to no snapshot any more. */
  pruneSnapshots(): { readonly more: boolean } {
    const generation = this.published?.generation ?? 0
    const { changes } = this.transaction(() => this.statements.deleteOtherParts.run(generation))
    return { more: changes === partsPerPrune }
  }

  /** Since the file was opened; each commit is one sync. */
  counters() {
    return { commits: this.commits, checkpoints: this.checkpoints }
  }

  /** Removes segments that were written but acknowledged to nobody, because their worker died before it could. */
  private forgetBehind(committed: number): void {
    if (this.last <= committed) return
    this.last = committed
    this.changing(() => [{}, this.statements.deleteSegmentsBehind.run(committed)])
  }

  private get released(): number {
    return this.state.released
  }

  private get isUnsealed(): boolean {
    return this.state.committed !== this.last
  }

  protected seal(): void {
    if (this.isUnsealed) this.changing(() => [{}, undefined])
  }

  /** A transaction that changes what the state row says. */
  private changing<A>(body: () => readonly [change: Partial<LogState>, result: A]): A {
    const { last: committed, maxVersion } = this
    const [state, result] = this.transaction(() => {
      const [change, result] = body()
      const state = { ...this.state, ...change, committed, maxVersion }
      writeState(this.statements, state)
      return [state, result] as const
    })
    this.state = state
    return result
  }

  /** What stands above `after` up to and including `upTo`: only the segments at both ends are read. */
  private amount(after: number, upTo: number): Amount {
    let { bytes, items } = this.statements.wholeSegments.get(after, upTo, upTo) as Amount
    for (const end of new Set([after, upTo])) {
      const row = this.statements.segmentAt.get(end) as SegmentRow | undefined
      // The one that holds `after` counts where it is behind it, the other one where it begins behind `after`.
      if (row === undefined || row.last <= end || (end === upTo && row.first <= after)) continue
      const sizes = entrySizes(row.data, row.items)
      for (let sequence = Math.max(row.first, after + 1); sequence <= Math.min(row.last, upTo); sequence++) {
        items++
        bytes += sizes[sequence - row.first]!
      }
    }
    return { items, bytes }
  }

  private nextGeneration(): number {
    return (this.published?.generation ?? 0) + 1
  }

  private assertSound(row: SegmentRow, from: number, to: number): void {
    const index = firstDamaged(row.data, row.items, from, to)
    if (index !== undefined) throw new Error(`the entry with sequence ${row.first + index} is damaged`)
  }
}
