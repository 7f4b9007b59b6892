/** One table of the cuckoo filter, of a fixed size. */

export const slotsPerBucket = 4

/** The largest number of keys a layer is built for: about 565 MB. */
export const maxLayerCapacity = 2 ** 28

const designFill = 0.95
const maxKicks = 500
const perBucket = 2 ** -32

// Where the chain of kicks of the insertion under way has been; insertions are synchronous, so one will do.
const kickedSlots = new Int32Array(maxKicks)

/**
 * Buckets of four 16-bit fingerprints; 0 is a free slot. A key's buckets are `first` and `offset - first` modulo
 * the number of buckets, where `offset` depends on the fingerprint alone: each follows from the other as with the
 * paper's exclusive or, but the number of buckets need not be a power of two, so no table is up to twice too large.
 */
export class FilterLayer {
  /** Keys by design: 95 % of the slots. */
  readonly capacity: number
  readonly buckets: number
  readonly table: Uint16Array
  #count = 0
  #random: number

  /** `seed` decides which fingerprints are kicked. */
  constructor(capacity: number, seed: number) {
    this.capacity = capacity
    this.buckets = FilterLayer.bucketsFor(capacity)
    this.table = new Uint16Array(this.buckets * slotsPerBucket)
    this.#random = seed | 0 || 1
  }

  /** How many buckets a layer of this capacity has. */
  static bucketsFor(capacity: number): number {
    return Math.ceil(capacity / designFill / slotsPerBucket)
  }

  /** Fingerprints held. */
  get count(): number {
    return this.#count
  }

  /** Expected share of absent keys found: eight slots are looked at, as many of them taken as the fill says. */
  get falsePositiveRate(): number {
    return 1 - (1 - 1 / 65_536) ** ((2 * slotsPerBucket * this.#count) / this.table.length)
  }

  /** Whether the fingerprint (1 to 65,535) is in one of the two buckets of `position` (an unsigned 32-bit hash). */
  has(position: number, fingerprint: number): boolean {
    const first = Math.floor(position * this.buckets * perBucket)
    return this.#holds(first, fingerprint) || this.#holds(this.#otherBucket(first, fingerprint), fingerprint)
  }

  #holds(bucket: number, fingerprint: number): boolean {
    const table = this.table
    const at = bucket * slotsPerBucket
    return (
      table[at] === fingerprint ||
      table[at + 1] === fingerprint ||
      table[at + 2] === fingerprint ||
      table[at + 3] === fingerprint
    )
  }

  /** Inserts a fingerprint; `false` when no place was found, and then the table is what it was before. */
  insert(position: number, fingerprint: number): boolean {
    const first = Math.floor(position * this.buckets * perBucket)
    const second = this.#otherBucket(first, fingerprint)
    if (this.#settle(first, fingerprint) || this.#settle(second, fingerprint)) return true
    const table = this.table
    let random = this.#nextRandom()
    let bucket = (random & 1) === 0 ? first : second
    let homeless = fingerprint
    for (let kick = 0; kick < maxKicks; kick++) {
      const slot = bucket * slotsPerBucket + ((random >>> 1) & 3)
      const kicked = table[slot]!
      table[slot] = homeless
      kickedSlots[kick] = slot
      homeless = kicked
      bucket = this.#otherBucket(bucket, homeless)
      if (this.#settle(bucket, homeless)) return true
      random = this.#nextRandom()
    }
    // Backwards along the chain: whoever is homeless goes back to the slot it was kicked out of.
    for (let kick = maxKicks - 1; kick >= 0; kick--) {
      const slot = kickedSlots[kick]!
      const kicker = table[slot]!
      table[slot] = homeless
      homeless = kicker
    }
    return false
  }

  /** The table's bytes in little-endian order; a view where the machine is of that order, otherwise a copy. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.table.buffer)
    return isLittleEndian ? bytes : swapped(bytes)
  }

  /** Takes over a table's bytes (exactly as many as its own) and counts what it holds. */
  fill(bytes: Uint8Array): void {
    const table = this.table
    new Uint8Array(table.buffer).set(isLittleEndian ? bytes : swapped(bytes))
    let count = 0
    for (let slot = 0; slot < table.length; slot++) if (table[slot] !== 0) count++
    this.#count = count
  }

  #otherBucket(bucket: number, fingerprint: number): number {
    const offset = Math.floor((Math.imul(fingerprint, 0x9e3779b1) >>> 0) * this.buckets * perBucket)
    return offset >= bucket ? offset - bucket : offset - bucket + this.buckets
  }

  #settle(bucket: number, fingerprint: number): boolean {
    const table = this.table
    const from = bucket * slotsPerBucket
    for (let slot = from; slot < from + slotsPerBucket; slot++) {
      if (table[slot] !== 0) continue
      table[slot] = fingerprint
      this.#count++
      return true
    }
    return false
  }

  /** Xorshift (G. Marsaglia, 2003). */
  #nextRandom(): number {
    let state = this.#random
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#random = state
    return state
  }
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

const swapped = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes).swap16()
