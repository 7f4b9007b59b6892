/**
 * Reads of sets (prefixes, states, counts, the tree): they ask the archive, after carrying to it what was
 * acknowledged before the call, and lay later pending writes over each page.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ScanRange } from "../archive/Archive.js"
import type { ReadError } from "../EngineError.js"
import { InvalidRequest } from "../EngineError.js"
import type { SyncItem } from "../SyncItem.js"
import { compareVersions, idProblem, prefixProblem, stateProblem } from "../SyncItem.js"
import type { Carry } from "./Carry.js"
import type { EngineCore } from "./EngineCore.js"
import type { Page, SyncEngineService } from "./EngineService.js"
import type { Reads } from "./Reads.js"

/** @since 0.1.0 @category models */
export type Sets = Pick<
  SyncEngineService,
  | "getByState"
  | "countByState"
  | "listStateIds"
  | "scanPrefix"
  | "scanPage"
  | "statePage"
  | "countPrefix"
  | "merkleRoot"
  | "merkleNode"
  | "merkleChildren"
  | "flush"
>

/** The most items one page may have. @since 0.1.0 @category limits */
export const maxPageItems = 10_000

const defaultPageItems = 1000

/** @since 0.1.0 @category constructors */
export const make = (core: EngineCore, carry: Carry, reads: Reads): Sets => {
  /** Replaces rows of a page by newer pending versions of the same ids; drops what they delete or move out of the range. */
  const overlay = (
    items: ReadonlyArray<SyncItem>,
    range: ScanRange
  ): Effect.Effect<ReadonlyArray<SyncItem>, ReadError> => {
    const changed = items.filter((item) => core.pending.get(item.id) !== undefined)
    if (changed.length === 0) return Effect.succeed(items)
    return Effect.map(reads.fetch(changed.map((item) => item.id)), (records) => {
      const page: Array<SyncItem> = []
      for (const item of items) {
        const record = records.get(item.id)
        if (record === undefined || compareVersions(record, { ...item, deleted: false }) <= 0) page.push(item)
        else if (!record.deleted && (range.state === undefined || record.state === range.state))
          page.push(record)
      }
      return page
    })
  }

  const page = (range: ScanRange, limit: number, operation: string) =>
    carry
      .ask(operation, (service) => service.scan(range, { limit, maxBytes: core.limits.pageBytes }))
      .pipe(
        Effect.flatMap((items) =>
          Effect.map(overlay(items, range), (shown) => ({ items: shown, last: items[items.length - 1]?.id }))
        )
      )

  const stream = (range: ScanRange, problem: InvalidRequest | undefined, operation: string) =>
    Stream.unwrap(
      Effect.gen(function* () {
        if (problem !== undefined) return yield* problem
        const gate = core.queryGate()
        if (gate !== undefined) return yield* gate
        yield* carry.all(operation)
        return Stream.paginateChunkEffect(range.after, (after) =>
          Effect.suspend(() => {
            const closed = core.queryGate()
            return closed === undefined
              ? page({ ...range, after }, core.limits.streamPageItems, operation)
              : Effect.fail(closed)
          }).pipe(
            Effect.map(
              ({ items, last }) =>
                [
                  Chunk.unsafeFromArray(items as Array<SyncItem>),
                  last === undefined ? Option.none<string>() : Option.some<string | undefined>(last)
                ] as const
            )
          )
        )
      })
    ) as Stream.Stream<SyncItem, ReadError>

  const onePage = (
    range: ScanRange,
    options: Page | undefined,
    problem: InvalidRequest | undefined,
    operation: string
  ) =>
    Effect.suspend((): Effect.Effect<ReadonlyArray<SyncItem>, ReadError> => {
      const refused = problem ?? pageProblem(options)
      if (refused !== undefined) return Effect.fail(refused)
      const gate = core.queryGate()
      if (gate !== undefined) return Effect.fail(gate)
      // A page of which everything has just been deleted is not the end.
      const from = (after: string | undefined): Effect.Effect<ReadonlyArray<SyncItem>, ReadError> =>
        Effect.flatMap(
          page({ ...range, after }, options?.limit ?? defaultPageItems, operation),
          ({ items, last }) => (items.length > 0 || last === undefined ? Effect.succeed(items) : from(last))
        )
      return Effect.zipRight(carry.all(operation), from(options?.after))
    })

  const orFail = <A>(problem: InvalidRequest | undefined, effect: Effect.Effect<A, ReadError>) =>
    problem === undefined ? effect : Effect.fail(problem)

  return {
    scanPrefix: (prefix, options) =>
      stream(
        { prefix, after: options?.after },
        prefixRequest(prefix) ?? afterRequest(options?.after),
        "scanPrefix"
      ),
    getByState: (state) => stream({ prefix: "", state }, stateRequest(state), "getByState"),
    scanPage: (prefix, options) => onePage({ prefix }, options, prefixRequest(prefix), "scanPage"),
    statePage: (state, options) => onePage({ prefix: "", state }, options, stateRequest(state), "statePage"),
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
      orFail(
        stateRequest(state) ?? pageProblem(options),
        carry.thenAsk("listStateIds", (service) =>
          service.scanIds({ prefix: "", state, after: options?.after }, options?.limit ?? defaultPageItems)
        )
      ),
    flush: Effect.suspend(() => {
      const gate = core.queryGate()
      return gate === undefined ? carry.all("flush") : Effect.fail(gate)
    }),
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

const pageProblem = (page: Page | undefined): InvalidRequest | undefined => {
  const limit = page?.limit
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= maxPageItems)) {
    return new InvalidRequest({
      argument: "limit",
      problem: `must be a whole number from 1 to ${maxPageItems}`
    })
  }
  return afterRequest(page?.after)
}
