/** Goes in as an engine would and says what is in the way, without changing anything there. */
import type { Redis } from "ioredis"
import { keyPrefixIn, type RedisAddress, type RedisTarget } from "../config/RedisUrl.js"
import { isElsewhere, kindOf, movedTo, problemIn } from "./RedisFailure.js"
import { infoOf, introduce, openClient, warningsIn } from "./RedisServer.js"
import { examineScript } from "./scriptsRead.js"

export interface Examination {
  /** What is in the way, secrets removed; none when an engine could work. */
  readonly problem: string | undefined
  readonly advice: string | undefined
  readonly warnings: ReadonlyArray<string>
}

const mostRedirections = 5

const adviceFor = (problem: string): string => {
  if (/WRONGPASS|NOAUTH/.test(problem)) return "check user and password in REDIS_URL"
  if (/cannot be selected/.test(problem)) return "check the database number in REDIS_URL"
  if (/NOPERM/.test(problem)) return "grant the user the commands that `docs/operations.md` names"
  if (/READONLY/.test(problem)) return "name the primary in REDIS_URL: a replica takes no writes"
  if (problem.startsWith("MOVED")) return "the server is part of a cluster: use redis-cluster:// in REDIS_URL"
  return kindOf(problem) === "refused"
    ? "see the message; `docs/operations.md` has more"
    : "check that the server is up and reachable from here; without it the engine runs degraded"
}

export const examine = async (
  target: RedisTarget,
  prefix: string,
  timeouts: { readonly connectTimeoutMs: number; readonly commandTimeoutMs: number }
): Promise<Examination> => {
  const places: Array<RedisAddress> = [...target.nodes]
  let redirections = 0
  let problem = "no address"
  for (let place = places.shift(); place !== undefined; place = places.shift()) {
    const client = openClient(target, place, timeouts)
    let told: unknown
    client.on("error", (error: unknown) => {
      told = error
    })
    try {
      return await look(client, target, keyPrefixIn(target.cluster, prefix))
    } catch (error) {
      const secrets = target.password === undefined ? [] : [target.password]
      problem = problemIn(client.status === "end" && told !== undefined ? told : error, secrets)
      const moved = movedTo(problem, place.host)
      if (moved !== undefined && target.cluster && redirections++ < mostRedirections) places.unshift(moved)
      else if (!isElsewhere(problem) && kindOf(problem) === "refused") break
    } finally {
      client.disconnect()
    }
  }
  return { problem, advice: adviceFor(problem), warnings: [] }
}

const look = async (client: Redis, target: RedisTarget, keyPrefix: string): Promise<Examination> => {
  await client.connect()
  await introduce(client, target)
  await client.callBuffer("PING")
  const lacking = (await client.call("EVAL", [examineScript, 1, keyPrefix])) as ReadonlyArray<string>
  if (lacking.length > 0) throw new Error(`NOPERM the user may not run ${lacking.join(", ")}`)
  return { problem: undefined, advice: undefined, warnings: warningsIn(await infoOf(client)) }
}
