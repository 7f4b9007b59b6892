/** Commits a batch; one that the archive refuses for good is split until the culprits stand alone. */
import { Duration, Effect } from "effect"
import type { CommitResult, OpenArchive } from "../../archive/Archive.js"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { Superseded } from "../../archive/CommitPlan.js"
import * as Metrics from "../../Metrics.js"
import { bothChanges, noChange, type TreeChange } from "../../merkle/TreeDelta.js"
import type { ItemRecord } from "../../SyncItem.js"
import { compareVersions, sameVersion } from "../../SyncItem.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"

/** A culprit and what the archive said about it. */
export interface Culprit {
  readonly entry: LogEntry
  readonly problem: string
}

export interface SplitResult {
  readonly applied: number
  /** What the commits have changed, where the archive says so. */
  readonly change: TreeChange | undefined
  /** What the archive has of the batch's ids after the commits, where it was written or repeated. */
  readonly taken: ReadonlyArray<ItemRecord>
  /** Records that were repeats: in `taken` stands what is stored. */
  readonly repeated: ReadonlyArray<ItemRecord>
  readonly superseded: ReadonlyArray<Superseded>
  readonly culprits: ReadonlyArray<Culprit>
  /** Highest version the archive has ever stored; 0 when nothing was committed. */
  readonly topVersion: number
}

const nothing: SplitResult = {
  applied: 0,
  change: noChange,
  taken: [],
  repeated: [],
  superseded: [],
  culprits: [],
  topVersion: 0
}

/** What the archive does not take, whatever it is committed with. */
export const refusedAlone = (entry: LogEntry, problem: string): SplitResult => ({
  ...nothing,
  culprits: [{ entry, problem }]
})

const both = <A>(a: ReadonlyArray<A>, b: ReadonlyArray<A>): ReadonlyArray<A> =>
  a.length === 0 ? b : b.length === 0 ? a : [...a, ...b]

const join = (a: SplitResult, b: SplitResult): SplitResult => ({
  applied: a.applied + b.applied,
  change: a.change && b.change && bothChanges(a.change, b.change),
  taken: both(a.taken, b.taken),
  repeated: both(a.repeated, b.repeated),
  superseded: both(a.superseded, b.superseded),
  culprits: both(a.culprits, b.culprits),
  topVersion: Math.max(a.topVersion, b.topVersion)
})

const ofCommit = (records: ReadonlyArray<ItemRecord>, commit: CommitResult): SplitResult => {
  const { applied, change, repeated, superseded, topVersion } = commit
  let taken = records
  if (superseded.length + repeated.length > 0) {
    const stored = new Map<string, ItemRecord | undefined>(repeated.map((record) => [record.id, record]))
    for (const { submitted } of superseded) stored.set(submitted.id, undefined)
    taken = records.flatMap((record) => (stored.has(record.id) ? (stored.get(record.id) ?? []) : record))
  }
  return { applied, change, taken, repeated, superseded, culprits: [], topVersion }
}

/**
 * Fails only with transient errors; then a part of the batch may have been committed, and the same call can be
 * made again (commits are idempotent).
 *
 * @param batch newest entry of each id
 * @param entries all entries the batch was made from: older versions are tried in place of a refused one
 * @param concurrency into how many transactions the batch is cut, made at once
 */
export const commitSplitting = (
  archive: OpenArchive,
  batch: ReadonlyArray<LogEntry>,
  entries: ReadonlyArray<LogEntry>,
  concurrency = 1
): Effect.Effect<SplitResult, ArchiveError> => {
  const commit = (part: ReadonlyArray<LogEntry>): Effect.Effect<SplitResult, ArchiveError> => {
    const records = part.map((entry) => entry.record)
    return Effect.timedWith(
      archive.commit(records),
      Effect.clockWith((clock) => clock.currentTimeNanos)
    ).pipe(
      Effect.map(([duration, result]) => {
        Metrics.archiveCommitted(Duration.toMillis(duration))
        return ofCommit(records, result)
      }),
      Effect.catchAll((error) => {
        if (error.kind === "transient") return Effect.fail(error)
        return part.length === 1 ? single(part[0]!, error) : halves(part)
      })
    )
  }
  const halves = (part: ReadonlyArray<LogEntry>): Effect.Effect<SplitResult, ArchiveError> => {
    const middle = part.length >> 1
    return Effect.flatMap(commit(part.slice(0, middle)), (left) =>
      Effect.map(commit(part.slice(middle)), (right) => join(left, right))
    )
  }
  const single = (entry: LogEntry, error: ArchiveError): Effect.Effect<SplitResult, ArchiveError> => {
    const culprit = refusedAlone(entry, error.problem)
    const next = olderVersions(entries, entry)[0]
    return next === undefined
      ? Effect.succeed(culprit)
      : Effect.map(commit([next]), (older) => join(culprit, older))
  }
  if (batch.length === 0) return Effect.succeed(nothing)
  if (concurrency === 1) return Effect.suspend(() => commit(batch))
  // Ids are distinct, so the parts may be committed in any order.
  const size = Math.ceil(batch.length / concurrency)
  const parts = Array.from({ length: Math.ceil(batch.length / size) }, (_, index) =>
    batch.slice(index * size, (index + 1) * size)
  )
  return Effect.map(Effect.forEach(parts, commit, { concurrency }), (results) =>
    results.reduce(join, nothing)
  )
}

/** The newest record of each id, as the ids first appear; of one version the first, as the archive decides. */
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

/** An id's other versions, newest first, to archive in place of a refused one; of its number only what came later. */
export const olderVersions = (entries: ReadonlyArray<LogEntry>, refused: LogEntry): ReadonlyArray<LogEntry> =>
  entries
    .filter(({ record, sequence }) => {
      if (record.id !== refused.record.id) return false
      const order = compareVersions(record, refused.record)
      return order < 0 || (order === 0 && sequence > refused.sequence && !sameVersion(record, refused.record))
    })
    .sort((a, b) => compareVersions(b.record, a.record))

const mostParts = 2 ** 20

/** Batches in a row that have to go well before twice as much is tried. */
const goodBatches = 8

/**
 * How much of a batch is committed at once. A batch for which the archive's time was over would take as long the
 * next time: half of it is tried then, and more again once that goes well.
 */
export class BatchShare {
  private parts = 1
  private good = 0

  /** What is left of a bound on a batch. */
  of(bound: number): number {
    return Math.max(1, Math.floor(bound / this.parts))
  }

  /** A batch took longer than the archive's time for it. */
  overdue(): void {
    this.parts = Math.min(mostParts, this.parts * 2)
    this.good = 0
  }

  /** A batch was committed. */
  committed(): void {
    if (this.parts === 1 || ++this.good < goodBatches) return
    this.parts /= 2
    this.good = 0
  }
}
