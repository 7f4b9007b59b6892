/**
 * Reads a command line against the commands there are. Unknown commands, unknown options and missing values are
 * usage errors here, before anything runs. Pure: no Effect, no I/O.
 */
import { Either } from "effect"
import { parseBoolean } from "../../config/Quantity.js"
import { nearest } from "../../shared/EditDistance.js"
import { type CliError, usage } from "../app/CliError.js"
import { type Command, choice, type Given, option, type Part, toggle } from "./Command.js"

/** Options that every command has. */
export const commonOptions: ReadonlyArray<Part<unknown>> = [
  toggle("help", "Show this help."),
  toggle("version", "Show the version."),
  {
    ...option(
      "log-level",
      "Least level of log lines on standard error: trace, debug, info, warning or error. Default: SYNC_ENGINE_LOG_LEVEL, else info for run and warning for the other commands."
    ),
    placeholder: "LEVEL"
  },
  {
    ...option(
      "log-format",
      "auto, pretty or json. Default: SYNC_ENGINE_LOG_FORMAT, else auto: pretty on a terminal, json elsewhere."
    ),
    placeholder: "FORMAT"
  },
  {
    ...choice("completions", ["bash", "zsh", "fish"], "Print a completion script for bash, zsh or fish."),
    placeholder: "SHELL"
  }
]

export interface CommandLine extends Given {
  readonly command: Command
  /** The words that name the command: `["dead-letters", "retry"]`. */
  readonly path: ReadonlyArray<string>
}

const didYouMean = (word: string, candidates: ReadonlyArray<string>): string => {
  const meant = nearest(word, candidates)
  return meant === undefined ? "" : `; did you mean ${meant}?`
}

/** Whether a word can be a value that stands behind its option; others have to be attached (`--content=--x`). */
const isValue = (word: string | undefined): word is string =>
  word !== undefined && (!word.startsWith("-") || word === "-" || /^-\d/.test(word))

class Reading implements CommandLine {
  readonly path: Array<string> = []
  readonly words: Array<string> = []
  readonly options = new Map<string, string>()
  /** The switch that stands in front of this word, where the word may be meant as its value. */
  private bareSwitch: string | undefined

  constructor(public command: Command) {}

  /** Takes the first word, and the second where that is its value; what is wrong is returned. */
  take(args: Array<string>): string | undefined {
    const arg = args.shift()!
    if (arg === "--") {
      this.words.push(...args.splice(0))
      return undefined
    }
    return !arg.startsWith("-") || arg === "-" ? this.takeWord(arg) : this.takeOption(arg, args)
  }

  private takeWord(word: string): string | undefined {
    if (this.bareSwitch !== undefined && Either.isRight(parseBoolean(word))) {
      return `option ${this.bareSwitch} is a switch: write ${this.bareSwitch}=${word}`
    }
    this.bareSwitch = undefined
    const { children } = this.command
    if (children.length === 0) {
      this.words.push(word)
      return undefined
    }
    const child = children.find(({ name }) => name === word)
    if (child === undefined) {
      const names = children.map(({ name }) => name)
      return `unknown command ${JSON.stringify([...this.path, word].join(" "))}${didYouMean(word, names)}`
    }
    this.path.push(word)
    this.command = child
    return undefined
  }

  private takeOption(arg: string, rest: Array<string>): string | undefined {
    const [, written = arg, attached] = /^(.*?)=(.*)$/s.exec(arg) ?? []
    const name = written === "-h" ? "--help" : written
    const known = [...this.command.options, ...commonOptions]
    const found = known.find((candidate) => candidate.name === name)
    if (found === undefined) {
      const names = known.map((candidate) => candidate.name)
      return `unknown option ${written}${didYouMean(name, names)}`
    }
    if (this.options.has(name)) return `option ${name} is given twice`
    const value = found.isSwitch === true ? this.switchValue(found, attached) : this.valueOf(attached, rest)
    if (value === undefined) {
      if (found.isSwitch === true) return `option ${name} is a switch: it takes true or false at most`
      return `option ${name} needs a value${rest.length === 0 ? "" : ` (${name}=… if it starts with a dash)`}`
    }
    if (found.values?.includes(value) === false) {
      return `option ${name}: ${JSON.stringify(value)} is not one of ${found.values.join(", ")}`
    }
    this.options.set(name, value)
    return undefined
  }

  private switchValue({ name, values }: Part<unknown>, attached: string | undefined): string | undefined {
    const { arguments: taken, children } = this.command
    const mayMeanValue = values !== undefined || (taken.length === 0 && children.length === 0)
    this.bareSwitch = attached === undefined && mayMeanValue ? name : undefined
    return Either.getOrUndefined(Either.map(parseBoolean(attached ?? "true"), String))
  }

  private valueOf(attached: string | undefined, rest: Array<string>): string | undefined {
    this.bareSwitch = undefined
    if (attached !== undefined) return attached
    return isValue(rest[0]) ? rest.shift() : undefined
  }
}

export const helpHint = (path: ReadonlyArray<string>): string =>
  `see \`${["sync-engine", ...path, "--help"].join(" ")}\``

/**
 * Reads a command line, without interpreter and script. Options may stand before, between and behind the words;
 * everything behind `--` is a word.
 */
export const readCommandLine = (
  root: Command,
  args: ReadonlyArray<string>
): Either.Either<CommandLine, CliError> => {
  const line = new Reading(root)
  const left = [...args]
  while (left.length > 0) {
    const problem = line.take(left)
    if (problem !== undefined) return Either.left(usage(problem, helpHint(line.path)))
  }
  return Either.right(line)
}
