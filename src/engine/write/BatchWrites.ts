/**
 * Writes of many items in one call, in turns that other work comes between. What is prepared in a turn is in the log's
 * queue when the turn ends.
 */
import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { InvalidRequest } from "../../EngineError.js"
import * as Metrics from "../../Metrics.js"
import type { Durability, SubmitResult } from "../../SyncEngineModels.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { EngineState } from "../state/EngineState.js"
import type { Prepared } from "../state/InFlightWrites.js"
import type { Answers, LogAppend } from "./LogAppend.js"
import type { Asked, VersionComparison } from "./VersionComparison.js"
import { refuse, throttled, writeGate } from "./WriteGate.js"
import { type Examined, shownConflict } from "./WriteValidation.js"

export interface Batch {
  readonly count: number
  readonly durability: Durability
  readonly id: (index: number) => string
  /** The id of a write whose version is the caller's. */
  readonly own?: (index: number) => string | undefined
  readonly prepare: (
    index: number,
    answers: ReadonlyMap<string, Asked>,
    examined: Examined | undefined
  ) => Prepared | WriteError
  /** What is to be done before that, where the content is large. */
  readonly examined?: (index: number) => Effect.Effect<Examined> | undefined
}

const noAnswers: ReadonlyMap<string, Asked> = new Map()

/** The results of a batch, and one completion for all of its turns. */
class Results {
  readonly all: Array<SubmitResult>
  private open = 0
  private resume: (() => void) | undefined

  constructor(count: number) {
    this.all = new Array<SubmitResult>(count)
  }

  /** What a turn writes to the log: its results go to these places. */
  answers(places: ReadonlyArray<number>): Answers {
    this.open++
    return {
      set: (n, result) => {
        this.all[places[n]!] = result
      },
      done: () => {
        if (--this.open === 0) this.resume?.()
      }
    }
  }

  /** Waits for all turns begun so far. */
  readonly settled: Effect.Effect<void> = Effect.async((resume) => {
    this.resume = () => resume(Effect.void)
    if (this.open === 0) this.resume()
  })
}

export class BatchWrites {
  constructor(
    private readonly core: EngineState,
    private readonly log: LogAppend,
    private readonly comparison: VersionComparison
  ) {}

  /** To be called when the call begins. */
  append(
    argument: string,
    batch: Batch,
    refusal: WriteError | undefined
  ): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> {
    const { core } = this
    return throttled(core, () => {
      const refused = writeGate(core) ?? refusal ?? batchProblem(core, argument, batch.count)
      return refused === undefined ? this.compared(batch) : refuse(refused, batch.count)
    })
  }

  private compared(batch: Batch): Effect.Effect<ReadonlyArray<SubmitResult>> {
    const own = this.ownIds(batch)
    return own.length === 0
      ? this.written(batch, noAnswers)
      : this.comparison.around(own, (answers) => this.written(batch, answers))
  }

  /** The ids of a batch whose own versions only the archive can compare. */
  private ownIds(batch: Batch): ReadonlyArray<string> {
    const ids: Array<string> = []
    for (let index = 0; index < batch.count; index++) {
      const id = batch.own?.(index)
      if (id !== undefined && this.comparison.isNeeded(id)) ids.push(id)
    }
    return ids
  }

  /** Uninterruptible: otherwise a caller could be left without an answer for what is in the log already. */
  private written(
    batch: Batch,
    answers: ReadonlyMap<string, Asked>
  ): Effect.Effect<ReadonlyArray<SubmitResult>> {
    const results = new Results(batch.count)
    const later: Array<number> = []
    const turns = (start: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const append = (examined?: Examined) => {
          const end = this.appendTurn(batch, start, results, later, answers, examined)
          return end < batch.count ? Effect.zipRight(yieldToEventLoop, turns(end)) : Effect.void
        }
        const examined = start < batch.count ? batch.examined?.(start) : undefined
        return examined === undefined ? append() : Effect.flatMap(examined, append)
      })
    return Effect.uninterruptible(
      turns(0).pipe(
        Effect.zipRight(Effect.suspend(() => this.again(batch, later, results.all))),
        Effect.zipRight(results.settled),
        Effect.as(results.all)
      )
    )
  }

  /** Writes what would have been refused only because of writes on their way, once those have landed. */
  private again(
    batch: Batch,
    places: ReadonlyArray<number>,
    results: Array<SubmitResult>
  ): Effect.Effect<void> {
    if (places.length === 0) return Effect.void
    const { durability, examined, id, own, prepare } = batch
    const part: Batch = {
      count: places.length,
      durability,
      id: (n) => id(places[n]!),
      own: (n) => own?.(places[n]!),
      prepare: (n, ...known) => prepare(places[n]!, ...known),
      examined: (n) => examined?.(places[n]!)
    }
    return Effect.forEach(places, (place) => this.core.inFlight.landed(id(place)), { discard: true }).pipe(
      Effect.zipRight(Effect.suspend(() => this.compared(part))),
      Effect.andThen((answers) => {
        for (const [n, place] of places.entries()) results[place] = answers[n]!
      })
    )
  }

  /** One turn's worth, prepared and appended synchronously; returns where the next one starts. */
  private appendTurn(
    batch: Batch,
    start: number,
    results: Results,
    later: Array<number>,
    answers: ReadonlyMap<string, Asked>,
    examined: Examined | undefined
  ): number {
    const { core } = this
    if (!core.gate.acceptsWrites) return this.refuseFrom(start, batch, results.all)
    const writes: Array<Prepared> = []
    try {
      const places: Array<number> = []
      const { bytesPerTurn } = core.limits
      let bytes = 0
      let index = start
      for (; index < batch.count && index - start < core.turnItems && bytes < bytesPerTurn; index++) {
        if (index > start && batch.examined?.(index) !== undefined) break
        const prepared = batch.prepare(index, answers, index === start ? examined : undefined)
        if (prepared._tag === "Prepared") {
          // Known from here on, also to the later items of this batch.
          core.inFlight.add(prepared)
          bytes += prepared.record.content.byteLength
          writes.push(prepared)
          places.push(index)
        } else {
          const error =
            prepared._tag === "VersionConflict"
              ? shownConflict(core, prepared, answers.get(prepared.id))
              : prepared
          if (error === undefined) {
            later.push(index)
            continue
          }
          Metrics.rejected(error._tag, 1)
          results.all[index] = { _tag: "Rejected", id: batch.id(index), error }
        }
      }
      if (writes.length > 0) this.log.enqueue(writes, batch.durability, results.answers(places))
      return index
    } catch (cause) {
      // Those known already will not reach the log, and others would wait for them for ever.
      for (const write of writes) core.inFlight.remove(write)
      throw cause
    }
  }

  /** A drain or shutdown came between two turns: what is not in the log yet is refused. */
  private refuseFrom(start: number, batch: Batch, results: Array<SubmitResult>): number {
    const error = this.core.gate.closed("write")
    Metrics.rejected(error._tag, batch.count - start)
    for (let rest = start; rest < batch.count; rest++) {
      results[rest] = { _tag: "Rejected", id: batch.id(rest), error }
    }
    return batch.count
  }
}

export const batchProblem = (
  core: EngineState,
  argument: string,
  count: number
): InvalidRequest | undefined => {
  if (Number.isNaN(count)) return new InvalidRequest({ argument, problem: "must be an array" })
  const { maxBatchItems } = core.config()
  return count <= maxBatchItems
    ? undefined
    : new InvalidRequest({ argument, problem: `has ${count} entries; at most ${maxBatchItems} are allowed` })
}
