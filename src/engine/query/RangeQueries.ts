/**
 * Reads and deletions of sets: pages merge the archive's rows with what is pending; counts are the archive's, after what was
 * acknowledged before the call has been carried to it.
 */
import { Chunk, Effect, Option, Stream } from "effect"
import type { ScanRange } from "../../archive/Archive.js"
import type { InvalidRequest, ReadError, WriteError } from "../../EngineError.js"
import { VersionMismatch } from "../../EngineError.js"
import type { Page } from "../../SyncEngineModels.js"
import { prefixProblem } from "../../SyncItem.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { EngineState } from "../state/EngineState.js"
import { newestOf } from "../state/KnownVersions.js"
import { settledMeanwhile } from "../state/Watching.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import { inState, type PageRead, type Pages } from "./Pages.js"
import type { QueryApi } from "./QueryApi.js"
import {
  defaultPageItems,
  guarded,
  invalid,
  invalidPage,
  invalidPrefix,
  invalidState,
  orFail
} from "./Requests.js"

type RangeQueries = Pick<
  QueryApi,
  "getByState" | "countByState" | "listStateIds" | "scanPrefix" | "scanPage" | "statePage" | "countPrefix"
>

export const make = (core: EngineState, barrier: FlushBarrier, pages: Pages): RangeQueries => {
  const stream = (
    operation: string,
    problem: InvalidRequest | undefined,
    range: ScanRange,
    limit = Number.POSITIVE_INFINITY
  ) =>
    Stream.paginateChunkEffect({ after: range.after, left: limit }, ({ after, left }) => {
      const items = Math.min(left, core.limits.streamPageItems)
      return Effect.map(
        orFail(problem, guarded(core, pages.items({ ...range, after }, items, operation))),
        ({ next, rows }) => {
          const more = { after: next, left: left - rows.length }
          const open = next !== undefined && more.left > 0
          return [Chunk.unsafeFromArray(rows), open ? Option.some(more) : Option.none()] as const
        }
      )
    })

  const page = <Row>(
    operation: string,
    problem: InvalidRequest | undefined,
    read: PageRead<Row>,
    range: ScanRange,
    { after, limit = defaultPageItems }: Page = {}
  ): Effect.Effect<ReadonlyArray<Row>, ReadError> =>
    orFail(
      problem ?? invalidPage({ after, limit }),
      guarded(
        core,
        Effect.map(read({ ...range, after }, limit, operation), ({ rows }) => rows)
      )
    ).pipe(Effect.withSpan(`SyncEngine.${operation}`))

  const count = (operation: string, problem: InvalidRequest | undefined, range: ScanRange) =>
    orFail(
      problem,
      barrier.thenAsk(operation, (archive) => archive.count(range))
    ).pipe(Effect.withSpan(`SyncEngine.${operation}`))

  return {
    scanPrefix: (prefix, options) =>
      stream(
        "scanPrefix",
        invalidPrefix(prefix) ?? invalidPage(options, Number.MAX_SAFE_INTEGER),
        { prefix, after: options?.after },
        options?.limit
      ),
    getByState: (state) => stream("getByState", invalidState(state), { prefix: "", state }),
    scanPage: (prefix, options) => page("scanPage", invalidPrefix(prefix), pages.items, { prefix }, options),
    statePage: (state, options) =>
      page("statePage", invalidState(state), pages.items, { prefix: "", state }, options),
    listStateIds: (state, options) =>
      page("listStateIds", invalidState(state), pages.ids, { prefix: "", state }, options),
    countPrefix: (prefix) => count("countPrefix", invalidPrefix(prefix), { prefix }),
    countByState: (state) => count("countByState", invalidState(state), { prefix: "", state })
  }
}

/** Deleting everything that a range holds, page by page. */
export const deletes = (
  core: EngineState,
  writes: WriteOperations,
  pages: Pages
): Pick<QueryApi, "deleteByState" | "deletePrefix"> => {
  /** Deletes one page of a range. An item may leave the range until its own deletion is decided, and is left then. */
  const deletePage = (range: ScanRange, operation: string) =>
    settledMeanwhile(
      core,
      Effect.fnUntraced(function* (settled) {
        const left = (id: string): boolean => {
          const entry = core.pending.get(id) ?? settled.get(id)
          const compared = entry?.unchecked === true ? undefined : entry
          const newest = newestOf(core.inFlight.newest(id)?.record, compared)
          return newest !== undefined && (newest.deleted || !inState(range, newest.state))
        }
        const limit = Math.min(core.limits.idsPerDelete, core.config().maxBatchItems)
        const { next, rows } = yield* pages.ids(range, limit, operation)
        let deleted = 0
        let open = rows
        while (open.length > 0) {
          // Another node's write may have given it another state; an id stays below its prefix.
          const results = yield* writes.deleteUnless(open, left, range.state !== undefined)
          const undecided: Array<string> = []
          for (const result of results) {
            if (result._tag === "Acknowledged") deleted++
            else if (result.error._tag === "VersionConflict") continue
            else if (!(result.error instanceof VersionMismatch)) return yield* result.error
            // What takes it out of the range may still fail.
            else if (core.inFlight.newest(result.id) !== undefined) undecided.push(result.id)
          }
          for (const id of undecided) yield* core.inFlight.landed(id)
          open = undecided
        }
        return { deleted, next }
      })
    )

  const bulkDelete = Effect.fnUntraced(function* (
    range: ScanRange,
    operation: string
  ): Effect.fn.Return<number, WriteError | ReadError> {
    let deleted = 0
    let after: string | undefined
    for (;;) {
      const page = yield* guarded(core, deletePage({ ...range, after }, operation))
      deleted += page.deleted
      if (page.next === undefined) return deleted
      after = page.next
    }
  })

  return {
    deleteByState: (state) =>
      orFail(invalidState(state), bulkDelete({ prefix: "", state }, "deleteByState")).pipe(
        Effect.withSpan("SyncEngine.deleteByState")
      ),
    deletePrefix: (prefix) => {
      const problem =
        prefix === ""
          ? "is empty; deleting everything has to be asked for by prefixes"
          : prefixProblem(prefix)
      return orFail(invalid("prefix", problem), bulkDelete({ prefix }, "deletePrefix")).pipe(
        Effect.withSpan("SyncEngine.deletePrefix")
      )
    }
  }
}
