/** A set of sequence numbers that costs a bit each where they stand close together, as those of a log do. */

const perChunk = 1024

export class SequenceSet {
  private readonly chunks = new Map<number, Uint8Array>()

  add(sequence: number): void {
    const index = Math.floor(sequence / perChunk)
    let chunk = this.chunks.get(index)
    if (chunk === undefined) {
      chunk = new Uint8Array(perChunk / 8)
      this.chunks.set(index, chunk)
    }
    const bit = sequence % perChunk
    chunk[bit >> 3]! |= 1 << (bit & 7)
  }

  has(sequence: number): boolean {
    const chunk = this.chunks.get(Math.floor(sequence / perChunk))
    const bit = sequence % perChunk
    return chunk !== undefined && (chunk[bit >> 3]! & (1 << (bit & 7))) !== 0
  }

  /** What stands up to here will not be asked for again. */
  forget(upTo: number): void {
    for (const index of this.chunks.keys()) {
      if ((index + 1) * perChunk - 1 <= upTo) this.chunks.delete(index)
    }
  }
}
