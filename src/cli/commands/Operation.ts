/** `status`, `flush`, `drain`, `shutdown`, `dead-letters`: operating an engine. */
import { Chunk, Effect, Stream } from "effect"
import { failed, usage } from "../app/CliError.js"
import * as Connection from "../backend/Connection.js"
import { deadLetterText, documentText, leftHint, pairs, reportText } from "../io/Render.js"
import { argument, define, group, repeated, toggle, whole } from "../parser/Command.js"
import * as Common from "./Common.js"

export const status = define({
  name: "status",
  description: "Show phase, degradations, sizes and counters of an engine.",
  examples: [
    ["sync-engine status", "Of the daemon."],
    [
      "sync-engine status --offline --data-dir /var/lib/sync-engine",
      "Of a stopped engine, opened for the moment."
    ]
  ],
  config: { json: Common.json, ...Connection.options },
  handler: (input) =>
    Common.withBackend(input, (backend) =>
      Effect.flatMap(backend.status, (document) => Common.show(input, document, documentText(document)))
    )
})

export const flush = define({
  name: "flush",
  description: "Carry everything acknowledged so far to the archive now.",
  examples: [["sync-engine flush", "Returns when the archive has committed it."]],
  config: { json: Common.json, ...Connection.options },
  handler: (input) =>
    Common.withBackend(input, (backend) =>
      Effect.flatMap(backend.flush, (result) =>
        Common.show(
          input,
          result,
          pairs([
            ["flushed", result.flushed],
            ["dead letters", result.dead_lettered],
            ["pending", result.pending]
          ])
        )
      )
    )
})

export const drain = define({
  name: "drain",
  description: "Stop accepting writes and keep serving reads. Idempotent; only a restart ends it.",
  examples: [["sync-engine drain", "Before a shutdown behind a load balancer."]],
  config: { json: Common.json, ...Connection.remoteOptions },
  handler: (input) =>
    Common.withBackend(input, (backend) =>
      Effect.flatMap(backend.drain, (changed) =>
        Common.show(
          input,
          { changed },
          changed ? "draining: writes are refused from now on\n" : "was draining already\n"
        )
      )
    )
})

export const shutdown = define({
  name: "shutdown",
  description:
    "Shut the daemon down and show what it did with every write. Exit code 1 when something was left undone.",
  examples: [["sync-engine shutdown --json", "Waits for the report; the daemon exits afterwards."]],
  config: { json: Common.json, ...Connection.remoteOptions },
  handler: (input) =>
    Common.withBackend(
      input,
      Effect.fnUntraced(function* (backend) {
        const report = yield* backend.shutdown
        yield* Common.show(input, report, reportText(report))
        if (!report.clean) {
          yield* failed("the shutdown was not clean", leftHint(report.items_left_in_log))
        }
      })
    )
})

const list = define({
  name: "list",
  description: "List the acknowledged writes that the archive refused for good, with the reason.",
  examples: [["sync-engine dead-letters list --json", "One line of JSON per letter."]],
  config: { json: Common.json, ...Connection.options },
  handler: (input) =>
    Common.withBackend(
      input,
      Effect.fnUntraced(function* (backend) {
        let any = input.json
        yield* Stream.runForEachChunk(backend.deadLetters.list, (letters) => {
          any ||= Chunk.isNonEmpty(letters)
          const lines = Chunk.toReadonlyArray(letters).map((letter) =>
            input.json ? `${JSON.stringify(letter)}\n` : deadLetterText(letter)
          )
          return Common.print(lines.join(""))
        })
        if (!any) yield* Common.print("no dead letters\n")
      })
    )
})

const selection = {
  sequences: repeated(
    argument(
      "sequence",
      "Sequence numbers as `dead-letters list` shows them.",
      whole(1, Number.MAX_SAFE_INTEGER)
    ),
    0
  ),
  all: toggle("all", "All letters instead of single ones.")
}

/** Without a selection nothing happens: a forgotten number must not mean "all". */
const selected = (input: { readonly sequences: ReadonlyArray<number>; readonly all: boolean }) =>
  input.all === input.sequences.length > 0
    ? Effect.fail(
        usage(input.all ? "give either sequences or --all, not both" : "name sequences, or pass --all")
      )
    : Effect.succeed(input.all ? undefined : input.sequences)

const retry = define({
  name: "retry",
  description: "Put dead letters back into the log, so that they go to the archive once more.",
  examples: [
    ["sync-engine dead-letters retry 17 18", "Two letters."],
    ["sync-engine dead-letters retry --all", "All of them, for example after a larger column was made."]
  ],
  config: { ...selection, json: Common.json, ...Connection.options },
  handler: Effect.fnUntraced(function* (input) {
    const sequences = yield* selected(input)
    const retried = yield* Common.withBackend(input, ({ deadLetters }) => deadLetters.retry(sequences))
    yield* Common.show(input, { retried }, `${retried} put back into the log\n`)
  })
})

const drop = define({
  name: "drop",
  description: "Forget dead letters. Their writes are lost.",
  examples: [["sync-engine dead-letters drop 17", "One letter."]],
  config: { ...selection, json: Common.json, ...Connection.options },
  handler: Effect.fnUntraced(function* (input) {
    const sequences = yield* selected(input)
    const dropped = yield* Common.withBackend(input, ({ deadLetters }) => deadLetters.drop(sequences))
    yield* Common.show(input, { dropped }, `${dropped} dropped\n`)
  })
})

export const deadLetters = group({
  name: "dead-letters",
  description: "Acknowledged writes that the archive refused for good: list, retry, drop.",
  examples: [["sync-engine dead-letters list", "What there is, and why."]],
  children: [list, retry, drop]
})
