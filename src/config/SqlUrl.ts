/** What a `SQL_URL` says. */
import { Either, Redacted } from "effect"
import { InvalidConfig } from "../EngineError.js"
import * as MysqlUrl from "./MysqlUrl.js"

/** The archive a `SQL_URL` names; `display` never holds a secret. */
export type SqlTarget =
  | {
      readonly _tag: "Sqlite"
      /** As written (relative to the working directory); `undefined` for the file in the data directory. */
      readonly path: string | undefined
      readonly display: string
    }
  | {
      readonly _tag: "MySql"
      /** For `MysqlUrl.parse` and `MysqlArchive`, which accept it. */
      readonly url: Redacted.Redacted
      readonly host: string
      readonly port: number
      readonly database: string
      readonly display: string
    }
  | { readonly _tag: "None"; readonly display: string }

export const allowedSqlUrls =
  "sqlite: (a file in the data directory), sqlite:/path, sqlite:./path, mysql://[user[:password]@]host[:port]/database[?tls=true], mariadb://… or none"

export const refuse = (name: string, problem: string, allowed: string) =>
  Either.left(new InvalidConfig({ name, problem, allowed }))

const invalid = (problem: string) => refuse("SQL_URL", problem, allowedSqlUrls)

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

const mysql = (url: string): Either.Either<SqlTarget, InvalidConfig> => {
  // Before the parser's own problem: that one names the parameter, which may be the rest of a password with a `?`.
  const query = /\?(.*)$/s.exec(url)?.[1] ?? ""
  if (url.includes("#") || Array.from(new URLSearchParams(query).keys()).some((name) => name !== "tls")) {
    return invalid("has parameters other than tls (percent-encode ? and # inside a password)")
  }
  return Either.match(MysqlUrl.parse(url), {
    onLeft: invalid,
    onRight: ({ database, host, label, port }) =>
      port < 1
        ? invalid("has port 0")
        : Either.right<SqlTarget>({
            _tag: "MySql",
            url: Redacted.make(url),
            host,
            port,
            database,
            display: label
          })
  })
}

/** Reads a `SQL_URL`. The error never repeats the URL, since it may hold a password. */
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
      return mysql(url)
    default:
      return invalid("does not begin with sqlite:, mysql:// or mariadb://")
  }
}
