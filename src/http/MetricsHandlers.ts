/**
 * Metrics for Prometheus: the engine is looked at when a scrape comes.
 *
 * @since 0.1.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { makeObserver } from "../Metrics.js"
import { SyncEngine } from "../SyncEngine.js"
import { Api } from "./Api.js"
import { encodeMetrics, metricsContentType } from "./PrometheusText.js"

/** @since 0.1.0 @category layers */
export const MetricsHandlers = HttpApiBuilder.group(Api, "metrics", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const observe = makeObserver()
    const metrics = Effect.zipWith(engine.health, engine.stats, (health, stats) => {
      observe({ health, stats })
      return HttpServerResponse.text(encodeMetrics(Metric.unsafeSnapshot()), {
        contentType: metricsContentType
      })
    })
    return handlers.handleRaw("metrics", () => metrics)
  })
)
