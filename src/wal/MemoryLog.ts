/**
 * A write-ahead log without a file or a thread: for tests, simulations and applications' fakes. It keeps every
 * promise of the service against a crash of the *log*, because what is durable lives in a `MemoryLogDisk` that
 * successive logs share; it survives no crash of the process.
 *
 * It takes no time of its own, and of `Random` only a new disk's identity: the same calls give the same results,
 * under `TestClock` too.
 *
 * @since 0.1.0
 */

import { type Context, Effect, Either, type Layer, Option, Random, type Scope } from "effect"
import { LogOpenError, LogUnavailable } from "../EngineError.js"
import type { ItemRecord } from "../SyncItem.js"
import type { FilterSnapshots } from "./FilterSnapshots.js"
import type { AppendDone } from "./GroupCommit.js"
import type { LogBounds } from "./LogOptions.js"
import { defaultMaxBytes, defaultMaxItems, layerBoth, logRetryAfterMs, refusalOf } from "./LogOptions.js"
import { encodedBytes } from "./SegmentWriter.js"
import type {
  ArchiveBinding,
  DeadLetter,
  LogEntry,
  LogUsage,
  OpenLog,
  WriteAheadLog
} from "./WriteAheadLog.js"

type HeldEntry = MemoryLogDisk["entries"][number]

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

/**
 * A log and the snapshots on the same disk.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryLog {
  readonly log: OpenLog
  readonly snapshots: Context.Tag.Service<FilterSnapshots>
  readonly disk: MemoryLogDisk
}

/** A random UUID (RFC 9562, version 4). */
const randomUuid = Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 2 ** 32), 4), (words) => {
  const bytes = new DataView(new ArrayBuffer(16))
  for (const [index, word] of words.entries()) bytes.setUint32(index * 4, word)
  bytes.setUint8(6, (bytes.getUint8(6) & 0x0f) | 0x40)
  bytes.setUint8(8, (bytes.getUint8(8) & 0x3f) | 0x80)
  const digits = Buffer.from(bytes.buffer).toString("hex")
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
})

interface Call {
  readonly first: number
  readonly records: ReadonlyArray<ItemRecord>
  readonly sizes: ReadonlyArray<number>
  readonly bytes: number
  readonly done: AppendDone
}

/** Position of the first entry above this sequence number. */
const positionAbove = (entries: ReadonlyArray<HeldEntry>, sequence: number): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.sequence <= sequence) low = middle + 1
    else high = middle
  }
  return low
}

const copied = (record: ItemRecord): ItemRecord => ({ ...record, content: new Uint8Array(record.content) })

/** The disk as one log sees it, and what that log has not committed yet. */
class Writer {
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

/**
 * Opens a log on the disk. Fails with kind `in-use` while another log has it open, and with `cannot-open` when
 * the disk is told to. Closing the scope fails what is not committed yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (options: MemoryLogOptions = {}): Effect.Effect<MemoryLog, LogOpenError, Scope.Scope> =>
  Effect.gen(function* () {
    const { disk = makeDisk(), path = "memory" } = options
    if (disk.faults.opens > 0) {
      disk.faults.opens--
      return yield* new LogOpenError({ path, kind: "cannot-open", problem: "the disk was told to fail" })
    }
    if (disk.owner !== undefined)
      return yield* new LogOpenError({ path, kind: "in-use", problem: "it is in use" })
    const writer = new Writer(path, disk, options)
    disk.identity ??= yield* randomUuid
    yield* Effect.forkScoped(Effect.interruptible(writer.committer))
    // Runs before the committing fiber is interrupted.
    yield* Effect.addFinalizer(() => writer.close)
    return { log: makeLog(writer, disk.identity), snapshots: makeSnapshots(writer), disk }
  })

const makeLog = (writer: Writer, identity: string): OpenLog => {
  const { disk } = writer
  const unsafeAppend: OpenLog["unsafeAppend"] = (records, done, moved) => writer.append(records, done, moved)
  const alive = (operation: string) => Effect.suspend(() => writer.closed(operation) ?? Effect.void)
  return {
    path: writer.path,
    identity,
    get maxVersion() {
      return writer.maxVersion
    },
    usage: () => writer.usage(),
    unsafeAppend,
    append: (records) => Effect.async((resume) => unsafeAppend(records, resume)),
    read: (options) => writer.reading("read", () => pageOf(disk.entries, options)),
    readAt: (sequences) =>
      writer.reading("read", () =>
        [...new Set(sequences)]
          .sort((a, b) => a - b)
          .map((sequence) => ({ sequence, entry: disk.entries[positionAbove(disk.entries, sequence - 1)] }))
          .flatMap(({ entry, sequence }) => (entry?.sequence === sequence ? [entryOf(entry)] : []))
      ),
    release: (upTo) =>
      Effect.suspend(() =>
        Math.min(upTo, disk.committed) <= disk.released && writer.closed("release") === undefined
          ? Effect.void
          : writer.writing("release", () => writer.release(upTo))
      ),
    deadLetters: makeDeadLetters(writer),
    binding: () => disk.binding,
    bind: (binding) =>
      Effect.map(alive("binding to an archive"), () => {
        disk.binding = binding
      }),
    probe: Effect.suspend(() => writer.failure("probe", "commits") ?? Effect.void),
    shrink: alive("shrink"),
    checkpoint: alive("checkpoint")
  }
}

const entryOf = ({ record, sequence }: HeldEntry): LogEntry => ({ sequence, record: copied(record) })

const pageOf = (
  entries: ReadonlyArray<HeldEntry>,
  { after, maxBytes, maxItems }: Parameters<OpenLog["read"]>[0]
): ReadonlyArray<LogEntry> => {
  const page: Array<LogEntry> = []
  let bytes = 0
  for (let index = positionAbove(entries, after); index < entries.length; index++) {
    const entry = entries[index]!
    if (page.length > 0 && (page.length + 1 > maxItems || bytes + entry.bytes > maxBytes)) break
    bytes += entry.bytes
    page.push(entryOf(entry))
  }
  return page
}

const makeDeadLetters = (writer: Writer): OpenLog["deadLetters"] => {
  const { deadLetters } = writer.disk
  return {
    add: (letters) =>
      writer.writing("adding dead letters", () => {
        for (const letter of letters) {
          if (!deadLetters.has(letter.sequence)) deadLetters.set(letter.sequence, letter)
        }
      }),
    list: ({ after, limit, maxBytes }) =>
      writer.reading("listing dead letters", () => {
        let bytes = 0
        return [...deadLetters.values()]
          .filter(({ sequence }) => sequence > after)
          .sort((a, b) => a.sequence - b.sequence)
          .slice(0, limit)
          .filter(({ record }, index) => {
            bytes += encodedBytes(record)
            return index === 0 || bytes <= maxBytes
          })
      }),
    remove: (sequences) =>
      writer.writing(
        "removing dead letters",
        () => sequences.filter((sequence) => deadLetters.delete(sequence)).length
      ),
    count: () => deadLetters.size
  }
}

const makeSnapshots = (writer: Writer): Context.Tag.Service<FilterSnapshots> => ({
  save: (snapshot) =>
    writer.writing("saving the filter snapshot", () => {
      writer.disk.snapshot = new Uint8Array(snapshot)
    }),
  load: writer.reading("loading the filter snapshot", () =>
    Option.map(Option.fromNullable(writer.disk.snapshot), (snapshot) => new Uint8Array(snapshot))
  )
})

/**
 * The log alone; see `open`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: MemoryLogOptions = {}): Effect.Effect<OpenLog, LogOpenError, Scope.Scope> =>
  Effect.map(open(options), ({ log }) => log)

/**
 * The log and the filter's snapshots, in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options: MemoryLogOptions = {}): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerBoth(options.path ?? "memory", open(options))
