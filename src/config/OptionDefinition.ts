/** How one option is described. */
import type { Redacted } from "effect"

interface Common {
  /** As in `SYNC_ENGINE_<name>` and in the configuration file. */
  readonly name: string
  readonly description: string
  /** May be changed while the engine runs. */
  readonly live?: true
}

/** A whole number, a size in bytes or a duration in milliseconds. */
export interface NumberOption extends Common {
  readonly kind: "integer" | "bytes" | "duration"
  readonly min: number
  readonly max: number
  readonly default: number
}

interface BooleanOption extends Common {
  readonly kind: "boolean"
  readonly default: boolean
}

/** One word out of a few. */
export interface ChoiceOption<A extends string = string> extends Common {
  readonly kind: "choice"
  readonly values: ReadonlyArray<A>
  readonly default: A
}

export interface TextOption extends Common {
  readonly kind: "text"
  readonly default: string | undefined
  /** What the documentation says in place of a missing default. */
  readonly defaultText?: string
  readonly allowed: string
  readonly problem: (text: string) => string | undefined
}

/** Never shown; also read from `SYNC_ENGINE_<name>_FILE`. */
export interface SecretOption extends Common {
  readonly kind: "secret"
  /** Not a secret itself. */
  readonly default: string | undefined
  /** `none` stands for "not configured" and becomes `undefined`. */
  readonly noneIsAbsent: boolean
  readonly allowed: string
  readonly problem: (text: string) => string | undefined
}

export type OptionDefinition = NumberOption | BooleanOption | ChoiceOption | TextOption | SecretOption

/** The kind of definition that a key of this type takes. */
export type DefinitionFor<A> = [A] extends [number]
  ? NumberOption
  : [A] extends [boolean]
    ? BooleanOption
    : [Exclude<A, undefined>] extends [Redacted.Redacted]
      ? SecretOption
      : string extends Exclude<A, undefined>
        ? TextOption
        : [A] extends [string]
          ? ChoiceOption<A>
          : never
