/**
 * A look at SQLite's own write-ahead file before SQLite opens it.
 *
 * SQLite ends its recovery at the first frame whose checksum fails and drops everything behind it without a word.
 * After a crash that is right: the frames behind are of the one transaction whose sync had not returned. When the
 * file was damaged it loses acknowledged transactions. The two are told apart here. With `synchronous=FULL` a
 * transaction's frames are written only after the previous one's sync returned; so if a frame of this generation
 * stands behind a commit frame that stands at or behind the first bad frame, a synced transaction would be lost.
 * What damage in the very last transaction did cannot be told from a torn write.
 *
 * Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"

const headerBytes = 32
const frameHeaderBytes = 24
const magicLittleEndian = 0x377f0682
const magicBigEndian = 0x377f0683
const formatVersion = 3007000

/**
 * What the file says. `sound`: every frame of this generation is valid. `torn`: the tail is the rest of one
 * transaction that was never synced. `damaged`: SQLite would drop transactions that were synced.
 */
export type WalFileReport =
  | { readonly kind: "absent" | "sound" | "torn"; readonly commits: number }
  | { readonly kind: "damaged"; readonly commits: number; readonly problem: string }

interface Checksum {
  readonly s0: number
  readonly s1: number
}

/** The format's running checksum over pairs of 32-bit words. */
const walChecksum = (
  bytes: DataView,
  start: number,
  end: number,
  littleEndian: boolean,
  seed: Checksum
): Checksum => {
  let { s0, s1 } = seed
  for (let at = start; at < end; at += 8) {
    s0 = (s0 + bytes.getUint32(at, littleEndian) + s1) >>> 0
    s1 = (s1 + bytes.getUint32(at + 4, littleEndian) + s0) >>> 0
  }
  return { s0, s1 }
}

const readFully = (file: number, into: Buffer, position: number): number => {
  let done = 0
  while (done < into.length) {
    const read = readSync(file, into, done, into.length - done, position + done)
    if (read === 0) break
    done += read
  }
  return done
}

/** Whether anything but zeros stands at or behind this position. */
const holdsContent = (file: number, from: number): boolean => {
  const chunk = Buffer.allocUnsafe(1024 * 1024)
  for (let position = from; ; ) {
    const read = readFully(file, chunk, position)
    if (read === 0) return false
    for (let index = 0; index < read; index++) if (chunk[index] !== 0) return true
    position += read
  }
}

/**
 * Inspects the file at `path` (the database's path with `-wal` appended). Reads it once, in pieces; about 4 ms a
 * MiB. Throws what `node:fs` throws when the file is there and cannot be read.
 */
export const inspectWalFile = (path: string): WalFileReport => {
  let file: number
  try {
    file = openSync(path, "r")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { kind: "absent", commits: 0 }
    throw error
  }
  try {
    return inspect(file, fstatSync(file).size)
  } finally {
    closeSync(file)
  }
}

const headerOf = (file: number) => {
  const bytes = Buffer.alloc(headerBytes)
  readFully(file, bytes, 0)
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const magic = view.getUint32(0)
  const littleEndian = magic === magicLittleEndian
  const pageSize = view.getUint32(8)
  const sum = walChecksum(view, 0, 24, littleEndian, { s0: 0, s1: 0 })
  const isValid =
    (littleEndian || magic === magicBigEndian) &&
    view.getUint32(4) === formatVersion &&
    pageSize >= 512 &&
    pageSize <= 65536 &&
    (pageSize & (pageSize - 1)) === 0 &&
    sum.s0 === view.getUint32(24) &&
    sum.s1 === view.getUint32(28)
  // Every frame of this generation bears the salt.
  return isValid ? { littleEndian, pageSize, salt: bytes.subarray(16, 24), sum } : undefined
}

/** The whole frames of the file. Each is valid until the next one is asked for. */
const framesOf = function* (file: number, size: number, header: NonNullable<ReturnType<typeof headerOf>>) {
  const { littleEndian, pageSize, salt } = header
  const frameBytes = frameHeaderBytes + pageSize
  const frames = Math.floor((size - headerBytes) / frameBytes)
  const framesAtOnce = Math.max(1, Math.floor((1024 * 1024) / frameBytes))
  const chunk = Buffer.alloc(framesAtOnce * frameBytes)
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
  for (let index = 0; index < frames; index++) {
    const at = (index % framesAtOnce) * frameBytes
    if (at === 0) {
      const count = Math.min(framesAtOnce, frames - index)
      readFully(file, chunk.subarray(0, count * frameBytes), headerBytes + index * frameBytes)
    }
    const stored = { s0: view.getUint32(at + 16), s1: view.getUint32(at + 20) }
    yield {
      index,
      /** Whether it bears this generation's salts. */
      current: chunk.compare(salt, 0, 8, at + 8, at + 16) === 0,
      page: view.getUint32(at),
      /** Whether it ends a transaction. */
      commit: view.getUint32(at + 4) !== 0,
      stored,
      followsOn: (before: Checksum) => {
        const head = walChecksum(view, at, at + 8, littleEndian, before)
        const whole = walChecksum(view, at + frameHeaderBytes, at + frameBytes, littleEndian, head)
        return whole.s0 === stored.s0 && whole.s1 === stored.s1
      }
    }
  }
}

const inspect = (file: number, size: number): WalFileReport => {
  if (size <= headerBytes) return { kind: size === 0 ? "sound" : "torn", commits: 0 }
  const header = headerOf(file)
  if (header === undefined) {
    // The header is synced before the first frame is written, so frames behind a bad header were readable once.
    return holdsContent(file, headerBytes)
      ? { kind: "damaged", commits: 0, problem: "the header of its -wal file is damaged" }
      : { kind: "torn", commits: 0 }
  }
  let { sum } = header
  let commits = 0
  let firstBad: number | undefined
  let commitBehindBad = false
  let framesBehind = 0
  let badFrame: { readonly stored: Checksum; readonly commit: boolean } | undefined
  for (const { commit, current, followsOn, index, page, stored } of framesOf(file, size, header)) {
    if (firstBad === undefined) {
      if (current && page !== 0 && followsOn(sum)) {
        sum = stored
        if (commit) commits++
        continue
      }
      firstBad = index
      badFrame = current ? undefined : { stored, commit }
    } else if (badFrame !== undefined) {
      // Its salts are not of this generation, but the next frame was written on top of it: they were once.
      if (current && badFrame.commit && followsOn(badFrame.stored)) commitBehindBad = true
      badFrame = undefined
    }
    if (!current) continue
    framesBehind++
    if (commitBehindBad) {
      const problem = `frame ${firstBad + 1} of its -wal file is damaged and acknowledged transactions stand behind it`
      return { kind: "damaged", commits, problem }
    }
    if (commit) commitBehindBad = true
  }
  const partialFrame = (size - headerBytes) % (frameHeaderBytes + header.pageSize) > 0
  return { kind: framesBehind > 0 || (firstBad === undefined && partialFrame) ? "torn" : "sound", commits }
}
