/**
 * `mysql://user:password@host:port/database` taken apart. The driver's own parsing would drop the other
 * settings of the pool.
 */
import { Either } from "effect"

export interface MysqlTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: string
  /** TLS: off, on with a verified certificate, or on without verifying it. */
  readonly tls: "off" | "verified" | "unverified"
  /** The URL without its password; for messages. */
  readonly label: string
}

const tlsModes: Readonly<Record<string, MysqlTarget["tls"]>> = {
  false: "off",
  disabled: "off",
  true: "verified",
  required: "verified",
  verified: "verified",
  unverified: "unverified"
}

/**
 * Parses the URL of a MySQL or MariaDB database. The one query parameter is `tls`: `true`, `unverified` or
 * `false`, the default. A problem never repeats the URL, which may hold the password.
 */
export const parse = (text: string): Either.Either<MysqlTarget, string> => {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return Either.left("is not a URL; expected mysql://user:password@host:port/database")
  }
  if (url.protocol !== "mysql:" && url.protocol !== "mariadb:") {
    return Either.left("must start with mysql:// or mariadb://")
  }
  if (url.hostname === "") return Either.left("names no host")
  let database: string
  let user: string
  let password: string
  try {
    database = decodeURIComponent(url.pathname.slice(1))
    user = decodeURIComponent(url.username)
    password = decodeURIComponent(url.password)
  } catch {
    return Either.left("holds a percent sign that encodes nothing (write %25)")
  }
  if (database === "" || database.includes("/")) {
    return Either.left("names no database; expected mysql://user:password@host:port/database")
  }
  for (const name of url.searchParams.keys()) {
    if (name !== "tls") return Either.left(`has an unknown parameter ${JSON.stringify(name)}; known is tls`)
  }
  if (url.searchParams.getAll("tls").length > 1) return Either.left("has the parameter tls twice")
  const tls = tlsModes[url.searchParams.get("tls") ?? "false"]
  if (tls === undefined) return Either.left("has an unknown tls mode; known are true, unverified and false")
  const port = url.port === "" ? 3306 : Number(url.port)
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return Either.right({
    host,
    port,
    database,
    user,
    password,
    tls,
    label: `mysql://${url.username === "" ? "" : `${url.username}@`}${url.hostname}:${port}${url.pathname}`
  })
}
