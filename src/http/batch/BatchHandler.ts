/** `POST /items`: lines in, results out, in bounded chunks. Lines that share a commit are submitted together. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Duration, Effect, Either, Option, Stream } from "effect"
import type { EngineConfig } from "../../config/Model.js"
import type { WriteError } from "../../EngineError.js"
import type { Durability, SubmitItem, SubmitResult, SyncEngineApi } from "../../SyncEngine.js"
import { jsonLine } from "../../shared/ndjson/ObjectLine.js"
import { receiptBody } from "../api/ApiSchemas.js"
import { errorBody, internalError } from "../api/ErrorMapping.js"
import { unsupportedMediaType } from "../api/RequestFailed.js"
import { ndjsonResponse } from "../handlers/NdjsonResponse.js"
import { guardIdle } from "../middleware/HttpContext.js"
import { type BodyBudget, mediaTypeOf, requirePlain } from "../middleware/RequestBody.js"
import { LineReader, type NumberedLine } from "./LineReader.js"

export interface BatchRequest {
  readonly source: IncomingMessage
  readonly response: ServerResponse
  readonly streamIdleTimeout: number
  readonly budget: BodyBudget
  readonly config: EngineConfig
  readonly durability: Durability | undefined
  /** Leaves acknowledged lines out of the answer. */
  readonly onlyRejected: boolean
  readonly traceparent: string | undefined
}

/** Lines and bytes submitted at once. */
const maxLines = 1_000
const maxChunkBytes = 1024 * 1024

const mediaTypes = [
  "application/x-ndjson",
  "application/ndjson",
  "application/jsonl",
  "application/json-lines"
]

interface Tally {
  acknowledged: number
  rejected: number
}

/** Neighbouring lines that one call of the engine can take. */
interface Run {
  readonly kind: NumberedLine["_tag"]
  readonly ttlSeconds: number | undefined
  readonly lines: Array<NumberedLine>
}

const runsOf = (lines: ReadonlyArray<NumberedLine>): ReadonlyArray<Run> => {
  const runs: Array<Run> = []
  for (const line of lines) {
    const open = runs[runs.length - 1]
    const ttlSeconds = line._tag === "Put" ? line.ttlSeconds : undefined
    if (open?.kind === line._tag && open.ttlSeconds === ttlSeconds) open.lines.push(line)
    else runs.push({ kind: line._tag, ttlSeconds, lines: [line] })
  }
  return runs
}

const submitRun = (
  engine: SyncEngineApi,
  request: BatchRequest,
  run: Run
): Effect.Effect<ReadonlyArray<SubmitResult>, WriteError> => {
  const { durability, traceparent } = request
  const ids: Array<string> = []
  const items: Array<SubmitItem> = []
  for (const line of run.lines) {
    if (line._tag === "Delete") ids.push(line.id)
    if (line._tag === "Put") items.push({ ...line.item, traceparent: line.item.traceparent ?? traceparent })
  }
  if (run.kind === "Delete") return engine.deleteMany(ids, { durability, traceparent })
  return run.ttlSeconds === undefined
    ? engine.submitMany(items, { durability })
    : engine.submitMany(items, { sql: false, ttl: Duration.millis(Math.ceil(run.ttlSeconds * 1_000)) })
}

const idOf = (line: NumberedLine): string | undefined => (line._tag === "Put" ? line.item.id : line.id)

/** Why a line was rejected: by itself, with its run, or alone. */
const reasonOf = (line: NumberedLine, error: WriteError | undefined): object => {
  if (line._tag === "Bad") return { error: line.error, message: line.message }
  return error === undefined ? internalError.body : errorBody(error)
}

const reportRun = (
  run: Run,
  results: Either.Either<ReadonlyArray<SubmitResult>, WriteError>,
  tally: Tally,
  onlyRejected: boolean
): string => {
  let text = ""
  for (const [index, line] of run.lines.entries()) {
    const result = Either.isRight(results) ? results.right[index] : { error: results.left }
    if (result !== undefined && "receipt" in result) {
      tally.acknowledged += 1
      if (!onlyRejected) {
        text += jsonLine({ line: line.number, status: "acknowledged", ...receiptBody(result.receipt) })
      }
      continue
    }
    tally.rejected += 1
    const own = { line: line.number, id: idOf(line), status: "rejected" }
    // Twice: its members come first, and are what the line says.
    text += jsonLine({ ...own, ...reasonOf(line, result?.error), ...own })
  }
  return text
}

/** Submits a chunk. Fails only when its first run was refused as a whole, so that nothing of it was written. */
const processLines = (
  engine: SyncEngineApi,
  request: BatchRequest,
  lines: ReadonlyArray<NumberedLine>,
  tally: Tally,
  failEarly: boolean
): Effect.Effect<string, WriteError> =>
  Effect.gen(function* () {
    let text = ""
    let written = false
    for (const run of runsOf(lines)) {
      if (run.kind === "Bad") {
        text += reportRun(run, Either.right([]), tally, request.onlyRejected)
        continue
      }
      const results = yield* Effect.either(submitRun(engine, request, run))
      if (failEarly && !written && Either.isLeft(results)) return yield* Effect.fail(results.left)
      written = true
      text += reportRun(run, results, tally, request.onlyRejected)
    }
    return text
  }).pipe(Effect.uninterruptible)

/**
 * Returns `POST /items`. The first chunk is submitted before the status is sent: when the engine refuses it as a
 * whole (closed gate, backpressure, full log) the answer is that status and nothing was written. Later refusals
 * are results of their lines. The last line is the summary, or the error that ended the batch.
 */
export const batchResponse = Effect.fnUntraced(function* (engine: SyncEngineApi, request: BatchRequest) {
  const { source } = request
  const type = mediaTypeOf(source)
  if (type === undefined || !mediaTypes.includes(type)) {
    return yield* unsupportedMediaType("Content-Type", type ?? "", "application/x-ndjson")
  }
  yield* requirePlain(source)
  const { maxBatchItems, maxPayloadBytes } = request.config
  // Room for the largest content in base64 and for the other fields.
  const reader = new LineReader(source, request.budget, Math.ceil(maxPayloadBytes / 3) * 4 + 64 * 1024)
  const tally: Tally = { acknowledged: 0, rejected: 0 }
  let isFirst = true
  const chunk = Effect.gen(function* () {
    const lines = yield* reader.next(Math.min(maxLines, maxBatchItems), maxChunkBytes)
    if (lines.length === 0) return yield* Effect.fail(undefined)
    const text = yield* processLines(engine, request, lines, tally, isFirst)
    isFirst = false
    return text
  })
  const summary = () => jsonLine({ summary: { lines: tally.acknowledged + tally.rejected, ...tally } })

  guardIdle(request.response, request.streamIdleTimeout)
  return yield* Stream.repeatEffectOption(Effect.mapError(chunk, Option.fromNullable)).pipe(
    Stream.concat(Stream.sync(summary)),
    Stream.ensuring(Effect.sync(() => reader.discard())),
    ndjsonResponse
  )
})
