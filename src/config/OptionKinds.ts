/** The kinds of options: how values of each are checked, read and told. No problem of a secret ever holds it. */
import { Either, Redacted } from "effect"
import { illFormed } from "../SyncItem.js"
import {
  formatBytes,
  formatDuration,
  formatInteger,
  parseBoolean,
  parseBytes,
  parseDuration,
  parseInteger
} from "./Quantity.js"

type Checked<A> = Either.Either<A, string>

/** How one option is described. */
export interface OptionDefinition<out A = unknown> {
  readonly kind: "integer" | "bytes" | "duration" | "boolean" | "choice" | "text" | "secret"
  /** As in `SYNC_ENGINE_<name>` and in the configuration file; of a secret also `SYNC_ENGINE_<name>_FILE`. */
  readonly name: string
  readonly description: string
  /** May be changed while the engine runs. */
  readonly live?: true
  readonly default: A
  /** The default in words, with the marks of the documentation. */
  readonly defaultText: string
  /** The allowed values in words. */
  readonly allowed: string
  /** Of numbers. */
  readonly min?: number
  readonly max?: number
  /** From the least to the most, in words. */
  readonly range?: string
  /** Checks a value of the type that the configuration has: what library users pass. */
  readonly check: (value: unknown) => Checked<A>
  /** Reads a value written as text. */
  readonly read: (text: string) => Checked<A>
}

const shown = (value: unknown): string => {
  // Not its text: a deep one overflows the stack.
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object"
  const text = typeof value === "string" ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** What is said of an option ends its row, and whether it may be changed while the engine runs. */
const described = <A>(kind: Omit<OptionDefinition<A>, "description" | "live">) => {
  const read: typeof kind.read = (text) =>
    text === "" ? Either.left("is empty; leave it out to get the default") : kind.read(text)
  return {
    atStart: (description: string): OptionDefinition<A> => ({ ...kind, read, description }),
    live: (description: string): OptionDefinition<A> => ({ ...kind, read, description, live: true })
  }
}

const number =
  (
    kind: "integer" | "bytes" | "duration",
    parse: (text: string) => Checked<number>,
    format: (value: number) => string,
    [noun, hint]: readonly [noun: string, hint: string]
  ) =>
  (name: string, [min, max]: readonly [number, number], otherwise: number) => {
    const check = (value: unknown): Checked<number> => {
      if (typeof value !== "number" || !Number.isSafeInteger(value)) {
        return Either.left(`${shown(value)} is not a whole number`)
      }
      if (value < min) return Either.left(`${format(value)} is below the least of ${format(min)}`)
      if (value > max) return Either.left(`${format(value)} is above the most of ${format(max)}`)
      return Either.right(value)
    }
    const range = `${format(min)} to ${format(max)}`
    return described({
      ...{ kind, name, default: otherwise, defaultText: format(otherwise), min, max, range, check },
      allowed: `${noun} from ${range}${hint}`,
      read: (text) => Either.flatMap(parse(text), check)
    })
  }

export const integer = number("integer", parseInteger, formatInteger, ["an integer", ""])
export const bytes = number("bytes", parseBytes, formatBytes, ["a size", ", in bytes or such as 16MiB"])
export const duration = number("duration", parseDuration, formatDuration, [
  "a duration",
  ", in milliseconds or such as 5s"
])

export const boolean = (name: string, otherwise: boolean) =>
  described<boolean>({
    ...{ kind: "boolean", name, default: otherwise, defaultText: `\`${otherwise}\`` },
    allowed: "true or false",
    check: (value) =>
      typeof value === "boolean" ? Either.right(value) : Either.left(`${shown(value)} is not a boolean`),
    read: parseBoolean
  })

/** One word out of a few. */
export const choice = <A extends string>(name: string, values: ReadonlyArray<A>, otherwise: A) => {
  const check = (value: unknown): Checked<A> =>
    Either.fromNullable(
      values.find((word) => word === value),
      () => `${shown(value)} is not one of them`
    )
  return described({
    ...{ kind: "choice", name, default: otherwise, defaultText: `\`${otherwise}\`` },
    allowed: values.join(", "),
    check,
    read: (text) => check(text.toLowerCase())
  })
}

/** What is allowed in a text, in words, and what is wrong with one. */
export interface TextRule {
  readonly allowed: string
  readonly problem: (text: string) => string | undefined
}

/** What no text of any option may hold, then what this one may not. */
const checkOwn = (rule: TextRule, text: string): Checked<string> => {
  const problem = text.isWellFormed() ? rule.problem(text) : illFormed
  return problem === undefined ? Either.right(text) : Either.left(problem)
}

export const text = <A extends string | undefined>(
  name: string,
  rule: TextRule,
  otherwise: A,
  defaultText = `\`${otherwise}\``
) => {
  const check = (value: unknown): Checked<string | A> =>
    typeof value === "string" ? checkOwn(rule, value) : Either.left(`${shown(value)} is not a string`)
  return described({
    ...{ kind: "text", name, default: otherwise, defaultText, allowed: rule.allowed, check, read: check }
  })
}

/** Never shown. Where `none` stands for "not configured" it becomes `undefined`. */
export const secret = <A extends string | undefined>(
  name: string,
  rule: TextRule,
  otherwise: A,
  noneIsAbsent = false
) => {
  type Value = Redacted.Redacted | (A extends string ? never : undefined)
  const absent = undefined as Value
  const read = (text: string): Checked<Value> =>
    noneIsAbsent && text.toLowerCase() === "none"
      ? Either.right(absent)
      : Either.map(checkOwn(rule, text), Redacted.make)
  return described<Value>({
    ...{ kind: "secret", name, allowed: rule.allowed, read },
    default: otherwise === undefined ? absent : Redacted.make(otherwise),
    defaultText: otherwise === undefined ? "none" : `\`${otherwise}\``,
    check: (value) => {
      const text = Redacted.isRedacted(value) ? Redacted.value(value) : undefined
      return typeof text === "string" ? read(text) : Either.left("is not a Redacted string")
    }
  })
}
