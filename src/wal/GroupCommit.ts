/**
 * Collects appends and sends them to the log's worker as groups: everything that was appended in one turn of the
 * event loop, or while earlier groups were being written, shares one transaction and one sync.
 */
import { Either } from "effect"
import { LogFull, LogUnavailable } from "../EngineError.js"
import * as Metrics from "../Metrics.js"
import type { ItemRecord } from "../SyncItem.js"
import type { Amount, OpenedFile } from "./LogProtocol.js"
import { encodedBytes, maxSegmentBytes, type Segment, SegmentWriter } from "./SegmentWriter.js"
import type { Appended, ArchiveBinding, LogUsage } from "./WriteAheadLog.js"

/** Bounds of a log. */
export interface LogBounds {
  /** Entries it holds at most; 1,000,000 by default. */
  readonly maxItems?: number
  /** Encoded bytes it holds at most; 1 GiB by default. */
  readonly maxBytes?: number
}

/** What a caller is told to wait after the log refused or failed it, in milliseconds. */
const logRetryAfterMs = 1000

type AppendDone = (result: Either.Either<Appended, LogFull | LogUnavailable>) => void

/** Where the groups go. */
export interface CommitTarget {
  /** Why no request is served now, or `undefined`. */
  readonly problem: string | undefined
  readonly request: (
    operation: "commit",
    parameters: [ReadonlyArray<Segment>],
    done: (outcome: Either.Either<void, string>) => void,
    transfer: ReadonlyArray<ArrayBuffer>
  ) => void
}

export const unavailable = (path: string, operation: string, problem: string): LogUnavailable =>
  new LogUnavailable({ path, operation, problem, retryAfterMs: logRetryAfterMs })

/** Groups that may be with the worker at once: one being written, the next already waiting there. */
const maxGroupsInFlight = 2
/** A group takes no further calls once it holds this much: all of its callbacks run in one turn of the event loop. */
const maxGroupBytes = 4 * 1024 * 1024
const maxGroupItems = 2_000

interface Call extends Appended {
  readonly done: AppendDone
}

interface Group {
  readonly first: number
  readonly calls: Array<Call>
  readonly writers: Array<SegmentWriter>
  items: number
  bytes: number
}

/** Encodes, bounds, groups and sends appends, and keeps the counts of what the log holds. */
export class GroupCommit {
  /** What was accepted and is not released. */
  private items: number
  private bytes: number
  private readonly maxItems: number
  private readonly maxBytes: number
  /** Encoded bytes of each record of the call that is being admitted. */
  private readonly sizes: Array<number> = []
  private readonly groups: Array<Group> = []
  private inFlight = 0
  private scheduled = false
  private nextSequence: number
  /** The highest committed sequence number. */
  committed: number
  /** Everything up to here has been released durably. */
  released: number
  /** Highest version number appended. */
  maxVersion: number
  /** Bytes of the largest group that could not be committed since the last one that could. */
  refused = 0
  private letters: Amount
  binding: ArchiveBinding | undefined
  private closed = false

  /** `later`: runs what it is given after this turn, so that all fibers that run now share the group. */
  constructor(
    private readonly target: CommitTarget,
    readonly path: string,
    file: OpenedFile,
    { maxBytes = 1024 * 1024 * 1024, maxItems = 1_000_000 }: LogBounds,
    private readonly later: (turn: () => void) => void
  ) {
    this.committed = file.committed
    this.released = file.released
    this.nextSequence = file.committed + 1
    this.maxVersion = file.maxVersion
    this.letters = { items: file.letters, bytes: file.letterBytes }
    this.items = file.items
    this.bytes = file.bytes
    this.maxItems = maxItems
    this.maxBytes = maxBytes
    this.binding = file.binding
  }

  /** Why the log takes no request now, or `undefined`. */
  get problem(): string | undefined {
    return this.closed ? "the log is closed" : this.target.problem
  }

  usage(): LogUsage {
    const { bytes, committed, items, letters, maxBytes, maxItems, released } = this
    // Asked for with every write.
    return {
      items,
      bytes,
      letters: letters.items,
      letterBytes: letters.bytes,
      maxItems,
      maxBytes,
      committed,
      released
    }
  }

  /** See `WriteAheadLog.unsafeAppend`. */
  append(records: ReadonlyArray<ItemRecord>, done: AppendDone, moved = false): void {
    const { problem } = this
    if (problem !== undefined) {
      done(Either.left(this.unavailable(problem)))
      return
    }
    if (records.length === 0) {
      done(Either.right({ first: this.nextSequence, count: 0 }))
      return
    }
    let refused: LogFull | LogUnavailable | undefined
    try {
      refused = this.admit(records, done, moved)
    } catch (error) {
      refused = this.unavailable(error instanceof Error ? error.message : String(error))
    }
    if (refused !== undefined) done(Either.left(refused))
    else this.schedule()
  }

  /** Takes no further appends and sends what was collected. */
  close(): void {
    this.closed = true
    while (this.groups.length > 0) this.send()
  }

  /** Notes a release that is durable, and what it has set free. */
  noteReleased(upTo: number, freed: Amount): void {
    this.released = upTo
    this.hold(freed, -1)
  }

  /** Notes letters that came (or, with negative numbers, went). */
  noteLetters({ bytes, items }: Amount): void {
    this.letters = { items: this.letters.items + items, bytes: this.letters.bytes + bytes }
  }

  /** Takes over what a log that was opened again says: a release may have been made and its reply lost. */
  resumed({ binding, bytes, items, letterBytes, letters, released }: OpenedFile): void {
    this.binding = binding
    this.letters = { items: letters, bytes: letterBytes }
    this.released = released
    this.items = items
    this.bytes = bytes
    for (const waiting of this.groups) this.hold(waiting, 1)
  }

  private hold({ bytes, items }: Amount, sign: 1 | -1): void {
    this.items += sign * items
    this.bytes += sign * bytes
  }

  private admit(records: ReadonlyArray<ItemRecord>, done: AppendDone, moved: boolean): LogFull | undefined {
    const count = records.length
    let bytes = 0
    for (let index = 0; index < count; index++) {
      const size = encodedBytes(records[index]!)
      this.sizes[index] = size
      bytes += size
    }
    const refusal = moved ? undefined : this.refusal(count, bytes)
    if (refusal !== undefined) return refusal
    const group = this.openGroup()
    const first = this.nextSequence
    this.encode(group, first, records, bytes)
    for (const { version } of records) if (version > this.maxVersion) this.maxVersion = version
    this.items += count
    this.bytes += bytes
    group.items += count
    group.bytes += bytes
    group.calls.push({ first, count, done })
    this.nextSequence += count
    return undefined
  }

  /** Dead letters take their part of the bounds. */
  private refusal(items: number, bytes: number): LogFull | undefined {
    const { letters, maxBytes, maxItems } = this
    const heldItems = this.items + letters.items
    const heldBytes = this.bytes + letters.bytes
    if (heldItems + items <= maxItems && heldBytes + bytes <= maxBytes) return undefined
    const held = { items: heldItems, bytes: heldBytes, letters: letters.items }
    return new LogFull({ ...held, maxItems, maxBytes, retryAfterMs: logRetryAfterMs })
  }

  /** Adds all of the records, `bytes` in all, to the group's segments, or none. */
  private encode(group: Group, first: number, records: ReadonlyArray<ItemRecord>, bytes: number): void {
    const { writers } = group
    let left = bytes
    const writersBefore = writers.length
    let writer = writers[writersBefore - 1]
    const rewind = writer?.mark()
    try {
      for (let index = 0; index < records.length; index++) {
        const size = this.sizes[index]!
        if (writer === undefined || !writer.admits(size)) {
          writer = new SegmentWriter(first + index, Math.max(size, Math.min(left, maxSegmentBytes), 4096))
          writers.push(writer)
        }
        writer.add(records[index]!, size)
        left -= size
      }
    } catch (error) {
      writers.length = writersBefore
      rewind?.()
      throw error
    }
  }

  private openGroup(): Group {
    const last = this.groups[this.groups.length - 1]
    if (last !== undefined && last.bytes < maxGroupBytes && last.items < maxGroupItems) return last
    const group: Group = { first: this.nextSequence, calls: [], writers: [], items: 0, bytes: 0 }
    this.groups.push(group)
    return group
  }

  private schedule(): void {
    if (this.scheduled || this.inFlight >= maxGroupsInFlight || this.groups.length === 0) return
    this.scheduled = true
    this.later(() => {
      this.scheduled = false
      while (this.inFlight < maxGroupsInFlight && this.groups.length > 0) {
        // One piece of a large content, and the next in a later turn.
        if (!this.groups[0]!.writers.every((writer) => writer.fill())) return this.schedule()
        this.send()
      }
    })
  }

  private send(): void {
    const group = this.groups.shift()
    // A record that could not be encoded may have been the first of its group.
    if (group === undefined || group.calls.length === 0) return
    const segments = group.writers.map((writer) => writer.seal())
    const transfer = segments.map(({ data }) => data.buffer as ArrayBuffer)
    this.inFlight++
    this.target.request(
      "commit",
      [segments],
      (outcome) => {
        this.inFlight--
        const last = group.first + group.items - 1
        if (Either.isRight(outcome)) {
          this.committed = last
          this.refused = 0
          Metrics.groupCommitted(group.items)
          for (const { count, done, first } of group.calls) done(Either.right({ first, count }))
        } else {
          this.hold(group, -1)
          this.refused = Math.max(this.refused, group.bytes)
          const failure = Either.left(this.unavailable(outcome.left))
          for (const call of group.calls) call.done(failure)
        }
        this.schedule()
      },
      transfer
    )
  }

  private unavailable(problem: string): LogUnavailable {
    return unavailable(this.path, "append", problem)
  }
}
