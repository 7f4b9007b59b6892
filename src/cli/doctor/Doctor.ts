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
import type { EngineConfig, ServerConfig } from "../../config/Model.js"
import * as MysqlUrl from "../../config/MysqlUrl.js"
import { parseRedisUrl } from "../../config/RedisUrl.js"
import { sqlTarget, walFile } from "../../config/Validation.js"
import { bind, urlOf } from "../../http/node/NodeServer.js"
import * as SqliteLog from "../../wal/SqliteLog.js"
import { messageOf } from "../app/CliError.js"

/** What was found. */
export interface Finding {
  readonly ok: boolean
  readonly found: string
  /** What to do; none when all is well. */
  readonly advice: string | undefined
}

/** One thing that was looked at. */
export interface Check extends Finding {
  readonly name: string
}

const good = (found: string): Finding => ({ ok: true, found, advice: undefined })
const bad = (found: string, advice: string): Finding => ({ ok: false, found, advice })

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

export const checkNode = (version: string): Finding =>
  satisfies(version, engines.node)
    ? good(version)
    : bad(`${version}, but ${engines.node} is needed`, "install a newer Node.js")

/** The directory itself, or the nearest one above it that exists. */
const nearestExisting = (path: string): string => {
  const full = resolve(path)
  const parent = dirname(full)
  return existsSync(full) || parent === full ? full : nearestExisting(parent)
}

export const checkDirectory = (dataDir: string): Finding => {
  const existing = nearestExisting(dataDir)
  try {
    if (!statSync(existing).isDirectory()) {
      return bad(`${existing} is not a directory`, "name another one with --data-dir")
    }
    accessSync(existing, constants.W_OK | constants.X_OK)
    return good(
      existing === resolve(dataDir)
        ? `${existing} is writable`
        : `${resolve(dataDir)} can be made in ${existing}`
    )
  } catch (error) {
    return bad(
      `${existing} is not writable (${messageOf(error)})`,
      "change its owner or mode, or name another one with --data-dir"
    )
  }
}

const gigabytes = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`

/** The log must be able to grow to its bound: a full disk comes without the warning that a full log gives. */
export const checkSpace = (dataDir: string, walMaxBytes: number): Finding => {
  try {
    const { bavail, bsize } = statfsSync(nearestExisting(dataDir))
    const free = bavail * bsize
    return free >= walMaxBytes
      ? good(`${gigabytes(free)} free`)
      : bad(
          `${gigabytes(free)} free, less than the log may take (WAL_MAX_BYTES, ${gigabytes(walMaxBytes)})`,
          "free some space, or lower --wal-max-bytes"
        )
  } catch (error) {
    return bad(messageOf(error), "check the file system")
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
): Effect.Effect<Finding, never, R> =>
  Effect.suspend(() => {
    if (!existsSync(path)) return Effect.succeed(good(`${path} will be made by the first start`))
    return Effect.matchEffect(tryOpen, {
      onSuccess: () => Effect.succeed(good(`${path} can be opened`)),
      onFailure: (error) =>
        error.kind === "in-use"
          ? Effect.map(daemonAnswers, (where) =>
              where === undefined
                ? bad(
                    `${path} is held by another process, and no daemon answers`,
                    "find the process that holds it; name the daemon with --url if there is one"
                  )
                : good(`${path} is held by the daemon at ${where}`)
            )
          : Effect.succeed(bad(error.message, "see the message; `docs/operations.md` has more"))
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
const checkMysql = (url: string, display: string, config: EngineConfig): Effect.Effect<Finding> =>
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
        onSuccess: () => good(`${display} lets the user in, and the database is there`),
        onFailure: (error) => {
          const { problem, unreachable } = classify(error, [target.password])
          const [found, advice] = refusals[codeOf(error)] ?? [
            undefined,
            unreachable
              ? "check that the server is up and reachable from here"
              : "see the message; `docs/operations.md` has more"
          ]
          return bad(`${display}: ${found === undefined ? problem : `${found} (${problem})`}`, advice)
        }
      })
    )
  }).pipe(Effect.scoped)

const checkSqlite = (path: string): Finding => {
  if (!existsSync(path)) {
    const directory = checkDirectory(dirname(path))
    return directory.ok ? good(`SQLite file ${path} will be made by the first start`) : directory
  }
  try {
    const database = new Database(path, { readonly: true, fileMustExist: true })
    try {
      database.prepare("SELECT count(*) FROM sqlite_master").get()
    } finally {
      database.close()
    }
    return good(`SQLite file ${path} can be read`)
  } catch (error) {
    return bad(`SQLite file ${path}: ${messageOf(error)}`, "check that it is a SQLite database and readable")
  }
}

export const checkSql = (config: EngineConfig): Effect.Effect<Finding> => {
  const target = sqlTarget(config)
  if (Either.isLeft(target)) {
    return Effect.succeed(bad(target.left.message, `allowed: ${target.left.allowed}`))
  }
  const sql = target.right
  switch (sql._tag) {
    case "None":
      return Effect.succeed(good("none configured: the engine runs without ground truth"))
    case "Sqlite":
      return Effect.sync(() => checkSqlite(sql.path))
    case "MySql":
      return checkMysql(Redacted.value(sql.url), sql.display, config)
  }
}

/** Looks at Redis as an engine would. */
export const checkRedis = (config: EngineConfig): Effect.Effect<Finding> => {
  const { redisPrefix, redisUrl } = config
  if (redisUrl === undefined) return Effect.succeed(good("none configured: the engine runs without a cache"))
  return Either.match(parseRedisUrl(Redacted.value(redisUrl)), {
    onLeft: (error) => Effect.succeed(bad(error.message, `allowed: ${error.allowed}`)),
    onRight: (target) =>
      Effect.map(
        examine(target, redisPrefix, { connectTimeoutMs: 5_000, commandTimeoutMs: 2_000 }),
        ({ advice = "see `docs/operations.md`", problem, warnings }) => {
          if (problem !== undefined) return bad(`${target.display}: ${problem}`, advice)
          const found = [`${target.display} lets the user in and takes writes`, ...warnings]
          return good(found.join("; "))
        }
      )
  })
}

/** Whether the server may listen where it is told to. `daemonAt` says whether one answers at an address. */
export const checkHttp = (
  { adminToken, httpHost, httpPort }: ServerConfig,
  daemonAt: (url: string) => Effect.Effect<string | undefined>
): Effect.Effect<Finding> => {
  const server = createServer()
  return bind(server, { host: httpHost, port: httpPort, token: adminToken }).pipe(
    Effect.ensuring(Effect.sync(() => server.close())),
    Effect.matchEffect({
      onSuccess: ({ address, port }) =>
        Effect.succeed(good(`${address} ${httpPort === 0 ? "" : `port ${port} `}can be listened on`)),
      onFailure: (error) =>
        Effect.map(
          error.name === "HTTP_PORT" ? daemonAt(urlOf(httpHost, httpPort)) : Effect.succeed(undefined),
          (where) =>
            where === undefined
              ? bad(`${error.name} ${error.problem}`, `allowed: ${error.allowed}`)
              : good(`port ${httpPort} is held by the daemon at ${where}`)
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
export const checkAll = ({ engine, server }: LoadedConfig, url: string) => {
  const tryOpen = Effect.scoped(Effect.asVoid(SqliteLog.open({ path: walFile(engine) })))
  const checks = {
    node: Effect.sync(() => checkNode(process.versions.node)),
    "data directory": Effect.sync(() => checkDirectory(engine.dataDir)),
    log: checkLog(walFile(engine), tryOpen, daemonAt(url)),
    SQL: checkSql(engine),
    Redis: checkRedis(engine),
    HTTP: checkHttp(server, daemonAt),
    "disk space": Effect.sync(() => checkSpace(engine.dataDir, engine.walMaxBytes))
  }
  return Effect.forEach(Object.entries(checks), ([name, check]) =>
    Effect.map(check, (finding): Check => ({ name, ...finding }))
  )
}
