/**
 * Reads of sets: pages merge the archive's rows with what is pending; counts and the tree are the archive's, after
 * what was acknowledged before the call has been carried to it.
 */
import { Chunk, Effect, Option, Stream } from "effect"
import type { ScanRange } from "../../archive/Archive.js"
import type { ReadError } from "../../EngineError.js"
import { InvalidRequest } from "../../EngineError.js"
import type { FlushResult, Page } from "../../SyncEngineModels.js"
import { idProblem, prefixProblem, stateProblem } from "../../SyncItem.js"
import { checkpoint } from "../flush/Checkpoint.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { EngineState } from "../state/EngineState.js"
import type { Pages, Part } from "./Pages.js"
import type { QueryApi } from "./QueryApi.js"
import type { TreeApi } from "./TreeApi.js"

export type RangeQueries = Pick<
  QueryApi,
  "getByState" | "countByState" | "listStateIds" | "scanPrefix" | "scanPage" | "statePage" | "countPrefix"
> &
  Pick<TreeApi, "merkleRoot" | "merkleNode" | "merkleChildren"> & {
    readonly flush: Effect.Effect<FlushResult, ReadError>
  }

/** The most items one page may have. */
export const maxPageItems = 10_000

const defaultPageItems = 1000

export const make = (core: EngineState, carry: FlushBarrier, pages: Pages): RangeQueries => {
  const gated = <A>(problem: InvalidRequest | undefined, body: Effect.Effect<A, ReadError>) =>
    Effect.suspend(() => {
      const refused = problem ?? core.queryGate()
      return refused === undefined ? body : Effect.fail(refused)
    })

  const stream = (
    range: ScanRange,
    problem: InvalidRequest | undefined,
    operation: string,
    limit = Number.POSITIVE_INFINITY
  ) => {
    const next = ({ after, left }: { readonly after: string | undefined; readonly left: number }) =>
      Effect.map(
        gated(
          problem,
          pages.items({ ...range, after }, Math.min(left, core.limits.streamPageItems), operation)
        ),
        (part) => {
          const more = { after: part.next, left: left - part.rows.length }
          const open = part.next !== undefined && more.left > 0
          return [Chunk.unsafeFromArray(part.rows), open ? Option.some(more) : Option.none()] as const
        }
      )
    return Stream.paginateChunkEffect({ after: range.after, left: limit }, next)
  }

  const page = <Row>(
    read: (range: ScanRange, limit: number, operation: string) => Effect.Effect<Part<Row>, ReadError>,
    range: ScanRange,
    options: Page | undefined,
    problem: InvalidRequest | undefined,
    operation: string
  ) =>
    gated(
      problem ?? pageProblem(options),
      Effect.map(
        read({ ...range, after: options?.after }, options?.limit ?? defaultPageItems, operation),
        ({ rows }) => rows
      )
    )

  const orFail = <A>(problem: InvalidRequest | undefined, effect: Effect.Effect<A, ReadError>) =>
    problem === undefined ? effect : Effect.fail(problem)

  return {
    scanPrefix: (prefix, options) =>
      stream(
        { prefix, after: options?.after },
        prefixRequest(prefix) ??
          limitRequest(options?.limit, Number.MAX_SAFE_INTEGER) ??
          afterRequest(options?.after),
        "scanPrefix",
        options?.limit
      ),
    getByState: (state) => stream({ prefix: "", state }, stateRequest(state), "getByState"),
    scanPage: (prefix, options) => page(pages.items, { prefix }, options, prefixRequest(prefix), "scanPage"),
    statePage: (state, options) =>
      page(pages.items, { prefix: "", state }, options, stateRequest(state), "statePage"),
    countPrefix: (prefix) =>
      orFail(
        prefixRequest(prefix),
        carry.thenAsk("countPrefix", (service) => service.count({ prefix }))
      ),
    countByState: (state) =>
      orFail(
        stateRequest(state),
        carry.thenAsk("countByState", (service) => service.count({ prefix: "", state }))
      ),
    listStateIds: (state, options) =>
      page(pages.ids, { prefix: "", state }, options, stateRequest(state), "listStateIds"),
    flush: gated(
      undefined,
      Effect.tap(carry.all("flush"), () => checkpoint(core))
    ),
    merkleRoot: carry.thenAsk("merkleRoot", (service) => service.root),
    merkleNode: (path) =>
      orFail(
        prefixRequest(path, "path"),
        carry.thenAsk("merkleNode", (service) => service.node(path))
      ),
    merkleChildren: (path, options) =>
      orFail(
        prefixRequest(path, "path") ?? pageProblem({ limit: options?.limit }),
        carry.thenAsk("merkleChildren", (service) =>
          service.children(path, { after: options?.after, limit: options?.limit ?? defaultPageItems })
        )
      )
  }
}

const prefixRequest = (prefix: string, argument = "prefix"): InvalidRequest | undefined => {
  const problem = prefixProblem(prefix)
  return problem === undefined ? undefined : new InvalidRequest({ argument, problem })
}

const stateRequest = (state: string): InvalidRequest | undefined => {
  const problem = stateProblem(state)
  return problem === undefined ? undefined : new InvalidRequest({ argument: "state", problem })
}

const afterRequest = (after: string | undefined): InvalidRequest | undefined => {
  const problem = after === undefined ? undefined : idProblem(after)
  return problem === undefined ? undefined : new InvalidRequest({ argument: "after", problem })
}

const limitRequest = (limit: number | undefined, most: number): InvalidRequest | undefined =>
  limit === undefined || (Number.isInteger(limit) && limit >= 1 && limit <= most)
    ? undefined
    : new InvalidRequest({ argument: "limit", problem: `must be a whole number from 1 to ${most}` })

const pageProblem = (page: Page | undefined): InvalidRequest | undefined =>
  limitRequest(page?.limit, maxPageItems) ?? afterRequest(page?.after)
