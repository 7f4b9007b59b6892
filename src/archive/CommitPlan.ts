/**
 * What a batch does to the archive, decided without I/O: which records win, what is newer already, and what
 * that adds to the tree. Every archive decides with this code, so that they cannot come to differ.
 */
import { compareBytes } from "../merkle/ByteOrder.js"
import { type TreeChange, TreeDelta } from "../merkle/TreeDelta.js"
import { compareVersions, type ItemHead, type ItemRecord, sameHead, sameVersion } from "../SyncItem.js"

/** A stored row without its content. */
export interface StoredHead extends ItemHead {
  readonly updatedAt: number
  /** The sum that it adds to the tree, where that is known; else it is computed. */
  readonly sum?: bigint | undefined
}

/**
 * The records by ascending id, byte for byte: the order in which each statement locks its rows. Should an id stand there
 * twice, its newest record is kept; of one version the first.
 */
export const inLockOrder = (records: ReadonlyArray<ItemRecord>): ReadonlyArray<ItemRecord> => {
  const sorted = [...records].sort((a, b) => compareBytes(a.id, b.id) || compareVersions(b, a))
  return sorted.filter((record, i) => i === 0 || record.id !== sorted[i - 1]!.id)
}

/**
 * What becomes of a batch, its records by ascending id. Decided by `compareVersions`, piece by piece: a long batch can
 * give way between pieces.
 */
export class CommitPlan {
  /** Records of ids that have no row yet. */
  readonly inserts: Array<ItemRecord> = []
  /** Records that are newer than their row. */
  readonly updates: Array<ItemRecord> = []
  /** What the records of `inserts` and `updates` are in the tree, one for one; nothing for a tombstone. */
  readonly insertSums: Array<bigint | undefined> = []
  readonly updateSums: Array<bigint | undefined> = []
  /** Records of the very version and hash of their row: repeats, or other states of it. */
  readonly equal: Array<ItemRecord> = []
  /** Records that lose against their row, newer or of the same number. */
  readonly losers: Array<ItemRecord> = []
  /** What the winners replace. */
  readonly before = new Map<string, StoredHead>()
  /** What the winners add to the tree. */
  readonly delta = new TreeDelta()
  /** Highest version among the winners; 0 without any. */
  maxVersion = 0

  /** Decides these records, given what is stored for their ids. */
  decide(records: ReadonlyArray<ItemRecord>, stored: ReadonlyMap<string, StoredHead>): void {
    for (const record of records) {
      const head = stored.get(record.id)
      if (head !== undefined && compareVersions(record, head) <= 0) {
        if (sameHead(record, head)) this.equal.push(record)
        else this.losers.push(record)
        continue
      }
      const before = head?.deleted === false ? head : undefined
      const sum = this.delta.change(before, record.deleted ? undefined : record, before?.sum)
      if (head === undefined) {
        this.inserts.push(record)
        this.insertSums.push(sum)
      } else {
        this.updates.push(record)
        this.before.set(record.id, head)
        this.updateSums.push(sum)
      }
      if (!record.deleted) assertWhole(record)
      this.maxVersion = Math.max(this.maxVersion, record.version)
    }
  }

  /** What the winners change. */
  get change(): TreeChange {
    return { before: this.before, delta: this.delta.toMap() }
  }
}

/** What damage alone can bring into a row must not come in by a commit. Throws a `RangeError`. */
const assertWhole = ({ contentHash, id, updatedAt, version }: ItemRecord): void => {
  if (Number.isSafeInteger(version) && Number.isSafeInteger(updatedAt) && Math.min(version, updatedAt) >= 0) {
    if (contentHash.length === 64) return
  }
  throw new RangeError(`${id} has a version, a time or a hash that no item can have`)
}

/** A stored row; its content is left out when it is too large to be handed over with all the others. */
export type StoredRecord = Omit<ItemRecord, "content"> & { readonly content: Uint8Array | undefined }

/** Stored contents that one commit hands over to whoever lost against them, in bytes. */
export const adoptedBytes = 16 * 1024 * 1024

/** A record that the archive did not take, and what it holds instead. */
export interface Superseded {
  readonly submitted: ItemRecord
  readonly stored: StoredRecord
}

/** What became of the records that a commit did not write. */
export interface NotTaken {
  /** Lost against a newer row, or against one of the same version with another content, state or content type. */
  readonly superseded: ReadonlyArray<Superseded>
  /** The stored records of versions that the archive had already. */
  readonly repeated: ReadonlyArray<ItemRecord>
}

/**
 * Tells repeats from conflicts among the records that a plan leaves out.
 *
 * @param stored the rows of `equal` (their contents are not looked at) and of `losers`
 */
export const notTaken = (
  { equal, losers }: Pick<CommitPlan, "equal" | "losers">,
  stored: ReadonlyMap<string, StoredRecord>
): NotTaken => {
  const superseded: Array<Superseded> = []
  const repeated: Array<ItemRecord> = []
  for (const submitted of equal) {
    // The same hash: what was submitted has the stored bytes.
    const row = { ...stored.get(submitted.id)!, content: submitted.content }
    if (sameVersion(submitted, row)) repeated.push(row)
    else superseded.push({ submitted, stored: row })
  }
  for (const submitted of losers) superseded.push({ submitted, stored: stored.get(submitted.id)! })
  return { superseded, repeated }
}
