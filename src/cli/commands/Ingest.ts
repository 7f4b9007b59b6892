/** `ingest`: NDJSON into an engine. */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Either, Stream } from "effect"
import { counted } from "../../shared/Counted.js"
import { type CliError, failed, toCliError, usage } from "../app/CliError.js"
import type { Backend } from "../backend/Backend.js"
import * as Connection from "../backend/Connection.js"
import { type IngestCounts, makeIngest, nowMs, summaryOf } from "../ingest/Ingest.js"
import { pairs } from "../io/Render.js"
import { Stdio } from "../io/Stdio.js"
import { define } from "../parser/CliCommand.js"
import * as Common from "./Common.js"

const defaultBatch = 1_000
const defaultPatienceSeconds = 60
const defaultShownLines = 20
const chunkBytes = 256 * 1024
/** What a line holds beside its content. */
const lineOverheadBytes = 4_096

const millions = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** The bytes to read, and how many there are where that is known. */
const openInput = (file: string) =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    if (file === "-") return { stream: stdio.stdin, size: undefined }
    const files = yield* FileSystem.FileSystem
    const problem = (error: { readonly message: string }) => failed(`${file}: ${error.message}`)
    const info = yield* Effect.mapError(files.stat(file), problem)
    if (info.type === "Directory") return yield* failed(`${file} is a directory`)
    return {
      stream: Stream.mapError(files.stream(file, { chunkSize: chunkBytes }), problem),
      size: info.type === "File" ? Number(info.size) : undefined
    }
  })

/** Reports bad lines in full up to a number, the others as a count at the end. */
const badLines = (write: (text: string) => void, shown: number) => {
  let count = 0
  return {
    report: (line: number, problem: string) => {
      count += 1
      if (count <= shown) write(`line ${line}: ${problem.replace(/\s*[\r\n]+\s*/g, " ")}\n`)
      if (count === shown && shown > 0) write("more bad lines are only counted from here on\n")
    },
    count: () => count
  }
}

/** The root after everything acknowledged has been carried to the archive; null with the reason when it cannot be had. */
const finalRoot = (backend: Backend) => Effect.either(Effect.zipRight(backend.flush, backend.root))

const summaryText = (counts: IngestCounts, seconds: number, rate: number, root: string | null): string =>
  pairs([
    ["items", counts.items],
    ["acknowledged", counts.acknowledged],
    ["rejected", counts.rejected],
    ["seconds", seconds],
    ["items per second", rate],
    ["root", root ?? "unknown"]
  ])

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
  config: {
    file: Args.text({ name: "file" }).pipe(Args.withDescription("NDJSON file; - for standard input.")),
    durability: Common.durability,
    batch: Options.text("batch").pipe(
      Options.withDescription(`Items in one batch, 1 to 10000. Default: ${defaultBatch}.`),
      Options.optional
    ),
    patience: Options.text("patience").pipe(
      Options.withDescription(
        `Seconds to go on trying while the engine takes nothing (log full, backpressure). Default: ${defaultPatienceSeconds}.`
      ),
      Options.optional
    ),
    showErrors: Options.text("show-errors").pipe(
      Options.withDescription(
        `Bad lines reported in full; later ones are counted. Default: ${defaultShownLines}.`
      ),
      Options.optional
    ),
    json: Common.json,
    ...Connection.ingestOptions
  },
  switches: Connection.configSwitches,
  handlesSignals: true,
  handler: (input) =>
    Effect.gen(function* () {
      const stdio = yield* Stdio
      if (input.file === "-" && stdio.stdinIsTerminal) {
        return yield* usage("standard input is a terminal: pipe the lines in, or name a file")
      }
      const batchItems = yield* Common.acceptWhole("--batch", input.batch, 1, 10_000)
      const patience = yield* Common.acceptWhole("--patience", input.patience, 0, 86_400)
      const shown = yield* Common.acceptWhole("--show-errors", input.showErrors, 0, 1_000_000)
      const { size, stream } = yield* openInput(input.file)

      yield* Effect.scoped(
        Effect.gen(function* () {
          const { backend, close, maxBatchBytes, maxBatchItems, maxPayloadBytes } =
            yield* Connection.openForIngest(input)
          const bar = yield* Effect.acquireRelease(
            Effect.sync(() => stdio.progressBar({ title: "ingest", total: size })),
            ({ stop }) => Effect.sync(stop)
          )
          const bad = badLines(stdio.unsafeError, shown ?? defaultShownLines)
          const work = makeIngest(
            backend,
            {
              durability: Common.orUndefined(input.durability),
              batchItems: Math.min(batchItems ?? defaultBatch, maxBatchItems),
              batchBytes: maxBatchBytes,
              maxLineBytes: Math.ceil(maxPayloadBytes / 3) * 4 + lineOverheadBytes,
              patienceMs: (patience ?? defaultPatienceSeconds) * 1_000
            },
            {
              badLine: bad.report,
              progress: (counts, waiting) =>
                bar.update(
                  counts.bytesRead,
                  `${counts.acknowledged} acknowledged, ${counts.rejected} rejected, ${millions(counts.bytesRead)}${waiting === undefined ? "" : `; ${waiting}`}`
                )
            }
          )
          const before = yield* nowMs
          const ended = yield* work
            .run(stream)
            .pipe(
              Effect.raceFirst(
                Effect.flatMap(stdio.takeSignal, (signal) => Effect.fail(failed(`interrupted by ${signal}`)))
              ),
              Effect.either
            )
          const milliseconds = (yield* nowMs) - before
          const rooted = yield* finalRoot(backend)
          bar.stop()
          if (bad.count() > (shown ?? defaultShownLines)) {
            stdio.unsafeError(`${bad.count()} bad lines in all\n`)
          }
          const counts = work.counts()
          const root = Either.getOrNull(rooted)
          const summary = summaryOf(counts, milliseconds, root)
          yield* input.json
            ? Common.printJson(summary)
            : Common.print(summaryText(counts, summary.seconds, summary.items_per_second, root))
          yield* close
          const problem: CliError | undefined = Either.isLeft(ended)
            ? ended.left
            : Either.isLeft(rooted)
              ? failed(`everything is acknowledged, but not archived yet: ${toCliError(rooted.left).message}`)
              : counts.rejected > 0
                ? failed(
                    `${counts.rejected} of ${counted(counts.items, "line")} ${counts.rejected === 1 ? "was" : "were"} rejected`
                  )
                : undefined
          if (problem !== undefined) yield* problem
        })
      )
    })
})
