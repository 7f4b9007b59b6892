/**
 * What a commit means for this node: its readers, its waiting writers and its books are told what the archive holds.
 * Synchronous, so that nobody sees half of it.
 */
import type { StoredRecord, Superseded } from "../../archive/CommitPlan.js"
import * as Metrics from "../../Metrics.js"
import type { ItemRecord } from "../../SyncItem.js"
import { compareVersions, sameHead, sameVersion } from "../../SyncItem.js"
import type { LogEntry } from "../../wal/WriteAheadLog.js"
import type { ArchiveWaiters } from "../state/ArchiveWaiters.js"
import type { EngineState } from "../state/EngineState.js"
import type { Culprit, SplitResult } from "./BatchBisect.js"

/** A batch that the archive has committed. */
export interface Committed {
  /** What the batch was made from, in log order. */
  readonly entries: ReadonlyArray<LogEntry>
  /** The newest entry of each id. */
  readonly batch: ReadonlyArray<LogEntry>
  readonly result: SplitResult
}

/** What {@link answer} found out. */
export interface Lost {
  /** How many writes the archive has a newer version of, or another one of the same number. */
  readonly superseded: number
  /** Those of them that were acknowledged and whose writers are not told. */
  readonly untold: ReadonlyArray<Superseded>
}

/** Memory follows the archive, unless it knows of something newer. */
const adopt = (core: EngineState, stored: StoredRecord): void => {
  const { id } = stored
  core.clock.observe(stored.version)
  core.watches.touch(id)
  const held = core.memory.peek(id)
  if (held === undefined || core.pending.get(id) !== undefined || compareVersions(held, stored) > 0) return
  core.memory.remove(id)
  const { content, deleted } = stored
  if (!deleted && content !== undefined) core.versions.keep({ ...stored, content })
}

const mostLostVersions = 1000

/** This acknowledged version lost against another one: its id remembers it for a while. */
const rememberLost = ({ lostVersions }: EngineState, { id, version }: ItemRecord): void => {
  lostVersions.delete(id)
  lostVersions.set(id, version)
  if (lostVersions.size <= mostLostVersions) return
  const [oldest] = lostVersions.keys()
  lostVersions.delete(oldest!)
}

/** Tells the waiting writers of these entries what became of them. */
const decide = (waiters: ArchiveWaiters, { batch, entries, result }: Committed): Lost => {
  const { culprits, superseded } = result
  const merged = entries.length > batch.length
  if (!merged && (waiters.size === 0 || culprits.length + superseded.length === 0)) {
    return { superseded: superseded.length, untold: superseded }
  }
  const refused = new Map<string, Array<Culprit>>()
  for (const culprit of culprits) {
    const { id } = culprit.entry.record
    refused.set(id, [...(refused.get(id) ?? []), culprit])
  }
  const taken = new Map<string, StoredRecord>()
  if (merged) for (const record of result.taken) taken.set(record.id, record)
  const lost = new Map(superseded.map(({ stored }) => [stored.id, stored]))
  const latest = new Map<string, number>()
  if (merged) for (const { record, sequence } of entries) latest.set(record.id, sequence)
  const waitedFor = new Set<ItemRecord>()
  /** Of the number of what the archive has taken from this very batch. */
  const conflicts: Array<Superseded> = []
  for (const { record, sequence } of entries) {
    const { id } = record
    // Also whoever wrote the refused version once more.
    const culprit = refused.get(id)?.find(({ entry }) => sameHead(entry.record, record))
    if (culprit !== undefined) {
      waiters.decide(sequence, { _tag: "Rejected", problem: culprit.problem })
      continue
    }
    const stored = lost.get(id) ?? taken.get(id)
    if (stored === undefined || sameVersion(record, stored)) continue
    // Merged into a later write of this node: it has been, and was replaced.
    if (!lost.has(id) && record.version !== stored.version) continue
    const followed = (latest.get(id) ?? sequence) > sequence
    if (waiters.decide(sequence, { _tag: "Superseded", stored, followed })) waitedFor.add(record)
    if (!lost.has(id)) conflicts.push({ submitted: record, stored })
  }
  const all = [...superseded, ...conflicts]
  return { superseded: all.length, untold: all.filter(({ submitted }) => !waitedFor.has(submitted)) }
}

/**
 * Wakes the writers that wait for the archive, and for nothing else; those who lost hear of it once this node's
 * readers see what has won.
 */
export const answer = (core: EngineState, waiters: ArchiveWaiters, committed: Committed): Lost => {
  const { entries, result } = committed
  core.clock.observe(result.topVersion)
  const { superseded, untold } = decide(waiters, committed)
  // Whoever puts a letter back was told once that the archive did not take it.
  const letters = new Set(
    untold.length === 0
      ? []
      : entries.filter(({ sequence }) => core.letters.has(sequence)).map(({ record }) => record)
  )
  const lost = untold.filter(({ submitted }) => !letters.has(submitted))
  for (const { submitted } of lost) rememberLost(core, submitted)
  waiters.settle(entries[entries.length - 1]!.sequence, true)
  return { superseded, untold: lost }
}

/** Settles a batch that was committed, answered and written to the cache. */
export const settle = (
  core: EngineState,
  waiters: ArchiveWaiters,
  committed: Committed,
  { superseded }: Lost
): void => {
  const { entries, result } = committed
  const last = entries[entries.length - 1]!.sequence
  for (const entry of entries) {
    const settled = core.pending.settle(entry.record.id, last)
    // A tombstone has done its duty in memory: from here on the archive says whether the id exists.
    if (settled?.deleted && core.memory.peek(settled.id)?.version === settled.version) {
      core.memory.remove(settled.id)
    }
    // A letter that was put back: nobody has seen it since, and memory may hold what it has replaced.
    if (settled === undefined) core.versions.takenUnseen(entry.record)
  }
  for (const { stored } of result.superseded) adopt(core, stored)
  for (const record of result.repeated) adopt(core, record)
  for (const { entry } of result.culprits) {
    if (core.pending.get(entry.record.id) === undefined) core.memory.remove(entry.record.id)
    core.watches.touch(entry.record.id)
  }
  core.letters.settle(last)
  core.tail.consume(last)
  core.counters.archived += entries.length - result.culprits.length
  core.counters.deadLettered += result.culprits.length
  core.counters.superseded += superseded
  if (superseded > 0) Metrics.superseded(superseded)
  waiters.settle(last)
}
