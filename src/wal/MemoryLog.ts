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
import { type FilterSnapshots, layerBoth } from "./FilterSnapshots.js"
import type { AppendDone } from "./GroupCommit.js"
import type { LogBounds } from "./LogOptions.js"
import { defaultMaxBytes, defaultMaxItems, logRetryAfterMs, refusalOf } from "./LogOptions.js"
import { encodedBytes } from "./SegmentWriter.js"
import type {
  ArchiveBinding,
  DeadLetter,
  LogEntry,
  LogUsage,
  OpenLog,
  WriteAheadLog
} from "./WriteAheadLog.js"

interface HeldEntry extends LogEntry {
  readonly bytes: number
}

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
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20)
  ].join("-")
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

/**
 * Opens a log on the disk. Fails with kind `in-use` while another log has it open, and with `cannot-open` when
 * the disk is told to. Closing the scope fails what is not committed yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (options: MemoryLogOptions = {}): Effect.Effect<MemoryLog, LogOpenError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = options.path ?? "memory"
    const disk = options.disk ?? makeDisk()
    const maxItems = options.maxItems ?? defaultMaxItems
    const maxBytes = options.maxBytes ?? defaultMaxBytes
    const commitDelay = options.commitDelay ?? Effect.void
    if (disk.faults.opens > 0) {
      disk.faults.opens--
      return yield* new LogOpenError({ path, kind: "cannot-open", problem: "the disk was told to fail" })
    }
    if (disk.owner !== undefined)
      return yield* new LogOpenError({ path, kind: "in-use", problem: "it is in use" })
    const owner = {}
    disk.owner = owner
    const identity = disk.identity ?? (yield* randomUuid)
    disk.identity = identity
    let waiting: Array<Call> = []
    let committing: ReadonlyArray<Call> = []
    let nextSequence = disk.committed + 1
    let maxVersion = disk.maxVersion
    let items = disk.entries.length
    let bytes = disk.entries.reduce((sum, entry) => sum + entry.bytes, 0)
    const wake = Effect.unsafeMakeLatch(false)

    const unavailable = (operation: string, problem: string) =>
      new LogUnavailable({ path, operation, problem, retryAfterMs: logRetryAfterMs })
    const isClosed = (operation: string) =>
      disk.owner === owner ? undefined : unavailable(operation, "the log is closed")
    const whyNot = (operation: string, fault: "commits" | "reads" | "writes"): LogUnavailable | undefined => {
      const closed = isClosed(operation)
      if (closed !== undefined) return closed
      if (disk.faults[fault] === 0) return undefined
      disk.faults[fault]--
      return unavailable(operation, "the disk was told to fail")
    }
    const failAll = (calls: ReadonlyArray<Call>, failure: LogUnavailable) => {
      for (const call of calls) {
        items -= call.records.length
        bytes -= call.bytes
      }
      for (const call of calls) call.done(Either.left(failure))
    }
    const commitGroup = () => {
      const calls = committing
      committing = []
      const failure = whyNot("append", "commits")
      if (failure !== undefined) {
        failAll(calls, failure)
        return
      }
      const added = calls.flatMap(({ first, records, sizes }) =>
        records.map((record, index) => ({ sequence: first + index, record, bytes: sizes[index]! }))
      )
      for (const entry of added) {
        disk.entries.push(entry)
        disk.committed = entry.sequence
        disk.maxVersion = Math.max(disk.maxVersion, entry.record.version)
      }
      disk.commits++
      for (const { done, first, records } of calls) done(Either.right({ first, count: records.length }))
    }
    yield* Effect.forkScoped(
      Effect.interruptible(
        Effect.gen(function* () {
          while (true) {
            yield* wake.await
            wake.unsafeClose()
            while (waiting.length > 0) {
              committing = waiting
              waiting = []
              yield* commitDelay
              commitGroup()
            }
          }
        })
      )
    )
    // Runs before the committing fiber is interrupted.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (disk.owner === owner) disk.owner = undefined
        const calls = [...committing, ...waiting]
        committing = []
        waiting = []
        failAll(calls, unavailable("append", "the log is closed"))
      })
    )

    const usage = (): LogUsage => {
      let letterBytes = 0
      for (const { record } of disk.deadLetters.values()) letterBytes += encodedBytes(record)
      return {
        items,
        bytes,
        letters: disk.deadLetters.size,
        letterBytes,
        maxItems,
        maxBytes,
        committed: disk.committed,
        released: disk.released
      }
    }
    const unsafeAppend: OpenLog["unsafeAppend"] = (records, done, moved = false) => {
      const closed = isClosed("append")
      if (closed !== undefined) {
        done(Either.left(closed))
        return
      }
      if (records.length === 0) {
        done(Either.right({ first: nextSequence, count: 0 }))
        return
      }
      let sizes: ReadonlyArray<number>
      try {
        sizes = records.map(encodedBytes)
      } catch (error) {
        done(Either.left(unavailable("append", error instanceof Error ? error.message : String(error))))
        return
      }
      const size = sizes.reduce((sum, each) => sum + each, 0)
      const refusal = moved ? undefined : refusalOf(usage(), records.length, size)
      if (refusal !== undefined) {
        done(Either.left(refusal))
        return
      }
      // The contents are copied, as a file would: who changes their bytes later does not change the log.
      const copies = records.map((record) => ({ ...record, content: new Uint8Array(record.content) }))
      waiting.push({ first: nextSequence, records: copies, sizes, bytes: size, done })
      nextSequence += records.length
      items += records.length
      bytes += size
      for (const { version } of records) maxVersion = Math.max(maxVersion, version)
      wake.unsafeOpen()
    }
    const reading = <A>(operation: string, body: () => A): Effect.Effect<A, LogUnavailable> =>
      Effect.suspend(() => {
        const failure = whyNot(operation, "reads")
        return failure === undefined ? Effect.sync(body) : Effect.fail(failure)
      })
    const writing = <A>(operation: string, body: () => A): Effect.Effect<A, LogUnavailable> =>
      Effect.zipRight(
        commitDelay,
        Effect.suspend(() => {
          const failure = whyNot(operation, "writes")
          return failure === undefined ? Effect.succeed(body()) : Effect.fail(failure)
        })
      )
    const alive = (operation: string) => Effect.suspend(() => isClosed(operation) ?? Effect.void)
    const entryOf = ({ record, sequence }: HeldEntry): LogEntry => ({
      sequence,
      record: { ...record, content: new Uint8Array(record.content) }
    })

    const log: OpenLog = {
      path,
      identity,
      get maxVersion() {
        return maxVersion
      },
      usage,
      unsafeAppend,
      append: (records) => Effect.async((resume) => unsafeAppend(records, resume)),
      read: ({ after, maxBytes: pageBytes, maxItems: pageItems }) =>
        reading("read", () => {
          const page: Array<LogEntry> = []
          let size = 0
          for (let index = positionAbove(disk.entries, after); index < disk.entries.length; index++) {
            const entry = disk.entries[index]!
            if (page.length > 0 && (page.length + 1 > pageItems || size + entry.bytes > pageBytes)) break
            size += entry.bytes
            page.push(entryOf(entry))
          }
          return page
        }),
      readAt: (sequences) =>
        reading("read", () =>
          [...new Set(sequences)]
            .sort((a, b) => a - b)
            .map((sequence) => ({ sequence, entry: disk.entries[positionAbove(disk.entries, sequence - 1)] }))
            .flatMap(({ entry, sequence }) => (entry?.sequence === sequence ? [entryOf(entry)] : []))
        ),
      release: (upTo) =>
        Effect.suspend(() =>
          Math.min(upTo, disk.committed) <= disk.released && disk.owner === owner
            ? Effect.void
            : writing("release", () => {
                const mark = Math.max(disk.released, Math.min(upTo, disk.committed))
                const position = positionAbove(disk.entries, mark)
                for (let index = 0; index < position; index++) bytes -= disk.entries[index]!.bytes
                items -= position
                disk.entries = disk.entries.slice(position)
                disk.released = mark
              })
        ),
      deadLetters: {
        add: (letters) =>
          writing("adding dead letters", () => {
            for (const letter of letters) {
              if (!disk.deadLetters.has(letter.sequence)) disk.deadLetters.set(letter.sequence, letter)
            }
          }),
        list: ({ after, limit, maxBytes: pageBytes }) =>
          reading("listing dead letters", () => {
            let size = 0
            return [...disk.deadLetters.values()]
              .filter(({ sequence }) => sequence > after)
              .sort((a, b) => a.sequence - b.sequence)
              .slice(0, limit)
              .filter(({ record }, index) => {
                size += encodedBytes(record)
                return index === 0 || size <= pageBytes
              })
          }),
        remove: (sequences) =>
          writing(
            "removing dead letters",
            () => sequences.filter((sequence) => disk.deadLetters.delete(sequence)).length
          ),
        count: () => disk.deadLetters.size
      },
      binding: () => disk.binding,
      bind: (binding) =>
        Effect.suspend(() => {
          const failure = isClosed("binding to an archive")
          if (failure !== undefined) return Effect.fail(failure)
          disk.binding = binding
          return Effect.void
        }),
      probe: Effect.suspend(() => whyNot("probe", "commits") ?? Effect.void),
      shrink: alive("shrink"),
      checkpoint: alive("checkpoint")
    }
    const snapshots: Context.Tag.Service<FilterSnapshots> = {
      save: (snapshot) =>
        writing("saving the filter snapshot", () => {
          disk.snapshot = new Uint8Array(snapshot)
        }),
      load: reading("loading the filter snapshot", () =>
        Option.map(Option.fromNullable(disk.snapshot), (snapshot) => new Uint8Array(snapshot))
      )
    }
    return { log, snapshots, disk }
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
