/** Options and arguments that several commands share, and what they have in common when they work. */
import * as Args from "@effect/cli/Args"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import { Effect, Either, Option, type Scope } from "effect"
import { maxOwnVersion } from "../../engine/state/HybridLogicalClock.js"
import type { Durability } from "../../SyncEngine.js"
import { idProblem, prefixProblem, stateProblem } from "../../SyncItem.js"
import { type CliError, OutputClosed, toCliError, usage } from "../app/CliError.js"
import type { Backend, BackendError } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { Stdio } from "../io/Stdio.js"
import type { Environment } from "../parser/CliCommand.js"

export const json = Options.boolean("json").pipe(
  Options.withDescription("Print the result as JSON. Default: text for people.")
)

export const durability: Options.Options<Option.Option<Durability>> = Options.choice("durability", [
  "memory",
  "wal",
  "archive"
]).pipe(
  Options.withDescription(
    "How far a write has got when it is acknowledged: in memory, in the log on disk, or in the archive. Default: wal."
  ),
  Options.optional
)

const checked =
  (what: string, problemOf: (text: string) => string | undefined) =>
  (text: string): Effect.Effect<string, HelpDoc.HelpDoc> => {
    const problem = problemOf(text)
    return problem === undefined ? Effect.succeed(text) : Effect.fail(HelpDoc.p(`${what} ${problem}`))
  }

export const id = Args.text({ name: "id" }).pipe(
  Args.withDescription("The item's id: a dot-separated path such as geo.fr.11."),
  Args.mapEffect(checked("the id", idProblem))
)

export const prefix = Args.text({ name: "prefix" }).pipe(
  Args.withDescription("The item with this id and everything below it. Default: everything."),
  Args.mapEffect(checked("the prefix", prefixProblem)),
  Args.withDefault("")
)

/** Fails with a usage error when the text is not acceptable. */
export const accept = (
  option: string,
  text: Option.Option<string>,
  problemOf: (text: string) => string | undefined
): Effect.Effect<string | undefined, CliError> => {
  const value = Option.getOrUndefined(text)
  const problem = value === undefined ? undefined : problemOf(value)
  return problem === undefined ? Effect.succeed(value) : Effect.fail(usage(`option ${option}: ${problem}`))
}

export const acceptState = (state: Option.Option<string>) => accept("--state", state, stateProblem)

export const acceptPath = (option: string, path: Option.Option<string>) => accept(option, path, prefixProblem)

/** A whole number given as text, within bounds. */
export const acceptWhole = (
  option: string,
  text: Option.Option<string>,
  least: number,
  most: number
): Effect.Effect<number | undefined, CliError> => {
  const value = Option.getOrUndefined(text)
  if (value === undefined) return Effect.succeed(undefined)
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN
  return number >= least && number <= most
    ? Effect.succeed(number)
    : Effect.fail(
        usage(`option ${option}: ${JSON.stringify(value)} is not a whole number from ${least} to ${most}`)
      )
}

export const acceptVersion = (option: string, text: Option.Option<string>) =>
  acceptWhole(option, text, 1, maxOwnVersion)

/** Writes text to standard output. */
export const print = (text: string | Uint8Array) => Effect.flatMap(Stdio, (stdio) => stdio.write(text))

/** Writes one JSON value and a line feed to standard output. */
export const printJson = (value: unknown) => print(`${JSON.stringify(value)}\n`)

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

/** Turns a possibly missing option into its value or `undefined`. */
export const orUndefined = Option.getOrUndefined

/** Reads a whole number out of an argument. */
export const wholeArgument = (what: string) => (text: string) =>
  /^[1-9]\d{0,15}$/.test(text) && Number.isSafeInteger(Number(text))
    ? Either.right(Number(text))
    : Either.left(HelpDoc.p(`${what} ${JSON.stringify(text)} is not a whole number above 0`))
