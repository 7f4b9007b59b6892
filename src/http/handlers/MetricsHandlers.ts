/** Metrics for Prometheus: the engine is looked at when a scrape comes. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect, Metric } from "effect"
import { makeObserver } from "../../Metrics.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"
import { encodeMetrics } from "./PrometheusText.js"

export const MetricsHandlers = HttpApiBuilder.group(Api, "metrics", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const observe = makeObserver()
    return handlers.handle("metrics", () =>
      Effect.zipWith(engine.health, engine.stats, (health, stats) => {
        observe({ health, stats })
        return encodeMetrics(Metric.unsafeSnapshot())
      })
    )
  })
)
