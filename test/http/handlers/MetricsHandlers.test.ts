import { describe, expect, it } from "@effect/vitest"
import {
  FastCheck as FC,
  MetricBoundaries,
  MetricKey,
  MetricLabel,
  MetricPair,
  MetricRegistry,
  MetricState
} from "effect"
import { metricsContentType } from "../../../src/http/api/Api.js"
import { encodeMetrics } from "../../../src/http/handlers/MetricsHandlers.js"
import { parseExposition } from "../../support/Exposition.js"

const tagged = <K extends MetricKey.MetricKey.Untyped>(key: K, tags: Readonly<Record<string, string>>): K =>
  MetricKey.taggedWithLabels(
    key,
    Object.entries(tags).map(([name, value]) => MetricLabel.make(name, value))
  ) as K

const counterPair = (
  name: string,
  count: number,
  tags: Readonly<Record<string, string>> = {},
  help?: string
) =>
  MetricPair.unsafeMake(
    tagged(MetricKey.counter(name, { description: help, incremental: true }), tags),
    MetricState.counter(count)
  )

describe("encodeMetrics", () => {
  it("encodes what was worked out by hand", () => {
    const registry = MetricRegistry.make()
    const writes = MetricKey.counter("sync_engine_writes_total", {
      description: "Writes, by level",
      incremental: true
    })
    registry.get(tagged(writes, { level: "wal" })).update(3)
    registry.get(tagged(writes, { level: "archive" })).update(2)
    registry
      .get(MetricKey.gauge("sync_engine_log_bytes", { description: "a \\ and\na new line" }))
      .update(1.5)
    const seconds = registry.get(
      MetricKey.histogram("sync_engine_flush_seconds", MetricBoundaries.fromIterable([0.1, 0.5]), "Time")
    )
    for (const value of [0.05, 0.1, 0.3, 7]) seconds.update(value)
    registry.get(MetricKey.gauge("sync_engine_odd")).update(Number.NEGATIVE_INFINITY)
    registry.get(MetricKey.gauge("sync_engine_endless")).update(Number.POSITIVE_INFINITY)
    registry.get(MetricKey.gauge("other_gauge")).update(1)
    registry.get(MetricKey.gauge("sync_engine_big", { bigint: true })).update(2n ** 60n)

    expect(encodeMetrics(registry.snapshot())).toBe(
      [
        "# TYPE sync_engine_big gauge",
        "sync_engine_big 1152921504606846976",
        "# TYPE sync_engine_endless gauge",
        "sync_engine_endless +Inf",
        "# HELP sync_engine_flush_seconds Time",
        "# TYPE sync_engine_flush_seconds histogram",
        'sync_engine_flush_seconds_bucket{le="0.1"} 2',
        'sync_engine_flush_seconds_bucket{le="0.5"} 3',
        'sync_engine_flush_seconds_bucket{le="+Inf"} 4',
        "sync_engine_flush_seconds_sum 7.45",
        "sync_engine_flush_seconds_count 4",
        "# HELP sync_engine_log_bytes a \\\\ and\\na new line",
        "# TYPE sync_engine_log_bytes gauge",
        "sync_engine_log_bytes 1.5",
        "# TYPE sync_engine_odd gauge",
        "sync_engine_odd -Inf",
        "# HELP sync_engine_writes_total Writes, by level",
        "# TYPE sync_engine_writes_total counter",
        'sync_engine_writes_total{level="archive"} 2',
        'sync_engine_writes_total{level="wal"} 3',
        ""
      ].join("\n")
    )
    expect(metricsContentType).toBe("text/plain; version=0.0.4; charset=utf-8")
  })

  it("takes all metrics with an empty prefix, and frequencies and summaries too", () => {
    const registry = MetricRegistry.make()
    const words = registry.get(MetricKey.frequency("answers", { preregisteredWords: ["no"] }))
    words.update("yes")
    words.update("yes")
    const summary = registry.get(
      MetricKey.summary({ name: "sizes", maxAge: "1 hours", maxSize: 10, error: 0, quantiles: [0.5, 1] })
    )
    const text = encodeMetrics(registry.snapshot(), { prefix: "" })
    summary.update([4, 0])
    expect(text).toBe(
      [
        "# TYPE answers counter",
        'answers{value="no"} 0',
        'answers{value="yes"} 2',
        "# TYPE sizes summary",
        'sizes{quantile="0.5"} NaN',
        'sizes{quantile="1"} NaN',
        "sizes_sum 0",
        "sizes_count 0",
        ""
      ].join("\n")
    )
    expect(encodeMetrics(registry.snapshot())).toBe("")
  })

  it("writes HELP and TYPE once a family, and each series once", () => {
    const text = encodeMetrics(
      [
        counterPair("a.b", 1, { "x-y": "1" }, "first"),
        counterPair("other", 1),
        counterPair("a_b", 2, { "x-y": "2" }, "second"),
        counterPair("a-b", 3, { x_y: "1" }),
        MetricPair.unsafeMake(MetricKey.gauge("a:b"), MetricState.gauge(1)),
        MetricPair.unsafeMake(MetricKey.gauge("a_b"), MetricState.gauge(4)),
        counterPair("9lives", 9, { "9": "n" })
      ],
      { prefix: "" }
    )
    expect(text).toBe(
      [
        "# TYPE _9lives counter",
        '_9lives{_9="n"} 9',
        "# TYPE a:b gauge",
        "a:b 1",
        "# HELP a_b first",
        "# TYPE a_b counter",
        'a_b{x_y="1"} 1',
        'a_b{x_y="2"} 2',
        "# TYPE other counter",
        "other 1",
        ""
      ].join("\n")
    )
  })

  it("any names, labels and values come back from a parser", () => {
    const name = FC.stringMatching(/^[a-z_:][a-z0-9_:]{0,12}$/)
    const awkward = FC.oneof(
      FC.string(),
      FC.constantFrom('"', "\\", "\n", '\\"', "\\n", '",', "}", "{", " "),
      FC.fullUnicodeString()
    )
    const series = FC.record({
      name,
      labels: FC.dictionary(FC.stringMatching(/^[a-z_][a-z0-9_]{0,6}$/), awkward, { maxKeys: 4 }),
      help: awkward,
      value: FC.oneof(FC.double(), FC.integer())
    })
    FC.assert(
      FC.property(FC.array(series, { maxLength: 8 }), (all) => {
        const text = encodeMetrics(
          all.map(({ help, labels, name, value }) =>
            MetricPair.unsafeMake(
              tagged(MetricKey.gauge(name, { description: help }), labels),
              MetricState.gauge(value)
            )
          ),
          { prefix: "" }
        )
        const families = parseExposition(text)
        const expected = new Map<string, Map<string, number>>()
        for (const { labels, name, value } of all) {
          const family = expected.get(name) ?? new Map<string, number>()
          expected.set(name, family)
          const key = JSON.stringify(Object.entries(labels).sort())
          if (!family.has(key)) family.set(key, value === 0 ? 0 : value)
        }
        expect([...families.keys()].sort()).toEqual([...expected.keys()].sort())
        for (const [family, { help, samples, type }] of families) {
          expect(type).toBe("gauge")
          expect(help).toBe(all.find(({ name }) => name === family)!.help)
          const found = samples.map(
            ({ labels, value }) =>
              [JSON.stringify(Object.entries(labels).sort()), value === 0 ? 0 : value] as const
          )
          expect(new Map(found)).toEqual(expected.get(family))
          expect(found).toHaveLength(expected.get(family)!.size)
        }
      }),
      { seed: 3, numRuns: 300 }
    )
  })
})
