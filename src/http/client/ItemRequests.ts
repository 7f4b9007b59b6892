/** Items over HTTP from a client's side: raw bytes, batches and scans, which the API's schemas do not encode. */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import { Duration, Effect, Either, Option, Schema, Stream } from "effect"
import { InvalidItem } from "../../EngineError.js"
import type { DeleteOptions, Durability, SubmitItem, SubmitOptions, SubmitResult } from "../../SyncEngine.js"
import { idProblem, type SyncItem, stateProblem } from "../../SyncItem.js"
import { LineSplitter } from "../../shared/ndjson/LineSplitter.js"
import { ReceiptBody } from "../api/ApiSchemas.js"
import { errorOf } from "../api/ErrorMapping.js"
import { etagOf, versionOfEtag } from "../api/Preconditions.js"
import { parseWhole } from "../api/Wire.js"
import { type BatchItem, batchLine, contentOf, itemOf, resultOf } from "./ItemLines.js"
import { type ClientError, type Transport, unexpected } from "./Transport.js"

/**
 * Which items to list.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScanRange {
  /** The item of this id and everything below it; all without one. */
  readonly prefix?: string | undefined
  /** Instead of `prefix`. */
  readonly state?: string | undefined
  /** Only what stands behind this id. */
  readonly after?: string | undefined
  /** At most this many items; all without one. */
  readonly limit?: number | undefined
}

const maxRequestItems = 500
const maxRequestBytes = 1024 * 1024
const pageItems = 1_000
/** The longest line a server sends: its largest content in base64, with room. */
const maxLineBytes = 512 * 1024 * 1024

/** What a write asks for in headers, as far as puts and deletions have it in common. */
const writeHeaders = (
  expected: number | undefined,
  own: number | undefined,
  traceparent: string | undefined
) => ({
  "if-none-match": expected === 0 ? "*" : undefined,
  "if-match": expected === undefined || expected === 0 ? undefined : etagOf(expected),
  "x-sync-version": own === undefined ? undefined : String(own),
  traceparent
})

const urlOf = ({ url }: Transport, id: string): Either.Either<string, InvalidItem> => {
  const problem = idProblem(id)
  return problem === undefined
    ? Either.right(`${url}/items/${encodeURIComponent(id)}`)
    : Either.left(new InvalidItem({ id, field: "id", problem }))
}

const decodeReceipt = Schema.decode(Schema.parseJson(ReceiptBody))

export const submit = (transport: Transport) =>
  Effect.fnUntraced(function* (item: SubmitItem, options: SubmitOptions = {}) {
    const target = yield* urlOf(transport, item.id)
    const content = yield* contentOf(item)
    const stateIs = item.state === undefined ? undefined : stateProblem(item.state)
    if (stateIs !== undefined)
      return yield* new InvalidItem({ id: item.id, field: "state", problem: stateIs })
    const ttl = options.ttl === undefined ? undefined : Math.ceil(Duration.toSeconds(options.ttl))
    const response = yield* HttpClientRequest.put(target).pipe(
      HttpClientRequest.setUrlParams({ durability: options.durability, sql: options.sql, ttl_seconds: ttl }),
      HttpClientRequest.bodyUint8Array(
        content,
        item.contentType === "json" ? "application/json" : "application/octet-stream"
      ),
      HttpClientRequest.setHeaders({
        ...writeHeaders(options.expectedVersion, item.version, item.traceparent),
        "x-sync-state": item.state === undefined ? undefined : encodeURIComponent(item.state)
      }),
      transport.execute
    )
    const body = yield* transport.text(response)
    return yield* Effect.mapError(decodeReceipt(body), () => unexpected(response.status))
  })

export const remove = (transport: Transport) =>
  Effect.fnUntraced(function* (id: string, options: DeleteOptions = {}) {
    const { status, headers } = yield* HttpClientRequest.del(yield* urlOf(transport, id)).pipe(
      HttpClientRequest.setUrlParams({ durability: options.durability }),
      HttpClientRequest.setHeaders(
        writeHeaders(options.expectedVersion, options.version, options.traceparent)
      ),
      transport.execute
    )
    if (status !== 204 || headers.etag === undefined) return yield* unexpected(status)
    return versionOfEtag(headers.etag) ?? 0
  })

/** The item of an answer; a page of something else at this address is none. */
const itemOfResponse = (
  id: string,
  { headers }: HttpClientResponse,
  content: Uint8Array
): SyncItem | undefined => {
  const whole = (name: string) => parseWhole(headers[name] ?? "", 1, Number.MAX_SAFE_INTEGER)
  const contentHash = headers["x-sync-content-hash"]
  const version = whole("x-sync-version")
  const state = headers["x-sync-state"]
  if (contentHash === undefined || version === undefined) return undefined
  return {
    id,
    version,
    updatedAt: whole("x-sync-updated-at") ?? 0,
    contentType: headers["content-type"] === "application/json" ? "json" : "binary",
    contentHash,
    state: state === undefined ? undefined : decodeURIComponent(state),
    content,
    traceparent: headers.traceparent
  }
}

export const find = (transport: Transport) =>
  Effect.fnUntraced(
    function* (id: string, options: { readonly verified?: boolean } = {}) {
      const response = yield* HttpClientRequest.get(yield* urlOf(transport, id)).pipe(
        HttpClientRequest.setUrlParams({ verified: options.verified }),
        transport.execute
      )
      const content = yield* Effect.mapError(response.arrayBuffer, transport.unreachable)
      const item = itemOfResponse(id, response, new Uint8Array(content))
      return item === undefined ? yield* unexpected(response.status) : Option.some(item)
    },
    // Another 404 comes from something else than this API and proves nothing.
    Effect.catchIf(
      (error) => error._tag === "RequestFailed" && error.error === "NotFound",
      () => Effect.succeedNone
    )
  )

/** Lines of a batch, as many as go into one request. */
const requestsOf = (lines: ReadonlyArray<Buffer>): ReadonlyArray<ReadonlyArray<Buffer>> => {
  const requests: Array<Array<Buffer>> = []
  let bytes = 0
  for (const line of lines) {
    const open = requests[requests.length - 1]
    bytes += line.length
    if (open === undefined || open.length >= maxRequestItems || bytes > maxRequestBytes) {
      requests.push([line])
      bytes = line.length
    } else open.push(line)
  }
  return requests
}

const sendBatch = Effect.fnUntraced(function* (
  transport: Transport,
  lines: ReadonlyArray<Buffer>,
  durability: Durability | undefined
) {
  const response = yield* HttpClientRequest.post(`${transport.url}/items`).pipe(
    HttpClientRequest.setUrlParams({ durability }),
    HttpClientRequest.bodyUint8Array(Buffer.concat(lines), "application/x-ndjson"),
    transport.execute
  )
  const answer = (yield* transport.text(response)).split("\n").filter((line) => line !== "")
  const results = answer.flatMap((line) => resultOf(line) ?? [])
  return results.length === lines.length
    ? results
    : yield* Effect.fail(errorOf(response.status, answer[answer.length - 1] ?? ""))
})

export const submitMany = (transport: Transport) =>
  Effect.fnUntraced(function* (items: ReadonlyArray<BatchItem>, durability?: Durability) {
    const lines = items.map(batchLine)
    const requests = requestsOf(lines.flatMap((line) => (Either.isRight(line) ? [line.right] : [])))
    const sent = yield* Effect.forEach(requests, (request) => sendBatch(transport, request, durability))
    const results = sent.flat().values()
    return lines.map(
      (line): SubmitResult =>
        Either.isRight(line)
          ? results.next().value!
          : { _tag: "Rejected", id: line.left.id, error: line.left }
    )
  })

const decodeCursor = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ next_after: Schema.NullOr(Schema.String), items: Schema.Number }))
)
type Cursor = Option.Option.Value<ReturnType<typeof decodeCursor>>

const truncated = unexpected(200, "the stream ended before its last line")

/** The lines of one page. */
const pageLines = (transport: Transport, range: ScanRange, limit: number) =>
  HttpClientRequest.get(`${transport.url}/items`).pipe(
    HttpClientRequest.setUrlParams({ ...range, limit }),
    transport.execute,
    Effect.map((response) => {
      const splitter = new LineSplitter(maxLineBytes)
      return Stream.mapError(response.stream, transport.unreachable).pipe(
        Stream.map((chunk) => splitter.push(chunk)),
        Stream.concat(Stream.sync(() => splitter.end())),
        Stream.mapConcat((lines) => lines)
      )
    }),
    Stream.unwrap
  )

/** A page, and behind it the pages that its last line leads to. */
export const scan =
  (transport: Transport) =>
  (range: ScanRange): Stream.Stream<SyncItem, ClientError> =>
    Stream.suspend(() => {
      let cursor: Cursor | undefined
      const page = pageLines(transport, range, Math.min(range.limit ?? pageItems, pageItems)).pipe(
        Stream.mapConcatEffect((line): Effect.Effect<ReadonlyArray<SyncItem>, ClientError> => {
          if (line._tag === "TooLong") return Effect.fail(truncated)
          const item = itemOf(line.bytes)
          if (item !== undefined) return Effect.succeed([item])
          const source = Buffer.from(line.bytes).toString("utf8")
          cursor = Option.getOrUndefined(decodeCursor(source))
          return cursor === undefined ? Effect.fail(errorOf(200, source)) : Effect.succeed([])
        })
      )
      const more = Stream.suspend(() => {
        if (cursor === undefined) return Stream.fail(truncated)
        const { items, next_after: after } = cursor
        const limit = range.limit === undefined ? undefined : range.limit - items
        return after === null || limit === 0 ? Stream.empty : scan(transport)({ ...range, after, limit })
      })
      return Stream.concat(page, more)
    })
