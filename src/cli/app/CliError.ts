/** How a command ends other than well: one clear message, what to do, and the exit code. */
import { Data } from "effect"

/**
 * `0` done; `1` it failed, was interrupted, or what was compared differs; `2` the command line or the
 * configuration is wrong and nothing was done.
 */
export type ExitCode = 0 | 1 | 2

/** An expected failure. Shown as one line `sync-engine: <message>` and, when there is advice, a second one. */
export class CliError extends Data.TaggedError("CliError")<{
  readonly exitCode: ExitCode
  readonly message: string
  readonly advice?: string | undefined
}> {}

/** The reader of standard output closed it (`scan | head`). Ends the command quietly. */
export class OutputClosed extends Data.TaggedError("OutputClosed")<object> {}

/** The command line or the configuration is wrong: exit code 2. */
export const usage = (message: string, advice?: string): CliError =>
  new CliError({ exitCode: 2, message, advice })

/** The command could not do its work: exit code 1. */
export const failed = (message: string, advice?: string): CliError =>
  new CliError({ exitCode: 1, message, advice })

/** The message of whatever was thrown. */
export const messageOf = (error: unknown): string => {
  if (error instanceof Error) return error.message
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message)
  return String(error)
}

const advices: Readonly<Record<string, string>> = {
  InvalidConfig: "see docs/configuration.md, or `sync-engine run --help`",
  CorruptItem: "run `sync-engine verify`",
  ItemRejected: "run `sync-engine dead-letters list`"
}

/**
 * Turns any expected error into what the command shows. `InvalidConfig` is a usage error, all others are failures.
 */
export const toCliError = (error: unknown): CliError => {
  if (error instanceof CliError) return error
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : ""
  const inUse = tag === "LogOpenError" && (error as { readonly kind?: unknown }).kind === "in-use"
  return new CliError({
    exitCode: tag === "InvalidConfig" ? 2 : 1,
    message: messageOf(error),
    advice: inUse
      ? "if a daemon holds this data directory, talk to it with --url instead of opening it here"
      : advices[tag]
  })
}

/** What is written to standard error for an error. */
export const renderError = (error: CliError): string => {
  const line = (text: string) => `sync-engine: ${text.replace(/\s*[\r\n]+\s*/g, " ").trim()}\n`
  return error.advice === undefined ? line(error.message) : line(error.message) + line(error.advice)
}
