/** Health endpoints: answered from the lifecycle alone, without I/O. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect } from "effect"
import { Lifecycle, type LifecycleSnapshot } from "../../Lifecycle.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"
import { lifecycleBody } from "../api/Encode.js"

const answer = (
  snapshot: LifecycleSnapshot,
  holds: boolean,
  otherwise: { readonly error: string; readonly message: string }
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(
    holds ? lifecycleBody(snapshot) : { ...otherwise, ...lifecycleBody(snapshot) },
    { status: holds ? 200 : 503 }
  )

const inPhase = ({ phase, reason, shutdownRequested, writesOnly }: LifecycleSnapshot): string => {
  if (shutdownRequested === true && phase === "ready") return "the engine is about to shut down"
  if (writesOnly === true && phase === "ready") return "SQL is not connected yet; only writes are taken"
  return reason === undefined ? `the engine is ${phase}` : `the engine is ${phase} (${reason})`
}

export const HealthHandlers = HttpApiBuilder.group(Api, "health", (handlers) =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const engine = yield* SyncEngine

    const live = Effect.sync(() => {
      const snapshot = lifecycle.unsafeSnapshot()
      return answer(snapshot, snapshot.phase !== "stopped", { error: "Stopped", message: inPhase(snapshot) })
    })

    const forQueries = Effect.sync(() => {
      const snapshot = lifecycle.unsafeSnapshot()
      return answer(snapshot, snapshot.shutdownRequested !== true && lifecycle.acceptsQueries(), {
        error: "NotReady",
        message: inPhase(snapshot)
      })
    })

    const forWrites = Effect.suspend(() => {
      const snapshot = lifecycle.unsafeSnapshot()
      if (snapshot.shutdownRequested === true || !lifecycle.acceptsWrites()) {
        return Effect.succeed(answer(snapshot, false, { error: "NotReady", message: inPhase(snapshot) }))
      }
      return Effect.map(engine.health, ({ acceptsWrites, degraded, readOnly }) => {
        const archive = degraded.find(({ component }) => component === "archive")
        const log = degraded.find(({ component }) => component === "log")
        return answer(
          snapshot,
          acceptsWrites,
          readOnly
            ? { error: "ReadOnly", message: "the engine is read-only" }
            : log !== undefined
              ? { error: "LogUnavailable", message: log.reason }
              : { error: "NotReady", message: archive?.reason ?? inPhase(snapshot) }
        )
      })
    })

    const startup = Effect.sync(() => {
      const snapshot = lifecycle.unsafeSnapshot()
      return answer(snapshot, snapshot.phase !== "starting", {
        error: "Starting",
        message: inPhase(snapshot)
      })
    })

    return handlers
      .handleRaw("live", () => live)
      .handleRaw("ready", ({ urlParams }) => (urlParams.for === "writes" ? forWrites : forQueries))
      .handleRaw("startup", () => startup)
  })
)
