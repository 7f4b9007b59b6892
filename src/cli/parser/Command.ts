/**
 * How a command of `sync-engine` is declared: once, as data, from which the reading of the command line, the help and
 * the completions are made.
 */
import { type Effect, Either } from "effect"
import type { CliError, OutputClosed } from "../app/CliError.js"
import type { EngineFactory } from "../backend/EngineFactory.js"
import type { Logs } from "../io/Logging.js"
import type { Stdio } from "../io/Stdio.js"

/** What commands run in. */
export type Environment = Stdio | EngineFactory | Logs

/** What commands end with when not well. */
export type CommandError = CliError | OutputClosed

/** An option or an argument. */
export interface Part<out A> {
  readonly kind: "option" | "argument"
  /** `--content`, or `id`. */
  readonly name: string
  readonly description: string
  /** What stands for the value in help. */
  readonly placeholder?: string
  /** An option that may stand alone, which means `true`. */
  readonly isSwitch?: boolean
  /** The only values there are, where they are few. */
  readonly values?: ReadonlyArray<string>
  /** Arguments: how many words are needed, and whether it takes all that are left. */
  readonly least?: number
  readonly repeated?: boolean
  /** From the texts that were given, none included, to a value; or what is wrong with them. */
  readonly read: (texts: ReadonlyArray<string>) => Either.Either<A, string>
}

type Config = { readonly [key: string]: Part<unknown> | Config }

/** What a handler gets: the values of the parts, by the same keys. */
export type Input<C> = { readonly [K in keyof C]: C[K] extends Part<infer A> ? A : Input<C[K]> }

/** A command line and what it does. */
type Example = readonly [line: string, meaning: string]

/** What a command line gave: options by name, and the words that are none. */
export interface Given {
  readonly options: ReadonlyMap<string, string>
  readonly words: ReadonlyArray<string>
}

export interface Command {
  readonly name: string
  readonly description: string
  readonly examples: ReadonlyArray<Example>
  readonly options: ReadonlyArray<Part<unknown>>
  readonly arguments: ReadonlyArray<Part<unknown>>
  readonly children: ReadonlyArray<Command>
  /** The command takes SIGINT and SIGTERM itself; others are interrupted by them. */
  readonly handlesSignals: boolean
  /** The work, once every part has been read; or the first problem. */
  readonly prepare: (given: Given) => Either.Either<Effect.Effect<void, CommandError, Environment>, string>
}

/** Reads the text of a value. */
export type Reader<A> = (text: string) => Either.Either<A, string>

export const anyText: Reader<string> = Either.right

/** A text that is taken unless something is wrong with it. */
export const unless =
  (problemOf: (text: string) => string | undefined): Reader<string> =>
  (text) => {
    const problem = problemOf(text)
    return problem === undefined ? Either.right(text) : Either.left(problem)
  }

/** A whole number within bounds. */
export const whole =
  (least: number, most: number): Reader<number> =>
  (text) => {
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    const bounds = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`
    return number >= least && number <= most
      ? Either.right(number)
      : Either.left(`${JSON.stringify(text)} is not a whole number ${bounds}`)
  }

const atMostOne =
  <A>(reader: Reader<A>) =>
  ([text]: ReadonlyArray<string>): Either.Either<A | undefined, string> =>
    text === undefined ? Either.right(undefined) : reader(text)

/** An option with a value, which may be left out. */
export function option(name: string, description: string): Part<string | undefined>
export function option<A>(name: string, description: string, reader: Reader<A>): Part<A | undefined>
export function option(name: string, description: string, reader: Reader<unknown> = anyText): Part<unknown> {
  return { kind: "option", name: `--${name}`, description, read: atMostOne(reader) }
}

/** An option that takes one of a few words. */
export const choice = <const A extends string>(
  name: string,
  values: ReadonlyArray<A>,
  description: string
): Part<A | undefined> => ({
  ...option(name, description, (text) => Either.right(text as A)),
  values
})

/** An option that is on when it stands there. */
export const toggle = (name: string, description: string): Part<boolean> => ({
  kind: "option",
  name: `--${name}`,
  description,
  isSwitch: true,
  read: ([text]) => Either.right(text === "true")
})

/** An argument that is needed. */
export const argument = <A>(name: string, description: string, reader: Reader<A>): Part<A> => ({
  kind: "argument",
  name,
  description,
  least: 1,
  read: ([text]) => reader(text!)
})

/** An argument that may be left out. */
export const optional = <A>(part: Part<A>): Part<A | undefined> => ({
  ...part,
  least: 0,
  read: (texts) => (texts.length === 0 ? Either.right(undefined) : part.read(texts))
})

/** An argument that takes all the words that are left. */
export const repeated = <A>(part: Part<A>, least: number): Part<ReadonlyArray<A>> => ({
  ...part,
  least,
  repeated: true,
  read: (texts) => Either.all(texts.map((text) => part.read([text])))
})

const isPart = (part: Part<unknown> | Config): part is Part<unknown> => typeof part.read === "function"

const partsOf = (config: Config): ReadonlyArray<Part<unknown>> =>
  Object.values(config).flatMap((part) => (isPart(part) ? [part] : partsOf(part)))

/** The texts of each part: options by name, arguments word by word. */
const textsOf = (parts: ReadonlyArray<Part<unknown>>, { options, words }: Given) => {
  const left = [...words]
  const texts = new Map<Part<unknown>, ReadonlyArray<string>>()
  for (const part of parts) {
    if (part.kind === "option") {
      const text = options.get(part.name)
      texts.set(part, text === undefined ? [] : [text])
      continue
    }
    const taken = left.splice(0, part.repeated === true ? left.length : 1)
    if (taken.length < (part.least ?? 0)) return Either.left(`argument <${part.name}> is missing`)
    texts.set(part, taken)
  }
  return left.length === 0 ? Either.right(texts) : Either.left(`unknown argument ${JSON.stringify(left[0])}`)
}

const labelOf = ({ kind, name }: Part<unknown>) => (kind === "option" ? `option ${name}:` : `the ${name}`)

const inputOf = (
  config: Config,
  texts: ReadonlyMap<Part<unknown>, ReadonlyArray<string>>
): Either.Either<Record<string, unknown>, string> =>
  Either.gen(function* () {
    const input: Record<string, unknown> = {}
    for (const [key, part] of Object.entries(config)) {
      input[key] = yield* isPart(part)
        ? Either.mapLeft(part.read(texts.get(part) ?? []), (problem) => `${labelOf(part)} ${problem}`)
        : inputOf(part, texts)
    }
    return input
  })

/** Declares a command that does something. */
export const define = <const C extends Config>(
  declared: Pick<Command, "name" | "description" | "examples"> & {
    readonly config: C
    readonly handlesSignals?: boolean
    readonly handler: (input: Input<C>) => Effect.Effect<void, CommandError, Environment>
  }
): Command => {
  const { config, handler, handlesSignals = false, ...described } = declared
  const parts = partsOf(config)
  return {
    ...described,
    handlesSignals,
    options: parts.filter(({ kind }) => kind === "option"),
    arguments: parts.filter(({ kind }) => kind === "argument"),
    children: [],
    prepare: (given) =>
      Either.flatMap(textsOf(parts, given), (texts) =>
        Either.map(inputOf(config, texts), (input) => handler(input as Input<C>))
      )
  }
}

/** Declares a command that only groups others. */
export const group = (
  declared: Pick<Command, "name" | "description" | "examples" | "children">
): Command => ({
  ...declared,
  options: [],
  arguments: [],
  handlesSignals: false,
  prepare: () => Either.left("a command is missing")
})
