/** What is durable in a memory log, and the operations of a log's file on it. */
import type { LogOperations, OpenedFile } from "./LogProtocol.js"
import { decode } from "./SegmentCodec.js"
import { encodedBytes, encodeOne } from "./SegmentWriter.js"
import type { ArchiveBinding, DeadLetter, LogEntry } from "./WriteAheadLog.js"

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

/** Position of the first entry above this sequence number. */
const positionAbove = (entries: MemoryLogDisk["entries"], sequence: number): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.sequence <= sequence) low = middle + 1
    else high = middle
  }
  return low
}

/** The operations of the log's file, on a disk. */
export const operationsOn = (disk: MemoryLogDisk): Omit<LogOperations, "close" | "counters"> => {
  const { deadLetters } = disk
  let parts: Array<Uint8Array> = []
  const sliceOf = ({ record, sequence: first }: LogEntry) =>
    ({ first, items: 1, from: 0, to: 1, data: encodeOne(record) }) as const
  return {
    commit: (segments) => {
      for (const { data, first, items, maxVersion } of segments) {
        for (const [index, record] of decode(data, items).entries())
          disk.entries.push({ sequence: first + index, record, bytes: encodedBytes(record) })
        disk.committed = first + items - 1
        disk.maxVersion = Math.max(disk.maxVersion, maxVersion)
      }
      disk.commits++
    },
    read: (after, maxItems, maxBytes) => {
      const from = positionAbove(disk.entries, after)
      let bytes = 0
      const tooMany = disk.entries.slice(from).findIndex((entry, index) => {
        bytes += entry.bytes
        return index > 0 && (index >= maxItems || bytes > maxBytes)
      })
      return disk.entries.slice(from, tooMany < 0 ? undefined : from + tooMany).map(sliceOf)
    },
    readAt: (sequences) =>
      sequences.flatMap((sequence) => {
        const entry = disk.entries[positionAbove(disk.entries, sequence - 1)]
        return entry?.sequence === sequence ? [sliceOf(entry)] : []
      }),
    release: (upTo) => {
      disk.released = Math.max(disk.released, Math.min(upTo, disk.committed))
      const freed = disk.entries.splice(0, positionAbove(disk.entries, disk.released))
      return { items: freed.length, bytes: freed.reduce((sum, { bytes }) => sum + bytes, 0), more: false }
    },
    addDeadLetters: (letters) => {
      const added = letters.filter(({ sequence }) => !deadLetters.has(sequence))
      for (const { data, ...letter } of added)
        deadLetters.set(letter.sequence, { ...letter, record: decode(data, 1)[0]! })
      return { items: added.length, bytes: added.reduce((sum, { data }) => sum + data.length, 0) }
    },
    listDeadLetters: (after, limit, maxBytes) => {
      let bytes = 0
      return [...deadLetters.values()]
        .filter(({ sequence }) => sequence > after)
        .sort((a, b) => a.sequence - b.sequence)
        .slice(0, limit)
        .map(({ record, ...letter }) => ({ ...letter, data: encodeOne(record) }))
        .filter(({ data }, index) => {
          bytes += data.length
          return index === 0 || bytes <= maxBytes
        })
    },
    removeDeadLetters: (sequences) => {
      const removed = sequences.flatMap((sequence) => deadLetters.get(sequence) ?? [])
      for (const { sequence } of removed) deadLetters.delete(sequence)
      return amountOf(removed)
    },
    bind: (binding) => {
      disk.binding = binding
    },
    shrink: () => ({ more: false }),
    checkpoint: () => {},
    probe: () => {},
    writeSnapshotPart: (part, data) => {
      parts = [...parts.slice(0, part), data]
    },
    publishSnapshot: () => {
      disk.snapshot = new Uint8Array(Buffer.concat(parts))
    },
    readSnapshotPart: (part) => (part === 0 ? disk.snapshot : undefined),
    pruneSnapshots: () => ({ more: false })
  }
}

const amountOf = (letters: Iterable<DeadLetter>) => {
  const sizes = Array.from(letters, ({ record }) => encodedBytes(record))
  return { items: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) }
}

/** What a disk holds when it is opened. */
export const openedOf = (disk: MemoryLogDisk, identity: string): OpenedFile => {
  const letters = amountOf(disk.deadLetters.values())
  const bytes = disk.entries.reduce((sum, entry) => sum + entry.bytes, 0)
  const held = { items: disk.entries.length, bytes, letters: letters.items, letterBytes: letters.bytes }
  const { binding, committed, maxVersion, released } = disk
  return { identity, binding, committed, maxVersion, released, ...held }
}
