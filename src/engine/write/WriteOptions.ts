/** What callers ask beside their items. */
import { Effect } from "effect"
import type { WriteError } from "../../EngineError.js"
import { InvalidRequest } from "../../EngineError.js"
import type { DeleteOptions, Durability, SubmitOptions } from "../../SyncEngineModels.js"
import { refuse } from "./WriteGate.js"
import { unreadable } from "./WriteValidation.js"

/** Reads a caller's options once, before anything is done: their getters may throw. */
export const withOptions = <A, E, R>(
  given: AnyOptions | undefined,
  use: (options: AnyOptions) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | WriteError, R> => {
  if (given === undefined || given === null) return Effect.suspend(() => use(noOptions))
  return Effect.suspend((): Effect.Effect<A, E | WriteError, R> => {
    let options: AnyOptions
    try {
      const { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version } = given
      options = { durability, expectedHash, expectedVersion, sql, traceparent, ttl, version }
    } catch (cause) {
      return refuse(new InvalidRequest({ argument: "options", problem: unreadable(cause) }))
    }
    return use(options)
  })
}

export interface AnyOptions extends SubmitOptions, DeleteOptions {
  readonly expectedHash?: string | undefined
}

const noOptions: AnyOptions = {}

type WithDurability = { readonly durability?: Durability | undefined } | undefined

export const durabilityOf = (options: WithDurability): Durability => options?.durability ?? "wal"

export const durabilityProblem = (options: WithDurability): InvalidRequest | undefined => {
  const durability = options?.durability
  return durability === undefined || durabilities.includes(durability)
    ? undefined
    : new InvalidRequest({ argument: "durability", problem: 'must be "memory", "wal" or "archive"' })
}

const durabilities: ReadonlyArray<Durability> = ["memory", "wal", "archive"]
