/** Checks of single values against the table, and of values against each other. */
import { resolve } from "node:path"
import { Either, Redacted } from "effect"
import { InvalidConfig } from "../EngineError.js"
import { illFormed } from "../SyncItem.js"
import type { EngineConfig } from "./Model.js"
import type { NumberOption, OptionDefinition, SecretOption, TextOption } from "./OptionDefinition.js"
import {
  formatBytes,
  formatDuration,
  formatInteger,
  parseBoolean,
  parseBytes,
  parseDuration,
  parseInteger
} from "./Quantity.js"
import { parseSqlUrl, type SqlTarget } from "./SqlUrl.js"

const shown = (value: unknown): string => {
  // Not its text: a deep one overflows the stack.
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object"
  const text = typeof value === "string" ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** How numbers of a kind are named, read and written. */
const kinds = {
  integer: { noun: "an integer", hint: "", parse: parseInteger, format: formatInteger },
  bytes: { noun: "a size", hint: ", in bytes or such as 16MiB", parse: parseBytes, format: formatBytes },
  duration: {
    noun: "a duration",
    hint: ", in milliseconds or such as 5s",
    parse: parseDuration,
    format: formatDuration
  }
}

/** A number in the units of its kind, for people. */
const formatNumber = ({ kind }: NumberOption, value: number): string => kinds[kind].format(value)

/** From the least to the most. */
export const formatRange = (definition: NumberOption): string =>
  `${formatNumber(definition, definition.min)} to ${formatNumber(definition, definition.max)}`

/** The allowed values in words. */
export const allowedValues = (definition: OptionDefinition): string => {
  switch (definition.kind) {
    case "boolean":
      return "true or false"
    case "choice":
      return definition.values.join(", ")
    case "text":
    case "secret":
      return definition.allowed
    default:
      return `${kinds[definition.kind].noun} from ${formatRange(definition)}${kinds[definition.kind].hint}`
  }
}

/** The default in words, with the marks of the documentation. */
export const defaultText = (definition: OptionDefinition): string => {
  switch (definition.kind) {
    case "integer":
    case "bytes":
    case "duration":
      return formatNumber(definition, definition.default)
    case "text":
      return definition.default === undefined
        ? (definition.defaultText ?? "none")
        : `\`${definition.default}\``
    case "secret":
      return definition.default === undefined ? "none" : `\`${definition.default}\``
    default:
      return `\`${definition.default}\``
  }
}

/** What no text of any option may hold, then what this one may not. */
const checkOwn = (definition: TextOption | SecretOption, text: string): Either.Either<string, string> => {
  const problem = text.isWellFormed() ? definition.problem(text) : illFormed
  return problem === undefined ? Either.right(text) : Either.left(problem)
}

const secret = (definition: SecretOption, text: string) =>
  definition.noneIsAbsent && text.toLowerCase() === "none"
    ? Either.right(undefined)
    : Either.map(checkOwn(definition, text), Redacted.make)

const checkNumber = (definition: NumberOption, value: unknown): Either.Either<number, string> => {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    return Either.left(`${shown(value)} is not a whole number`)
  }
  const { max, min } = definition
  const format = (number: number) => formatNumber(definition, number)
  if (value < min) return Either.left(`${format(value)} is below the least of ${format(min)}`)
  if (value > max) return Either.left(`${format(value)} is above the most of ${format(max)}`)
  return Either.right(value)
}

/**
 * Checks a value of the type that the configuration has: what library users pass. The problem never holds a secret.
 */
export const checkValue = (definition: OptionDefinition, value: unknown): Either.Either<unknown, string> => {
  switch (definition.kind) {
    case "boolean":
      return typeof value === "boolean"
        ? Either.right(value)
        : Either.left(`${shown(value)} is not a boolean`)
    case "choice":
      return definition.values.some((word) => word === value)
        ? Either.right(value)
        : Either.left(`${shown(value)} is not one of them`)
    case "text":
      return typeof value === "string"
        ? checkOwn(definition, value)
        : Either.left(`${shown(value)} is not a string`)
    case "secret": {
      const text = Redacted.isRedacted(value) ? Redacted.value(value) : undefined
      return typeof text === "string" ? secret(definition, text) : Either.left("is not a Redacted string")
    }
    default:
      return checkNumber(definition, value)
  }
}

/** Reads a value written as text. The problem never holds a secret. */
export const checkText = (definition: OptionDefinition, text: string): Either.Either<unknown, string> => {
  if (text === "") return Either.left("is empty; leave it out to get the default")
  switch (definition.kind) {
    case "boolean":
      return parseBoolean(text)
    case "secret":
      return secret(definition, text)
    case "choice":
      return checkValue(definition, text.toLowerCase())
    case "text":
      return checkValue(definition, text)
    default:
      return Either.flatMap(kinds[definition.kind].parse(text), (value) => checkNumber(definition, value))
  }
}

/** The log's file. */
export const walFile = (config: Pick<EngineConfig, "dataDir" | "walPath">): string =>
  config.walPath ?? resolve(config.dataDir, "wal.db")

/** The archive; an SQLite one always with its path. */
export const sqlTarget = (
  config: Pick<EngineConfig, "dataDir" | "sqlUrl">
): Either.Either<Exclude<SqlTarget, { readonly _tag: "Sqlite" }> | ArchiveFile, InvalidConfig> =>
  Either.map(parseSqlUrl(Redacted.value(config.sqlUrl)), (target) => {
    if (target._tag !== "Sqlite") return target
    const path = target.path ?? resolve(config.dataDir, "archive.db")
    return { _tag: "Sqlite", path, display: `sqlite:${path}` }
  })

/** An archive in an SQLite file. */
export interface ArchiveFile {
  readonly _tag: "Sqlite"
  readonly path: string
  readonly display: string
}

/** Values that are well each alone but do not fit together. */
export const checkTogether = (config: EngineConfig): Either.Either<EngineConfig, InvalidConfig> => {
  const refuse = (name: string, problem: string, allowed: string) =>
    Either.left(new InvalidConfig({ name, problem, allowed }))
  if (config.maxPayloadBytes > config.walMaxBytes) {
    return refuse(
      "MAX_PAYLOAD_BYTES",
      `${formatBytes(config.maxPayloadBytes)} would never fit the log, which holds ${formatBytes(config.walMaxBytes)}`,
      "at most WAL_MAX_BYTES"
    )
  }
  if (config.sqlWriteConcurrency > config.sqlPoolSize) {
    return refuse(
      "SQL_WRITE_CONCURRENCY",
      `${config.sqlWriteConcurrency} writers do not fit ${config.sqlPoolSize} connections`,
      "at most SQL_POOL_SIZE"
    )
  }
  if (config.cdc && config.redisUrl === undefined) {
    return refuse("CDC", "is on, but no REDIS_URL is set", "true only with REDIS_URL")
  }
  return Either.flatMap(sqlTarget(config), (target) =>
    target._tag === "Sqlite" && resolve(target.path) === resolve(walFile(config))
      ? refuse("WAL_PATH", "names the file of the archive", "a file of its own")
      : Either.right(config)
  )
}
