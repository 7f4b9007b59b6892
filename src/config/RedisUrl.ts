/** Where Redis is, and under which names the engine keeps its keys there. */
import { Either } from "effect"
import { InvalidConfig } from "../EngineError.js"
import { illFormed } from "../SyncItem.js"

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** A parsed Redis URL. */
export interface RedisTarget {
  readonly cluster: boolean
  readonly tls: boolean
  readonly nodes: ReadonlyArray<RedisAddress>
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
  /** The URL without its secrets. */
  readonly display: string
}

const allowed =
  "redis://[user:password@]host[:port][/database], rediss://… (TLS), redis-cluster://[user:password@]host:port,host:port or rediss-cluster://…"

const invalid = (problem: string) => Either.left(new InvalidConfig({ name: "REDIS_URL", problem, allowed }))

const form = /^(rediss?)(-cluster)?:\/\/(?:([^/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/i

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Parses a Redis URL. The problem in the error never repeats the URL, because it may hold a password. */
export const parseRedisUrl = (url: string): Either.Either<RedisTarget, InvalidConfig> => {
  const match = form.exec(url.trim())
  if (match === null) return invalid("is not a Redis URL")
  const [, scheme = "redis", clusterSuffix, credentials, hosts = "", databaseText = ""] = match
  const cluster = clusterSuffix !== undefined
  const colon = credentials === undefined ? -1 : credentials.indexOf(":")
  const user = credentials === undefined ? "" : colon < 0 ? credentials : credentials.slice(0, colon)
  const secret = credentials === undefined || colon < 0 ? "" : credentials.slice(colon + 1)
  const username = decode(user)
  const password = decode(secret)
  if (username === undefined || password === undefined) {
    return invalid("has a user or password that is not percent-encoded properly")
  }
  const nodes: Array<{ host: string; port: number }> = []
  for (const part of hosts.split(",")) {
    const address = /^(\[[0-9a-f:.]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/i.exec(part)
    const port = Number(address?.[2] ?? 6379)
    if (address === null || port < 1 || port > 65535) return invalid("has an invalid host or port")
    nodes.push({ host: address[1]!.replace(/^\[|\]$/g, ""), port })
  }
  if (!cluster && nodes.length > 1) return invalid("names several hosts; that needs redis-cluster://")
  if (!/^\d{0,5}$/.test(databaseText)) return invalid("has an invalid database number")
  const database = databaseText === "" ? 0 : Number(databaseText)
  if (cluster && database !== 0) return invalid("names a database; a cluster has only database 0")
  const suffix = database === 0 ? "" : `/${database}`
  return Either.right({
    cluster,
    tls: scheme.toLowerCase() === "rediss",
    nodes,
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : password,
    database,
    display: `${scheme.toLowerCase()}${cluster ? "-cluster" : ""}://${hosts}${suffix}`
  })
}

const ownKinds = ["item:", "tree:", "branches:", "leaves:"]

/**
 * Says what is wrong with a key prefix, or `undefined`. Words of the engine's own key names are refused, so that
 * the keys of two prefixes never coincide, whatever the ids are.
 */
export const keyPrefixProblem = (prefix: string): string | undefined => {
  const bytes = Buffer.byteLength(prefix, "utf8")
  if (bytes < 1 || bytes > 200) return `has ${bytes} bytes; it takes 1 to 200`
  if (!prefix.isWellFormed()) return illFormed
  if (/[\u0000-\u001f\u007f]/.test(prefix)) return "holds a control character"
  const kind = ownKinds.find((word) => prefix.includes(word))
  return kind === undefined
    ? undefined
    : `holds ${JSON.stringify(kind)}, a word of the engine's own key names`
}

/**
 * The prefix as it stands in the keys. In a cluster it is wrapped in braces (a hash tag) unless it has such a tag
 * already: all keys of the engine then live in one slot, on one shard, because one script touches many of them.
 */
export const keyPrefixIn = (cluster: boolean, prefix: string): string =>
  !cluster || /\{[^}]+\}/.test(prefix) ? prefix : `{${prefix.replace(/[{}]/g, "_")}}`

/** The text with the characters escaped that mean something in a `SCAN MATCH` pattern. */
export const escapePattern = (text: string): string => text.replace(/[\\*?[\]^-]/g, "\\$&")
