/** The configuration of a process: flags, then variables, then a file, then defaults. */
import { Effect, Either } from "effect"
import type { InvalidConfig } from "../EngineError.js"
import { illFormed } from "../SyncItem.js"
import { nearest } from "../shared/EditDistance.js"
import { repeatedName } from "../shared/ndjson/JsonMembers.js"
import type { EngineConfig, ServerConfig } from "./Model.js"
import { type ConfigOption, flagOf, options } from "./Options.js"
import { refuse } from "./SqlUrl.js"
import { checkTogether } from "./Validation.js"

/** Begins the name of every variable. */
export const variablePrefix = "SYNC_ENGINE_"

/** Where values come from. Nothing else is read. */
export interface ConfigSources {
  /** By flag (`wal-max-items`, with or without the dashes in front) or by name (`WAL_MAX_ITEMS`). */
  readonly flags: Readonly<Record<string, string | undefined>>
  /** All variables of the process; those that do not begin with `SYNC_ENGINE_` are left alone. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Reads the configuration file and the files of secrets. */
  readonly readFile: (path: string) => Effect.Effect<string, unknown>
}

export interface LoadedConfig {
  readonly engine: EngineConfig
  readonly server: ServerConfig
}

/** One source, its values by option name. */
interface Source {
  readonly values: ReadonlyMap<string, unknown>
  readonly label: (name: string) => string
}

const fileNames: ReadonlySet<string> = new Set(
  options.filter(({ definition }) => definition.kind === "secret").map(({ name }) => `${name}_FILE`)
)
const optionNames: ReadonlySet<string> = new Set([...options.map(({ name }) => name), ...fileNames])
// The daemon's address for the client commands, and what the project's own tests are told, are nobody's options here.
const otherVariables: ReadonlySet<string> = new Set(["CONFIG", "URL"])
const testPrefix = "TEST_"

/**
 * Kubernetes tells every pod about the Services of its namespace in variables made from their names: one named
 * `sync-engine`, or `sync-engine-` and anything, makes ours. They are known by name and value together.
 */
const serviceVariables: ReadonlyArray<readonly [name: RegExp, value: RegExp]> = [
  [/(^|_)SERVICE_HOST$/, /^[0-9a-f.:]+$/i],
  [/(^|_)SERVICE_PORT(_[A-Z0-9_]+)?$/, /^\d+$/],
  [/(^|_)PORT(_\d+_(TCP|UDP|SCTP))?$/, /^(tcp|udp|sctp):\/\/\S+:\d+$/],
  [/(^|_)PORT_\d+_(TCP|UDP|SCTP)_PROTO$/, /^(tcp|udp|sctp)$/],
  [/(^|_)PORT_\d+_(TCP|UDP|SCTP)_PORT$/, /^\d+$/],
  [/(^|_)PORT_\d+_(TCP|UDP|SCTP)_ADDR$/, /^[0-9a-f.:]+$/i]
]

const isServiceVariable = (name: string, value: string): boolean =>
  serviceVariables.some(([names, values]) => names.test(name) && values.test(value))

/** Names as they stand in the documentation, with the nearest to one that is unknown. */
const unknownName = (label: string, name: string, known: Iterable<string>, show: Source["label"]) => {
  const meant = nearest(name, known)
  const problem = meant === undefined ? "is unknown" : `is unknown; did you mean ${show(meant)}?`
  return refuse(label, problem, "the names in docs/configuration.md")
}

const fromFlags = (flags: ConfigSources["flags"]): Either.Either<Source, InvalidConfig> => {
  const label = (name: string) => `--${flagOf(name)}`
  const values = new Map<string, string>()
  for (const [flag, value] of Object.entries(flags)) {
    if (value === undefined) continue
    const name = flag.replace(/^--/, "").toUpperCase().replaceAll("-", "_")
    if (name !== "CONFIG" && !optionNames.has(name)) {
      return unknownName(label(name), name, [...optionNames, "CONFIG"], label)
    }
    values.set(name, value)
  }
  return Either.right({ values, label })
}

const fromVariables = (
  env: ConfigSources["env"]
): Either.Either<Source & { readonly ignored: ReadonlyArray<string> }, InvalidConfig> => {
  const label = (name: string) => variablePrefix + name
  const values = new Map<string, string>()
  const ignored: Array<string> = []
  for (const variable of Object.keys(env).sort()) {
    const value = env[variable]
    if (value === undefined || !variable.startsWith(variablePrefix)) continue
    const name = variable.slice(variablePrefix.length)
    if (name.startsWith(testPrefix)) continue
    if (isServiceVariable(name, value)) {
      ignored.push(variable)
      continue
    }
    if (!optionNames.has(name) && !otherVariables.has(name)) {
      return unknownName(variable, name, [...optionNames, ...otherVariables], label)
    }
    values.set(name, value)
  }
  return Either.right({ values, label, ignored })
}

/** Only the error's code: its text may repeat a path, and a secret is sometimes put where its path belongs. */
const codeOf = (error: unknown): string => {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined
  return typeof code === "string" ? ` (${code})` : ""
}

const readTextFile = (sources: ConfigSources, path: string, label: string) =>
  Effect.catchAll(sources.readFile(path), (error) =>
    refuse(label, `the file cannot be read${codeOf(error)}`, "a readable file")
  )

const parseFile = (text: string, file: string): Either.Either<Source, InvalidConfig> => {
  const json = text.replace(/^\ufeff/, "")
  const shape = "a JSON object with the names in docs/configuration.md"
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {
    // The parser's own message quotes the text, in which there may be secrets.
    return refuse(file, "the file is not valid JSON", shape)
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return refuse(file, "the file does not hold a JSON object", shape)
  }
  const label = (name: string) => `${name.slice(0, 80)} (in the configuration file)`
  // The parser lets the last of several win, where the reader of the file may have seen the first.
  const twice = repeatedName(Buffer.from(json))
  if (twice !== undefined) {
    return refuse(label(twice), "stands there twice", "every name once")
  }
  const values = new Map<string, unknown>(Object.entries(parsed))
  const unknown = [...values.keys()].find((name) => !optionNames.has(name))
  return unknown === undefined
    ? Either.right({ values, label })
    : unknownName(label(unknown), unknown, optionNames, (meant) => meant)
}

const checkGiven = ({ definition }: ConfigOption, value: unknown, label: string) =>
  Either.orElse(
    typeof value === "string"
      ? definition.read(value)
      : definition.kind === "secret"
        ? Either.left("is not a string")
        : definition.check(value),
    (problem) => refuse(label, problem, definition.allowed)
  )

/** The path of a file that holds a secret's value. */
const checkPath = (path: unknown, label: string): Either.Either<string, InvalidConfig> => {
  if (typeof path === "string" && path !== "" && path.isWellFormed()) return Either.right(path)
  const problem = typeof path !== "string" ? "is not a string" : path === "" ? "is empty" : illFormed
  return refuse(label, problem, "the path of a file that holds the value")
}

const resolveOption = Effect.fnUntraced(function* (
  option: ConfigOption,
  given: ReadonlyArray<Source>,
  sources: ConfigSources
) {
  let found: Effect.Effect<unknown, InvalidConfig> | undefined
  const fileName = `${option.name}_FILE`
  for (const { values, label } of given) {
    const direct = values.get(option.name)
    const path = fileNames.has(fileName) ? values.get(fileName) : undefined
    if (direct !== undefined && path !== undefined) {
      return yield* refuse(label(option.name), `and ${label(fileName)} are both set`, "one of the two")
    }
    if (direct !== undefined) {
      // Also when something overrides it: a mistake shows today, not on the day the flag goes.
      const value = yield* checkGiven(option, direct, label(option.name))
      found ??= Effect.succeed(value)
    }
    if (path !== undefined) {
      const file = yield* checkPath(path, label(fileName))
      found ??= Effect.flatMap(readTextFile(sources, file, label(fileName)), (text) =>
        checkGiven(option, text.replace(/\r?\n$/, ""), label(fileName))
      )
    }
  }
  return found === undefined ? option.definition.default : yield* found
})

/**
 * Loads the configuration of a process. Flags come before `SYNC_ENGINE_*` variables, these before the file that
 * `--config` or `SYNC_ENGINE_CONFIG` names, that before the defaults. Unknown names and invalid values are refused in
 * every source. No error ever holds the value of a secret.
 */
export const load = (sources: ConfigSources): Effect.Effect<LoadedConfig, InvalidConfig> =>
  Effect.gen(function* () {
    const flags = yield* fromFlags(sources.flags)
    const variables = yield* fromVariables(sources.env)
    if (variables.ignored.length > 0) {
      yield* Effect.logInfo(
        `ignored, because Kubernetes sets them for a Service of this name: ${variables.ignored.join(", ")}`
      )
    }
    const given: Array<Source> = [flags, variables]
    const naming = given.find(({ values }) => values.has("CONFIG"))
    if (naming !== undefined) {
      const path = naming.values.get("CONFIG")
      const label = naming.label("CONFIG")
      if (typeof path !== "string" || path === "") {
        return yield* refuse(label, "is empty", "the path of a JSON file")
      }
      given.push(yield* parseFile(yield* readTextFile(sources, path, label), label))
    }
    const engine: Partial<Record<keyof EngineConfig, unknown>> = {}
    const server: Partial<Record<keyof ServerConfig, unknown>> = {}
    for (const option of options) {
      const value = yield* resolveOption(option, given, sources)
      if (option.scope === "engine") engine[option.key] = value
      else server[option.key] = value
    }
    return {
      // The table has a row for every key, and every row's check returns the type of its key.
      engine: yield* checkTogether(engine as unknown as EngineConfig),
      server: server as unknown as ServerConfig
    }
  })
