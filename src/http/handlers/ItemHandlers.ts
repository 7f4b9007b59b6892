/** Items over HTTP. */
import type { IncomingMessage } from "node:http"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Duration, Effect, Either, Option } from "effect"
import { LiveConfig } from "../../EngineConfig.js"
import { InvalidItem, PayloadTooLarge } from "../../EngineError.js"
import { type Receipt, SyncEngine } from "../../SyncEngine.js"
import { idProblem, type SyncItem, stateProblem, traceparentProblem } from "../../SyncItem.js"
import { Api } from "../api/Api.js"
import type { DeleteQuery, GetQuery, PutHeaders, PutQuery, WriteHeaders } from "../api/ApiSchemas.js"
import { receiptBody } from "../api/Encode.js"
import { type HttpProblem, invalidRequest, notFound } from "../api/HttpProblem.js"
import { batchResponse } from "../batch/BatchHandler.js"
import { answering, HttpContext, nodeRequest, nodeResponse } from "../middleware/HttpContext.js"
import { mediaTypeOf, requirePlain, withBody } from "../middleware/RequestBody.js"
import { etagOf, expectedVersion, noneMatchHolds } from "./Preconditions.js"
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
const decodeState = (header: string | undefined): Either.Either<string | undefined, HttpProblem> => {
  if (header === undefined) return Either.right(undefined)
  // Node reads headers as Latin-1, so other text would be stored otherwise than it was meant.
  if (/[^\u0020-\u007e]/.test(header)) {
    return Either.left(invalidRequest("X-Sync-State", "must be percent-encoded UTF-8"))
  }
  try {
    const state = decodeURIComponent(header)
    const problem = stateProblem(state)
    return problem === undefined ? Either.right(state) : Either.left(invalidRequest("X-Sync-State", problem))
  } catch {
    return Either.left(invalidRequest("X-Sync-State", "has invalid percent-encoding"))
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

const putResponse = (receipt: Receipt): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(receiptBody(receipt), {
    status: receipt.previousVersion === undefined ? 201 : 200,
    headers: receiptHeaders(receipt)
  })

export const ItemHandlers = HttpApiBuilder.group(Api, "items", (handlers) =>
  Effect.gen(function* () {
    const engine = yield* SyncEngine
    const config = yield* LiveConfig
    const { budget, streamIdleTimeout } = yield* HttpContext

    const put = (
      name: string,
      query: typeof PutQuery.Type,
      headers: typeof PutHeaders.Type,
      request: HttpServerRequest
    ) =>
      Effect.gen(function* () {
        const source = nodeRequest(request)
        const id = yield* validId(name)
        const expected = yield* expectedVersion(headers["if-match"], headers["if-none-match"])
        const state = yield* decodeState(headers["x-sync-state"])
        yield* requirePlain(source)
        const maxBytes = config.unsafeGet().maxPayloadBytes
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
              durability: query.durability,
              expectedVersion: expected,
              sql: query.sql,
              ttl: query.ttl_seconds === undefined ? undefined : Duration.seconds(query.ttl_seconds)
            }
          )
        )
        return putResponse(receipt)
      })

    const get = (name: string, query: typeof GetQuery.Type, ifNoneMatch: string | undefined) =>
      Effect.gen(function* () {
        const id = yield* validId(name)
        const found = yield* query.verified === true ? engine.getVerified(id) : engine.get(id)
        return Option.isSome(found)
          ? itemResponse(found.value, ifNoneMatch)
          : yield* Effect.fail(notFound("id", id))
      })

    const remove = (name: string, query: typeof DeleteQuery.Type, headers: typeof WriteHeaders.Type) =>
      Effect.gen(function* () {
        const id = yield* validId(name)
        const expected = yield* expectedVersion(headers["if-match"], headers["if-none-match"])
        const receipt = yield* engine.delete(id, {
          durability: query.durability,
          expectedVersion: expected,
          version: headers["x-sync-version"],
          traceparent: usableTraceparent(headers.traceparent)
        })
        return HttpServerResponse.empty({ status: 204, headers: receiptHeaders(receipt) })
      })

    return handlers
      .handleRaw(
        "put",
        ({ headers, path, request, urlParams }) => answering(put(path.id, urlParams, headers, request)),
        mutation
      )
      .handleRaw("get", ({ headers, path, urlParams }) =>
        answering(get(path.id, urlParams, headers["if-none-match"]))
      )
      .handleRaw("head", ({ headers, path, urlParams }) =>
        answering(get(path.id, urlParams, headers["if-none-match"]))
      )
      .handleRaw(
        "delete",
        ({ headers, path, urlParams }) => answering(remove(path.id, urlParams, headers)),
        mutation
      )
      .handleRaw("batch", ({ headers, request, urlParams }) =>
        answering(
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
      )
      .handleRaw("scan", ({ request, urlParams }) =>
        answering(scanResponse(engine, urlParams, { response: nodeResponse(request), streamIdleTimeout }))
      )
  })
)
