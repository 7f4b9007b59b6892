/** Which engine a command talks to: a daemon by its address, or one opened in this process. */
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, Option, Redacted, type Scope } from "effect"
import { readFile } from "../../config/ReadFile.js"
import { isToken } from "../../http/middleware/Authorization.js"
import { isClean } from "../../Lifecycle.js"
import { type CliError, failed, toCliError, usage } from "../app/CliError.js"
import { logReport, uncleanError } from "../app/Daemon.js"
import { Stdio } from "../io/Stdio.js"
import * as ConfigFlags from "../parser/ConfigFlags.js"
import type { Backend } from "./Backend.js"
import { EngineFactory } from "./EngineFactory.js"
import * as LocalBackend from "./LocalBackend.js"
import * as RemoteBackend from "./RemoteBackend.js"

/** Where `run` listens by default. */
export const defaultUrl = "http://127.0.0.1:7420"

const address = {
  url: Options.text("url").pipe(
    Options.withDescription(`Address of the daemon. Default: SYNC_ENGINE_URL, else ${defaultUrl}.`),
    Options.optional
  ),
  token: Options.text("token").pipe(
    Options.withDescription(
      "Bearer token; visible to other users of this machine, so rather use --token-file. Default: SYNC_ENGINE_ADMIN_TOKEN."
    ),
    Options.optional
  ),
  tokenFile: Options.text("token-file").pipe(
    Options.withDescription("File that holds the bearer token. Default: SYNC_ENGINE_ADMIN_TOKEN_FILE."),
    Options.optional
  )
}

const offline = Options.boolean("offline").pipe(
  Options.withDescription(
    "Open the data directory in this process instead of asking a daemon; no daemon may hold it. Default: off."
  )
)

/** Options of commands that only make sense against a daemon. */
export const remoteOptions = address

/** Options of commands that also work without a daemon. */
export const options = { ...address, offline, flags: ConfigFlags.placeOptions }

/** Options of `ingest`. */
export const ingestOptions = { ...address, flags: ConfigFlags.engineOptions }

/** Options of `ingest` that may stand without a value. */
export const configSwitches = ConfigFlags.switches

/** What the options above were given. */
export interface Input {
  readonly url: Option.Option<string>
  readonly token: Option.Option<string>
  readonly tokenFile: Option.Option<string>
  readonly offline?: boolean
  readonly flags?: ConfigFlags.Given
}

const present = (text: string | undefined): text is string => text !== undefined && text !== ""

/** The token that the options or variables name, if any. */
export const readToken = (input: Input): Effect.Effect<Redacted.Redacted | undefined, CliError, Stdio> =>
  Effect.gen(function* () {
    const { env } = yield* Stdio
    if (Option.isSome(input.token) && Option.isSome(input.tokenFile)) {
      return yield* usage("give either --token or --token-file, not both")
    }
    const file = Option.getOrUndefined(input.tokenFile)
    const direct =
      Option.getOrUndefined(input.token) ?? (file === undefined ? env.SYNC_ENGINE_ADMIN_TOKEN : undefined)
    if (present(direct)) return yield* usable(direct, "the token")
    const path = file ?? env.SYNC_ENGINE_ADMIN_TOKEN_FILE
    if (!present(path)) return undefined
    const text = yield* Effect.mapError(readFile(path), ({ code }) =>
      usage(`the token file ${path} cannot be read (${code})`)
    )
    return yield* usable(text.trim(), `what the token file ${path} holds`)
  })

/** A token that a header can carry; the message does not repeat it. */
const usable = (token: string, what: string): Effect.Effect<Redacted.Redacted, CliError> =>
  isToken(token)
    ? Effect.succeed(Redacted.make(token))
    : Effect.fail(usage(`${what} is no token: it takes 1 or more visible ASCII characters`))

/** The daemon's address, checked. */
export const readUrl = (input: Input): Effect.Effect<string, CliError, Stdio> =>
  Effect.flatMap(Stdio, ({ env }) => {
    const text =
      Option.getOrUndefined(input.url) ?? (present(env.SYNC_ENGINE_URL) ? env.SYNC_ENGINE_URL : defaultUrl)
    const parsed = URL.canParse(text) ? new URL(text) : undefined
    if (parsed === undefined || (parsed.protocol !== "http:" && parsed.protocol !== "https:")) {
      return Effect.fail(
        usage(`the daemon's address ${JSON.stringify(text)} is not an http:// or https:// URL`)
      )
    }
    if (parsed.username !== "" || parsed.password !== "") {
      return Effect.fail(usage("the daemon's address holds credentials", "use --token-file instead"))
    }
    return Effect.succeed(text.replace(/\/+$/, ""))
  })

/** A backend over the daemon that the options name. */
export const openRemote = (
  input: Input
): Effect.Effect<Backend, CliError, Stdio | FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const url = yield* readUrl(input)
    const token = yield* readToken(input)
    return yield* Effect.provide(RemoteBackend.make({ url, token }), NodeHttpClient.layer)
  })

const openLocal = (settings: ConfigFlags.Settings) =>
  Effect.gen(function* () {
    const engines = yield* EngineFactory
    const handle = yield* engines.make(settings.engine)
    yield* Effect.mapError(handle.start, toCliError)
    /** Shuts down and says so when something was left undone. Idempotent. */
    const close = Effect.flatMap(handle.shutdown, (report) =>
      Effect.zipRight(logReport(report), isClean(report) ? Effect.void : Effect.fail(uncleanError(report)))
    )
    return { backend: LocalBackend.make(handle.engine, settings.engine.dataDir), close }
  })

/**
 * A backend as the options ask for it. An engine opened in this process is shut down with the scope; what it left
 * undone is in the log.
 */
export const open = (
  input: Input
): Effect.Effect<Backend, CliError, Stdio | EngineFactory | FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const given = input.flags === undefined ? [] : ConfigFlags.names(input.flags)
    if (input.offline !== true) {
      if (given.length > 0) {
        return yield* usage(
          `${given.join(", ")} says where a data directory is, but a daemon is asked`,
          "add --offline, or leave it out"
        )
      }
      return yield* openRemote(input)
    }
    if (Option.isSome(input.url)) return yield* usage("give either --offline or --url, not both")
    const settings = yield* ConfigFlags.load(input.flags ?? {})
    yield* mustExist(settings.engine.dataDir)
    return (yield* Effect.mapError(openLocal(settings), toCliError)).backend
  })

/** Looking at an engine that is not there must not make one. */
const mustExist = (directory: string): Effect.Effect<void, CliError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (files) =>
    Effect.flatMap(
      Effect.catchAll(files.exists(directory), () => Effect.succeed(false)),
      (exists) =>
        exists
          ? Effect.void
          : Effect.fail(
              failed(
                `there is no data directory ${directory}`,
                "name it with --data-dir or SYNC_ENGINE_DATA_DIR"
              )
            )
    )
  )

/** A batch that goes out in one request is taken or refused as a whole, so it can be tried again. */
const oneRequest = { maxBatchItems: 500, maxBatchBytes: 512 * 1024 }
const inProcessBatchBytes = 4 * 1024 * 1024

/** A backend to ingest into: a daemon when `--url` is given, else an engine in this process. */
export const openForIngest = (input: Input) =>
  Effect.gen(function* () {
    const flags = input.flags ?? {}
    const settings = yield* ConfigFlags.load(flags)
    const { maxBatchItems, maxPayloadBytes } = settings.engine
    if (Option.isSome(input.url)) {
      const given = ConfigFlags.names(flags)
      if (given.length > 0) {
        return yield* usage(
          `${given.join(", ")} configures an engine in this process, but --url names a daemon`
        )
      }
      return {
        backend: yield* openRemote(input),
        close: Effect.void,
        ...oneRequest,
        maxPayloadBytes
      }
    }
    return {
      ...(yield* Effect.mapError(openLocal(settings), toCliError)),
      maxBatchItems,
      maxBatchBytes: inProcessBatchBytes,
      maxPayloadBytes
    }
  })
