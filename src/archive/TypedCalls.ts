/** One way for every failure of an archive's calls to become an `ArchiveError`. */
import { Effect } from "effect"
import type { OpenArchive } from "./Archive.js"
import type { ArchiveError } from "./ArchiveError.js"

/** A part of the archive whose calls still fail with whatever a driver throws. */
export type Untyped<S> = {
  readonly [K in keyof S]: S[K] extends Effect.Effect<infer A, ArchiveError>
    ? Effect.Effect<A, unknown>
    : S[K] extends (...args: infer P) => Effect.Effect<infer A, ArchiveError>
      ? (...args: P) => Effect.Effect<A, unknown>
      : never
}

/** The calls of an archive that fail each by itself. */
export type OpenArchiveCalls = Omit<
  OpenArchive,
  "dialect" | "target" | "maxContentBytes" | "reading" | "writers"
>

/** Wraps one call, known by its name. */
export type CallGuard = <A>(
  operation: string,
  call: Effect.Effect<A, unknown>,
  args: ReadonlyArray<unknown>
) => Effect.Effect<A, ArchiveError>

type Call = Effect.Effect<unknown, unknown> | ((...args: Array<unknown>) => Effect.Effect<unknown, unknown>)

/** Puts the guard around every call. What a call does before it returns its effect, it does when it is asked for. */
export const typed = <S extends object>(calls: Untyped<S>, guard: CallGuard): S =>
  Object.fromEntries(
    Object.entries<Call>(calls as Record<string, never>).map(([name, call]) => [
      name,
      typeof call === "function"
        ? (...args: Array<unknown>) => Effect.suspend(() => guard(name, call(...args), args))
        : guard(name, call, [])
    ])
  ) as S
