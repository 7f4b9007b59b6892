/** Looks at everything an engine needs here, without starting one and without changing anything. */

import { accessSync, constants, existsSync, statfsSync, statSync } from "node:fs"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import { dirname, resolve } from "node:path"
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { SqlError } from "@effect/sql/SqlError"
import Database from "better-sqlite3"
import { Duration, Effect, Either, Redacted } from "effect"
import { classify } from "../../archive/ArchiveErrors.js"
import { MysqlConnection } from "../../archive/mysql/MysqlConnection.js"
import { prepareSession } from "../../archive/mysql/MysqlSession.js"
import { examine } from "../../cache/RedisExamine.js"
import type { LoadedConfig } from "../../config/Load.js"
import type { ServerConfig } from "../../config/Model.js"
import * as MysqlUrl from "../../config/MysqlUrl.js"
import { parseRedisUrl } from "../../config/RedisUrl.js"
import { type EngineConfig, sqlTarget, walFile } from "../../EngineConfig.js"
import { bind, urlOf } from "../../http/node/NodeServer.js"
import * as SqliteLog from "../../wal/SqliteLog.js"
import { messageOf } from "../app/CliError.js"

/** One thing that was looked at. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  /** What was found. */
  readonly found: string
  /** What to do; none when all is well. */
  readonly advice: string | undefined
}

const good = (name: string, found: string): Check => ({ name, ok: true, found, advice: undefined })
const bad = (name: string, found: string, advice: string): Check => ({ name, ok: false, found, advice })

const { engines } = createRequire(import.meta.url)("../../../package.json") as {
  readonly engines: { readonly node: string }
}

const rank = (version: string): number => {
  const [major = 0, minor = 0, patch = 0] = version.replace(/^\D+/, "").split(".").map(Number)
  return (major * 1_000 + minor) * 1_000 + patch
}

/** Whether a version is in a range such as `>=20.19 <21 || >=22.14`. */
const satisfies = (version: string, range: string): boolean =>
  range
    .split(" || ")
    .some((part) => part.split(" ").every((bound) => rank(version) < rank(bound) === bound.startsWith("<")))

export const checkNode = (version: string): Check =>
  satisfies(version, engines.node)
    ? good("node", version)
    : bad("node", `${version}, but ${engines.node} is needed`, "install a newer Node.js")

/** The directory itself, or the nearest one above it that exists. */
const nearestExisting = (path: string): string => {
  const full = resolve(path)
  const parent = dirname(full)
  return existsSync(full) || parent === full ? full : nearestExisting(parent)
}

export const checkDirectory = (dataDir: string): Check => {
  const name = "data directory"
  const existing = nearestExisting(dataDir)
  try {
    if (!statSync(existing).isDirectory()) {
      return bad(name, `${existing} is not a directory`, "name another one with --data-dir")
    }
    accessSync(existing, constants.W_OK | constants.X_OK)
    return good(
      name,
      existing === resolve(dataDir)
        ? `${existing} is writable`
        : `${resolve(dataDir)} can be made in ${existing}`
    )
  } catch (error) {
    return bad(
      name,
      `${existing} is not writable (${messageOf(error)})`,
      "change its owner or mode, or name another one with --data-dir"
    )
  }
}

const gigabytes = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`

/** The log must be able to grow to its bound: a full disk comes without the warning that a full log gives. */
export const checkSpace = (dataDir: string, walMaxBytes: number): Check => {
  const name = "disk space"
  try {
    const { bavail, bsize } = statfsSync(nearestExisting(dataDir))
    const free = bavail * bsize
    return free >= walMaxBytes
      ? good(name, `${gigabytes(free)} free`)
      : bad(
          name,
          `${gigabytes(free)} free, less than the log may take (WAL_MAX_BYTES, ${gigabytes(walMaxBytes)})`,
          "free some space, or lower --wal-max-bytes"
        )
  } catch (error) {
    return bad(name, messageOf(error), "check the file system")
  }
}

/**
 * Whether the log can be opened. `tryOpen` opens and closes it as an engine would; a log that is in use is fine
 * when a daemon answers.
 */
export const checkLog = <R>(
  path: string,
  tryOpen: Effect.Effect<void, { readonly kind: string; readonly message: string }, R>,
  daemonAnswers: Effect.Effect<string | undefined>
): Effect.Effect<Check, never, R> =>
  Effect.suspend(() => {
    const name = "log"
    if (!existsSync(path)) return Effect.succeed(good(name, `${path} will be made by the first start`))
    return Effect.matchEffect(tryOpen, {
      onSuccess: () => Effect.succeed(good(name, `${path} can be opened`)),
      onFailure: (error) =>
        error.kind === "in-use"
          ? Effect.map(daemonAnswers, (where) =>
              where === undefined
                ? bad(
                    name,
                    `${path} is held by another process, and no daemon answers`,
                    "find the process that holds it; name the daemon with --url if there is one"
                  )
                : good(name, `${path} is held by the daemon at ${where}`)
            )
          : Effect.succeed(bad(name, error.message, "see the message; `docs/operations.md` has more"))
    })
  })

/** What the numbers of MySQL and MariaDB mean for whoever wrote the URL. */
const refusals: Readonly<Record<string, readonly [found: string, advice: string]>> = {
  ER_ACCESS_DENIED_ERROR: [
    "the server knows no such user with this password",
    "check user and password in SQL_URL (percent-encode what is special in a URL), and from where the user may connect"
  ],
  ER_DBACCESS_DENIED_ERROR: [
    "the user may not use this database",
    "grant the user all rights on it, or check the name in SQL_URL"
  ],
  ER_BAD_DB_ERROR: ["there is no such database", "create it, or check the name in SQL_URL"]
}

const codeOf = ({ cause }: SqlError): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""

/** Goes in as an engine would: user, password, database, and what the session has to be. */
const checkMysql = (url: string, display: string, config: EngineConfig): Effect.Effect<Check> =>
  Effect.gen(function* () {
    const target = Either.getOrThrow(MysqlUrl.parse(url))
    const answerTimeoutMs = config.sqlQueryTimeout
    const connection = yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new MysqlConnection(
            { target, connectTimeoutMs: config.sqlConnectTimeout, answerTimeoutMs },
            () => {}
          )
      ),
      (open) => Effect.sync(() => open.quit())
    )
    return yield* connection.open(prepareSession((text) => connection.query(text), { answerTimeoutMs })).pipe(
      Effect.match({
        onSuccess: () => good("SQL", `${display} lets the user in, and the database is there`),
        onFailure: (error) => {
          const { problem, unreachable } = classify(error, [target.password])
          const [found, advice] = refusals[codeOf(error)] ?? [
            undefined,
            unreachable
              ? "check that the server is up and reachable from here"
              : "see the message; `docs/operations.md` has more"
          ]
          return bad("SQL", `${display}: ${found === undefined ? problem : `${found} (${problem})`}`, advice)
        }
      })
    )
  }).pipe(Effect.scoped)

const checkSqlite = (path: string): Check => {
  const name = "SQL"
  if (!existsSync(path)) {
    const directory = checkDirectory(dirname(path))
    return directory.ok
      ? good(name, `SQLite file ${path} will be made by the first start`)
      : { ...directory, name }
  }
  try {
    const database = new Database(path, { readonly: true, fileMustExist: true })
    try {
      database.prepare("SELECT count(*) FROM sqlite_master").get()
    } finally {
      database.close()
    }
    return good(name, `SQLite file ${path} can be read`)
  } catch (error) {
    return bad(
      name,
      `SQLite file ${path}: ${messageOf(error)}`,
      "check that it is a SQLite database and readable"
    )
  }
}

export const checkSql = (config: EngineConfig): Effect.Effect<Check> => {
  const name = "SQL"
  const target = sqlTarget(config)
  if (Either.isLeft(target)) {
    return Effect.succeed(bad(name, target.left.message, `allowed: ${target.left.allowed}`))
  }
  const sql = target.right
  switch (sql._tag) {
    case "None":
      return Effect.succeed(good(name, "none configured: the engine runs without ground truth"))
    case "Sqlite":
      return Effect.sync(() => checkSqlite(sql.path))
    case "MySql":
      return checkMysql(Redacted.value(sql.url), sql.display, config)
  }
}

/** Looks at Redis as an engine would. */
export const checkRedis = (config: EngineConfig): Effect.Effect<Check> => {
  const name = "Redis"
  const { redisPrefix, redisUrl } = config
  if (redisUrl === undefined)
    return Effect.succeed(good(name, "none configured: the engine runs without a cache"))
  return Either.match(parseRedisUrl(Redacted.value(redisUrl)), {
    onLeft: (error) => Effect.succeed(bad(name, error.message, `allowed: ${error.allowed}`)),
    onRight: (target) =>
      Effect.map(
        examine(target, redisPrefix, { connectTimeoutMs: 5_000, commandTimeoutMs: 2_000 }),
        ({ advice = "see `docs/operations.md`", problem, warnings }) => {
          if (problem !== undefined) return bad(name, `${target.display}: ${problem}`, advice)
          const found = [`${target.display} lets the user in and takes writes`, ...warnings]
          return good(name, found.join("; "))
        }
      )
  })
}

/** Whether the server may listen where it is told to. `daemonAt` says whether one answers at an address. */
export const checkHttp = (
  { adminToken, httpHost, httpPort }: ServerConfig,
  daemonAt: (url: string) => Effect.Effect<string | undefined>
): Effect.Effect<Check> => {
  const name = "HTTP"
  const server = createServer()
  return bind(server, { host: httpHost, port: httpPort, token: adminToken }).pipe(
    Effect.ensuring(Effect.sync(() => server.close())),
    Effect.matchEffect({
      onSuccess: ({ address, port }) =>
        Effect.succeed(good(name, `${address} ${httpPort === 0 ? "" : `port ${port} `}can be listened on`)),
      onFailure: (error) =>
        Effect.map(
          error.name === "HTTP_PORT" ? daemonAt(urlOf(httpHost, httpPort)) : Effect.succeed(undefined),
          (where) =>
            where === undefined
              ? bad(name, `${error.name} ${error.problem}`, `allowed: ${error.allowed}`)
              : good(name, `port ${httpPort} is held by the daemon at ${where}`)
        )
    })
  )
}

/** The address, when a daemon answers there. */
const daemonAt = (url: string): Effect.Effect<string | undefined> =>
  HttpClient.get(`${url}/health/live`).pipe(
    Effect.flatMap((response) => response.json),
    Effect.scoped,
    Effect.disconnect,
    Effect.timeout(Duration.seconds(2)),
    Effect.map((body) => (typeof body === "object" && body !== null && "phase" in body ? url : undefined)),
    Effect.catchAllCause(() => Effect.succeed(undefined)),
    Effect.provide(NodeHttpClient.layer)
  )

/** All checks, one after the other. `url` is where a daemon may be that holds the log. */
export const checkAll = ({ engine, server }: LoadedConfig, url: string) =>
  Effect.all([
    Effect.sync(() => checkNode(process.versions.node)),
    Effect.sync(() => checkDirectory(engine.dataDir)),
    checkLog(
      walFile(engine),
      Effect.scoped(Effect.asVoid(SqliteLog.open({ path: walFile(engine) }))),
      daemonAt(url)
    ),
    checkSql(engine),
    checkRedis(engine),
    checkHttp(server, daemonAt),
    Effect.sync(() => checkSpace(engine.dataDir, engine.walMaxBytes))
  ])
