/** `verify` and `repair`: proving what the tiers hold, comparing with another daemon, and repair. */
import { Duration, Effect, Either, Stream } from "effect"
import { type Difference, divergence } from "../../reconcile/Divergence.js"
import { counted } from "../../shared/Counted.js"
import { failed, usage } from "../app/CliError.js"
import type { Backend, CheckOptions, VerifyDocument } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { pairs, repairText, verificationOf, verificationText } from "../io/Render.js"
import { choice, define, type Input, option, type Reader, toggle } from "../parser/Command.js"
import * as Common from "./Common.js"

const durationPattern = /^(\d{1,9})(ms|s|m|h)$/
const units = { ms: "millis", s: "seconds", m: "minutes", h: "hours" } as const

const readDuration: Reader<number> = (text) => {
  const [, amount = "0", unit = "ms"] = durationPattern.exec(text) ?? []
  const milliseconds = Duration.toMillis(`${Number(amount)} ${units[unit as keyof typeof units]}`)
  return milliseconds >= 1
    ? Either.right(milliseconds)
    : Either.left(`${JSON.stringify(text)} is not a time of 1ms or more, such as 30s or 5m`)
}

const checkOptions = {
  values: choice(
    "values",
    ["sample", "full", "none"],
    "Compare the cache's values with the archive's rows: some, each with the same chance, or all and the cache's tree too."
  ),
  sample: Common.number("sample", [1, 100_000], "Items in a sample, 1 to 100000. Default: 1000."),
  differences: Common.number(
    "differences",
    [0, 10_000],
    "Differences that are listed, 0 to 10000; all are counted. Default: 100."
  ),
  budgetRows: Common.number("budget-rows", [1], "Rows after which to stop. Default: none."),
  budgetTime: option(
    "budget-time",
    "Time after which to stop, such as 30s or 5m. Default: none.",
    readDuration
  )
}

/** The options above as they travel, without what was not given. */
const checksOf = (given: Input<typeof checkOptions>): CheckOptions => ({
  values: given.values === "none" ? false : given.values,
  sample: given.sample,
  differences: given.differences,
  budget:
    given.budgetRows === undefined && given.budgetTime === undefined
      ? undefined
      : { rows: given.budgetRows, milliseconds: given.budgetTime }
})

const showDifferences = Effect.fnUntraced(function* (
  backend: Backend,
  other: Backend,
  options: { readonly json: boolean; readonly under: string; readonly differences: number }
) {
  const listed: Array<Difference> = []
  let total = 0
  yield* Stream.runForEach(
    divergence(backend.merkleSource, other.merkleSource, { under: options.under }),
    (difference) => {
      total++
      if (total > options.differences) return Effect.void
      listed.push(difference)
      return options.json ? Effect.void : Common.print(`${difference.kind.padEnd(7)}  ${difference.id}\n`)
    }
  )
  const [root, otherRoot] = yield* Effect.all([backend.root, other.root])
  const inSync = total === 0
  yield* Common.show(
    options,
    {
      in_sync: inSync,
      archive_root: root,
      against_root: otherRoot,
      differences: listed,
      differences_total: total
    },
    pairs([
      ["in sync", inSync ? "yes" : "no"],
      ["archive root", root],
      [`root of ${other.where}`, otherRoot],
      ["differences", total]
    ])
  )
  if (!inSync) {
    yield* failed(`${other.where} holds ${counted(total, "item")} otherwise than ${backend.where}`)
  }
})

/** The daemon at another address, with its own token or the same. */
const openOther = (
  input: Connection.Input & { readonly againstTokenFile: string | undefined },
  url: string
) =>
  Connection.openRemote({
    url,
    token: input.againstTokenFile === undefined ? input.token : undefined,
    tokenFile: input.againstTokenFile ?? input.tokenFile
  })

const problemOf = ({ differences, differences_total, unchecked }: VerifyDocument): string => {
  const problems = [
    [
      differences.some(({ tier, what }) => tier === "archive" && what !== "content"),
      "the archive's rows and its root differ"
    ],
    [differences.some(({ what }) => what === "content"), "the archive holds damaged bytes"],
    [differences.some(({ tier }) => tier === "cache"), "the cache differs from the archive"],
    [differences_total > 0 && differences.length === 0, "there are differences"]
  ] as const
  return [
    ...problems.flatMap(([so, problem]) => (so ? [problem] : [])),
    ...unchecked.map(({ problem, what }) => `${what} could not be checked: ${problem}`)
  ].join("; ")
}

export const verify = define({
  name: "verify",
  description:
    "Prove what the tiers hold: by default that the roots are equal and that the archive's rows hash to its tree. Exit code 1 when something differs.",
  examples: [
    ["sync-engine verify", "Roots and rows."],
    [
      "sync-engine verify --values full --contents --budget-time 5m",
      "Every value, for five minutes at most."
    ],
    ["sync-engine verify --against http://node-b:7420", "Which items another daemon holds otherwise."],
    ["sync-engine verify --offline --data-dir /var/lib/sync-engine --json", "Without a daemon, for a script."]
  ],
  config: {
    roots: toggle(
      "roots",
      "The archive's root is the cache's. Default: on, unless something else is asked for."
    ),
    rows: toggle(
      "rows",
      "The archive's rows hash to its root and to every node of its tree. Default: on, unless something else is asked for."
    ),
    contents: toggle(
      "contents",
      "The bytes of the archive's rows hash to their content hashes. Default: off."
    ),
    ...checkOptions,
    against: option("against", "Address of another daemon: list where its archive differs from this one."),
    againstTokenFile: option(
      "against-token-file",
      "File that holds the other daemon's bearer token. Default: the token of --url."
    ),
    under: Common.path("under", "With --against: only below this path. Default: everything."),
    json: Common.json,
    ...Connection.options
  },
  handler: Effect.fnUntraced(function* (input) {
    const { against, contents, differences = 100, json, roots, rows, under } = input
    const anything = contents || roots || rows || input.values !== undefined
    if (against !== undefined) {
      if (anything) return yield* usage("--against compares trees; leave the other checks out")
      return yield* Common.withBackend(input, (backend) =>
        Effect.flatMap(openOther(input, against), (other) =>
          showDifferences(backend, other, { json, under: under ?? "", differences })
        )
      )
    }
    if (under !== undefined) return yield* usage("--under goes with --against")
    const options: CheckOptions = {
      roots: roots || undefined,
      rows: rows || undefined,
      contents: contents || undefined,
      ...checksOf(input)
    }
    const extended = anything || options.budget !== undefined || options.differences !== undefined
    const document = yield* Common.withBackend(input, (backend) => backend.verify(options))
    yield* Common.show(input, verificationOf(document, extended), verificationText(document))
    if (!document.in_sync) yield* failed(problemOf(document))
  })
})

export const repair = define({
  name: "repair",
  description:
    "Repair what verification finds: the archive's tree, damaged bytes that memory or cache still have, the cache. Exit code 1 when something is left.",
  examples: [
    ["sync-engine repair", "Everything is looked at, and repaired where it differs."],
    ["sync-engine repair --values none --skip-contents", "Trees only."]
  ],
  config: {
    skipContents: toggle(
      "skip-contents",
      "Do not read the archive's contents. Default: they are hashed and repaired."
    ),
    ...checkOptions,
    json: Common.json,
    ...Connection.options
  },
  handler: Effect.fnUntraced(function* (input) {
    const options = { contents: input.skipContents ? false : undefined, ...checksOf(input) }
    const document = yield* Common.withBackend(input, (backend) => backend.repair(options))
    yield* Common.show(input, document, repairText(document))
    if (document.in_sync) return
    yield* failed(
      document.contents_lost > 0
        ? `${counted(document.contents_lost, "item")} damaged, and nobody has the right bytes`
        : document.problems.join("; ") || "the tiers still differ"
    )
  })
})
