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

import { type Context, Effect, type Layer, Option, Random, type Scope } from "effect"
import { LogOpenError } from "../EngineError.js"
import type { FilterSnapshots } from "./FilterSnapshots.js"
import { layerBoth } from "./LogOptions.js"
import {
  copied,
  type HeldEntry,
  type MemoryLogDisk,
  type MemoryLogOptions,
  MemoryLogWriter,
  makeDisk,
  positionAbove
} from "./MemoryLogDisk.js"
import { encodedBytes } from "./SegmentWriter.js"
import type { LogEntry, OpenLog, WriteAheadLog } from "./WriteAheadLog.js"

export { crash, type MemoryLogDisk, type MemoryLogOptions, makeDisk } from "./MemoryLogDisk.js"

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
    const writer = new MemoryLogWriter(path, disk, options)
    disk.identity ??= yield* randomUuid
    yield* Effect.forkScoped(Effect.interruptible(writer.committer))
    // Runs before the committing fiber is interrupted.
    yield* Effect.addFinalizer(() => writer.close)
    return { log: makeLog(writer, disk.identity), snapshots: makeSnapshots(writer), disk }
  })

const makeLog = (writer: MemoryLogWriter, identity: string): OpenLog => {
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

const makeDeadLetters = (writer: MemoryLogWriter): OpenLog["deadLetters"] => {
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

const makeSnapshots = (writer: MemoryLogWriter): Context.Tag.Service<FilterSnapshots> => ({
  save: (snapshot) =>
    writer.writing("saving the filter snapshot", () => {
      writer.disk.snapshot = new Uint8Array(snapshot)
    }),
  load: writer.reading("loading the filter snapshot", () =>
    Option.map(Option.fromNullable(writer.disk.snapshot), (snapshot) => new Uint8Array(snapshot))
  )
})

/**
 * The log and the filter's snapshots, in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options: MemoryLogOptions = {}): Layer.Layer<WriteAheadLog | FilterSnapshots> =>
  layerBoth(options.path ?? "memory", open(options))
