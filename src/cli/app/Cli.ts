/** The `sync-engine` command: from a command line to an exit code. */
import { createRequire } from "node:module"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Terminal from "@effect/platform/Terminal"
import { Cause, Console, type Context, Effect, Either, Exit } from "effect"
import type { EngineFactory } from "../backend/EngineFactory.js"
import { doctor } from "../commands/Doctor.js"
import { ingest } from "../commands/Ingest.js"
import { get, put, remove, scan } from "../commands/Items.js"
import { deadLetters, drain, flush, shutdown, status } from "../commands/Operation.js"
import { run as daemon } from "../commands/Run.js"
import { repair, verify } from "../commands/Verify.js"
import * as Logging from "../io/Logging.js"
import { Stdio } from "../io/Stdio.js"
import { normalise } from "../parser/Argv.js"
import { at, group } from "../parser/CliCommand.js"
import { completions } from "../parser/Completions.js"
import { helpText } from "../parser/Help.js"
import { plainText } from "../parser/HelpRows.js"
import { CliError, type ExitCode, failed, OutputClosed, renderError, usage } from "./CliError.js"

const packageJson = createRequire(import.meta.url)("../../../package.json") as { readonly version: string }

/** As package.json has it. */
export const version: string = packageJson.version

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

const escapes = /\u001b\[[0-9;]*m/g

/** Text for a stream: colours only where a person sees them, no trailing white space. */
const plain = (text: string, isTerminal: boolean): string =>
  (isTerminal ? text : text.replace(escapes, "").replace(/[ \t]+$/gm, "")).replace(/\n*$/, "\n")

/** What the parser prints (the wizard) goes to standard error; its own error texts are replaced by ours. */
const consoleFor = (stdio: Context.Tag.Service<Stdio>): Console.Console => {
  const print = (text: string) => stdio.unsafeError(text)
  const write = (...parts: ReadonlyArray<unknown>) =>
    Effect.sync(() => print(plain(parts.map(String).join(" "), stdio.stdoutIsTerminal)))
  const nothing = () => Effect.void
  const unsafe = {
    ...globalThis.console,
    log: (...parts: ReadonlyArray<unknown>) =>
      print(plain(parts.map(String).join(" "), stdio.stdoutIsTerminal)),
    error: () => {}
  }
  return {
    [Console.TypeId]: Console.TypeId,
    assert: nothing,
    clear: Effect.void,
    count: nothing,
    countReset: nothing,
    debug: nothing,
    dir: nothing,
    dirxml: nothing,
    error: nothing,
    group: nothing,
    groupEnd: Effect.void,
    info: write,
    log: write,
    table: nothing,
    time: nothing,
    timeEnd: nothing,
    timeLog: nothing,
    trace: nothing,
    warn: nothing,
    unsafe
  }
}

const ofValidation = (error: ValidationError.ValidationError, path: ReadonlyArray<string>): CliError =>
  usage(plainText(error.error), `see \`${["sync-engine", ...path, "--help"].join(" ")}\``)

/** What an exit means for the process; failures are told on standard error, defects are logged with their cause. */
const conclude = (
  stdio: Context.Tag.Service<Stdio>,
  path: ReadonlyArray<string>,
  exit: Exit.Exit<void, unknown>
): Effect.Effect<ExitCode> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(0)
  const failure = Cause.failureOption(exit.cause)
  const error = failure._tag === "Some" ? failure.value : undefined
  if (error instanceof OutputClosed) return Effect.succeed(0)
  const shown =
    error instanceof CliError
      ? error
      : ValidationError.isValidationError(error)
        ? ofValidation(error, path)
        : undefined
  if (shown !== undefined) {
    return Effect.sync(() => {
      stdio.unsafeError(renderError(shown))
      return shown.exitCode
    })
  }
  if (Cause.isInterruptedOnly(exit.cause)) {
    return Effect.sync(() => {
      stdio.unsafeError(renderError(failed("interrupted")))
      return 1
    })
  }
  return Effect.zipRight(
    Effect.logFatal("an internal error happened", exit.cause),
    Effect.sync(() => {
      stdio.unsafeError(renderError(failed("an internal error happened; this is a bug in sync-engine")))
      return 1 as const
    })
  )
}

/**
 * Runs a command line (without interpreter and script) to its exit code. Never fails: whatever happens has been
 * told on standard error.
 */
export const run = (
  args: ReadonlyArray<string>
): Effect.Effect<
  ExitCode,
  never,
  Stdio | EngineFactory | FileSystem.FileSystem | Path.Path | Terminal.Terminal
> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    const line = normalise(root.spec, args)
    if (Either.isLeft(line)) return yield* conclude(stdio, [], Exit.fail(line.left))
    const { argv, globals, help, path, version: versionAsked } = line.right
    const settings = Logging.logSettings(stdio, globals, path[0] === "run")
    if (Either.isLeft(settings)) return yield* conclude(stdio, path, Exit.fail(settings.left))
    const definition = at(root, path)
    const { completions: shell } = globals
    if (help || versionAsked || shell !== undefined) {
      const text = help
        ? helpText(definition, path, version)
        : versionAsked
          ? `${version}\n`
          : completions(root.spec, shell)
      return yield* conclude(stdio, path, yield* Effect.exit(stdio.write(text)))
    }

    const parse = Command.run(root.command, {
      name: "sync-engine",
      version,
      executable: "sync-engine"
    })
    const interrupted = Effect.flatMap(stdio.takeSignal, (signal) =>
      Effect.fail(failed(`interrupted by ${signal}`))
    )
    const command = parse(["node", "sync-engine", ...argv])
    const wizard = globals.wizard === "true"
    if (wizard && !stdio.stdinIsTerminal) {
      return yield* conclude(stdio, path, Exit.fail(usage("--wizard asks questions: it needs a terminal")))
    }
    return yield* (definition.handlesSignals ? command : Effect.raceFirst(command, interrupted)).pipe(
      Effect.withConsole(consoleFor(stdio)),
      Effect.asVoid,
      Effect.exit,
      Effect.flatMap((exit) => conclude(stdio, path, exit)),
      Effect.provide(Logging.layer(stdio, settings.right)),
      Effect.provide(CliConfig.layer({ isCaseSensitive: true, showBuiltIns: false }))
    )
  })
