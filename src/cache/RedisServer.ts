/**
 * What is asked of a Redis server before it is used, and once a second while it is: that it is the right one, that
 * it takes writes, and that it is still the same with the same data.
 */
import { Redis } from "ioredis"
import type { RedisAddress, RedisTarget } from "../config/RedisUrl.js"
import { isFull, kindOf } from "./RedisFailure.js"
import { type Script, script } from "./RedisScript.js"
import { helloScript } from "./scripts.js"

/** A command's argument. */
export type Argument = string | number | Buffer

/** Who answers, and with which data; any difference means that what was proven is to be proven again. */
export interface Seen {
  /** The epoch of the cache's tree; another one after `FLUSHALL`, a restored snapshot or another node's rebuild. */
  readonly epoch: string
  /** The process and its replication history; empty when the user may not ask. */
  readonly server: string
}

export interface Greeting {
  readonly seen: Seen
  /** What an operator should change. */
  readonly warnings: ReadonlyArray<string>
}

const helloLua = script(helloScript)

/** One socket to one server, given up rather than made again. */
export const openClient = (
  target: RedisTarget,
  address: RedisAddress,
  timeouts: { readonly connectTimeoutMs: number; readonly commandTimeoutMs: number }
): Redis =>
  new Redis({
    ...address,
    // Whatever addresses the name has, IPv6 included.
    family: 0,
    ...(target.tls ? { tls: {} } : {}),
    connectTimeout: timeouts.connectTimeoutMs,
    commandTimeout: timeouts.commandTimeoutMs,
    disconnectTimeout: 500,
    keepAlive: 10_000,
    lazyConnect: true,
    retryStrategy: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // Both would send commands that a user may not be allowed; the first prints what it thinks of that.
    enableReadyCheck: false,
    disableClientInfo: true
  })

/** Runs a script; its first key is the prefix. */
export const evaluate = async (
  client: Redis,
  { sha, source }: Script,
  args: ReadonlyArray<Argument>
): Promise<unknown> => {
  try {
    return await client.callBuffer("EVALSHA", [sha, 1, ...args])
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error
    return await client.callBuffer("EVAL", [source, 1, ...args])
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What `INFO` says, or why it was refused. */
export type Info = { readonly text: string } | { readonly refused: string }

/** `INFO`, or why it was refused. Anything but a refusal fails. */
export const infoOf = async (client: Redis): Promise<Info> => {
  try {
    return { text: String(await client.callBuffer("INFO", ["server", "replication", "memory"])) }
  } catch (error) {
    if (kindOf(messageOf(error)) !== "refused") throw error
    return { refused: messageOf(error) }
  }
}

/**
 * Looks at who answers. The script writes, so a replica refuses it, and so does a user without the rights that
 * every write needs.
 *
 * @param token the epoch that begins where there is none
 */
export const greet = async (client: Redis, keyPrefix: string, token: string): Promise<Greeting> => {
  const [epoch, info] = await Promise.all([
    evaluate(client, helloLua, [keyPrefix, token]).then(String, (error: unknown) => {
      if (!isFull(messageOf(error))) throw error
      // Reads still work, and every write says by itself that it is refused.
      return ""
    }),
    infoOf(client)
  ])
  const field = (name: string) =>
    "refused" in info ? "" : (new RegExp(`^${name}:(\\S+)`, "m").exec(info.text)?.[1] ?? "")
  return {
    seen: { epoch, server: `${field("run_id")} ${field("master_replid")}` },
    warnings: warningsIn(info)
  }
}

/** What an operator should know. */
export const warningsIn = (info: Info): ReadonlyArray<string> =>
  "refused" in info
    ? [
        `this Redis user may not run INFO (${info.refused}): neither the eviction policy nor a change of the server behind an open connection can be seen`
      ]
    : evictionWarnings(info.text)

/**
 * Says who we are and which database is meant. The driver would do both by itself, but go on in database 0 when the
 * other one is refused, and print what it thinks of a password that is not needed.
 */
export const introduce = async (client: Redis, target: RedisTarget): Promise<void> => {
  // With a user name the server takes a password also where it needs none.
  if (target.password !== undefined) {
    await client.callBuffer("AUTH", [target.username ?? "default", target.password])
  }
  if (target.database === 0) return
  try {
    await client.callBuffer("SELECT", [target.database])
  } catch (error) {
    throw new Error(`database ${target.database} cannot be selected: ${messageOf(error)}`)
  }
}

/** All nodes that a cluster names; none when the user may not ask. */
export const clusterNodes = async (client: Redis, asked: string): Promise<ReadonlyArray<RedisAddress>> => {
  try {
    const ranges = (await client.call("CLUSTER", ["SLOTS"])) as ReadonlyArray<ReadonlyArray<unknown>>
    return ranges.flatMap((range) =>
      range.slice(2).flatMap((node) => {
        const [host, port] = node as [string | null, number]
        return host === "?" ? [] : [{ host: host === null || host === "" ? asked : host, port }]
      })
    )
  } catch {
    return []
  }
}

/**
 * What an operator should know about the server's eviction policy. The tree's keys never expire: only `allkeys-*`
 * policies may drop them.
 */
export const evictionWarnings = (info: string): ReadonlyArray<string> => {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? ""
  if (!policy.startsWith("allkeys-")) return []
  const limit = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0)
  const when = limit === 0 ? "once maxmemory is set" : `at ${limit} bytes`
  return [
    `Redis runs with maxmemory-policy ${policy}: it may drop items and parts of the cache's tree ${when}, which forces resyncs. Use noeviction or a volatile-* policy.`
  ]
}
