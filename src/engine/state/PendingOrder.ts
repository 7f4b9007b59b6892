/**
 * The ids of pending writes in byte order, for pages and scans.
 *
 * Nothing is kept while nobody reads in order: a write costs one comparison. From the first reader on new ids are
 * noted, and each reader sorts what was noted since the last one into a run of its own; a page is read from all runs
 * side by side. Ids that are no longer pending stay until runs are merged. When the readers stay away, everything is
 * forgotten again. A tree kept sorted by every write was rejected: it costs each write about as much as the rest of
 * the index, and most engines are written to far more often than they are paged.
 */
import { Effect } from "effect"
import { compareBytes } from "../../merkle/ByteOrder.js"
import { lowerBound } from "../../shared/LowerBound.js"
import { Turns } from "../../shared/Turns.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"

/** Ids sorted or merged in one go before other work gets its turn: about 5 ms. */
const idsPerTurn = 16_384

/** More runs than this are merged in pairs. */
const mostRuns = 64

type Run = ReadonlyArray<string>

/** Ids from `from` on, in order, each once. */
export type Sorted = (from: string) => Generator<string>

/** UTF-16 order is byte order as long as no unit is a surrogate or beyond, and it is the machine's own. */
const wide = /[\ud800-\uffff]/
const narrowOrder = (a: string, b: string): number => (a < b ? -1 : a === b ? 0 : 1)

export class PendingOrder {
  /** Each sorted; none while nobody reads in order. */
  private runs: ReadonlyArray<Run> | undefined
  /** What has become pending since the runs were made; none while nobody reads in order. */
  private noted: Array<string> | undefined
  private sorting = false
  private compare = narrowOrder
  private readonly turns = new Turns()

  /** @param index what is ordered */
  constructor(
    private readonly index: {
      readonly size: number
      readonly has: (id: string) => boolean
      readonly ids: () => Iterable<string>
    }
  ) {}

  /** Notes an id that has become pending. */
  add(id: string): void {
    if (this.noted === undefined) return
    this.noted.push(id)
    // The readers have gone.
    if (this.noted.length > idsPerTurn && this.noted.length > 2 * this.index.size && !this.sorting)
      this.forget()
  }

  /** Every id that is pending when this is asked for, and perhaps others. */
  readonly sorted: Effect.Effect<Sorted> = Effect.suspend(() =>
    this.turns.hold(() =>
      Effect.onExit(this.sort(), (exit) =>
        Effect.sync(() => {
          this.sorting = false
          // Half sorted is not sorted.
          if (exit._tag === "Failure") this.forget()
        })
      )
    )
  )

  private forget(): void {
    this.runs = undefined
    this.noted = undefined
  }

  private sort(): Effect.Effect<Sorted> {
    const self = this
    return Effect.gen(function* () {
      self.sorting = true
      const runs = self.runs
      const noted = self.noted
      // What becomes pending from here on is for the next reader.
      self.noted = []
      const added = yield* self.sortSlices(runs === undefined ? self.index.ids() : (noted ?? []))
      let all = [...(runs ?? []), ...added]
      const held = all.reduce((sum, run) => sum + run.length, 0)
      if (all.length > mostRuns || held > 2 * self.index.size + idsPerTurn) all = yield* self.mergePairs(all)
      self.runs = all
      return (from: string) => inOrder(all, from, self.compare)
    })
  }

  private sortSlices(ids: Iterable<string>): Effect.Effect<Array<Run>> {
    const self = this
    return Effect.gen(function* () {
      const runs: Array<Run> = []
      let slice: Array<string> = []
      const sortSlice = () => {
        if (slice.some((id) => wide.test(id))) self.compare = compareBytes
        runs.push(self.compare === compareBytes ? slice.sort(compareBytes) : slice.sort())
        slice = []
      }
      for (const id of ids) {
        slice.push(id)
        if (slice.length < idsPerTurn) continue
        sortSlice()
        yield* yieldToEventLoop
      }
      if (slice.length > 0) sortSlice()
      return runs
    })
  }

  /** Neighbours become one run, without the ids that are no longer pending. */
  private mergePairs(runs: ReadonlyArray<Run>): Effect.Effect<Array<Run>> {
    const self = this
    return Effect.gen(function* () {
      const merged: Array<Run> = []
      let steps = 0
      for (let at = 0; at < runs.length; at += 2) {
        const run: Array<string> = []
        for (const id of inOrder(runs.slice(at, at + 2), "", self.compare)) {
          if (self.index.has(id)) run.push(id)
          if (++steps % idsPerTurn === 0) yield* yieldToEventLoop
        }
        merged.push(run)
      }
      return merged
    })
  }
}

function* inOrder(
  runs: ReadonlyArray<Run>,
  from: string,
  compare: (a: string, b: string) => number
): Generator<string> {
  const heads = runs.map((run) => ({
    run,
    at: lowerBound(0, run.length, (index) => compare(run[index]!, from) < 0)
  }))
  let last: string | undefined
  for (;;) {
    let least: string | undefined
    let of: (typeof heads)[number] | undefined
    for (const head of heads) {
      const id = head.run[head.at]
      if (id === undefined || (least !== undefined && compare(id, least) >= 0)) continue
      least = id
      of = head
    }
    if (of === undefined || least === undefined) return
    of.at++
    if (least !== last) yield least
    last = least
  }
}
