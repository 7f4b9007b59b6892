/** Items over HTTP. */
import type { IncomingMessage } from "node:http"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { type Context, Duration, Effect, Either, Option } from "effect"
import { LiveConfig } from "../../EngineConfig.js"
import { InvalidItem, PayloadTooLarge } from "../../EngineError.js"
import { type Receipt, SyncEngine, type SyncEngineApi } from "../../SyncEngine.js"
import { idProblem, type SyncItem, stateProblem, traceparentProblem } from "../../SyncItem.js"
import { Api } from "../api/Api.js"
import { receiptBody } from "../api/ApiSchemas.js"
import type { GetHeaders, GetQuery, PutHeaders, PutQuery } from "../api/Parameters.js"
import { etagOf, expectedVersion, noneMatchHolds } from "../api/Preconditions.js"
import { invalidRequest, notFound, type RequestFailed } from "../api/RequestFailed.js"
import { batchResponse } from "../batch/BatchHandler.js"
import { HttpContext, nodeRequest, nodeResponse } from "../middleware/HttpContext.js"
import { type BodyBudget, mediaTypeOf, requirePlain, withBody } from "../middleware/RequestBody.js"
import { scanResponse } from "./Scan.js"

/** Mutations go on when their client disconnects. */
const mutation = { uninterruptible: true } as const

const validId = (id: string): Effect.Effect<string, InvalidItem> => {
  const problem = idProblem(id)
  return problem === undefined
    ? Effect.succeed(id)
    : Effect.fail(new InvalidItem({ id, field: "id", problem }))
}

/** State tags are any Unicode, header values are not: they travel percent-encoded. */
const decodeState = (header: string | undefined): Either.Either<string | undefined, RequestFailed> => {
  if (header === undefined) return Either.right(undefined)
  const refused = (problem: string) => Either.left(invalidRequest("X-Sync-State", problem))
  // Node reads headers as Latin-1, so other text would be stored otherwise than it was meant.
  if (/[^\u0020-\u007e]/.test(header)) return refused("must be percent-encoded UTF-8")
  try {
    const state = decodeURIComponent(header)
    const problem = stateProblem(state)
    return problem === undefined ? Either.right(state) : refused(problem)
  } catch {
    return refused("has invalid percent-encoding")
  }
}

/** A trace context that is not valid starts a new trace instead of failing a write (W3C Trace Context, 3.2). */
const usableTraceparent = (header: string | undefined): string | undefined =>
  traceparentProblem(header) === undefined ? header : undefined

const saysJson = (source: IncomingMessage): boolean => {
  const type = mediaTypeOf(source)
  return type === "application/json" || type?.endsWith("+json") === true
}

const itemResponse = (
  item: SyncItem,
  ifNoneMatch: string | undefined
): HttpServerResponse.HttpServerResponse => {
  const headers: Record<string, string> = {
    etag: etagOf(item.version),
    "last-modified": new Date(item.updatedAt).toUTCString(),
    "cache-control": "no-cache",
    "x-sync-version": String(item.version),
    "x-sync-updated-at": String(item.updatedAt),
    "x-sync-content-hash": item.contentHash
  }
  if (item.state !== undefined) headers["x-sync-state"] = encodeURIComponent(item.state)
  if (item.traceparent !== undefined) headers.traceparent = item.traceparent
  if (noneMatchHolds(ifNoneMatch, item.version)) return HttpServerResponse.empty({ status: 304, headers })
  return HttpServerResponse.uint8Array(item.content, {
    contentType: item.contentType === "json" ? "application/json" : "application/octet-stream",
    // The platform leaves out a length of 0.
    headers: { ...headers, "content-length": String(item.content.byteLength) }
  })
}

/** The durability is in no body of a deletion, and a client that asked for more has to be told. */
const receiptHeaders = ({ durability, version }: Receipt): Readonly<Record<string, string>> => ({
  etag: etagOf(version),
  "x-sync-durability": durability
})

/** A request as its endpoint declares it. */
interface ItemRequest<Query, Headers> {
  readonly path: { readonly id: string }
  readonly urlParams: Query
  readonly headers: Headers
  readonly request: HttpServerRequest
}

const put = (engine: SyncEngineApi, config: Context.Tag.Service<LiveConfig>, budget: BodyBudget) =>
  Effect.fnUntraced(function* ({
    headers,
    path,
    request,
    urlParams: { durability, sql, ttlSeconds }
  }: ItemRequest<typeof PutQuery.Type, typeof PutHeaders.Type>) {
    const maxBytes = config.unsafeGet().maxPayloadBytes
    const source = nodeRequest(request)
    const id = yield* validId(path.id)
    const expected = yield* expectedVersion(headers["if-match"], headers["if-none-match"])
    const state = yield* decodeState(headers["x-sync-state"])
    yield* requirePlain(source)
    const tooLarge = (bytes: number) =>
      new PayloadTooLarge({ id, bytes, maxBytes, limit: "MAX_PAYLOAD_BYTES" })
    const receipt = yield* withBody(source, { budget, maxBytes, tooLarge }, (content) =>
      engine.submit(
        {
          id,
          content,
          state,
          version: headers["x-sync-version"],
          contentType: saysJson(source) ? "json" : undefined,
          traceparent: usableTraceparent(headers.traceparent)
        },
        {
          durability,
          expectedVersion: expected,
          sql,
          ttl: ttlSeconds === undefined ? undefined : Duration.seconds(ttlSeconds)
        }
      )
    )
    return HttpServerResponse.unsafeJson(receiptBody(receipt), {
      status: receipt.previousVersion === undefined ? 201 : 200,
      headers: receiptHeaders(receipt)
    })
  })

export const ItemHandlers = HttpApiBuilder.group(Api, "items", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const config = yield* LiveConfig
    const { budget, streamIdleTimeout } = yield* HttpContext

    const get = Effect.fnUntraced(function* ({
      headers,
      path,
      urlParams: { verified = false }
    }: ItemRequest<typeof GetQuery.Type, typeof GetHeaders.Type>) {
      const id = yield* validId(path.id)
      const found = yield* verified ? engine.getVerified(id) : engine.get(id)
      return Option.isSome(found)
        ? itemResponse(found.value, headers["if-none-match"])
        : yield* notFound("id", id)
    })

    return handlers
      .handleRaw("put", put(engine, config, budget), mutation)
      .handleRaw("get", get)
      .handleRaw("head", get)
      .handleRaw(
        "delete",
        Effect.fnUntraced(function* ({ headers, path, urlParams: { durability } }) {
          const receipt = yield* engine.delete(yield* validId(path.id), {
            durability,
            expectedVersion: yield* expectedVersion(headers["if-match"], headers["if-none-match"]),
            version: headers["x-sync-version"],
            traceparent: usableTraceparent(headers.traceparent)
          })
          return HttpServerResponse.empty({ status: 204, headers: receiptHeaders(receipt) })
        }),
        mutation
      )
      .handleRaw("batch", ({ headers, request, urlParams }) =>
        batchResponse(engine, {
          source: nodeRequest(request),
          response: nodeResponse(request),
          streamIdleTimeout,
          budget,
          config: config.unsafeGet(),
          durability: urlParams.durability,
          onlyRejected: urlParams.results === "rejected",
          traceparent: usableTraceparent(headers.traceparent)
        })
      )
      .handleRaw("scan", ({ request, urlParams }) =>
        scanResponse(engine, urlParams, { response: nodeResponse(request), streamIdleTimeout })
      )
  })
)
