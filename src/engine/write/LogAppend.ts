/**
 * From prepared writes to the log, and back to their callers. Everything up to the log is synchronous, so version order
 * is log order; one callback per group commit makes the whole call visible.
 */
import { Either } from "effect"
import type { LogFull, LogUnavailable } from "../../EngineError.js"
import { ItemRejected, VersionConflict, VersionMismatch } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { Durability, Receipt, SubmitResult } from "../../SyncEngineModels.js"
import type { ItemRecord, ItemVersion } from "../../SyncItem.js"
import { sameHead } from "../../SyncItem.js"
import type { Appended } from "../../wal/WriteAheadLog.js"
import type { ArchiveOutcome, ArchiveWaiters } from "../state/ArchiveWaiters.js"
import type { EngineState } from "../state/EngineState.js"
import type { Prepared } from "../state/InFlightWrites.js"
import { contentBytes } from "../state/InFlightWrites.js"
import { closedToWrites } from "./WriteGate.js"

/** Called once, with a result for each prepared write in order. */
type Done = (results: ReadonlyArray<SubmitResult>) => void

export class LogAppend {
  /** @param hurry called after a group commit in place of `onCommitted` when a writer waits for the archive */
  constructor(
    private readonly core: EngineState,
    private readonly waiters: ArchiveWaiters,
    private readonly onCommitted: () => void,
    private readonly hurry: () => void
  ) {}

  /**
   * Appends prepared writes as one call and acknowledges them at the asked level. Synchronous: when this returns, the
   * writes are in the log's queue, or `done` has been told why not.
   */
  enqueue(writes: ReadonlyArray<Prepared>, durability: Durability, done: Done): void {
    const { core } = this
    const records = writes.map((write) => write.record)
    const early = durability === "memory"
    let refused = false
    let answered = false
    // The filter knows an id before anybody can see it.
    core.filter?.beforeWrite(records)
    for (const write of writes) core.inFlight.add(write)
    const committed = (result: Either.Either<Appended, LogFull | LogUnavailable>): void => {
      if (!core.appends.end(append)) return
      for (const write of writes) core.inFlight.remove(write)
      if (early && answered) core.early.end()
      if (Either.isRight(result)) {
        this.landed(writes, records, result.right.first, durability, done)
        return
      }
      refused = true
      if (result.left._tag === "LogUnavailable") core.degradations.logRefuses(result.left)
      if (early && answered) takeBack(core, records)
      if (answered) return
      Metrics.rejected(result.left._tag, records.length)
      done(records.map((record) => ({ _tag: "Rejected", id: record.id, error: result.left })))
    }
    const append = core.appends.begin(records.length, contentBytes(records), (error) =>
      committed(Either.left(error))
    )
    core.log.unsafeAppend(records, committed)
    if (!early || refused) return
    for (const write of writes) core.versions.show(write.record, 0, write.unchecked)
    answered = true
    core.early.begin()
    Metrics.acknowledged("memory", records.length)
    done(acknowledged(writes, "memory"))
  }

  private landed(
    writes: ReadonlyArray<Prepared>,
    records: ReadonlyArray<ItemRecord>,
    first: number,
    durability: Durability,
    done: Done
  ): void {
    const { core } = this
    for (let index = 0; index < writes.length; index++) {
      core.versions.show(records[index]!, first + index, writes[index]!.unchecked)
    }
    core.tail.push(first, records)
    core.counters.acknowledged += records.length
    if (durability !== "memory") Metrics.acknowledged(durability, records.length)
    if (durability === "wal") done(acknowledged(writes, "wal"))
    if (durability === "archive") {
      this.awaitArchive(writes, first, done)
      this.hurry()
    } else this.onCommitted()
  }

  private awaitArchive(writes: ReadonlyArray<Prepared>, first: number, done: Done): void {
    this.waiters.add(first, writes.length, (outcomes) => {
      const again: Array<Prepared> = []
      const places: Array<number> = []
      const results = writes.map((write, index) => {
        const outcome = outcomes[index]!
        const newer = outcome._tag === "Superseded" ? newerThan(this.core, write, outcome) : undefined
        if (newer !== undefined) {
          again.push(newer)
          places.push(index)
        }
        return resultOf(write, outcome)
      })
      if (again.length === 0) return done(results)
      this.enqueue(again, "archive", (answers) => {
        for (const [n, place] of places.entries()) results[place] = answers[n]!
        done(results)
      })
    })
  }
}

export const receiptOf = (
  { compared, previousVersion, record: { contentHash, id, version } }: Prepared,
  durability: Durability
): Receipt => ({
  id,
  version,
  contentHash,
  durability,
  previousVersion,
  compared: durability === "archive" || compared
})

const acknowledged = (writes: ReadonlyArray<Prepared>, durability: Durability): ReadonlyArray<SubmitResult> =>
  writes.map((write) => ({ _tag: "Acknowledged", receipt: receiptOf(write, durability) }))

const resultOf = (write: Prepared, outcome: ArchiveOutcome): SubmitResult => {
  const { id, version } = write.record
  switch (outcome._tag) {
    case "Archived":
      return { _tag: "Acknowledged", receipt: receiptOf(write, "archive") }
    case "InLog":
      return { _tag: "Acknowledged", receipt: receiptOf(write, "wal") }
    case "Superseded":
      return { _tag: "Rejected", id, error: conflictOf(write, outcome.stored) }
    default:
      return { _tag: "Rejected", id, error: new ItemRejected({ id, version, problem: outcome.problem }) }
  }
}

const conflictOf = ({ expected, record }: Prepared, stored: ItemVersion) =>
  expected === undefined
    ? new VersionConflict({ id: record.id, submitted: record.version, current: stored.version })
    : new VersionMismatch({ id: record.id, expected, actual: stored.deleted ? 0 : stored.version })

/**
 * A write that lost by the engine's own version, with a newer one: its caller waits, and meant to replace whatever is
 * there. Once, and only while this node has no later write of the id.
 */
const newerThan = (
  core: EngineState,
  write: Prepared,
  { followed, stored }: Extract<ArchiveOutcome, { _tag: "Superseded" }>
): Prepared | undefined => {
  const { id } = write.record
  if (write.final || write.expected !== undefined || followed || closedToWrites(core) !== undefined)
    return undefined
  if (core.pending.get(id) !== undefined || core.inFlight.newest(id) !== undefined) return undefined
  const version = core.clock.next(stored.version)
  if (version === undefined) return undefined
  return {
    ...write,
    record: { ...write.record, version, updatedAt: core.nowMs() },
    previousVersion: stored.deleted ? undefined : stored.version,
    // Should it lose once more, its caller is told.
    final: true
  }
}

/** Writes acknowledged at `memory` whose commit failed: the one loss that this level allows. */
const takeBack = (core: EngineState, records: ReadonlyArray<ItemRecord>): void => {
  for (const record of records) {
    core.pending.revoke(record)
    const held = core.memory.peek(record.id)
    if (held !== undefined && sameHead(held, record)) core.memory.remove(record.id)
    core.watches.touch(record.id)
  }
  core.early.lose(records.length)
}
