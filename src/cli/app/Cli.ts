/** The `sync-engine` command: from a command line to an exit code. */
import { createRequire } from "node:module"
import { Cause, type Context, Effect, Either, Exit } from "effect"
import { doctor } from "../commands/Doctor.js"
import { ingest } from "../commands/Ingest.js"
import { get, put, remove, scan } from "../commands/Items.js"
import { deadLetters, drain, flush, shutdown, status } from "../commands/Operation.js"
import { run as daemon } from "../commands/Run.js"
import { repair, verify } from "../commands/Verify.js"
import * as Logging from "../io/Logging.js"
import { Stdio } from "../io/Stdio.js"
import { group } from "../parser/Command.js"
import { type CommandLine, helpHint, readCommandLine } from "../parser/CommandLine.js"
import { completions } from "../parser/Completions.js"
import { helpText } from "../parser/Help.js"
import { type CliError, type ExitCode, failed, OutputClosed, renderError, usage } from "./CliError.js"

/** As package.json has it. */
export const { version } = createRequire(import.meta.url)("../../../package.json") as {
  readonly version: string
}

/** All commands. */
export const root = group({
  name: "sync-engine",
  description: "A tiered sync engine: durable writes, reads from memory, a SQL archive with a proven root.",
  examples: [
    ["sync-engine run", "Start the daemon on the defaults: data in .sync-engine, HTTP on 127.0.0.1:7420."],
    ["sync-engine put greeting --content hello", "Write an item."],
    ["sync-engine get greeting", "Read it back."],
    ["sync-engine ingest items.ndjson --data-dir data", "Load a file without a daemon."],
    ["sync-engine doctor", "Check that an engine can run here."]
  ],
  children: [
    daemon,
    ingest,
    put,
    get,
    remove,
    scan,
    status,
    verify,
    repair,
    flush,
    drain,
    shutdown,
    deadLetters,
    doctor
  ]
})

/** What an exit means for the process; failures are told on standard error, defects are logged with their cause. */
const conclude = (
  stdio: Context.Tag.Service<Stdio>,
  exit: Exit.Exit<void, CliError | OutputClosed>
): Effect.Effect<ExitCode> => {
  const tell = (error: CliError) =>
    Effect.sync(() => {
      stdio.unsafeError(renderError(error))
      return error.exitCode
    })
  if (Exit.isSuccess(exit)) return Effect.succeed(0)
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "Some") {
    return failure.value instanceof OutputClosed ? Effect.succeed(0) : tell(failure.value)
  }
  if (Cause.isInterruptedOnly(exit.cause)) return tell(failed("interrupted"))
  return Effect.zipRight(
    Effect.logFatal("an internal error happened", exit.cause),
    tell(failed("an internal error happened; this is a bug in sync-engine"))
  )
}

/** What is asked of the command line itself: help, the version, completions. */
const textAsked = ({ command, options, path }: CommandLine): string | undefined => {
  const shell = options.get("--completions")
  if (options.get("--help") === "true") return helpText(command, path, version)
  if (shell !== undefined) return completions(root, shell)
  return options.get("--version") === "true" ? `${version}\n` : undefined
}

/** The work that a command line asks for. */
const workOf = (line: CommandLine) => {
  const { command, path } = line
  const names = command.children.map(({ name }) => name)
  const work =
    names.length === 0
      ? command.prepare(line)
      : Either.left(
          path.length === 0
            ? "a command is missing"
            : `\`${path.join(" ")}\` needs one of: ${names.join(", ")}`
        )
  return Either.mapLeft(work, (problem) => usage(problem, helpHint(path)))
}

/**
 * Runs a command line (without interpreter and script) to its exit code. Never fails: whatever happens has been
 * told on standard error.
 */
export const run = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const stdio = yield* Stdio
  const read = Either.flatMap(readCommandLine(root, args), (line) =>
    Either.map(Logging.logSettings(stdio, line.options, line.command === daemon), (logs) => ({ line, logs }))
  )
  if (Either.isLeft(read)) return yield* conclude(stdio, Exit.fail(read.left))
  const { line, logs } = read.right
  const text = textAsked(line)
  const work = text === undefined ? Effect.flatten(workOf(line)) : stdio.write(text)
  const interrupted = Effect.flatMap(stdio.takeSignal, (signal) => failed(`interrupted by ${signal}`))
  return yield* (line.command.handlesSignals ? work : Effect.raceFirst(work, interrupted)).pipe(
    Effect.exit,
    Effect.flatMap((exit) => conclude(stdio, exit)),
    Effect.provide(Logging.layer(stdio, logs))
  )
})
