/** What is durable in a memory log, and the one log that writes to it. */
import { Effect, Either } from "effect"
import { LogUnavailable } from "../EngineError.js"
import type { ItemRecord } from "../SyncItem.js"
import type { AppendDone } from "./GroupCommit.js"
import type { LogBounds } from "./LogOptions.js"
import { defaultMaxBytes, defaultMaxItems, logRetryAfterMs, refusalOf } from "./LogOptions.js"
import { encodedBytes } from "./SegmentWriter.js"
import type { ArchiveBinding, DeadLetter, LogEntry, LogUsage } from "./WriteAheadLog.js"

/**
 * What is durable, as a disk would hold it. Treat the content as read-only; `faults` may be set at any time.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryLogDisk {
  /** Made by the first log on it; see `WriteAheadLog.identity`. */
  identity: string | undefined
  /** Committed and not released, in ascending order. */
  entries: Array<LogEntry & { readonly bytes: number }>
  committed: number
  released: number
  maxVersion: number
  readonly deadLetters: Map<number, DeadLetter>
  binding: ArchiveBinding | undefined
  snapshot: Uint8Array | undefined
  /** How many of the next operations of each sort fail with `LogUnavailable`. */
  readonly faults: { commits: number; reads: number; writes: number; opens: number }
  /** Group commits so far, failed ones left out. */
  commits: number
  /** The log that has it open. */
  owner: object | undefined
}

/**
 * An empty disk.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeDisk = (): MemoryLogDisk => ({
  identity: undefined,
  entries: [],
  committed: 0,
  released: 0,
  maxVersion: 0,
  deadLetters: new Map(),
  binding: undefined,
  snapshot: undefined,
  faults: { commits: 0, reads: 0, writes: 0, opens: 0 },
  commits: 0,
  owner: undefined
})

/**
 * Cuts the log that has the disk open off from it, as the death of its process would: nothing it has not committed
 * becomes durable any more, all its calls fail, and a new log can be opened on the disk.
 *
 * @since 0.1.0
 * @category functions
 */
export const crash = (disk: MemoryLogDisk): void => {
  disk.owner = undefined
}

/**
 * How a memory log behaves.
 *
 * @since 0.1.0
 * @category options
 */
export interface MemoryLogOptions extends LogBounds {
  /** Where it lives; for messages. `memory` by default. */
  readonly path?: string
  /** What earlier logs left; a new disk by default. */
  readonly disk?: MemoryLogDisk
  /** Run before each group commit and each other change becomes durable; nothing by default. */
  readonly commitDelay?: Effect.Effect<void>
}

export type HeldEntry = MemoryLogDisk["entries"][number]

interface Call {
  readonly first: number
  readonly records: ReadonlyArray<ItemRecord>
  readonly sizes: ReadonlyArray<number>
  readonly bytes: number
  readonly done: AppendDone
}

/** Position of the first entry above this sequence number. */
export const positionAbove = (entries: ReadonlyArray<HeldEntry>, sequence: number): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.sequence <= sequence) low = middle + 1
    else high = middle
  }
  return low
}

export const copied = (record: ItemRecord): ItemRecord => ({
  ...record,
  content: new Uint8Array(record.content)
})

/** The disk as one log sees it, and what that log has not committed yet. */
export class MemoryLogWriter {
  nextSequence: number
  maxVersion: number
  private waiting: Array<Call> = []
  private committing: ReadonlyArray<Call> = []
  private items: number
  private bytes: number
  private readonly wake = Effect.unsafeMakeLatch(false)

  constructor(
    readonly path: string,
    readonly disk: MemoryLogDisk,
    private readonly options: MemoryLogOptions
  ) {
    disk.owner = this
    this.nextSequence = disk.committed + 1
    this.maxVersion = disk.maxVersion
    this.items = disk.entries.length
    this.bytes = disk.entries.reduce((sum, entry) => sum + entry.bytes, 0)
  }

  private get delay(): Effect.Effect<void> {
    return this.options.commitDelay ?? Effect.void
  }

  usage(): LogUsage {
    const { deadLetters, committed, released } = this.disk
    const { maxBytes = defaultMaxBytes, maxItems = defaultMaxItems } = this.options
    let letterBytes = 0
    for (const { record } of deadLetters.values()) letterBytes += encodedBytes(record)
    const { bytes, items } = this
    return { items, bytes, letters: deadLetters.size, letterBytes, maxItems, maxBytes, committed, released }
  }

  append(records: ReadonlyArray<ItemRecord>, done: AppendDone, moved = false): void {
    const first = this.nextSequence
    const refused = this.closed("append")
    if (refused !== undefined || records.length === 0) {
      done(refused === undefined ? Either.right({ first, count: 0 }) : Either.left(refused))
      return
    }
    let sizes: ReadonlyArray<number>
    try {
      sizes = records.map(encodedBytes)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      done(Either.left(this.unavailable("append", problem)))
      return
    }
    const bytes = sizes.reduce((sum, each) => sum + each, 0)
    const full = moved ? undefined : refusalOf(this.usage(), records.length, bytes)
    if (full !== undefined) {
      done(Either.left(full))
      return
    }
    // The contents are copied, as a file would: who changes their bytes later does not change the log.
    this.waiting.push({ first, records: records.map(copied), sizes, bytes, done })
    this.nextSequence += records.length
    this.items += records.length
    this.bytes += bytes
    for (const { version } of records) this.maxVersion = Math.max(this.maxVersion, version)
    this.wake.unsafeOpen()
  }

  /** Commits what waits, group after group, for ever. */
  readonly committer: Effect.Effect<never> = Effect.gen(this, function* () {
    yield* this.wake.await
    this.wake.unsafeClose()
    while (this.waiting.length > 0) {
      this.committing = this.waiting
      this.waiting = []
      yield* this.delay
      this.commitGroup()
    }
  }).pipe(Effect.forever)

  /** Fails what is not committed yet. */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    if (this.disk.owner === this) this.disk.owner = undefined
    const calls = [...this.committing, ...this.waiting]
    this.committing = []
    this.waiting = []
    this.failAll(calls, this.unavailable("append", "the log is closed"))
  })

  release(upTo: number): void {
    const { disk } = this
    const mark = Math.max(disk.released, Math.min(upTo, disk.committed))
    const position = positionAbove(disk.entries, mark)
    for (let index = 0; index < position; index++) this.bytes -= disk.entries[index]!.bytes
    this.items -= position
    disk.entries = disk.entries.slice(position)
    disk.released = mark
  }

  reading<A>(operation: string, body: () => A): Effect.Effect<A, LogUnavailable> {
    return Effect.suspend(() => {
      const failure = this.failure(operation, "reads")
      return failure === undefined ? Effect.sync(body) : Effect.fail(failure)
    })
  }

  writing<A>(operation: string, body: () => A): Effect.Effect<A, LogUnavailable> {
    return Effect.zipRight(
      this.delay,
      Effect.suspend(() => {
        const failure = this.failure(operation, "writes")
        return failure === undefined ? Effect.succeed(body()) : Effect.fail(failure)
      })
    )
  }

  closed(operation: string): LogUnavailable | undefined {
    return this.disk.owner === this ? undefined : this.unavailable(operation, "the log is closed")
  }

  failure(operation: string, fault: "commits" | "reads" | "writes"): LogUnavailable | undefined {
    const closed = this.closed(operation)
    if (closed !== undefined || this.disk.faults[fault] === 0) return closed
    this.disk.faults[fault]--
    return this.unavailable(operation, "the disk was told to fail")
  }

  private commitGroup(): void {
    const { committing: calls, disk } = this
    this.committing = []
    const failure = this.failure("append", "commits")
    if (failure !== undefined) {
      this.failAll(calls, failure)
      return
    }
    for (const { first, records, sizes } of calls) {
      for (const [index, record] of records.entries()) {
        disk.entries.push({ sequence: first + index, record, bytes: sizes[index]! })
        disk.committed = first + index
        disk.maxVersion = Math.max(disk.maxVersion, record.version)
      }
    }
    disk.commits++
    for (const { done, first, records } of calls) done(Either.right({ first, count: records.length }))
  }

  private failAll(calls: ReadonlyArray<Call>, failure: LogUnavailable): void {
    for (const call of calls) {
      this.items -= call.records.length
      this.bytes -= call.bytes
    }
    for (const call of calls) call.done(Either.left(failure))
  }

  private unavailable(operation: string, problem: string): LogUnavailable {
    return new LogUnavailable({ path: this.path, operation, problem, retryAfterMs: logRetryAfterMs })
  }
}
