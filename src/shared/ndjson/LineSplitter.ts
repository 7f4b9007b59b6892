/** Cuts a stream of bytes into lines with bounded memory. Pure: no Effect, no I/O. */

/** One line of the input: its bytes without the line ending, or the length of a line that was too long to keep. */
export type SplitLine =
  | { readonly _tag: "Line"; readonly number: number; readonly bytes: Uint8Array }
  | { readonly _tag: "TooLong"; readonly number: number; readonly length: number }

const lineFeed = 0x0a
const carriageReturn = 0x0d
/** A byte order mark and a carriage return, which do not count towards a line's length. */
const uncounted = 4

const startsWithMark = (bytes: Uint8Array): boolean =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf

/**
 * Lines end with LF or CRLF; the last one may have no ending. A byte order mark at the very start is dropped.
 * Numbers count from 1 and include empty lines. A line above `maxLineBytes` is counted but not kept, so that
 * memory stays bounded whatever the input holds. The bytes of a line may share memory with the chunk it came
 * from: copy what is to be kept.
 */
export class LineSplitter {
  private parts: Array<Uint8Array> = []
  /** Bytes of the unfinished line seen so far, kept or not. */
  private length = 0
  private number = 1
  private lastByte = -1
  private discarding = false
  private marked = false

  constructor(readonly maxLineBytes: number) {}

  /** The number of the line that is being read. */
  get lineNumber(): number {
    return this.number
  }

  /** Takes the next chunk; returns the lines that it completed. */
  push(chunk: Uint8Array): Array<SplitLine> {
    const lines: Array<SplitLine> = []
    let start = 0
    while (start < chunk.length) {
      const end = chunk.indexOf(lineFeed, start)
      if (end === -1) {
        this.keep(chunk.subarray(start))
        break
      }
      this.keep(chunk.subarray(start, end))
      lines.push(this.finish())
      start = end + 1
    }
    return lines
  }

  /** The input is over: returns the last line when it had no ending. */
  end(): Array<SplitLine> {
    return this.length === 0 ? [] : [this.finish()]
  }

  private keep(part: Uint8Array): void {
    if (part.length === 0) return
    this.length += part.length
    this.lastByte = part[part.length - 1]!
    if (this.discarding) return
    this.parts.push(part)
    if (this.length > this.maxLineBytes + uncounted) {
      this.marked = this.number === 1 && startsWithMark(this.joined())
      this.parts = []
      this.discarding = true
    }
  }

  private joined(): Uint8Array {
    return this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts, this.keptLength())
  }

  private keptLength(): number {
    let bytes = 0
    for (const part of this.parts) bytes += part.length
    return bytes
  }

  private finish(): SplitLine {
    const number = this.number
    const line = this.discarding ? this.tooLong(number) : this.whole(number)
    this.parts = []
    this.length = 0
    this.lastByte = -1
    this.discarding = false
    this.marked = false
    this.number += 1
    return line
  }

  private tooLong(number: number): SplitLine {
    const ending = this.lastByte === carriageReturn ? 1 : 0
    return { _tag: "TooLong", number, length: this.length - ending - (this.marked ? 3 : 0) }
  }

  private whole(number: number): SplitLine {
    const bytes = this.joined()
    const start = number === 1 && startsWithMark(bytes) ? 3 : 0
    const end =
      bytes.length > start && bytes[bytes.length - 1] === carriageReturn ? bytes.length - 1 : bytes.length
    const length = end - start
    return length > this.maxLineBytes
      ? { _tag: "TooLong", number, length }
      : { _tag: "Line", number, bytes: bytes.subarray(start, end) }
  }
}
