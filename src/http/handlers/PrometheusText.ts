/**
 * Metrics in Prometheus' text format, version 0.0.4.
 *
 * The format: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import { MetricKeyType, type MetricPair, MetricState, Option } from "effect"
import { prefix as enginePrefix } from "../../Metrics.js"

type FamilyType = "counter" | "gauge" | "histogram" | "summary"
type Labels = ReadonlyArray<readonly [name: string, value: string]>

interface Family {
  readonly type: FamilyType
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

const labelText = (labels: Labels): string =>
  labels.length === 0 ? "" : `{${labels.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(",")}}`

const sample = (name: string, labels: Labels, value: number | bigint): string =>
  `${name}${labelText(labels)} ${number(value)}`

const typeOf = ({ metricKey: { keyType } }: MetricPair.MetricPair.Untyped): FamilyType | undefined =>
  MetricKeyType.isCounterKey(keyType) || MetricKeyType.isFrequencyKey(keyType)
    ? "counter"
    : MetricKeyType.isGaugeKey(keyType)
      ? "gauge"
      : MetricKeyType.isHistogramKey(keyType)
        ? "histogram"
        : MetricKeyType.isSummaryKey(keyType)
          ? "summary"
          : undefined

const lines = (name: string, labels: Labels, state: unknown): ReadonlyArray<string> => {
  if (MetricState.isCounterState(state)) return [sample(name, labels, state.count)]
  if (MetricState.isGaugeState(state)) return [sample(name, labels, state.value)]
  if (MetricState.isFrequencyState(state)) {
    return Array.from(state.occurrences, ([word, count]) => sample(name, [...labels, ["value", word]], count))
  }
  if (MetricState.isHistogramState(state)) {
    // Effect's buckets are cumulative already. The last one is written from the count, which nothing can fall out of.
    const finite = state.buckets.filter(([bound]) => bound !== Number.POSITIVE_INFINITY)
    return [
      ...finite.map(([bound, count]) => sample(`${name}_bucket`, [...labels, ["le", number(bound)]], count)),
      sample(`${name}_bucket`, [...labels, ["le", "+Inf"]], state.count),
      sample(`${name}_sum`, labels, state.sum),
      sample(`${name}_count`, labels, state.count)
    ]
  }
  if (MetricState.isSummaryState(state)) {
    return [
      ...state.quantiles.map(([quantile, value]) =>
        sample(
          name,
          [...labels, ["quantile", number(quantile)]],
          Option.getOrElse(value, () => Number.NaN)
        )
      ),
      sample(`${name}_sum`, labels, state.sum),
      sample(`${name}_count`, labels, state.count)
    ]
  }
  return []
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
  for (const pair of snapshot) {
    const { metricKey, metricState } = pair
    const type = typeOf(pair)
    if (type === undefined || !metricKey.name.startsWith(prefix)) continue
    const name = metricName(metricKey.name)
    const family = families.get(name) ?? {
      type,
      help: Option.getOrUndefined(metricKey.description),
      series: new Map()
    }
    families.set(name, family)
    const labels: Labels = Array.from(new Map(metricKey.tags.map((tag) => [labelName(tag.key), tag.value])))
    const series = labelText([...labels].sort(byText))
    if (family.type === type && !family.series.has(series)) {
      family.series.set(series, lines(name, labels, metricState))
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
