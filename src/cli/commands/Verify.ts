/** `verify` and `repair`: proving what the tiers hold, comparing with another daemon, and repair. */
import * as Options from "@effect/cli/Options"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Duration, Effect, Option, Stream } from "effect"
import { type Difference, divergence } from "../../reconcile/Divergence.js"
import { counted } from "../../shared/Counted.js"
import { type CliError, failed, usage } from "../app/CliError.js"
import type { Backend, CheckOptions, VerifyDocument } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import * as RemoteBackend from "../backend/RemoteBackend.js"
import { extendedVerificationOf, pairs, repairText, verificationOf, verificationText } from "../io/Render.js"
import { define } from "../parser/CliCommand.js"
import * as Common from "./Common.js"

const text = (name: string, description: string) =>
  Options.text(name).pipe(Options.withDescription(description), Options.optional)

const checkOptions = {
  values: Options.choice("values", ["sample", "full", "none"]).pipe(
    Options.withDescription(
      "Compare the cache's values with the archive's rows: some, each with the same chance, or all and the cache's tree too."
    ),
    Options.optional
  ),
  sample: text("sample", "Items in a sample, 1 to 100000. Default: 1000."),
  differences: text("differences", "Differences that are listed, 0 to 10000; all are counted. Default: 100."),
  budgetRows: text("budget-rows", "Rows after which to stop. Default: none."),
  budgetTime: text("budget-time", "Time after which to stop, such as 30s or 5m. Default: none.")
}

const durationPattern = /^(\d{1,9})(ms|s|m|h)$/
const units = { ms: "millis", s: "seconds", m: "minutes", h: "hours" } as const

const acceptDuration = (
  option: string,
  given: Option.Option<string>
): Effect.Effect<number | undefined, CliError> => {
  const value = Option.getOrUndefined(given)
  if (value === undefined) return Effect.succeed(undefined)
  const [, amount, unit] = durationPattern.exec(value) ?? []
  const milliseconds =
    amount === undefined
      ? 0
      : Duration.toMillis(Duration.decode(`${Number(amount)} ${units[unit as keyof typeof units]}`))
  return milliseconds >= 1
    ? Effect.succeed(milliseconds)
    : Effect.fail(
        usage(`option ${option}: ${JSON.stringify(value)} is not a time of 1ms or more, such as 30s or 5m`)
      )
}

interface Given {
  readonly values: Option.Option<"sample" | "full" | "none">
  readonly sample: Option.Option<string>
  readonly differences: Option.Option<string>
  readonly budgetRows: Option.Option<string>
  readonly budgetTime: Option.Option<string>
}

/** Without what was not given. */
const accepted = (
  given: Given,
  asked: { readonly [Name in "roots" | "rows" | "contents"]: boolean | undefined }
): Effect.Effect<CheckOptions, CliError> =>
  Effect.gen(function* () {
    const sample = yield* Common.acceptWhole("--sample", given.sample, 1, 100_000)
    const differences = yield* Common.acceptWhole("--differences", given.differences, 0, 10_000)
    const rows = yield* Common.acceptWhole("--budget-rows", given.budgetRows, 1, Number.MAX_SAFE_INTEGER)
    const milliseconds = yield* acceptDuration("--budget-time", given.budgetTime)
    const values = Option.getOrUndefined(given.values)
    return {
      ...asked,
      values: values === "none" ? false : values,
      sample,
      differences,
      budget: rows === undefined && milliseconds === undefined ? undefined : { rows, milliseconds }
    }
  })

const against = {
  against: text("against", "Address of another daemon: list where its archive differs from this one."),
  againstTokenFile: text(
    "against-token-file",
    "File that holds the other daemon's bearer token. Default: the token of --url."
  ),
  under: text("under", "With --against: only below this path. Default: everything.")
}

const showDifferences = (
  backend: Backend,
  other: Backend,
  options: { readonly json: boolean; readonly under: string; readonly differences: number }
) =>
  Effect.gen(function* () {
    const listed: Array<Difference> = []
    let total = 0
    yield* Stream.runForEach(
      divergence(backend.merkleSource, other.merkleSource, { under: options.under }),
      (difference) =>
        Effect.suspend(() => {
          total++
          if (total > options.differences) return Effect.void
          listed.push(difference)
          return options.json ? Effect.void : Common.print(`${difference.kind.padEnd(7)}  ${difference.id}\n`)
        })
    )
    const [root, otherRoot] = yield* Effect.all([backend.root, other.root])
    const inSync = total === 0
    yield* options.json
      ? Common.printJson({
          in_sync: inSync,
          archive_root: root,
          against_root: otherRoot,
          differences: listed,
          differences_total: total
        })
      : Common.print(
          pairs([
            ["in sync", inSync ? "yes" : "no"],
            ["archive root", root],
            [`root of ${other.where}`, otherRoot],
            ["differences", total]
          ])
        )
    if (!inSync)
      yield* failed(`${other.where} holds ${counted(total, "item")} otherwise than ${backend.where}`)
  })

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
    roots: Options.boolean("roots").pipe(
      Options.withDescription(
        "The archive's root is the cache's. Default: on, unless something else is asked for."
      )
    ),
    rows: Options.boolean("rows").pipe(
      Options.withDescription(
        "The archive's rows hash to its root and to every node of its tree. Default: on, unless something else is asked for."
      )
    ),
    contents: Options.boolean("contents").pipe(
      Options.withDescription("The bytes of the archive's rows hash to their content hashes. Default: off.")
    ),
    ...checkOptions,
    ...against,
    json: Common.json,
    ...Connection.options
  },
  handler: (input) =>
    Effect.gen(function* () {
      const { contents, roots, rows } = input
      const otherUrl = Option.getOrUndefined(input.against)
      const anything = contents || roots || rows || Option.isSome(input.values)
      const options = yield* accepted(input, {
        roots: roots || undefined,
        rows: rows || undefined,
        contents: contents || undefined
      })
      const under = yield* Common.acceptPath("--under", input.under)
      if (otherUrl !== undefined) {
        if (anything) return yield* usage("--against compares trees; leave the other checks out")
        const other = yield* openOther(input, otherUrl)
        return yield* Common.withBackend(input, (backend) =>
          showDifferences(backend, other, {
            json: input.json,
            under: under ?? "",
            differences: options.differences ?? 100
          })
        )
      }
      if (under !== undefined) return yield* usage("--under goes with --against")
      const extended = anything || options.budget !== undefined || options.differences !== undefined
      yield* Common.withBackend(input, (backend) =>
        Effect.gen(function* () {
          const document = yield* backend.verify(options)
          yield* input.json
            ? Common.printJson(extended ? extendedVerificationOf(document) : verificationOf(document))
            : Common.print(verificationText(document))
          if (!document.in_sync) yield* failed(problemOf(document))
        })
      )
    })
})

const problemOf = (document: VerifyDocument): string => {
  const { differences, unchecked } = document
  const problems = [
    [
      differences.some(({ tier, what }) => tier === "archive" && what !== "content"),
      "the archive's rows and its root differ"
    ],
    [differences.some(({ what }) => what === "content"), "the archive holds damaged bytes"],
    [differences.some(({ tier }) => tier === "cache"), "the cache differs from the archive"],
    [document.differences_total > 0 && differences.length === 0, "there are differences"]
  ] as const
  return [
    ...problems.flatMap(([so, problem]) => (so ? [problem] : [])),
    ...unchecked.map(({ problem, what }) => `${what} could not be checked: ${problem}`)
  ].join("; ")
}

/** The daemon at another address, with its own token or the same. */
const openOther = (
  input: Connection.Input & { readonly againstTokenFile: Option.Option<string> },
  url: string
) =>
  Effect.gen(function* () {
    const other = {
      url: Option.some(url),
      token: Option.isSome(input.againstTokenFile) ? Option.none() : input.token,
      tokenFile: Option.isSome(input.againstTokenFile) ? input.againstTokenFile : input.tokenFile
    }
    const checked = yield* Connection.readUrl(other)
    const token = yield* Connection.readToken(other)
    return yield* Effect.provide(RemoteBackend.make({ url: checked, token }), NodeHttpClient.layer)
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
    skipContents: Options.boolean("skip-contents").pipe(
      Options.withDescription("Do not read the archive's contents. Default: they are hashed and repaired.")
    ),
    ...checkOptions,
    json: Common.json,
    ...Connection.options
  },
  handler: (input) =>
    Effect.flatMap(
      accepted(input, {
        roots: undefined,
        rows: undefined,
        contents: input.skipContents ? false : undefined
      }),
      (options) =>
        Common.withBackend(input, (backend) =>
          Effect.gen(function* () {
            const document = yield* backend.repair(options)
            yield* input.json ? Common.printJson(document) : Common.print(repairText(document))
            if (!document.in_sync) {
              yield* failed(
                document.contents_lost > 0
                  ? `${counted(document.contents_lost, "item")} damaged, and nobody has the right bytes`
                  : document.problems.join("; ") || "the tiers still differ"
              )
            }
          })
        )
    )
})
