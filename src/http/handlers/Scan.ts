/** Items as an NDJSON stream in constant memory. */
import type { ServerResponse } from "node:http"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Chunk, Effect, Option, type Scope, Stream } from "effect"
import type { ReadError } from "../../EngineError.js"
import type { SyncEngineApi } from "../../SyncEngine.js"
import { idProblem, prefixProblem, type SyncItem, stateProblem } from "../../SyncItem.js"
import { contentLine, fitsInLine, inPieces, jsonLine } from "../../shared/ndjson/ObjectLine.js"
import type { ScanQuery } from "../api/Parameters.js"
import { invalidRequest, type RequestFailed } from "../api/RequestFailed.js"
import { guardIdle } from "../middleware/HttpContext.js"
import { ndjsonResponse } from "./NdjsonResponse.js"

const defaultLimit = 1_000

/** Items asked of the engine at once when it lists by state; it may answer fewer and still have more. */
const statePageItems = 100

const queryProblem = ({ prefix, state, after }: typeof ScanQuery.Type): RequestFailed | undefined => {
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

/**
 * An item as a line. JSON content goes in as it stands, nothing is parsed; JSON that spans several lines goes in as
 * base64, so that the bytes are always the ones the hash covers.
 */
const itemLine = ({ content, ...item }: SyncItem): Iterable<Uint8Array> =>
  contentLine(
    {
      id: item.id,
      version: item.version,
      updated_at: item.updatedAt,
      state: item.state ?? null,
      content_type: item.contentType,
      content_hash: item.contentHash
    },
    content,
    item.contentType === "json" && fitsInLine(content)
  )

function* partsOf(items: Iterable<SyncItem>): Generator<Uint8Array> {
  for (const item of items) yield* itemLine(item)
}

/** Items as NDJSON, in pieces of some size. */
export const itemLines = (items: Iterable<SyncItem>): Generator<Uint8Array> => inPieces(partsOf(items))

/** Returns `GET /items`: the items, and a line with the cursor. */
export const scanResponse = (
  engine: SyncEngineApi,
  query: typeof ScanQuery.Type,
  connection: { readonly response: ServerResponse; readonly streamIdleTimeout: number }
): Effect.Effect<HttpServerResponse.HttpServerResponse, ReadError | RequestFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const problem = queryProblem(query)
    if (problem !== undefined) return yield* problem
    const { after, limit = defaultLimit, prefix = "", state } = query
    const items =
      state === undefined ? engine.scanPrefix(prefix, { after, limit }) : byState(engine, state, after, limit)
    let sent = 0
    let last: string | null = null
    const lines = Stream.chunks(Stream.take(items, limit)).pipe(
      Stream.flatMap((chunk) => {
        sent += chunk.length
        if (chunk.length > 0) last = Chunk.unsafeLast(chunk).id
        return Stream.fromIteratorSucceed(itemLines(chunk), 1)
      })
    )
    const cursor = Stream.sync(() => jsonLine({ next_after: sent < limit ? null : last, items: sent }))
    const response = yield* ndjsonResponse(Stream.concat(lines, cursor))
    guardIdle(connection.response, connection.streamIdleTimeout)
    return response
  })
