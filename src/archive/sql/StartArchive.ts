/** What both SQL archives do when they start. */
import * as Reactivity from "@effect/experimental/Reactivity"
import { Effect, ExecutionStrategy, Exit, Scope } from "effect"
import { ArchiveStartError } from "../../EngineError.js"
import { classify, reasonOf } from "../ArchiveErrors.js"
import { outsideTransaction } from "./SqlSession.js"

/**
 * Runs a start so that a failed one is undone at once, and not only when the caller's scope closes: it may be
 * tried again many times within that scope. Every failure and defect becomes an `ArchiveStartError`.
 */
export const start = <A, E>(
  target: string,
  secrets: ReadonlyArray<string>,
  effect: Effect.Effect<A, E, Scope.Scope | Reactivity.Reactivity>,
  /** What to do about a failure that no waiting ends. */
  adviceFor: (failure: unknown) => string | undefined = () => undefined
): Effect.Effect<A, ArchiveStartError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const inner = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const exit = yield* restore(effect).pipe(
        outsideTransaction,
        Effect.withTracerEnabled(false),
        Effect.provide(Reactivity.layer),
        Scope.extend(inner),
        Effect.exit
      )
      if (Exit.isSuccess(exit)) return exit.value
      yield* Scope.close(inner, exit)
      const found = reasonOf(exit.cause)
      if (found === undefined) return yield* Effect.interrupt
      if (found.reason instanceof ArchiveStartError) return yield* found.reason
      const { problem, unreachable } = classify(found.reason, secrets)
      const advice = adviceFor(found.reason)
      return yield* new ArchiveStartError({
        target,
        kind: unreachable ? "unreachable" : "refused",
        problem,
        ...(advice === undefined ? {} : { advice })
      })
    })
  )
