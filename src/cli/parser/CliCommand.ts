/**
 * How a command of `sync-engine` is declared: once, for the parser, the strict reading of the command line,
 * help and completions.
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import { type Effect, Option, type Types } from "effect"
import type { CliError, OutputClosed } from "../app/CliError.js"
import type { EngineFactory } from "../backend/EngineFactory.js"
import type { Logs } from "../io/Logging.js"
import type { Stdio } from "../io/Stdio.js"
import type { CommandSpec, OptionSpec } from "./Argv.js"
import { type HelpRow, rowsOf } from "./HelpRows.js"

/** What commands run in. */
export type Environment = Stdio | EngineFactory | Logs | FileSystem.FileSystem

/** What commands end with when not well. */
export type CommandError = CliError | OutputClosed

export type AnyCommand = Command.Command<string, Environment, CommandError, unknown>

export interface CliCommand {
  readonly command: AnyCommand
  readonly spec: CommandSpec
  readonly help: {
    readonly description: string
    /** As the usage line shows them. */
    readonly positionals: ReadonlyArray<string>
    readonly arguments: ReadonlyArray<HelpRow>
    readonly options: ReadonlyArray<HelpRow>
    readonly examples: ReadonlyArray<Example>
  }
  readonly children: ReadonlyArray<CliCommand>
  /** The command takes SIGINT and SIGTERM itself; others are interrupted by them. */
  readonly handlesSignals: boolean
}

/** A command line and what it does. */
export type Example = readonly [line: string, meaning: string]

type Part = Args.Args<unknown> | Options.Options<unknown>

/** Options and arguments of a declaration, in order, however they are nested. */
const partsOf = (config: Command.Command.Config): ReadonlyArray<Part> =>
  Object.values(config).flatMap((part): ReadonlyArray<Part> => {
    if (Array.isArray(part)) return part.flatMap((inner) => partsOf({ inner }))
    return Args.isArgs(part) || Options.isOptions(part) ? [part] : partsOf(part as Command.Command.Config)
  })

/** The parser names an option as `--type json|binary`; its own complaint does not say which option it is about. */
const choicesOf = (option: Options.Options<unknown>): ReadonlyArray<string> | undefined => {
  const [[name] = [""]] = rowsOf(Options.getHelp(option))
  return name.includes("|") ? name.slice(name.indexOf(" ") + 1).split("|") : undefined
}

const optionSpec = (option: Options.Options<unknown>): ReadonlyArray<OptionSpec> =>
  Option.match(Options.getIdentifier(option), {
    onNone: () => [],
    onSome: (name) => [{ name, isSwitch: Options.isBool(option), values: choicesOf(option) }]
  })

/** `<id>` is needed, `[<id>]` is not, `<id>...` may be repeated. */
const positionalOf = (argument: Args.Args<unknown>): string => {
  const [[name] = [""]] = rowsOf(Args.getHelp(argument))
  return Args.getMinSize(argument) === 0 && !name.startsWith("[") ? `[${name}]` : name
}

const truths = ["true", "false"]

/** Declares a command that does something. */
export const define = <const Name extends string, const Config extends Command.Command.Config>(options: {
  readonly name: Name
  readonly description: string
  readonly examples: ReadonlyArray<Example>
  readonly config: Config
  /** Options with the values true and false that may stand without a value, which means true. */
  readonly switches?: ReadonlyArray<string>
  readonly handlesSignals?: boolean
  readonly handler: (
    input: Types.Simplify<Command.Command.ParseConfig<Config>>
  ) => Effect.Effect<void, CommandError, Environment>
}): CliCommand => {
  const parts = partsOf(options.config)
  const flags = parts.filter((part) => Options.isOptions(part))
  const positionals = parts.filter((part) => Args.isArgs(part))
  const isSwitch = (name: string) => options.switches?.includes(name) === true
  return {
    command: Command.make(options.name, options.config, options.handler).pipe(
      Command.withDescription(options.description)
    ) as unknown as AnyCommand,
    spec: {
      name: options.name,
      options: flags
        .flatMap(optionSpec)
        .map((spec) => (isSwitch(spec.name) ? { ...spec, isSwitch: true, values: truths } : spec)),
      takesArguments: positionals.length > 0,
      children: []
    },
    help: {
      description: options.description,
      positionals: positionals.map(positionalOf),
      arguments: positionals.flatMap((part) => rowsOf(Args.getHelp(part))),
      options: flags
        .flatMap((part) => rowsOf(Options.getHelp(part)))
        .map(([name, meaning]): HelpRow => {
          const bare = name.replace(/ VALUE$/, "")
          return [isSwitch(bare) ? `${bare}[=${truths.join("|")}]` : name, meaning]
        }),
      examples: options.examples
    },
    children: [],
    handlesSignals: options.handlesSignals ?? false
  }
}

/** Declares a command that only groups others. */
export const group = (options: {
  readonly name: string
  readonly description: string
  readonly examples: ReadonlyArray<Example>
  readonly children: readonly [CliCommand, ...ReadonlyArray<CliCommand>]
}): CliCommand => {
  const [first, ...rest] = options.children
  return {
    command: Command.make(options.name).pipe(
      Command.withDescription(options.description),
      Command.withSubcommands([first.command, ...rest.map(({ command }) => command)])
    ) as unknown as AnyCommand,
    spec: { name: options.name, options: [], children: options.children.map(({ spec }) => spec) },
    help: {
      description: options.description,
      positionals: [],
      arguments: [],
      options: [],
      examples: options.examples
    },
    children: options.children,
    handlesSignals: false
  }
}

/** The definition that a path names, as far as it goes. */
export const at = (root: CliCommand, path: ReadonlyArray<string>): CliCommand => {
  let found = root
  for (const name of path) {
    found = found.children.find(({ spec }) => spec.name === name) ?? found
  }
  return found
}
