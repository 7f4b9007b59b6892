/** A strict little parser of Prometheus' text format 0.0.4, written from its description. Throws on what it forbids. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface ParsedFamily {
  readonly type: string
  readonly help: string | undefined
  readonly samples: Array<Sample>
}

const unescape = (text: string, quotes: boolean): string =>
  text.replace(/\\(.?)/gs, (_, character: string) => {
    if (character === "\\") return "\\"
    if (character === "n") return "\n"
    if (quotes && character === '"') return '"'
    throw new Error(`unknown escape \\${character}`)
  })

const parseValue = (text: string): number => {
  if (text === "+Inf") return Number.POSITIVE_INFINITY
  if (text === "-Inf") return Number.NEGATIVE_INFINITY
  if (text === "NaN") return Number.NaN
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text)) throw new Error(`not a number: ${text}`)
  return Number(text)
}

const parseSample = (line: string): Sample => {
  const head = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)
  if (head === null) throw new Error(`no metric name: ${line}`)
  const labels: Record<string, string> = {}
  let rest = line.slice(head[0].length)
  if (rest.startsWith("{")) {
    rest = rest.slice(1)
    while (!rest.startsWith("}")) {
      const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(,(?=[a-zA-Z_])|(?=\}))/.exec(rest)
      if (label === null) throw new Error(`bad label at ${rest}`)
      if (Object.hasOwn(labels, label[1]!)) throw new Error(`label ${label[1]} twice`)
      labels[label[1]!] = unescape(label[2]!, true)
      rest = rest.slice(label[0].length)
    }
    rest = rest.slice(1)
  }
  if (!rest.startsWith(" ")) throw new Error(`no space before the value: ${line}`)
  return { name: head[0], labels, value: parseValue(rest.slice(1)) }
}

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

const checkHistogram = (name: string, samples: ReadonlyArray<Sample>) => {
  const groups = new Map<string, Array<Sample>>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(Object.entries(labels).sort())
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  for (const group of groups.values()) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`)
    const bounds = buckets.map((bucket) => parseValue(bucket.labels.le!))
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${name}: no +Inf bucket`)
    for (let i = 1; i < buckets.length; i++) {
      if (bounds[i]! <= bounds[i - 1]!) throw new Error(`${name}: bounds do not rise`)
      if (buckets[i]!.value < buckets[i - 1]!.value) throw new Error(`${name}: buckets are not cumulative`)
    }
    const count = group.find((sample) => sample.name === `${name}_count`)
    if (count?.value !== buckets.at(-1)!.value) throw new Error(`${name}: count is not the +Inf bucket`)
    if (!group.some((sample) => sample.name === `${name}_sum`)) throw new Error(`${name}: no sum`)
  }
}

/** Every line must belong to the family whose TYPE stands above it; families, series and HELP lines come once. */
export const parseExposition = (text: string): ReadonlyMap<string, ParsedFamily> => {
  const families = new Map<string, ParsedFamily>()
  if (text === "") return families
  if (!text.endsWith("\n")) throw new Error("the last line does not end")
  let help: readonly [name: string, text: string] | undefined
  let current: string | undefined
  const series = new Set<string>()
  for (const line of text.slice(0, -1).split("\n")) {
    const helped = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line)
    const typed = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)$/.exec(line)
    if (helped !== null) {
      if (help !== undefined) throw new Error("HELP without TYPE")
      help = [helped[1]!, unescape(helped[2]!, false)]
    } else if (typed !== null) {
      current = typed[1]!
      if (families.has(current)) throw new Error(`${current} twice`)
      if (help !== undefined && help[0] !== current) throw new Error(`HELP of ${help[0]} above ${current}`)
      families.set(current, { type: typed[2]!, help: help?.[1], samples: [] })
      help = undefined
    } else {
      const sample = parseSample(line)
      const family = current === undefined ? undefined : families.get(current)
      if (family === undefined || help !== undefined) throw new Error(`sample without TYPE: ${line}`)
      if (!suffixes[family.type]!.some((suffix) => sample.name === current + suffix)) {
        throw new Error(`${sample.name} under ${current}`)
      }
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
      if (series.has(key)) throw new Error(`series twice: ${line}`)
      series.add(key)
      family.samples.push(sample)
    }
  }
  for (const [name, { samples, type }] of families) if (type === "histogram") checkHistogram(name, samples)
  return families
}
