/** Health endpoints: answered from the lifecycle alone, without I/O. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect, Schema } from "effect"
import { Lifecycle, type LifecycleSnapshot } from "../../Lifecycle.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"
import { LifecycleBody } from "../api/ApiSchemas.js"
import { type RequestFailed, refusal } from "../api/RequestFailed.js"

const encodeLifecycle = Schema.encodeSync(LifecycleBody)

const inPhase = ({ phase, reason, shutdownRequested, writesOnly }: LifecycleSnapshot): string => {
  if (shutdownRequested === true && phase === "ready") return "the engine is about to shut down"
  if (writesOnly === true && phase === "ready") return "SQL is not connected yet; only writes are taken"
  return reason === undefined ? `the engine is ${phase}` : `the engine is ${phase} (${reason})`
}

const answer = (
  snapshot: LifecycleSnapshot,
  holds: boolean,
  error: string,
  message = inPhase(snapshot)
): Effect.Effect<LifecycleSnapshot, RequestFailed> =>
  holds
    ? Effect.succeed(snapshot)
    : refusal(503, error, message, { fields: { ...encodeLifecycle(snapshot) } })

export const HealthHandlers = HttpApiBuilder.group(Api, "health", (handlers) =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const engine = yield* SyncEngine

    /** Whether the lifecycle as it is now passes. */
    const probe = (passes: (snapshot: LifecycleSnapshot) => boolean, error: string) =>
      Effect.suspend(() => {
        const snapshot = lifecycle.unsafeSnapshot()
        return answer(snapshot, passes(snapshot), error)
      })

    const forQueries = probe(
      ({ shutdownRequested }) => shutdownRequested !== true && lifecycle.acceptsQueries(),
      "NotReady"
    )

    const forWrites = Effect.suspend(() => {
      const snapshot = lifecycle.unsafeSnapshot()
      if (snapshot.shutdownRequested === true || !lifecycle.acceptsWrites()) {
        return answer(snapshot, false, "NotReady")
      }
      return Effect.flatMap(engine.health, ({ acceptsWrites, degraded, readOnly }) => {
        if (readOnly) return answer(snapshot, acceptsWrites, "ReadOnly", "the engine is read-only")
        const log = degraded.find(({ component }) => component === "log")
        if (log !== undefined) return answer(snapshot, acceptsWrites, "LogUnavailable", log.reason)
        const archive = degraded.find(({ component }) => component === "archive")
        return answer(snapshot, acceptsWrites, "NotReady", archive?.reason)
      })
    })

    return handlers
      .handle("live", () => probe(({ phase }) => phase !== "stopped", "Stopped"))
      .handle("ready", ({ urlParams }) => (urlParams.for === "writes" ? forWrites : forQueries))
      .handle("startup", () => probe(({ phase }) => phase !== "starting", "Starting"))
  })
)
