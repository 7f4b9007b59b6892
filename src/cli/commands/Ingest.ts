/** `ingest`: NDJSON into an engine. */
import { createReadStream, statSync } from "node:fs"
import { Clock, Effect, Either, type Stream } from "effect"
import { counted } from "../../shared/Counted.js"
import { type CliError, failed, messageOf, toCliError, usage } from "../app/CliError.js"
import type { BackendError } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { Ingest, type IngestCounts, summaryOf } from "../ingest/Ingest.js"
import { pairs } from "../io/Render.js"
import { bytesFrom, Stdio } from "../io/Stdio.js"
import { anyText, argument, define, type Input } from "../parser/Command.js"
import * as Common from "./Common.js"

const defaultBatch = 1_000
const defaultPatienceSeconds = 60
const defaultShownLines = 20
const chunkBytes = 256 * 1024
/** What a line holds beside its content. */
const lineOverheadBytes = 4_096

const millions = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** The bytes to read, and how many there are where that is known. */
const openInput = Effect.fnUntraced(function* (file: string) {
  const stdio = yield* Stdio
  if (file === "-") {
    if (stdio.stdinIsTerminal) {
      return yield* usage("standard input is a terminal: pipe the lines in, or name a file")
    }
    return { stream: stdio.stdin, size: undefined }
  }
  const info = yield* Effect.try({
    try: () => statSync(file),
    catch: (error) => failed(`${file}: ${messageOf(error)}`)
  })
  if (info.isDirectory()) return yield* failed(`${file} is a directory`)
  return {
    stream: bytesFrom(() => createReadStream(file, { highWaterMark: chunkBytes }), file),
    size: info.isFile() ? info.size : undefined
  }
})

/** Reports bad lines in full up to a number, the others as a count at the end. */
class BadLines {
  private count = 0

  constructor(
    private readonly write: (text: string) => void,
    private readonly shown: number
  ) {}

  report(line: number, problem: string): void {
    this.count += 1
    if (this.count <= this.shown) this.write(`line ${line}: ${problem.replace(/\s*[\r\n]+\s*/g, " ")}\n`)
    if (this.count === this.shown) this.write("more bad lines are only counted from here on\n")
  }

  end(): void {
    if (this.count > this.shown) this.write(`${this.count} bad lines in all\n`)
  }
}

const summaryText = (summary: ReturnType<typeof summaryOf>): string =>
  pairs([
    ["items", summary.items],
    ["acknowledged", summary.acknowledged],
    ["rejected", summary.rejected],
    ["seconds", summary.seconds],
    ["items per second", summary.items_per_second],
    ["root", summary.root ?? "unknown"]
  ])

/** What the end of a load means for the exit code. */
const problemOf = (
  { items, rejected }: IngestCounts,
  ended: Either.Either<void, CliError>,
  rooted: Either.Either<string, BackendError>
): CliError | undefined => {
  if (Either.isLeft(ended)) return ended.left
  if (Either.isLeft(rooted)) {
    return failed(`everything is acknowledged, but not archived yet: ${toCliError(rooted.left).message}`)
  }
  return rejected > 0
    ? failed(`${rejected} of ${counted(items, "line")} ${rejected === 1 ? "was" : "were"} rejected`)
    : undefined
}

const config = {
  file: argument("file", "NDJSON file; - for standard input.", anyText),
  durability: Common.durability,
  batch: Common.number("batch", [1, 10_000], `Items in one batch, 1 to 10000. Default: ${defaultBatch}.`),
  patience: Common.number(
    "patience",
    [0, 86_400],
    `Seconds to go on trying while the engine takes nothing (log full, backpressure). Default: ${defaultPatienceSeconds}.`
  ),
  showErrors: Common.number(
    "show-errors",
    [0, 1_000_000],
    `Bad lines reported in full; later ones are counted. Default: ${defaultShownLines}.`
  ),
  json: Common.json,
  ...Connection.ingestOptions
}

interface Source {
  readonly stream: Stream.Stream<Uint8Array, CliError>
  readonly size: number | undefined
}

/** Makes the load over `backend`, with its bar and its bad lines. */
const prepare = Effect.fnUntraced(function* (input: Input<typeof config>, size: number | undefined) {
  const stdio = yield* Stdio
  const { backend, close, maxBatchBytes, maxBatchItems, maxPayloadBytes } =
    yield* Connection.openForIngest(input)
  const bar = yield* Effect.acquireRelease(
    Effect.sync(() => stdio.progressBar({ title: "ingest", total: size })),
    ({ stop }) => Effect.sync(stop)
  )
  const bad = new BadLines(stdio.unsafeError, input.showErrors ?? defaultShownLines)
  const ingest = new Ingest(
    backend,
    {
      durability: input.durability,
      batchItems: Math.min(input.batch ?? defaultBatch, maxBatchItems),
      batchBytes: maxBatchBytes,
      maxLineBytes: Math.ceil(maxPayloadBytes / 3) * 4 + lineOverheadBytes,
      patienceMs: (input.patience ?? defaultPatienceSeconds) * 1_000
    },
    {
      badLine: (line, problem) => bad.report(line, problem),
      progress: ({ acknowledged, bytesRead, rejected }, waiting) =>
        bar.update(
          bytesRead,
          `${acknowledged} acknowledged, ${rejected} rejected, ${millions(bytesRead)}${waiting === undefined ? "" : `; ${waiting}`}`
        )
    }
  )
  return { backend, close, bar, bad, ingest }
})

const load = Effect.fnUntraced(function* (input: Input<typeof config>, { size, stream }: Source) {
  const { takeSignal } = yield* Stdio
  const { backend, bad, bar, close, ingest } = yield* prepare(input, size)
  const before = yield* Clock.currentTimeNanos
  const ended = yield* ingest
    .run(stream)
    .pipe(
      Effect.raceFirst(Effect.flatMap(takeSignal, (signal) => failed(`interrupted by ${signal}`))),
      Effect.either
    )
  const milliseconds = Number((yield* Clock.currentTimeNanos) - before) / 1e6
  // The root that holds everything acknowledged.
  const rooted = yield* Effect.either(Effect.zipRight(backend.flush, backend.root))
  bar.stop()
  bad.end()
  const summary = summaryOf(ingest.counts, milliseconds, Either.getOrNull(rooted))
  yield* Common.show(input, summary, summaryText(summary))
  yield* close
  const problem = problemOf(ingest.counts, ended, rooted)
  if (problem !== undefined) yield* problem
})

export const ingest = define({
  name: "ingest",
  description:
    "Load NDJSON: in this process, or into a running daemon with --url. Bad lines are reported and counted; the rest goes on.",
  examples: [
    [
      "sync-engine ingest cities.ndjson --data-dir /var/lib/sync-engine",
      "In this process; no daemon may hold the directory."
    ],
    ["sync-engine ingest cities.ndjson --url http://127.0.0.1:7420", "Into a running daemon."],
    ["zcat dump.ndjson.gz | sync-engine ingest - --json", "From standard input, summary as JSON."],
    ['{"id": "geo.fr.paris", "content": {"population": 2138551}, "state": "new"}', "A line."],
    ['{"id": "logo", "contentBase64": "iVBORw0KGgo=", "version": 7}', "A line with bytes and an own version."]
  ],
  config,
  handlesSignals: true,
  handler: (input) => Effect.flatMap(openInput(input.file), (source) => Effect.scoped(load(input, source)))
})
