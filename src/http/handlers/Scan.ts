/**
 * Items as an NDJSON stream: constant memory, a status that tells whether it could begin, a last line that tells
 * whether it came to its end.
 */
import type { ServerResponse } from "node:http"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Cause, Chunk, Effect, Option, type Scope, Stream } from "effect"
import type { ReadError } from "../../EngineError.js"
import type { SyncEngineApi } from "../../SyncEngine.js"
import { idProblem, prefixProblem, type SyncItem, stateProblem } from "../../SyncItem.js"
import type { ScanQuery } from "../api/ApiSchemas.js"
import { itemLines, jsonLine } from "../api/Encode.js"
import { internalError, mapError } from "../api/ErrorMapping.js"
import { type HttpProblem, invalidRequest } from "../api/HttpProblem.js"
import { guardIdle } from "../middleware/HttpContext.js"

const defaultLimit = 1_000

/** Items asked of the engine at once when it lists by state; it may answer fewer and still have more. */
const statePageItems = 100

const queryProblem = ({ prefix, state, after }: typeof ScanQuery.Type): HttpProblem | undefined => {
  if (prefix !== undefined && state !== undefined)
    return invalidRequest("prefix", "cannot be combined with state")
  const prefixIs = prefixProblem(prefix ?? "")
  if (prefixIs !== undefined) return invalidRequest("prefix", prefixIs)
  const stateIs = state === undefined ? undefined : stateProblem(state)
  if (stateIs !== undefined) return invalidRequest("state", stateIs)
  const afterIs = after === undefined ? undefined : idProblem(after)
  return afterIs === undefined ? undefined : invalidRequest("after", afterIs)
}

const byState = (
  engine: SyncEngineApi,
  state: string,
  start: string | undefined,
  limit: number
): Stream.Stream<SyncItem, ReadError> =>
  Stream.paginateChunkEffect(start, (after) =>
    Effect.map(engine.statePage(state, { after, limit: Math.min(limit, statePageItems) }), (page) => {
      const last = page[page.length - 1]
      return [Chunk.unsafeFromArray(page), last === undefined ? Option.none() : Option.some(last.id)] as const
    })
  )

interface Progress {
  items: number
  last: string | undefined
}

type Pull = Effect.Effect<Chunk.Chunk<SyncItem>, Option.Option<ReadError>>

const encoder = new TextEncoder()
const line = (value: unknown): Uint8Array => encoder.encode(jsonLine(value))

const encode = (progress: Progress, items: Chunk.Chunk<SyncItem>): Stream.Stream<Uint8Array> => {
  progress.items += items.length
  if (items.length > 0) progress.last = Chunk.unsafeLast(items).id
  return Stream.fromIteratorSucceed(itemLines(items), 1)
}

/** A failure becomes the last line. */
const reporting = (lines: Stream.Stream<Uint8Array, ReadError>): Stream.Stream<Uint8Array> =>
  Stream.catchAllCause(lines, (cause) =>
    Cause.isInterruptedOnly(cause)
      ? Stream.failCause(cause as Cause.Cause<never>)
      : Stream.fromEffect(
          Option.match(Cause.failureOption(cause), {
            onNone: () => Effect.as(Effect.logError("HTTP stream failed", cause), line(internalError.body)),
            onSome: (error) => Effect.succeed(line(mapError(error).body))
          })
        )
  )

/**
 * Returns `GET /items`. The first items are read before the status is sent, so a closed gate or an unavailable
 * tier is a 503; a failure after that is the stream's last line, in place of the line with the cursor.
 */
export const scanResponse = (
  engine: SyncEngineApi,
  query: typeof ScanQuery.Type,
  connection: { readonly response: ServerResponse; readonly streamIdleTimeout: number }
): Effect.Effect<HttpServerResponse.HttpServerResponse, ReadError | HttpProblem, Scope.Scope> =>
  Effect.gen(function* () {
    const problem = queryProblem(query)
    if (problem !== undefined) return yield* Effect.fail(problem)
    const { after, limit = defaultLimit, prefix = "", state } = query
    const items =
      state === undefined ? engine.scanPrefix(prefix, { after, limit }) : byState(engine, state, after, limit)
    const pull: Pull = yield* Stream.toPull(Stream.take(items, limit))
    const first = yield* Effect.catchAll(
      pull,
      Option.match({
        onNone: () => Effect.succeed(undefined),
        onSome: (error: ReadError) => Effect.fail(error)
      })
    )
    guardIdle(connection.response, connection.streamIdleTimeout)
    const progress: Progress = { items: 0, last: undefined }
    const cursor = Stream.sync(() =>
      line({ next_after: progress.items < limit ? null : (progress.last ?? null), items: progress.items })
    )
    const rest = Stream.repeatEffectOption(pull).pipe(Stream.flatMap((chunk) => encode(progress, chunk)))
    const all =
      first === undefined
        ? Stream.empty
        : Stream.concat(
            Stream.suspend(() => encode(progress, first)),
            rest
          )
    return HttpServerResponse.stream(reporting(Stream.concat(all, cursor)), {
      contentType: "application/x-ndjson"
    })
  })
