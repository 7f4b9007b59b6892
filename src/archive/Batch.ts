/**
 * What a batch does to the archive, decided without I/O: which records win, what is newer already, and what
 * that adds to the tree. Every archive decides with this code, so that they cannot come to differ.
 *
 * @since 0.1.0
 */
import { compareBytes } from "../merkle/ByteOrder.js"
import { type Total, TreeDelta } from "../merkle/TreeDelta.js"
import { compareVersions, type ItemHead, type ItemRecord } from "../SyncItem.js"

/** A stored row without its content. @since 0.1.0 @category models */
export interface StoredHead extends ItemHead {
  readonly updatedAt: number
}

/** @since 0.1.0 @category models */
export interface Verdict {
  /** Records of ids that have no row yet, by ascending id. */
  readonly inserts: ReadonlyArray<ItemRecord>
  /** Records that are newer than their row, by ascending id. */
  readonly updates: ReadonlyArray<ItemRecord>
  /** The stored rows that are newer than what the batch brought. */
  readonly newer: ReadonlyArray<ItemHead>
  /** What the winners add to the tree. */
  readonly delta: ReadonlyMap<string, Total>
  /** Highest version among the winners; 0 without any. */
  readonly maxVersion: number
}

/**
 * The records by ascending id, byte for byte: the one order in which rows are locked. Should an id stand there
 * twice, its newest record is kept.
 *
 * @since 0.1.0
 * @category functions
 */
export const inLockOrder = (records: ReadonlyArray<ItemRecord>): ReadonlyArray<ItemRecord> => {
  const sorted = [...records].sort((a, b) => compareBytes(a.id, b.id) || compareVersions(b, a))
  return sorted.filter((record, i) => i === 0 || record.id !== sorted[i - 1]!.id)
}

/**
 * Decides a batch by `compareVersions`, piece by piece: a long batch can give way between pieces.
 *
 * @since 0.1.0
 * @category models
 */
export class Judgement {
  private readonly inserts: Array<ItemRecord> = []
  private readonly updates: Array<ItemRecord> = []
  private readonly newer: Array<ItemHead> = []
  private readonly delta = new TreeDelta()
  private maxVersion = 0

  /** Decides these records, given what is stored for their ids. */
  decide(records: ReadonlyArray<ItemRecord>, stored: ReadonlyMap<string, StoredHead>): void {
    for (const record of records) {
      const head = stored.get(record.id)
      if (head === undefined) {
        this.inserts.push(record)
      } else {
        const order = compareVersions(record, head)
        if (order < 0) {
          const { contentHash, deleted, id, version } = head
          this.newer.push({ id, version, contentHash, deleted })
        }
        if (order <= 0) continue
        this.updates.push(record)
      }
      if (record.version > this.maxVersion) this.maxVersion = record.version
      this.delta.change(
        head === undefined || head.deleted ? undefined : head,
        record.deleted ? undefined : record
      )
    }
  }

  verdict(): Verdict {
    const { delta, inserts, maxVersion, newer, updates } = this
    return { inserts, updates, newer, delta: delta.toMap(), maxVersion }
  }
}

/** The verdict on a whole batch at once. @since 0.1.0 @category functions */
export const judge = (
  records: ReadonlyArray<ItemRecord>,
  stored: ReadonlyMap<string, StoredHead>
): Verdict => {
  const judgement = new Judgement()
  judgement.decide(records, stored)
  return judgement.verdict()
}
