/** How many entries the log holds and how many bytes they take, exact at every sequence number. */

const blockBits = 14
const blockLength = 1 << blockBits
const blockMask = blockLength - 1

/**
 * The encoded size of each held entry by sequence number, four bytes an entry: a release anywhere, in the middle
 * of a segment too, knows what it frees without asking the file. Sequence numbers without an entry (gaps after
 * failed commits) have size 0.
 */
export class EntrySizes {
  private readonly blocks = new Map<number, Uint32Array>()
  private lowestBlock = Number.POSITIVE_INFINITY
  private heldItems = 0
  private heldBytes = 0

  /** Entries held. */
  get items(): number {
    return this.heldItems
  }

  /** Encoded bytes of the entries held. */
  get bytes(): number {
    return this.heldBytes
  }

  /** Adds an entry that is not held yet. */
  add(sequence: number, bytes: number): void {
    const number = Math.floor(sequence / blockLength)
    let block = this.blocks.get(number)
    if (block === undefined) {
      block = new Uint32Array(blockLength)
      this.blocks.set(number, block)
      if (number < this.lowestBlock) this.lowestBlock = number
    }
    block[sequence % blockLength] = bytes
    this.heldItems++
    this.heldBytes += bytes
  }

  /** Removes the entries with sequence numbers from `first` to `last`, both inclusive. */
  removeRange(first: number, last: number): void {
    let sequence = first
    while (sequence <= last) {
      const number = Math.floor(sequence / blockLength)
      const blockEnd = Math.min(last, number * blockLength + blockMask)
      const block = this.blocks.get(number)
      if (block !== undefined) {
        for (; sequence <= blockEnd; sequence++) {
          const index = sequence % blockLength
          const bytes = block[index]!
          if (bytes === 0) continue
          block[index] = 0
          this.heldItems--
          this.heldBytes -= bytes
        }
      }
      sequence = blockEnd + 1
    }
  }

  /** Removes everything up to and including this sequence number and gives its memory back. */
  release(upTo: number): void {
    if (this.lowestBlock === Number.POSITIVE_INFINITY) return
    this.removeRange(this.lowestBlock * blockLength, upTo)
    const firstKept = Math.floor((upTo + 1) / blockLength)
    for (const number of this.blocks.keys()) if (number < firstKept) this.blocks.delete(number)
    this.lowestBlock = Number.POSITIVE_INFINITY
    for (const number of this.blocks.keys()) if (number < this.lowestBlock) this.lowestBlock = number
  }
}
