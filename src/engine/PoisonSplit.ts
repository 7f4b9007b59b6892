/**
 * Commits a batch; when the archive refuses it for a permanent reason, splits it until the culprits stand
 * alone. One bad row blocks nothing.
 *
 * @since 0.1.0
 */

import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Archive, ArchiveError, CommitResult } from "../archive/Archive.js"
import * as Metrics from "../Metrics.js"
import type { ItemHead } from "../SyncItem.js"
import type { LogEntry } from "../wal/WriteAheadLog.js"
import { olderVersions } from "./Batch.js"

/** A culprit and what the archive said about it. @since 0.1.0 @category models */
export interface Culprit {
  readonly entry: LogEntry
  readonly problem: string
}

/** @since 0.1.0 @category models */
export interface SplitResult {
  readonly applied: number
  /** Ids for which the archive already holds something newer. */
  readonly newer: ReadonlyArray<ItemHead>
  readonly culprits: ReadonlyArray<Culprit>
  /** The commits that were made, in order. */
  readonly commits: ReadonlyArray<CommitResult>
}

const nothing: SplitResult = { applied: 0, newer: [], culprits: [], commits: [] }

const join = (a: SplitResult, b: SplitResult): SplitResult => ({
  applied: a.applied + b.applied,
  newer: a.newer.length === 0 ? b.newer : [...a.newer, ...b.newer],
  culprits: a.culprits.length === 0 ? b.culprits : [...a.culprits, ...b.culprits],
  commits: [...a.commits, ...b.commits]
})

const ofCommit = (commit: CommitResult): SplitResult => ({
  applied: commit.applied,
  newer: commit.newer,
  culprits: [],
  commits: [commit]
})

/**
 * Fails only with transient errors; then a part of the batch may have been committed, and the same call can be
 * made again (commits are idempotent).
 *
 * @param batch newest entry of each id
 * @param entries all entries the batch was made from: older versions are tried in place of a refused one
 * @param concurrency into how many transactions the batch is cut, made at once
 * @since 0.1.0
 * @category functions
 */
export const commitSplitting = (
  archive: Context.Tag.Service<Archive>,
  batch: ReadonlyArray<LogEntry>,
  entries: ReadonlyArray<LogEntry>,
  concurrency = 1
): Effect.Effect<SplitResult, ArchiveError> => {
  const commit = (part: ReadonlyArray<LogEntry>): Effect.Effect<SplitResult, ArchiveError> =>
    Effect.timedWith(
      archive.commit(part.map((entry) => entry.record)),
      Effect.clockWith((clock) => clock.currentTimeNanos)
    ).pipe(
      Effect.map(([duration, result]) => {
        Metrics.archiveCommitted(Duration.toMillis(duration))
        return ofCommit(result)
      }),
      Effect.catchAll((error) => {
        if (error.kind === "transient") return Effect.fail(error)
        return part.length === 1 ? single(part[0]!, error) : halves(part)
      })
    )
  const halves = (part: ReadonlyArray<LogEntry>): Effect.Effect<SplitResult, ArchiveError> => {
    const middle = part.length >> 1
    return Effect.flatMap(commit(part.slice(0, middle)), (left) =>
      Effect.map(commit(part.slice(middle)), (right) => join(left, right))
    )
  }
  const single = (entry: LogEntry, error: ArchiveError): Effect.Effect<SplitResult, ArchiveError> => {
    const culprit: SplitResult = { ...nothing, culprits: [{ entry, problem: error.problem }] }
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
