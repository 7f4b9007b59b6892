/** What one flush carries: log entries in order, reduced to the newest version of each id. */
import { compareVersions, sameVersion } from "../../SyncItem.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"

/**
 * The newest record of each id, in the order in which the ids first appear. Of one version the first, as the archive
 * decides between two batches.
 */
export const newestPerId = (entries: ReadonlyArray<LogEntry>): ReadonlyArray<LogEntry> => {
  const newest = new Map<string, LogEntry>()
  for (const entry of entries) {
    const known = newest.get(entry.record.id)
    if (known === undefined || compareVersions(entry.record, known.record) > 0) {
      newest.set(entry.record.id, entry)
    }
  }
  return [...newest.values()]
}

/**
 * The batch's other versions of an id, newest first: what to archive instead when the newest is refused. Of the
 * refused number only what came later.
 */
export const olderVersions = (entries: ReadonlyArray<LogEntry>, refused: LogEntry): ReadonlyArray<LogEntry> =>
  entries
    .filter(({ record, sequence }) => {
      if (record.id !== refused.record.id) return false
      const order = compareVersions(record, refused.record)
      return order < 0 || (order === 0 && sequence > refused.sequence && !sameVersion(record, refused.record))
    })
    .sort((a, b) => compareVersions(b.record, a.record))
