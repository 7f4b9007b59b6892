/** Logs on standard error: lines for people on a terminal, JSON lines elsewhere. */
import { Cause, Context, Effect, Either, HashMap, Layer, Logger, LogLevel } from "effect"
import { variablePrefix } from "../../config/Load.js"
import type { LogFormatName, LogLevelName, ServerConfig } from "../../config/Model.js"
import type { OptionDefinition } from "../../config/OptionKinds.js"
import { flagOf, serverTable } from "../../config/Options.js"
import { refuse } from "../../config/SqlUrl.js"
import { type CliError, toCliError } from "../app/CliError.js"
import type { Stdio } from "./Stdio.js"

/** How to log. The format may still change once a configuration file has been read. */
export interface LogSettings {
  readonly level: LogLevel.LogLevel
  format: LogFormatName
  /** What a flag or a variable decided; the configuration file does not change it. */
  readonly decided: { readonly level: boolean; readonly format: boolean }
}

/** The settings of the command that runs. */
export class Logs extends Context.Tag("effect-sync-engine/cli/Logs")<Logs, LogSettings>() {}

const levels: Readonly<Record<LogLevelName, LogLevel.LogLevel>> = {
  trace: LogLevel.Trace,
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error
}

/**
 * Level and format: the flags, then `SYNC_ENGINE_LOG_LEVEL` and `SYNC_ENGINE_LOG_FORMAT`, then the defaults
 * (`info` for the daemon, `warning` for the other commands; `auto`).
 */
export const logSettings = (
  stdio: Context.Tag.Service<Stdio>,
  flags: ReadonlyMap<string, string>,
  isDaemon: boolean
): Either.Either<LogSettings, CliError> =>
  Either.gen(function* () {
    const pick = <A>({ allowed, name, read }: OptionDefinition<A>, otherwise: A) => {
      const [flag, variable] = [`--${flagOf(name)}`, variablePrefix + name]
      const text = flags.get(flag) ?? stdio.env[variable]
      return Either.map(
        text === undefined
          ? Either.right(otherwise)
          : Either.orElse(read(text), (problem) =>
              refuse(flags.has(flag) ? flag : variable, problem, allowed)
            ),
        (value) => ({ value, decided: text !== undefined })
      )
    }
    const level = yield* pick(serverTable.logLevel, isDaemon ? "info" : "warning")
    const format = yield* pick(serverTable.logFormat, "auto")
    return {
      level: levels[level.value],
      format: format.value,
      decided: { level: level.decided, format: format.decided }
    }
  }).pipe(Either.mapLeft(toCliError))

/** Lets a configuration that was read later decide what neither flag nor variable has. */
export const following =
  (server: Pick<ServerConfig, "logLevel" | "logFormat">) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Logs> =>
    Effect.flatMap(Logs, (settings) => {
      if (!settings.decided.format) settings.format = server.logFormat
      return settings.decided.level ? effect : Logger.withMinimumLogLevel(effect, levels[server.logLevel])
    })

const words = (message: unknown): string =>
  (Array.isArray(message) ? message : [message])
    .map((part) =>
      typeof part === "string" ? part : part instanceof Error ? part.message : JSON.stringify(part)
    )
    .join(" ")

const prettyLine: Logger.Logger<unknown, string> = Logger.make(
  ({ annotations, cause, date, logLevel, message }) => {
    const parts = [date.toISOString().slice(11, 23), logLevel.label.padEnd(5), words(message)]
    for (const [name, value] of HashMap.entries(annotations)) {
      parts.push(`${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    }
    const line = parts.join(" ")
    return Cause.isEmpty(cause) ? line : `${line}\n${Cause.pretty(cause)}`
  }
)

/** Replaces the default logger by one on standard error. */
export const layer = (stdio: Context.Tag.Service<Stdio>, settings: LogSettings): Layer.Layer<Logs> => {
  const isPretty = () =>
    settings.format === "pretty" || (settings.format === "auto" && stdio.stderrIsTerminal)
  const logger = Logger.make<unknown, void>((entry) =>
    stdio.unsafeError(`${(isPretty() ? prettyLine : Logger.jsonLogger).log(entry)}\n`)
  )
  return Layer.mergeAll(
    Logger.replace(Logger.defaultLogger, logger),
    Logger.minimumLogLevel(settings.level),
    Layer.succeed(Logs, settings)
  )
}
