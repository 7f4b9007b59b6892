/** A write between its validation and its group commit. */
import type { ItemRecord } from "../../SyncItem.js"

/** A write ready for the log. */
export interface Prepared {
  readonly _tag: "Prepared"
  readonly record: ItemRecord
  /** The version it replaces, as far as is known without asking the archive. */
  readonly previousVersion: number | undefined
  /** The caller's own version, not yet compared with the archive's. */
  readonly unchecked: boolean
  /** Not written once more when it loses: the version is the caller's, or what has won is to stay. */
  readonly final: boolean
  /** The version that had to be the current one, if the caller named it. */
  readonly expected: number | undefined
  /** Known to be newer than what the archive holds, as far as that can be known before the commit. */
  readonly compared: boolean
}

/** Bytes of contents in these records. */
export const contentBytes = (records: ReadonlyArray<ItemRecord>): number =>
  records.reduce((sum, record) => sum + record.content.byteLength, 0)
