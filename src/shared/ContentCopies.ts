/**
 * Copies of contents, the small ones side by side in buffers of 4 KiB. A buffer for each of some hundred thousand
 * contents makes the garbage collector stall the event loop: 150 ms a mark-compact against 20 (Node 20, 600,000
 * contents of 256 bytes).
 */
import { markAsUntransferable } from "node:worker_threads"

/** A buffer of this size may be kept for the sake of any content in it. */
export const sharedBufferBytes = 4 * 1024

/** One place for what is kept for about as long: a buffer lives until the last of its contents goes. */
export class ContentCopies {
  private buffer = new Uint8Array(0)
  private used = 0

  copy(content: Uint8Array): Uint8Array<ArrayBuffer> {
    const { length } = content
    if (length > sharedBufferBytes / 4) return new Uint8Array(content)
    if (this.used + length > this.buffer.length) {
      this.buffer = new Uint8Array(sharedBufferBytes)
      // Whoever transfers one content to a worker would take all the others with it.
      markAsUntransferable(this.buffer.buffer)
      this.used = 0
    }
    const copy = this.buffer.subarray(this.used, this.used + length)
    copy.set(content)
    this.used += length
    return copy
  }
}

const passing = new ContentCopies()

/** A copy of what has just been read or handed in. */
export const copyOfContent = (content: Uint8Array): Uint8Array<ArrayBuffer> => passing.copy(content)

/** Of bytes that nobody else has, the small ones beside others. */
export const keptContent = (content: Uint8Array): Uint8Array =>
  content.length > 0 && content.length <= sharedBufferBytes / 4 ? passing.copy(content) : content

/** Whether keeping the content keeps more memory than it is worth. */
export const pinsMemory = ({ buffer, byteLength }: Uint8Array): boolean =>
  buffer.byteLength > Math.max(sharedBufferBytes, 2 * byteLength)

/** The rest of the buffers that these contents share, which nobody else may need: kept in memory all the same. */
export class SharedRest {
  bytes = 0
  private readonly contents = new Map<ArrayBufferLike, { count: number }>()

  enter({ buffer, byteLength }: Uint8Array): void {
    if (byteLength === buffer.byteLength) return
    const others = this.contents.get(buffer)
    if (others === undefined) {
      this.contents.set(buffer, { count: 1 })
      this.bytes += buffer.byteLength
    } else others.count++
    this.bytes -= byteLength
  }

  leave({ buffer, byteLength }: Uint8Array): void {
    if (byteLength === buffer.byteLength) return
    const others = this.contents.get(buffer)!
    if (--others.count === 0) {
      this.contents.delete(buffer)
      this.bytes -= buffer.byteLength
    }
    this.bytes += byteLength
  }
}
