/** How handles of metrics are made and set. */
import { Metric, MetricBoundaries, MetricKey } from "effect"

/** Begins the name of every metric. */
export const prefix = "sync_engine_"

/** Only grows. */
export type Counter = Metric.Metric.Counter<number>

/** Goes up and down. */
export type Gauge = Metric.Metric.Gauge<number>

/** No labels at an update: the handle then finds its value without a look-up. */
export const noTags: ReadonlyArray<never> = []

/** Key of a counter; `name` without the prefix. */
export const counterKey = (name: string, description: string) =>
  MetricKey.counter(prefix + name, { description, incremental: true })

/** Key of a gauge; `name` without the prefix. */
export const gaugeKey = (name: string, description: string) => MetricKey.gauge(prefix + name, { description })

/** Registered at once, so that a counter which never moved is seen as 0 instead of missing. */
export const counter = (name: string, description: string): Counter =>
  Metric.fromMetricKey(counterKey(name, description)).register()

/** Registered at once, as counters are. */
export const gauge = (name: string, description: string): Gauge =>
  Metric.fromMetricKey(gaugeKey(name, description)).register()

/**
 * One counter per label value. `Metric.tagged` would look its value up again at every update; a key of its own does not.
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

/** One gauge a label value. */
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

/** Of durations in seconds, 1 ms to 30 s. */
export const histogram = (name: string, description: string) =>
  Metric.histogram(prefix + name, latencies, description).register()

export const set = (handle: Gauge, value: number): void => handle.unsafeUpdate(value, noTags)

/** 1 for the current label values, 0 for all others. */
export const setOnly = <Value extends string>(
  handles: Readonly<Record<Value, Gauge>>,
  current: ReadonlyArray<Value>
) => {
  for (const value of Object.keys(handles) as Array<Value>)
    set(handles[value], current.includes(value) ? 1 : 0)
}
