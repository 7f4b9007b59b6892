/** Which engine a command talks to: a daemon by its address, or one opened in this process. */
import { existsSync } from "node:fs"
import { Effect, Redacted, type Scope } from "effect"
import { readFile } from "../../config/ReadFile.js"
import { isToken } from "../../http/middleware/Authorization.js"
import { type CliError, failed, toCliError, usage } from "../app/CliError.js"
import { Stdio } from "../io/Stdio.js"
import { option, toggle } from "../parser/Command.js"
import * as ConfigFlags from "../parser/ConfigFlags.js"
import type { Backend } from "./Backend.js"
import type { EngineFactory } from "./EngineFactory.js"
import * as RemoteBackend from "./RemoteBackend.js"

/** Where `run` listens by default. */
const defaultUrl = "http://127.0.0.1:7420"

/** Options of commands that only make sense against a daemon. */
export const remoteOptions = {
  url: option("url", `Address of the daemon. Default: SYNC_ENGINE_URL, else ${defaultUrl}.`),
  token: option(
    "token",
    "Bearer token; visible to other users of this machine, so rather use --token-file. Default: SYNC_ENGINE_ADMIN_TOKEN."
  ),
  tokenFile: option("token-file", "File that holds the bearer token. Default: SYNC_ENGINE_ADMIN_TOKEN_FILE.")
}

/** Options of commands that also work without a daemon. */
export const options = {
  ...remoteOptions,
  offline: toggle(
    "offline",
    "Open the data directory in this process instead of asking a daemon; no daemon may hold it. Default: off."
  ),
  flags: ConfigFlags.placeOptions
}

/** Options of `ingest`. */
export const ingestOptions = { ...remoteOptions, flags: ConfigFlags.engineOptions }

/** What the options above were given. */
export interface Input {
  readonly url: string | undefined
  readonly token?: string | undefined
  readonly tokenFile?: string | undefined
  readonly offline?: boolean
  readonly flags?: ConfigFlags.Given
}

const present = (text: string | undefined): text is string => text !== undefined && text !== ""

/** A token that a header can carry; the message does not repeat it. */
const usable = (token: string, what: string): Effect.Effect<Redacted.Redacted, CliError> =>
  isToken(token)
    ? Effect.succeed(Redacted.make(token))
    : Effect.fail(usage(`${what} is no token: it takes 1 or more visible ASCII characters`))

/** The token that the options or variables name, if any. */
const readToken = Effect.fnUntraced(function* ({ token, tokenFile }: Input) {
  const { env } = yield* Stdio
  if (token !== undefined && tokenFile !== undefined) {
    return yield* usage("give either --token or --token-file, not both")
  }
  const direct = token ?? (tokenFile === undefined ? env.SYNC_ENGINE_ADMIN_TOKEN : undefined)
  if (present(direct)) return yield* usable(direct, "the token")
  const path = tokenFile ?? env.SYNC_ENGINE_ADMIN_TOKEN_FILE
  if (!present(path)) return undefined
  const text = yield* Effect.mapError(readFile(path), ({ code }) =>
    usage(`the token file ${path} cannot be read (${code})`)
  )
  return yield* usable(text.trim(), `what the token file ${path} holds`)
})

/** The daemon's address, checked. */
export const readUrl = Effect.fnUntraced(function* ({ url }: Pick<Input, "url">) {
  const { env } = yield* Stdio
  const text = url ?? (present(env.SYNC_ENGINE_URL) ? env.SYNC_ENGINE_URL : defaultUrl)
  const parsed = URL.canParse(text) ? new URL(text) : undefined
  if (parsed === undefined || (parsed.protocol !== "http:" && parsed.protocol !== "https:")) {
    return yield* usage(`the daemon's address ${JSON.stringify(text)} is not an http:// or https:// URL`)
  }
  if (parsed.username !== "" || parsed.password !== "") {
    return yield* usage("the daemon's address holds credentials", "use --token-file instead")
  }
  return text.replace(/\/+$/, "")
})

/** A backend over the daemon that the options name. */
export const openRemote = Effect.fnUntraced(function* (input: Input) {
  const url = yield* readUrl(input)
  const token = yield* readToken(input)
  return yield* RemoteBackend.make({ url, token })
})

/** Loaded when needed: the engine is most of the program, and commands that ask a daemon do without it. */
const openLocal = (settings: ConfigFlags.Settings) =>
  Effect.flatMap(
    Effect.promise(() => import("./LocalBackend.js")),
    ({ open }) => Effect.mapError(open(settings.engine), toCliError)
  )

/**
 * A backend as the options ask for it. An engine opened in this process is shut down with the scope; what it left
 * undone is in the log.
 */
export const open = (input: Input): Effect.Effect<Backend, CliError, Stdio | EngineFactory | Scope.Scope> =>
  Effect.gen(function* () {
    const given = ConfigFlags.names(input.flags ?? {})
    if (input.offline !== true) {
      if (given.length === 0) return yield* openRemote(input)
      return yield* usage(
        `${given.join(", ")} says where a data directory is, but a daemon is asked`,
        "add --offline, or leave it out"
      )
    }
    if (input.url !== undefined) return yield* usage("give either --offline or --url, not both")
    const settings = yield* ConfigFlags.load(input.flags ?? {})
    const { dataDir } = settings.engine
    // Looking at an engine that is not there must not make one.
    if (!existsSync(dataDir)) {
      return yield* failed(
        `there is no data directory ${dataDir}`,
        "name it with --data-dir or SYNC_ENGINE_DATA_DIR"
      )
    }
    return (yield* openLocal(settings)).backend
  })

/** A batch that goes out in one request is taken or refused as a whole, so it can be tried again. */
const oneRequest = { maxBatchItems: 500, maxBatchBytes: 512 * 1024 }
const inProcessBatchBytes = 4 * 1024 * 1024

/** A backend to ingest into: a daemon when `--url` is given, else an engine in this process. */
export const openForIngest = Effect.fnUntraced(function* (input: Input) {
  const flags = input.flags ?? {}
  const settings = yield* ConfigFlags.load(flags)
  const { maxBatchItems, maxPayloadBytes } = settings.engine
  if (input.url === undefined) {
    const local = yield* openLocal(settings)
    return { ...local, maxBatchItems, maxBatchBytes: inProcessBatchBytes, maxPayloadBytes }
  }
  const given = ConfigFlags.names(flags)
  if (given.length > 0) {
    return yield* usage(`${given.join(", ")} configures an engine in this process, but --url names a daemon`)
  }
  return { backend: yield* openRemote(input), close: Effect.void, ...oneRequest, maxPayloadBytes }
})
