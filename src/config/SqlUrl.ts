/**
 * What a `SQL_URL` says.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { InvalidConfig } from "../EngineError.js"

/** The archive a `SQL_URL` names; `display` never holds a secret. @since 0.1.0 @category models */
export type SqlTarget =
  | {
      readonly _tag: "Sqlite"
      /** As written (relative to the working directory); `undefined` for the file in the data directory. */
      readonly path: string | undefined
      readonly display: string
    }
  | {
      readonly _tag: "MySql"
      readonly host: string
      readonly port: number
      readonly database: string
      readonly username: string | undefined
      readonly password: Redacted.Redacted | undefined
      readonly display: string
    }
  | { readonly _tag: "None"; readonly display: string }

/** @since 0.1.0 @category constants */
export const allowedSqlUrls =
  "sqlite: (a file in the data directory), sqlite:/path, sqlite:./path, mysql://[user[:password]@]host[:port]/database, mariadb://… or none"

const invalid = (problem: string) =>
  Either.left(new InvalidConfig({ name: "SQL_URL", problem, allowed: allowedSqlUrls }))

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const sqlite = (rest: string): Either.Either<SqlTarget, InvalidConfig> => {
  if (rest === "") return Either.right({ _tag: "Sqlite", path: undefined, display: "sqlite:" })
  if (/^\/\/(?!\/)/.test(rest)) return invalid("names a host, which SQLite has none of")
  const path = rest.startsWith("///") ? rest.slice(2) : rest
  if (path === ":memory:") {
    return invalid(
      "names a database in memory; the log hands acknowledged writes over, so they would be lost"
    )
  }
  if (/[?#]/.test(path)) return invalid("has parameters; SQLite takes a path only")
  if (/[\u0000-\u001f\u007f]/.test(path)) return invalid("holds a control character")
  return Either.right({ _tag: "Sqlite", path, display: `sqlite:${path}` })
}

const server = /^(?:([^/?#]*)@)?(\[[0-9a-f:.]+\]|[^:@/?#[\]\s]+)(?::(\d{1,5}))?\/([^/?#]+)$/i

const mysql = (scheme: string, rest: string): Either.Either<SqlTarget, InvalidConfig> => {
  if (!rest.startsWith("//")) return invalid(`lacks the // after ${scheme}:`)
  if (/[?#]/.test(rest)) {
    return invalid("has parameters, which are not supported (percent-encode ? and # inside a password)")
  }
  const match = server.exec(rest.slice(2))
  if (match === null) return invalid("does not name a host and one database")
  const [, credentials, hostText = "", portText = "3306", databaseText = ""] = match
  const port = Number(portText)
  if (port < 1 || port > 65535) return invalid("has a port outside 1 to 65535")
  const colon = credentials === undefined ? -1 : credentials.indexOf(":")
  const username = decode(colon < 0 ? (credentials ?? "") : credentials!.slice(0, colon))
  const password = decode(colon < 0 ? "" : credentials!.slice(colon + 1))
  const database = decode(databaseText)
  if (username === undefined || password === undefined || database === undefined) {
    return invalid("has a user, password or database that is not percent-encoded properly")
  }
  return Either.right({
    _tag: "MySql",
    host: hostText.replace(/^\[|\]$/g, ""),
    port,
    database,
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : Redacted.make(password),
    display: `${scheme}://${hostText}:${port}/${databaseText}`
  })
}

/**
 * Reads a `SQL_URL`. The error never repeats the URL, since it may hold a password.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parseSqlUrl = (url: string): Either.Either<SqlTarget, InvalidConfig> => {
  if (url.toLowerCase() === "none") return Either.right({ _tag: "None", display: "none" })
  const colon = url.indexOf(":")
  const scheme = url.slice(0, Math.max(0, colon)).toLowerCase()
  const rest = url.slice(colon + 1)
  switch (scheme) {
    case "sqlite":
      return sqlite(rest)
    case "mysql":
    case "mariadb":
      return mysql(scheme, rest)
    default:
      return invalid("does not begin with sqlite:, mysql:// or mariadb://")
  }
}
