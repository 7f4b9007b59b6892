/** The flags of the configuration, generated from the one table of options. */
import * as Options from "@effect/cli/Options"
import { Effect, Option } from "effect"
import { type LoadedConfig, load as loadSources } from "../../config/Load.js"
import {
  type ConfigOption,
  engineOptions as engineRows,
  serverOptions as serverRows
} from "../../config/Options.js"
import { readFile } from "../../config/ReadFile.js"
import { allowedValues, formatNumber } from "../../config/Validation.js"
import { type CliError, toCliError } from "../app/CliError.js"
import { Stdio } from "../io/Stdio.js"

/** The whole configuration. */
export type Settings = LoadedConfig

type Flag = Options.Options<Option.Option<string>>

/** Flags by name without dashes, and what they were given. */
export type Given = Readonly<Record<string, Option.Option<string>>>

/** Every command has these of its own. */
const commonFlags = ["log-level", "log-format"]

const defaultText = ({ definition }: ConfigOption): string => {
  switch (definition.kind) {
    case "integer":
    case "bytes":
    case "duration":
      return formatNumber(definition, definition.default)
    case "text":
      return definition.default ?? definition.defaultText?.replaceAll("`", "") ?? "none"
    case "secret":
      return definition.default ?? "none"
    default:
      return String(definition.default)
  }
}

const flag = (name: string, description: string): readonly [string, Flag] => [
  name,
  Options.text(name).pipe(Options.withDescription(description), Options.optional)
]

const flagsOf = (option: ConfigOption): ReadonlyArray<readonly [string, Flag]> => {
  const { definition } = option
  const description = `${definition.description.replaceAll("`", "")} Allowed: ${allowedValues(definition)}. Default: ${defaultText(option)}.`
  return definition.kind === "secret"
    ? [
        flag(option.flag, description),
        flag(
          `${option.flag}-file`,
          `File that holds the value of --${option.flag}, so that it shows in no list of processes.`
        )
      ]
    : [flag(option.flag, description)]
}

const configFlag = flag(
  "config",
  "JSON file with options by name (DATA_DIR, WAL_MAX_ITEMS, …); variables and flags come before it. Default: SYNC_ENGINE_CONFIG, else none."
)

const record = (rows: ReadonlyArray<ConfigOption>): Readonly<Record<string, Flag>> =>
  Object.fromEntries([
    configFlag,
    ...rows.filter((row) => !commonFlags.includes(row.flag)).flatMap((row) => flagsOf(row))
  ])

/** Every option of an engine and its server: for `run`. */
export const allOptions = record([...engineRows, ...serverRows])

/** Every option of an engine: for `ingest`. */
export const engineOptions = record(engineRows)

const placeNames = ["DATA_DIR", "SQL_URL", "WAL_PATH"]

/** Where the data is: for `--offline`; the other options come from variables and the file. */
export const placeOptions = record(engineRows.filter(({ name }) => placeNames.includes(name)))

/** Flags that may stand without a value. */
export const switches: ReadonlyArray<string> = [...engineRows, ...serverRows]
  .filter(({ definition }) => definition.kind === "boolean")
  .map((option) => `--${option.flag}`)

/** The flags that were given, with their dashes. */
export const names = (given: Given): ReadonlyArray<string> =>
  Object.keys(given)
    .filter((name) => Option.isSome(given[name]!))
    .map((name) => `--${name}`)

/**
 * The configuration: flags, then `SYNC_ENGINE_*` variables, then the file, then defaults. Unknown names and invalid
 * values end with exit code 2.
 */
export const load = (given: Given): Effect.Effect<Settings, CliError, Stdio> =>
  Effect.flatMap(Stdio, ({ env }) =>
    Effect.mapError(
      loadSources({
        flags: Object.fromEntries(
          Object.entries(given).map(([name, value]) => [name, Option.getOrUndefined(value)])
        ),
        env,
        readFile
      }),
      toCliError
    )
  )
