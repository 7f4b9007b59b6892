/** Metrics in Prometheus' text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/ */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { Effect, Metric, type MetricPair, MetricState, Option } from "effect"
import { prefix as enginePrefix, makeObserver } from "../../Metrics.js"
import { SyncEngine } from "../../SyncEngine.js"
import { Api } from "../api/Api.js"

type Label = readonly [name: string, value: string]

interface Family {
  readonly type: string
  readonly help: string | undefined
  /** The lines of each series by its labels. */
  readonly series: Map<string, ReadonlyArray<string>>
}

const metricName = (name: string): string => name.replace(/[^a-zA-Z0-9_:]/g, "_").replace(/^(?=[0-9])/, "_")
const labelName = (name: string): string => name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=[0-9])/, "_")

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"')

const number = (value: number | bigint): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)

const labelText = (labels: ReadonlyArray<Label>): string =>
  labels.length === 0 ? "" : `{${labels.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(",")}}`

/** What stands behind the name, a label of its own, and the value. */
type Sample = readonly [suffix: string, label: Label | undefined, value: number | bigint]

const sumAndCount = ({ count, sum }: { readonly count: number; readonly sum: number }): Array<Sample> => [
  ["_sum", undefined, sum],
  ["_count", undefined, count]
]

/** The type of a family and the samples of one series. */
const readState = (state: unknown): readonly [type: string, samples: ReadonlyArray<Sample>] | undefined => {
  if (MetricState.isCounterState(state)) return ["counter", [["", undefined, state.count]]]
  if (MetricState.isGaugeState(state)) return ["gauge", [["", undefined, state.value]]]
  if (MetricState.isFrequencyState(state)) {
    return ["counter", Array.from(state.occurrences, ([word, count]) => ["", ["value", word], count])]
  }
  if (MetricState.isHistogramState(state)) {
    // Effect's buckets are cumulative already. The last one is written from the count, which nothing can fall out of.
    const finite = state.buckets.filter(([bound]) => bound !== Number.POSITIVE_INFINITY)
    const buckets = [...finite, [Number.POSITIVE_INFINITY, state.count] as const].map(
      ([bound, count]): Sample => ["_bucket", ["le", number(bound)], count]
    )
    return ["histogram", [...buckets, ...sumAndCount(state)]]
  }
  if (MetricState.isSummaryState(state)) {
    const quantiles = state.quantiles.map(
      ([quantile, value]): Sample => [
        "",
        ["quantile", number(quantile)],
        Option.getOrElse(value, () => Number.NaN)
      ]
    )
    return ["summary", [...quantiles, ...sumAndCount(state)]]
  }
  return undefined
}

const byText = <A>([a]: readonly [string, A], [b]: readonly [string, A]): number =>
  a < b ? -1 : a > b ? 1 : 0

/**
 * Encodes a snapshot (`Metric.unsafeSnapshot()`): families by name, series by labels. Only the engine's own metrics,
 * unless another `prefix` is given; an empty one takes all. Characters a name cannot have become `_`. Where two metrics
 * would then be one series, or one name two types, the first is kept.
 */
export const encodeMetrics = (
  snapshot: ReadonlyArray<MetricPair.MetricPair.Untyped>,
  options: { readonly prefix?: string | undefined } = {}
): string => {
  const prefix = options.prefix ?? enginePrefix
  const families = new Map<string, Family>()
  for (const { metricKey, metricState } of snapshot) {
    const read = readState(metricState)
    if (read === undefined || !metricKey.name.startsWith(prefix)) continue
    const [type, samples] = read
    const name = metricName(metricKey.name)
    const family = families.get(name) ?? {
      type,
      help: Option.getOrUndefined(metricKey.description),
      series: new Map()
    }
    families.set(name, family)
    const labels: ReadonlyArray<Label> = Array.from(
      new Map(metricKey.tags.map((tag) => [labelName(tag.key), tag.value]))
    )
    const series = labelText([...labels].sort(byText))
    if (family.type === type && !family.series.has(series)) {
      const lines = samples.map(([suffix, own, value]) => {
        const all = own === undefined ? labels : [...labels, own]
        return `${name}${suffix}${labelText(all)} ${number(value)}`
      })
      family.series.set(series, lines)
    }
  }
  return [...families]
    .sort(byText)
    .flatMap(([name, { help, series, type }]) => [
      ...(help === undefined ? [] : [`# HELP ${name} ${escapeHelp(help)}`]),
      `# TYPE ${name} ${type}`,
      ...[...series].sort(byText).flatMap(([, text]) => text)
    ])
    .map((line) => `${line}\n`)
    .join("")
}

/** The engine is looked at when a scrape comes. */
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
