/** The flags of the configuration, generated from the one table of options. */
import { Effect } from "effect"
import { type LoadedConfig, load as loadSources } from "../../config/Load.js"
import {
  type ConfigOption,
  engineOptions as engineRows,
  serverOptions as serverRows
} from "../../config/Options.js"
import { readFile } from "../../config/ReadFile.js"
import { type CliError, toCliError } from "../app/CliError.js"
import { Stdio } from "../io/Stdio.js"
import { option, type Part } from "./Command.js"

/** The whole configuration. */
export type Settings = LoadedConfig

/** Flags by name without dashes, and what they were given. */
export type Given = Readonly<Record<string, string | undefined>>

type Flag = Part<string | undefined>

/** Every command has these of its own. */
const commonFlags = ["log-level", "log-format"]

const flagsOf = ({ definition, flag }: ConfigOption): ReadonlyArray<Flag> => {
  const { allowed, defaultText, description, kind } = definition
  const described = option(
    flag,
    `${description} Allowed: ${allowed}. Default: ${defaultText}.`.replaceAll("`", "")
  )
  switch (kind) {
    case "boolean":
      return [{ ...described, isSwitch: true, values: ["true", "false"] }]
    case "secret":
      return [
        described,
        option(
          `${flag}-file`,
          `File that holds the value of --${flag}, so that it shows in no list of processes.`
        )
      ]
    default:
      return [described]
  }
}

const configFlag = option(
  "config",
  "JSON file with options by name (DATA_DIR, WAL_MAX_ITEMS, …); variables and flags come before it. Default: SYNC_ENGINE_CONFIG, else none."
)

const record = (rows: ReadonlyArray<ConfigOption>): Readonly<Record<string, Flag>> =>
  Object.fromEntries(
    [configFlag, ...rows.filter(({ flag }) => !commonFlags.includes(flag)).flatMap(flagsOf)].map((flag) => [
      flag.name.slice(2),
      flag
    ])
  )

/** Every option of an engine and its server: for `run`. */
export const allOptions = record([...engineRows, ...serverRows])

/** Every option of an engine: for `ingest`. */
export const engineOptions = record(engineRows)

const placeNames = ["DATA_DIR", "SQL_URL", "WAL_PATH"]

/** Where the data is: for `--offline`; the other options come from variables and the file. */
export const placeOptions = record(engineRows.filter(({ name }) => placeNames.includes(name)))

/** The flags that were given, with their dashes. */
export const names = (given: Given): ReadonlyArray<string> =>
  Object.keys(given)
    .filter((name) => given[name] !== undefined)
    .map((name) => `--${name}`)

/**
 * The configuration: flags, then `SYNC_ENGINE_*` variables, then the file, then defaults. Unknown names and invalid
 * values end with exit code 2.
 */
export const load = (flags: Given): Effect.Effect<Settings, CliError, Stdio> =>
  Effect.flatMap(Stdio, ({ env }) => Effect.mapError(loadSources({ flags, env, readFile }), toCliError))
