/** What a question is refused for: the phase, or what is wrong with its arguments. */
import { Effect } from "effect"
import { InvalidItem, InvalidRequest, type ReadError } from "../../EngineError.js"
import type { Page } from "../../SyncEngineModels.js"
import { idProblem, prefixProblem, stateProblem } from "../../SyncItem.js"
import { nameOf } from "../../shared/NameOf.js"
import type { EngineState } from "../state/EngineState.js"

type Problem = InvalidRequest | undefined

/** The most items one page may have. */
const maxPageItems = 10_000
export const defaultPageItems = 1000

export const invalid = (argument: string, problem: string | undefined): Problem =>
  problem === undefined ? undefined : new InvalidRequest({ argument, problem })

export const invalidPrefix = (prefix: string, argument = "prefix"): Problem =>
  invalid(argument, prefixProblem(prefix))

export const invalidState = (state: string): Problem => invalid("state", stateProblem(state))

export const notWhole = (
  argument: string,
  value: number | undefined,
  least: number,
  most = Number.MAX_SAFE_INTEGER
): Problem =>
  value === undefined || (Number.isSafeInteger(value) && value >= least && value <= most)
    ? undefined
    : invalid(argument, `must be a whole number from ${least} to ${most}`)

export const invalidPage = (page: Page | undefined, most = maxPageItems): Problem =>
  notWhole("limit", page?.limit, 1, most) ??
  (page?.after === undefined ? undefined : invalid("after", idProblem(page.after)))

export const orFail = <A, E, R>(
  problem: Problem,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | InvalidRequest, R> => problem ?? body

/** Asks only while the phase allows it. */
export const guarded = <A, E, R>(
  core: EngineState,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ReadError, R> =>
  Effect.suspend((): Effect.Effect<A, E | ReadError, R> => core.gate.query() ?? body)

/** As `guarded`, for a question about one id. */
export const guardedById = <A, E, R>(core: EngineState, id: string, body: Effect.Effect<A, E, R>) =>
  guarded(
    core,
    Effect.suspend((): Effect.Effect<A, E | InvalidItem, R> => {
      const problem = idProblem(id)
      return problem === undefined ? body : new InvalidItem({ id: nameOf(id), field: "id", problem })
    })
  )
