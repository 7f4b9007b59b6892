/**
 * What is asked of a Redis server before it is used, and once in a while as long as it is: that it is the right one,
 * that it takes writes, and that it is still the same with the same data.
 */
import type { LuaScript } from "./LuaScript.js"
import { isFull } from "./RedisFailure.js"
import { greetScript } from "./WriteScripts.js"

/** A command's argument. */
export type Argument = string | number | Buffer

/** Sends a command to one server; texts of the reply are buffers. */
export type Send = (command: string, args: ReadonlyArray<Argument>) => Promise<unknown>

/** Who replies, and with which data; any difference means that what was proven is to be proven again. */
export interface Seen {
  /** The epoch of the cache's tree; another one after `FLUSHALL`, a restored snapshot or another node's rebuild. */
  readonly epoch: string
  /** The process and its replication history; empty when the user may not ask. */
  readonly server: string
}

export interface Greeting {
  readonly seen: Seen
  /** What all keys begin with there; longer than ours where the application's client has a prefix of its own. */
  readonly prefix: string
  /** What an operator should change. */
  readonly warnings: ReadonlyArray<string>
}

/** Runs a script; its only key is the prefix, which also routes it in a cluster. */
export const evaluate = async (
  send: Send,
  { sha, source }: LuaScript,
  keyPrefix: string,
  args: ReadonlyArray<Argument>
): Promise<unknown> => {
  try {
    return await send("EVALSHA", [sha, 1, keyPrefix, ...args])
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error
    return await send("EVAL", [source, 1, keyPrefix, ...args])
  }
}

/** The texts of a list; fails for any other reply (a text is a buffer here, and has a `map` of its own). */
export const textsIn = (reply: unknown): ReadonlyArray<string> => {
  if (!Array.isArray(reply)) throw new TypeError("the server replied with no list")
  return reply.map(String)
}

/**
 * Looks at who replies. The script writes, so a replica refuses it, and so does a user without the rights that every
 * write needs.
 *
 * @param epoch the one that begins where there is none
 */
export const greet = async (send: Send, keyPrefix: string, epoch: string): Promise<Greeting> => {
  const reply = await evaluate(send, greetScript, keyPrefix, [epoch])
  const [prefix = "", seen = "", refused = "", info = "", infoRefused = ""] = textsIn(reply)
  // Of a server that is full reads still work, and every write says by itself that it is refused.
  if (refused !== "" && !isFull(refused)) throw new Error(refused)
  const field = (name: string) => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1] ?? ""
  return {
    seen: { epoch: seen, server: `${field("run_id")} ${field("master_replid")}` },
    prefix,
    warnings: warningsIn(info, infoRefused)
  }
}

/** What an operator should know, of what `INFO` says or of why it was refused. */
export const warningsIn = (info: string, refused: string): ReadonlyArray<string> =>
  refused === ""
    ? evictionWarnings(info)
    : [
        `this Redis user may not run INFO (${refused}): neither the eviction policy nor a change of the server behind an open connection can be seen`
      ]

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
