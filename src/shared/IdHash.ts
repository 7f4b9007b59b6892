/** The hash of ids for the filter and the cache's ghost queue: fast, seeded, the same on every run and machine. */

/**
 * Hashes a string's UTF-16 code units, two at a time, into two 32-bit lanes. One lane is the body of MurmurHash3
 * (A. Appleby, `MurmurHash3_x86_32`), the other a round of xxHash32 (Y. Collet); both end in Murmur's finalizer
 * and are mixed into each other, so that the pair serves as one 64-bit hash. Not for secrets: whoever may choose
 * ids can make them collide.
 *
 * The lanes are left in the fields `low` and `high` (signed 32-bit integers) of the instance, because returning a
 * pair would allocate on the hottest path.
 */
export class IdHash {
  /** First lane of the last `of` call. */
  low = 0
  /** Second lane of the last `of` call. */
  high = 0
  readonly #seed: number

  constructor(seed: number) {
    this.#seed = seed | 0
  }

  /** Hashes `id` into `low` and `high`. */
  of(id: string): void {
    const length = id.length
    let a = this.#seed
    let b = (this.#seed + 0x165667b1) | 0
    let at = 0
    for (; at + 1 < length; at += 2) {
      const block = id.charCodeAt(at) | (id.charCodeAt(at + 1) << 16)
      a = murmurRound(a, block)
      b = xxRound(b, block)
    }
    if (at < length) {
      const block = id.charCodeAt(at)
      a = murmurRound(a, block)
      b = xxRound(b, block)
    }
    // The length tells a last odd unit from a pair that ends in U+0000.
    a = finalize(a ^ length)
    b = finalize((b + length) | 0)
    a = (a + b) | 0
    b = (b + a) | 0
    this.low = finalize(a)
    this.high = finalize(b)
  }
}

const murmurRound = (lane: number, block: number): number => {
  let mixed = Math.imul(block, 0xcc9e2d51)
  mixed = (mixed << 15) | (mixed >>> 17)
  mixed = lane ^ Math.imul(mixed, 0x1b873593)
  mixed = (mixed << 13) | (mixed >>> 19)
  return (Math.imul(mixed, 5) + 0xe6546b64) | 0
}

const xxRound = (lane: number, block: number): number => {
  const mixed = (lane + Math.imul(block, 0x85ebca77)) | 0
  return Math.imul((mixed << 13) | (mixed >>> 19), 0x9e3779b1)
}

const finalize = (lane: number): number => {
  let mixed = lane
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
