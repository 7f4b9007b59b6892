/**
 * What this node thinks its archive holds: the heads of the records that it committed last. A commit that knows a head
 * need not read it. It is no more than a guess: others may have written, rows may have been changed from outside, a
 * commit of unknown outcome may have been made or not. So a commit is made under the condition that every row is
 * exactly as it was thought to be, version, time, hash and deletion, which is all that the tree's change is computed
 * from; one that fails is made again by what is read under lock.
 *
 * Rejected: to trust what is known while this node is the sole writer. It is as fast, needs the lease's token at every
 * head and at every denial of the filter, and lets rows that were changed from outside pass.
 */
import type { ItemRecord } from "../SyncItem.js"
import type { CommitPlan, StoredHead } from "./CommitPlan.js"

/** About 130 bytes each, and their ids. */
const mostHeads = 131_072
const hashBytes = 32

/** A head, the row's absence, or nothing: it has to be read. */
export type GuessedHead = StoredHead | "absent" | undefined

export type Guess = (record: Pick<ItemRecord, "id" | "version">) => GuessedHead

/** Everything is read. */
export const noGuess: Guess = () => undefined

/** A ring of heads: the one that was learned first gives way. Numbers and hashes lie in few large arrays. */
export class KnownHeads {
  private readonly places = new Map<string, number>()
  private readonly ids: Array<string | undefined> = []
  private readonly sums: Array<bigint | undefined> = []
  private numbers = new Float64Array(0)
  private hashes = Buffer.alloc(0)
  private next = 0

  constructor(private readonly most = mostHeads) {}

  /** For one commit. `absent`: ids that are thought to have no row. */
  guess(absent?: ReadonlySet<string>): Guess {
    return ({ id, version }) => {
      const place = this.places.get(id)
      if (place === undefined) return absent?.has(id) === true ? "absent" : undefined
      // What does not win has to be compared with what is really there.
      return version > this.numbers[place * 2]! ? this.head(id, place) : undefined
    }
  }

  /** This plan has been committed. */
  learn({ inserts, insertSums, updates, updateSums }: CommitPlan): void {
    for (const [i, record] of inserts.entries()) this.put(record, insertSums[i])
    for (const [i, record] of updates.entries()) this.put(record, updateSums[i])
  }

  /** Nobody knows what became of these. */
  forget(records: ReadonlyArray<ItemRecord>): void {
    for (const { id } of records) {
      const place = this.places.get(id)
      if (place === undefined) continue
      this.places.delete(id)
      this.ids[place] = undefined
      this.sums[place] = undefined
    }
  }

  /** A guess was wrong: somebody else writes. */
  clear(): void {
    this.places.clear()
    this.ids.length = 0
    this.sums.length = 0
    this.next = 0
  }

  private head(id: string, place: number): StoredHead {
    const { hashes, numbers, sums } = this
    const sum = sums[place]
    return {
      id,
      version: numbers[place * 2]!,
      updatedAt: numbers[place * 2 + 1]!,
      contentHash: hashes.toString("hex", place * hashBytes, (place + 1) * hashBytes),
      deleted: sum === undefined,
      sum
    }
  }

  private put(record: ItemRecord, sum: bigint | undefined): void {
    const place = this.places.get(record.id) ?? this.place(record.id)
    this.sums[place] = sum
    this.numbers[place * 2] = record.version
    this.numbers[place * 2 + 1] = record.updatedAt
    this.hashes.write(record.contentHash, place * hashBytes, "hex")
  }

  private place(id: string): number {
    const { ids, next, places } = this
    const old = ids[next]
    if (old !== undefined) places.delete(old)
    if (next * 2 >= this.numbers.length) this.grow()
    ids[next] = id
    places.set(id, next)
    this.next = (next + 1) % this.most
    return next
  }

  private grow(): void {
    const size = Math.min(this.most, Math.max(1_024, this.numbers.length))
    const numbers = new Float64Array(size * 2)
    numbers.set(this.numbers)
    const hashes = Buffer.alloc(size * hashBytes)
    hashes.set(this.hashes)
    this.numbers = numbers
    this.hashes = hashes
  }
}
