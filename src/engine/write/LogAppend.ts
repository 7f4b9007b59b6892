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

/** Where the results of a call go: one for each of its writes, by its place, and then `done`. */
export interface Answers {
  readonly set: (place: number, result: SubmitResult) => void
  readonly done: () => void
}

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
   * writes are in flight and in the log's queue, or `answers` say why not; when it throws, it has left nothing behind.
   */
  enqueue(writes: ReadonlyArray<Prepared>, durability: Durability, answers: Answers): void {
    const { core } = this
    const records = writes.map((write) => write.record)
    const early = durability === "memory"
    let refused = false
    let answered = false
    // The filter knows an id before anybody can see it. It may find no memory to grow: so it comes first.
    core.filter?.beforeWrite(records)
    for (const write of writes) core.inFlight.add(write)
    const committed = (result: Either.Either<Appended, LogFull | LogUnavailable>): void => {
      if (!core.appends.end(append)) return
      for (const write of writes) core.inFlight.remove(write)
      if (early && answered) core.early.end()
      if (Either.isRight(result)) {
        this.landed(writes, records, result.right.first, durability, answers)
        return
      }
      const error = result.left
      refused = true
      if (error._tag === "LogUnavailable") core.degradations.logRefuses(error)
      if (early && answered) takeBack(core, records)
      if (answered) return
      Metrics.rejected(error._tag, records.length)
      for (const [place, { id }] of records.entries()) answers.set(place, { _tag: "Rejected", id, error })
      answers.done()
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
    acknowledge(writes, "memory", answers)
  }

  private landed(
    writes: ReadonlyArray<Prepared>,
    records: ReadonlyArray<ItemRecord>,
    first: number,
    durability: Durability,
    answers: Answers
  ): void {
    const { core } = this
    for (let index = 0; index < writes.length; index++) {
      core.versions.show(records[index]!, first + index, writes[index]!.unchecked)
    }
    core.tail.push(first, records)
    core.counters.acknowledged += records.length
    if (durability !== "memory") Metrics.acknowledged(durability, records.length)
    if (durability === "wal") acknowledge(writes, "wal", answers)
    if (durability === "archive") {
      this.awaitArchive(writes, first, answers)
      this.hurry()
    } else this.onCommitted()
  }

  private awaitArchive(writes: ReadonlyArray<Prepared>, first: number, answers: Answers): void {
    this.waiters.add(first, writes.length, (outcomes) => {
      const again: Array<Prepared> = []
      const places: Array<number> = []
      for (const [place, write] of writes.entries()) {
        const outcome = outcomes[place]!
        const newer = outcome._tag === "Superseded" ? newerThan(this.core, write, outcome) : undefined
        if (newer === undefined) answers.set(place, resultOf(write, outcome))
        else {
          again.push(newer)
          places.push(place)
        }
      }
      if (again.length === 0) return answers.done()
      const { done, set } = answers
      try {
        this.enqueue(again, "archive", { set: (n, result) => set(places[n]!, result), done })
      } catch {
        // Not written once more: it has lost.
        for (const place of places) set(place, resultOf(writes[place]!, outcomes[place]!))
        done()
      }
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

const acknowledge = (writes: ReadonlyArray<Prepared>, durability: Durability, answers: Answers): void => {
  for (let place = 0; place < writes.length; place++) {
    answers.set(place, { _tag: "Acknowledged", receipt: receiptOf(writes[place]!, durability) })
  }
  answers.done()
}

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
