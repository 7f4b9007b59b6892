/** Goes in as an engine would and says what is in the way, without changing anything there. */
import { Effect, Either } from "effect"
import { keyPrefixIn, type RedisAddress, type RedisTarget } from "../config/RedisUrl.js"
import { examineScript } from "./ReadScripts.js"
import { isElsewhere, kindOf, movedTo, problemIn } from "./RedisFailure.js"
import { evaluate, textsIn, warningsIn } from "./RedisServer.js"
import { mostRedirections, openSocket, type RedisTimeouts } from "./RedisSource.js"

export interface Examination {
  /** What is in the way, secrets removed; none when an engine could work. */
  readonly problem: string | undefined
  readonly advice: string | undefined
  readonly warnings: ReadonlyArray<string>
}

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

const look = (target: RedisTarget, place: RedisAddress, prefix: string, timeouts: RedisTimeouts) =>
  Effect.scoped(
    Effect.flatMap(
      openSocket(target, place, timeouts, () => {}),
      (send) =>
        Effect.tryPromise({
          try: async () => {
            const reply = await evaluate(send, examineScript, keyPrefixIn(target.cluster, prefix), [])
            const [lacking = "", info = "", refused = ""] = textsIn(reply)
            if (lacking !== "") throw new Error(`NOPERM the user may not run ${lacking}`)
            return warningsIn(info, refused)
          },
          catch: (cause) => cause
        })
    )
  )

export const examine = Effect.fn("RedisExamine.examine")(function* (
  target: RedisTarget,
  prefix: string,
  timeouts: RedisTimeouts
): Effect.fn.Return<Examination> {
  const places: Array<RedisAddress> = [...target.nodes]
  let redirections = 0
  let problem = "no address"
  for (let place = places.shift(); place !== undefined; place = places.shift()) {
    const looked = yield* Effect.either(look(target, place, prefix, timeouts))
    if (Either.isRight(looked)) return { problem: undefined, advice: undefined, warnings: looked.right }
    problem = problemIn(looked.left, target.password === undefined ? [] : [target.password])
    const moved = movedTo(problem, place.host)
    if (moved !== undefined && target.cluster && redirections++ < mostRedirections) places.unshift(moved)
    else if (!isElsewhere(problem) && kindOf(problem) === "refused") break
  }
  return { problem, advice: adviceFor(problem), warnings: [] }
})
