import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { Effect } from "effect"
import type { ItemRecord } from "../../src/SyncItem.js"
import { contentHashOf, tombstone } from "../../src/SyncItem.js"
import type { LogFile } from "../../src/wal/LogFile.js"
import { decode } from "../../src/wal/SegmentCodec.js"
import type { Segment } from "../../src/wal/SegmentWriter.js"
import { encodedBytes, SegmentWriter } from "../../src/wal/SegmentWriter.js"

/** A small generator of pseudo-random numbers (mulberry32): the same seed gives the same test. */
export const seeded = (seed: number) => {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  return {
    next,
    /** A whole number below the bound. */
    below: (bound: number) => Math.floor(next() * bound),
    bytes: (length: number) => Uint8Array.from({ length }, () => Math.floor(next() * 256))
  }
}

/** A record whose fields all follow from its number. */
export const recordOf = (number: number, size = 16): ItemRecord => {
  if (number % 7 === 6) return tombstone(`gone.${number}`, number, 1_700_000_000_000 + number)
  const content = seeded(number).bytes(size)
  return {
    id: number % 5 === 0 ? `städte.東京.${number}` : `item.${number}`,
    version: number,
    updatedAt: 1_700_000_000_000 + number,
    contentType: number % 2 === 0 ? "json" : "binary",
    contentHash: contentHashOf(content),
    state: number % 3 === 0 ? `state-${number}` : undefined,
    content,
    traceparent: number % 4 === 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" : undefined,
    deleted: false
  }
}

export const recordsOf = (first: number, count: number, size?: number): ReadonlyArray<ItemRecord> =>
  Array.from({ length: count }, (_, index) => recordOf(first + index, size))

/** A directory that goes with the scope. */
export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sync-engine-wal-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A file name in a directory of its own. */
export const temporaryLog = Effect.map(temporaryDirectory, (directory) => join(directory, "log.sqlite"))

/** Copies the log as a crash would leave it: the main file and its -wal file, without any lock. */
export const copyAfterCrash = (from: string, to: string): void => {
  for (const name of readdirSync(dirname(from))) {
    if (name === basename(from)) cpSync(from, to)
    if (name === `${basename(from)}-wal`) cpSync(`${from}-wal`, `${to}-wal`)
  }
}

/** Records as the segments of one group commit. */
export const segmentsOf = (first: number, records: ReadonlyArray<ItemRecord>): ReadonlyArray<Segment> => {
  const writers: Array<SegmentWriter> = []
  for (const [index, record] of records.entries()) {
    const bytes = encodedBytes(record)
    if (writers.at(-1)?.admits(bytes) !== true) writers.push(new SegmentWriter(first + index))
    writers.at(-1)!.add(record, bytes)
  }
  return writers.map((writer) => writer.seal())
}

/** All entries of an open file as pairs of sequence number and id. */
export const contentOf = (file: LogFile): ReadonlyArray<readonly [number, string]> =>
  file
    .read(0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    .flatMap(({ data, first, from, items, to }) =>
      decode(data, items, from, to).map((record, index) => [first + from + index, recordKey(record)] as const)
    )

/** A record as a short text that tells it from every other. */
export const recordKey = (record: ItemRecord): string =>
  [record.id, record.version, record.contentHash, contentHashOf(record.content), record.state].join(" ")
