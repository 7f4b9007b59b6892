/** `status`, `flush`, `drain`, `shutdown`, `dead-letters`: operating an engine. */
import { Chunk, Effect, Stream } from "effect"
import { failed, usage } from "../app/CliError.js"
import type { Backend, BackendError } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { deadLetterText, documentText, leftHint, pairs, reportText } from "../io/Render.js"
import { argument, define, group, type Input, repeated, toggle, whole } from "../parser/Command.js"
import * as Common from "./Common.js"

const config = { json: Common.json, ...Connection.options }
const remoteConfig = { json: Common.json, ...Connection.remoteOptions }

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
  config,
  handler: Effect.fnUntraced(function* (input) {
    const document = yield* Common.withBackend(input, (backend) => backend.status)
    yield* Common.show(input, document, documentText(document))
  })
})

export const flush = define({
  name: "flush",
  description: "Carry everything acknowledged so far to the archive now.",
  examples: [["sync-engine flush", "Returns when the archive has committed it."]],
  config,
  handler: Effect.fnUntraced(function* (input) {
    const result = yield* Common.withBackend(input, (backend) => backend.flush)
    const { dead_lettered, flushed, pending } = result
    const rows = { flushed, "dead letters": dead_lettered, pending }
    yield* Common.show(input, result, pairs(Object.entries(rows)))
  })
})

export const drain = define({
  name: "drain",
  description: "Stop accepting writes and keep serving reads. Idempotent; only a restart ends it.",
  examples: [["sync-engine drain", "Before a shutdown behind a load balancer."]],
  config: remoteConfig,
  handler: Effect.fnUntraced(function* (input) {
    const changed = yield* Common.withBackend(input, (backend) => backend.drain)
    const text = changed ? "draining: writes are refused from now on" : "was draining already"
    yield* Common.show(input, { changed }, `${text}\n`)
  })
})

export const shutdown = define({
  name: "shutdown",
  description:
    "Shut the daemon down and show what it did with every write. Exit code 1 when something was left undone.",
  examples: [["sync-engine shutdown --json", "Waits for the report; the daemon exits afterwards."]],
  config: remoteConfig,
  handler: Effect.fnUntraced(function* (input) {
    const report = yield* Common.withBackend(input, (backend) => backend.shutdown)
    yield* Common.show(input, report, reportText(report))
    if (!report.clean) yield* failed("the shutdown was not clean", leftHint(report.items_left_in_log))
  })
})

const list = define({
  name: "list",
  description: "List the acknowledged writes that the archive refused for good, with the reason.",
  examples: [["sync-engine dead-letters list --json", "One line of JSON per letter."]],
  config,
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
  all: toggle("all", "All letters instead of single ones."),
  ...config
}

/** Without a selection nothing happens: a forgotten number must not mean "all". */
const onSelected = (
  { all, sequences, ...input }: Input<typeof selection>,
  done: readonly [field: string, text: string],
  act: (
    letters: Backend["deadLetters"],
    selected: ReadonlyArray<number> | undefined
  ) => Effect.Effect<number, BackendError>
) => {
  if (all === sequences.length > 0) {
    return usage(all ? "give either sequences or --all, not both" : "name sequences, or pass --all")
  }
  const [field, text] = done
  return Effect.flatMap(
    Common.withBackend(input, ({ deadLetters }) => act(deadLetters, all ? undefined : sequences)),
    (count) => Common.show(input, { [field]: count }, `${count} ${text}\n`)
  )
}

const retry = define({
  name: "retry",
  description: "Put dead letters back into the log, so that they go to the archive once more.",
  examples: [
    ["sync-engine dead-letters retry 17 18", "Two letters."],
    ["sync-engine dead-letters retry --all", "All of them, for example after a larger column was made."]
  ],
  config: selection,
  handler: (input) =>
    onSelected(input, ["retried", "put back into the log"], (letters, selected) => letters.retry(selected))
})

const drop = define({
  name: "drop",
  description: "Forget dead letters. Their writes are lost.",
  examples: [["sync-engine dead-letters drop 17", "One letter."]],
  config: selection,
  handler: (input) => onSelected(input, ["dropped", "dropped"], (letters, selected) => letters.drop(selected))
})

export const deadLetters = group({
  name: "dead-letters",
  description: "Acknowledged writes that the archive refused for good: list, retry, drop.",
  examples: [["sync-engine dead-letters list", "What there is, and why."]],
  children: [list, retry, drop]
})
