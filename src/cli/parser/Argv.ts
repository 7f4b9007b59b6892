/**
 * Brings a command line into the one canonical order that the parser of `@effect/cli` reads without surprises:
 * the command path, every option as `--name value`, then `--` and the arguments. Pure: no Effect, no I/O.
 *
 * Left alone, that parser takes an unknown option for an argument (`delete --forse a` would delete two items),
 * the argument after a switch for its value (`get --json 1`), and a help switch behind an option for an argument.
 */
import { Either } from "effect"
import { type CliError, usage } from "../app/CliError.js"

export interface OptionSpec {
  /** With the leading dashes. */
  readonly name: string
  /** A switch takes no value (`--json`, also `--json=false`). */
  readonly isSwitch: boolean
  /** The only values there are, where they are few. */
  readonly values?: ReadonlyArray<string> | undefined
}

export interface CommandSpec {
  readonly name: string
  readonly options: ReadonlyArray<OptionSpec>
  /** Whether words that are no options are taken. */
  readonly takesArguments?: boolean
  readonly children: ReadonlyArray<CommandSpec>
}

export interface CommandLine {
  /** For the parser, without the executable. */
  readonly argv: ReadonlyArray<string>
  /** The command that was named, from the top: `["dead-letters", "retry"]`. */
  readonly path: ReadonlyArray<string>
  /** Help was asked for. */
  readonly help: boolean
  /** The version was asked for. */
  readonly version: boolean
  /** Options that every command has, by name without dashes. */
  readonly globals: Readonly<Record<string, string>>
}

/** Options that every command has. */
export const globalOptions: ReadonlyArray<OptionSpec> = [
  { name: "--help", isSwitch: true },
  { name: "--version", isSwitch: true },
  { name: "--wizard", isSwitch: true },
  { name: "--completions", isSwitch: false, values: ["bash", "zsh", "fish"] },
  { name: "--log-level", isSwitch: false },
  { name: "--log-format", isSwitch: false }
]

/** How many letters have to be changed, added or removed (Levenshtein 1966, row by row). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

const nearest = (word: string, candidates: ReadonlyArray<string>): string | undefined => {
  let best: string | undefined
  let bestDistance = 3
  for (const candidate of candidates) {
    const steps = distance(word, candidate)
    if (steps < bestDistance && steps < candidate.length - 2) {
      best = candidate
      bestDistance = steps
    }
  }
  return best
}

const didYouMean = (word: string, candidates: ReadonlyArray<string>): string => {
  const candidate = nearest(word, candidates)
  return candidate === undefined ? "" : `; did you mean ${candidate}?`
}

const truths: Readonly<Record<string, string>> = {
  true: "true",
  yes: "true",
  on: "true",
  "1": "true",
  false: "false",
  no: "false",
  off: "false",
  "0": "false"
}

/**
 * Reads a command line against the commands there are. Unknown commands, unknown options and missing values
 * are usage errors here, before anything runs. A value that looks like an option has to be attached
 * (`--content=--x`); everything after `--` is an argument.
 */
export const normalise = (
  root: CommandSpec,
  args: ReadonlyArray<string>
): Either.Either<CommandLine, CliError> => {
  const path: Array<string> = []
  const options: Array<string> = []
  const positionals: Array<string> = []
  const globals: Record<string, string> = {}
  const given = new Set<string>()
  let command = root
  let help = false
  let version = false
  /** The switch that stands in front of this word, where the word may be meant as its value. */
  let before: string | undefined

  const helpCommand = () => ["sync-engine", ...path, "--help"].join(" ")
  const refuse = (message: string) => Either.left(usage(message, `see \`${helpCommand()}\``))

  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!
    if (arg === "--") {
      positionals.push(...args.slice(index + 1))
      break
    }
    if (!arg.startsWith("-") || arg === "-") {
      if (before !== undefined && truths[arg.toLowerCase()] !== undefined) {
        return refuse(`option ${before} is a switch: write ${before}=${arg}`)
      }
      before = undefined
      if (command.children.length === 0) {
        positionals.push(arg)
        continue
      }
      const child = command.children.find(({ name }) => name === arg)
      if (child === undefined) {
        const names = command.children.map(({ name }) => name)
        return refuse(`unknown command ${JSON.stringify([...path, arg].join(" "))}${didYouMean(arg, names)}`)
      }
      path.push(arg)
      command = child
      continue
    }
    const equals = arg.indexOf("=")
    const written = equals === -1 ? arg : arg.slice(0, equals)
    const name = written === "-h" ? "--help" : written
    const known = [...command.options, ...globalOptions]
    const spec = known.find((candidate) => candidate.name === name)
    if (spec === undefined) {
      const suggestion = didYouMean(
        name,
        known.map((candidate) => candidate.name)
      )
      return refuse(`unknown option ${written}${suggestion}`)
    }
    let value = equals === -1 ? undefined : arg.slice(equals + 1)
    const mayMeanValue = spec.values !== undefined || command.takesArguments === false
    before = spec.isSwitch && value === undefined && mayMeanValue ? name : undefined
    if (spec.isSwitch) {
      const truth = value === undefined ? "true" : truths[value.toLowerCase()]
      if (truth === undefined) return refuse(`option ${name} is a switch: it takes true or false at most`)
      value = truth
    } else if (value === undefined) {
      const next = args[index + 1]
      if (next === undefined || (next.startsWith("-") && next !== "-" && !/^-\d/.test(next))) {
        return refuse(
          `option ${name} needs a value${next === undefined ? "" : ` (${name}=… if it starts with a dash)`}`
        )
      }
      value = next
      index += 1
    }
    if (spec.values?.includes(value) === false) {
      return refuse(`option ${name}: ${JSON.stringify(value)} is not one of ${spec.values.join(", ")}`)
    }
    if (value === "--") return refuse(`option ${name} cannot take the value --`)
    if (given.has(name)) return refuse(`option ${name} is given twice`)
    given.add(name)
    if (name === "--help") help = value === "true"
    else if (name === "--version") version = value === "true"
    else if (globalOptions.includes(spec)) globals[name.slice(2)] = value
    else options.push(name, value)
  }

  if (help) return Either.right({ argv: [...path, "--help"], path, help, version, globals })
  if (globals.completions !== undefined) {
    return Either.right({ argv: ["--completions", globals.completions], path, help, version, globals })
  }
  if (globals.wizard === "true") {
    return Either.right({ argv: [...path, "--wizard"], path, help, version, globals })
  }
  if (!version && command.children.length > 0) {
    return refuse(
      path.length === 0
        ? "a command is missing"
        : `\`${path.join(" ")}\` needs one of: ${command.children.map(({ name }) => name).join(", ")}`
    )
  }
  return Either.right({
    argv: [...path, ...options, ...(positionals.length === 0 ? [] : ["--", ...positionals])],
    path,
    help,
    version,
    globals
  })
}
