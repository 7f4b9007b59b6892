/** Parts that several commands share, and what they have in common when they work. */
import { Effect, type Scope } from "effect"
import { idProblem, prefixProblem, stateProblem } from "../../SyncItem.js"
import { type CliError, OutputClosed, toCliError } from "../app/CliError.js"
import type { Backend, BackendError } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { Stdio } from "../io/Stdio.js"
import { argument, choice, type Environment, option, toggle, unless, whole } from "../parser/Command.js"

export const json = toggle("json", "Print the result as JSON. Default: text for people.")

export const durability = choice(
  "durability",
  ["memory", "wal", "archive"],
  "How far a write has got when it is acknowledged: in memory, in the log on disk, or in the archive. Default: wal."
)

export const id = argument("id", "The item's id: a dot-separated path such as geo.fr.11.", unless(idProblem))

export const state = (description: string) => option("state", description, unless(stateProblem))

export const path = (name: string, description: string) => option(name, description, unless(prefixProblem))

/** A whole number; without a second bound it is `least` or more. */
export const number = (
  name: string,
  [least, most = Number.MAX_SAFE_INTEGER]: readonly [least: number, most?: number],
  description: string
) => option(name, description, whole(least, most))

/** Writes text to standard output. */
export const print = (text: string | Uint8Array) => Effect.flatMap(Stdio, (stdio) => stdio.write(text))

/** Writes a result to standard output: as one line of JSON where that is asked for, else as text. */
export const show = (input: { readonly json: boolean }, document: unknown, text: string) =>
  print(input.json ? `${JSON.stringify(document)}\n` : text)

/**
 * Opens what the options ask for, runs `use` against it, and turns every expected error into what the command shows.
 */
export const withBackend = <A>(
  input: Connection.Input,
  use: (backend: Backend) => Effect.Effect<A, BackendError | OutputClosed, Environment | Scope.Scope>
): Effect.Effect<A, CliError | OutputClosed, Environment> =>
  Connection.open(input).pipe(
    Effect.flatMap(use),
    Effect.scoped,
    Effect.mapError((error) => (error instanceof OutputClosed ? error : toCliError(error)))
  )
