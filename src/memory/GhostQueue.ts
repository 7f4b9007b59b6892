/** S3-FIFO's ghost queue: which ids have lately left the small queue without having been used. */

const slotsPerBucket = 4
const minSlots = 64

/**
 * Remembers the hashes of the last `limit` ids that were added, as the paper's section 4.2 proposes: a
 * hash table of fingerprints and the (wrapping) number of their insertion. An entry leaves the queue by growing
 * old; its slot is reused later. Buckets of 4 keep the entries; a full bucket gives up its oldest one. Two ids
 * with one hash are taken for each other, which costs a wrong placement and nothing else.
 *
 * Memory: 8 bytes a slot and, while `limit` is at least 32, between 2 and 16 slots per unit of it
 * (at most 4 after growth; up to 16 only after the cache has shrunk).
 */
export class GhostQueue {
  #hashes = new Int32Array(minSlots)
  // 0 marks a free slot.
  #insertedAt = new Uint32Array(minSlots)
  #clock = 0

  /** Bytes of the table. */
  get bytes(): number {
    return this.#hashes.byteLength + this.#insertedAt.byteLength
  }

  /** Enters a hash; `limit` is how many the queue is to hold from now on. */
  add(hash: number, limit: number): void {
    const slots = this.#hashes.length
    if (limit * 2 > slots || (slots > minSlots && limit * 16 < slots)) this.#resize(limit)
    this.#clock = (this.#clock + 1) >>> 0 || 1
    this.#store(hash, this.#clock)
  }

  /** Whether the hash is among the last `limit` ones; if so it is taken out. */
  take(hash: number, limit: number): boolean {
    const first = this.#bucketOf(hash)
    for (let slot = first; slot < first + slotsPerBucket; slot++) {
      if (this.#hashes[slot] !== hash) continue
      const insertedAt = this.#insertedAt[slot]!
      if (insertedAt === 0 || this.#ageOf(insertedAt) >= limit) continue
      this.#insertedAt[slot] = 0
      return true
    }
    return false
  }

  #ageOf(insertedAt: number): number {
    return (this.#clock - insertedAt) >>> 0
  }

  #bucketOf(hash: number): number {
    return hash & (this.#hashes.length - 1) & ~(slotsPerBucket - 1)
  }

  #store(hash: number, insertedAt: number): void {
    const first = this.#bucketOf(hash)
    let target = first
    let oldest = -1
    for (let slot = first; slot < first + slotsPerBucket; slot++) {
      const there = this.#insertedAt[slot]!
      if (there === 0 || this.#hashes[slot] === hash) {
        target = slot
        break
      }
      const age = this.#ageOf(there)
      if (age > oldest) {
        oldest = age
        target = slot
      }
    }
    this.#hashes[target] = hash
    this.#insertedAt[target] = insertedAt
  }

  #resize(limit: number): void {
    let slots = minSlots
    while (slots < limit * 2) slots *= 2
    const hashes = this.#hashes
    const insertedAt = this.#insertedAt
    this.#hashes = new Int32Array(slots)
    this.#insertedAt = new Uint32Array(slots)
    for (let slot = 0; slot < hashes.length; slot++) {
      const at = insertedAt[slot]!
      if (at !== 0 && this.#ageOf(at) < limit) this.#store(hashes[slot]!, at)
    }
  }
}
