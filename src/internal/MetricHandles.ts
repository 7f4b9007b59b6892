/**
 * How handles of metrics are made and set.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"

/** Begins the name of every metric. @since 0.1.0 @category constants */
export const prefix = "sync_engine_"

/** Only grows. @since 0.1.0 @category models */
export type Counter = Metric.Metric.Counter<number>

/** Goes up and down. @since 0.1.0 @category models */
export type Gauge = Metric.Metric.Gauge<number>

/** No labels at an update: the handle then finds its value without a look-up. @since 0.1.0 @category constants */
export const noTags: ReadonlyArray<never> = []

/** Key of a counter; `name` without the prefix. @since 0.1.0 @category constructors */
export const counterKey = (name: string, description: string) =>
  MetricKey.counter(prefix + name, { description, incremental: true })

/** Key of a gauge; `name` without the prefix. @since 0.1.0 @category constructors */
export const gaugeKey = (name: string, description: string) => MetricKey.gauge(prefix + name, { description })

/** Registered at once, so that a counter which never moved is seen as 0 instead of missing. @since 0.1.0 @category constructors */
export const counter = (name: string, description: string): Counter =>
  Metric.fromMetricKey(counterKey(name, description)).register()

/** Registered at once, as counters are. @since 0.1.0 @category constructors */
export const gauge = (name: string, description: string): Gauge =>
  Metric.fromMetricKey(gaugeKey(name, description)).register()

/**
 * One counter per label value. `Metric.tagged` would look its value up again at every update; a key of its own does not.
 *
 * @since 0.1.0
 * @category constructors
 */
export const counters = <Value extends string>(
  name: string,
  description: string,
  label: string,
  values: ReadonlyArray<Value>
): Readonly<Record<Value, Counter>> => {
  const key = counterKey(name, description)
  return Object.fromEntries(
    values.map((value) => [value, Metric.fromMetricKey(MetricKey.tagged(key, label, value)).register()])
  ) as Record<Value, Counter>
}

/** One gauge a label value. @since 0.1.0 @category constructors */
export const gauges = <Value extends string>(
  name: string,
  description: string,
  label: string,
  values: ReadonlyArray<Value>
): Readonly<Record<Value, Gauge>> => {
  const key = gaugeKey(name, description)
  return Object.fromEntries(
    values.map((value) => [value, Metric.fromMetricKey(MetricKey.tagged(key, label, value)).register()])
  ) as Record<Value, Gauge>
}

const latencies = MetricBoundaries.fromIterable([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
])

/** Of durations in seconds, 1 ms to 30 s. @since 0.1.0 @category constructors */
export const histogram = (name: string, description: string) =>
  Metric.histogram(prefix + name, latencies, description).register()

/** @since 0.1.0 @category updates */
export const set = (handle: Gauge, value: number): void => handle.unsafeUpdate(value, noTags)

/** 1 for the current label values, 0 for all others. @since 0.1.0 @category updates */
export const setOnly = <Value extends string>(
  handles: Readonly<Record<Value, Gauge>>,
  current: ReadonlyArray<Value>
) => {
  for (const value of Object.keys(handles) as Array<Value>)
    set(handles[value], current.includes(value) ? 1 : 0)
}
