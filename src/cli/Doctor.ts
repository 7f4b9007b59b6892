/**
 * Looks at everything an engine needs here, without starting one and without changing anything.
 *
 * @since 0.1.0
 */

import { accessSync, constants, existsSync, statfsSync, statSync } from "node:fs"
import { createRequire } from "node:module"
import { connect } from "node:net"
import { dirname, resolve } from "node:path"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type EngineConfig, sqlTarget } from "../EngineConfig.js"

/** One thing that was looked at. @since 0.1.0 @category models */
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

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const { engines } = createRequire(import.meta.url)("../../package.json") as {
  readonly engines: { readonly node: string }
}

/** Whether a version is at least the one that `>=a.b` names. */
const satisfies = (version: string, range: string): boolean => {
  const numbers = (text: string) => text.replace(/^\D+/, "").split(".").map(Number)
  const [has, needs] = [numbers(version), numbers(range)]
  for (let index = 0; index < needs.length; index++) {
    const difference = (has[index] ?? 0) - (needs[index] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}

/** @since 0.1.0 @category checks */
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

/** @since 0.1.0 @category checks */
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

/** The log must be able to grow to its bound: a full disk comes without the warning that a full log gives. @since 0.1.0 @category checks */
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
 *
 * @since 0.1.0
 * @category checks
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

const connectTo = (host: string, port: number, timeoutMs: number): Effect.Effect<void, Error> =>
  Effect.async((resume) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    const end = (result: Effect.Effect<void, Error>) => {
      socket.destroy()
      resume(result)
    }
    socket.once("connect", () => end(Effect.void))
    socket.once("timeout", () => end(Effect.fail(new Error(`no answer within ${timeoutMs} ms`))))
    socket.once("error", (error) => end(Effect.fail(error)))
    return Effect.sync(() => socket.destroy())
  })

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

/** @since 0.1.0 @category checks */
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
      return Effect.match(connectTo(sql.host, sql.port, config.sqlConnectTimeout), {
        onSuccess: () => good(name, `${sql.display} accepts connections`),
        onFailure: (error) =>
          bad(name, `${sql.display}: ${error.message}`, "check that the server is up and reachable from here")
      })
  }
}
