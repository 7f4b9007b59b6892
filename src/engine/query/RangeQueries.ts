/**
 * Reads of sets: pages merge the archive's rows with what is pending; counts are the archive's, after what was
 * acknowledged before the call has been carried to it.
 */
import { Chunk, Effect, Option, Stream } from "effect"
import type { ScanRange } from "../../archive/Archive.js"
import type { InvalidRequest, ReadError } from "../../EngineError.js"
import type { Page } from "../../SyncEngineModels.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { EngineState } from "../state/EngineState.js"
import type { PageRead, Pages } from "./Pages.js"
import type { QueryApi } from "./QueryApi.js"
import { defaultPageItems, guarded, invalidPage, invalidPrefix, invalidState, orFail } from "./Requests.js"

export type RangeQueries = Pick<
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
