/**
 * A typed client of the HTTP API, in the engine's words: failures are the engine's own errors where the server
 * answered with one.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import { Chunk, Context, Duration, Effect, Layer, Option, type Redacted, Schema, Stream } from "effect"
import { InvalidItem, InvalidRequest } from "../../EngineError.js"
import type { NameRange } from "../../merkle/Source.js"
import type {
  DeleteOptions,
  Durability,
  FlushResult,
  Page,
  Receipt,
  SubmitItem,
  SubmitOptions,
  SubmitResult
} from "../../SyncEngine.js"
import {
  type ContentType,
  idProblem,
  illFormed,
  type SyncItem,
  stateProblem,
  versionProblem
} from "../../SyncItem.js"
import { LineSplitter } from "../../shared/ndjson/LineSplitter.js"
import * as S from "../api/ApiSchemas.js"
import { StatusBody } from "../api/StatusSchema.js"
import { etagOf, versionOfEtag } from "../handlers/Preconditions.js"
import {
  type BatchItem,
  batchLine,
  type ClientError,
  contentOf,
  errorOf,
  itemOf,
  RequestFailed,
  receiptOf,
  resultOf,
  Unreachable
} from "./ClientCodec.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  type BatchItem,
  /**
   * @since 0.1.0
   * @category errors
   */
  type ClientError,
  /**
   * @since 0.1.0
   * @category errors
   */
  RequestFailed,
  /**
   * @since 0.1.0
   * @category errors
   */
  Unreachable
} from "./ClientCodec.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  /** Such as `http://127.0.0.1:7420`; a path in front of the API is kept. */
  readonly url: string
  readonly token?: Redacted.Redacted | undefined
  /**
   * Sends the current span's `traceparent`, which the server stores with what the request writes; default false,
   * because without an exporter nobody could look the span up. An item's own one is sent in any case.
   */
  readonly propagateTrace?: boolean | undefined
}

/**
 * A health answer; `ok` is the status.
 *
 * @since 0.1.0
 * @category models
 */
export interface HealthAnswer {
  readonly ok: boolean
  readonly lifecycle: typeof S.LifecycleBody.Type
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ScanRange {
  readonly prefix?: string | undefined
  /** Instead of `prefix`. */
  readonly state?: string | undefined
  readonly after?: string | undefined
  /** At most this many items; all without one. */
  readonly limit?: number | undefined
}

/**
 * Every operation of the API.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly url: string
  readonly live: Effect.Effect<HealthAnswer, ClientError>
  readonly ready: (operation?: "queries" | "writes") => Effect.Effect<HealthAnswer, ClientError>
  readonly startup: Effect.Effect<HealthAnswer, ClientError>
  readonly status: Effect.Effect<typeof StatusBody.Type, ClientError>
  /** Whether this call made the drain. */
  readonly drain: Effect.Effect<boolean, ClientError>
  readonly shutdown: Effect.Effect<typeof S.ShutdownBody.Type, ClientError>
  readonly flush: Effect.Effect<FlushResult, ClientError>
  readonly setReadOnly: (readOnly: boolean) => Effect.Effect<void, ClientError>
  /** Without options: roots and rows. */
  readonly verify: (
    options?: typeof S.VerifyRequest.Encoded
  ) => Effect.Effect<typeof S.VerifyBody.Type, ClientError>
  /** Without options everything is looked at. */
  readonly repair: (
    options?: typeof S.RepairRequest.Encoded
  ) => Effect.Effect<typeof S.RepairBody.Type, ClientError>
  readonly deadLetters: {
    /** By ascending sequence, read in pages. */
    readonly list: (after?: number) => Stream.Stream<typeof S.DeadLetterBody.Type, ClientError>
    /** Without sequences: all. */
    readonly retry: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, ClientError>
    readonly drop: (sequences?: ReadonlyArray<number>) => Effect.Effect<number, ClientError>
  }
  readonly metrics: Effect.Effect<string, ClientError>
  readonly submit: (item: SubmitItem, options?: SubmitOptions) => Effect.Effect<Receipt, ClientError>
  /** One result per item, in order. Sent in requests of at most 500 items and about 1 MiB. */
  readonly submitMany: (
    items: ReadonlyArray<BatchItem>,
    durability?: Durability
  ) => Effect.Effect<ReadonlyArray<SubmitResult>, ClientError>
  readonly get: (
    id: string,
    options?: { readonly verified?: boolean }
  ) => Effect.Effect<Option.Option<SyncItem>, ClientError>
  /** The version of the tombstone. */
  readonly delete: (id: string, options?: DeleteOptions) => Effect.Effect<number, ClientError>
  /** By ascending id, read in pages of 1,000. */
  readonly scan: (range: ScanRange) => Stream.Stream<SyncItem, ClientError>
  readonly merkleRoot: Effect.Effect<string, ClientError>
  /** None when no live item lies below the path. */
  readonly merkleNode: (
    path: string,
    page?: Omit<Page, "after"> & {
      readonly after?: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined
    }
  ) => Effect.Effect<Option.Option<typeof S.NodeBody.Type>, ClientError>
  /** One page each; `MerkleClient` makes a source of comparisons of them. */
  readonly merkleBranches: (
    path: string,
    page?: Page
  ) => Effect.Effect<typeof S.BranchesBody.Type, ClientError>
  readonly merkleLeaves: (
    path: string,
    page?: Page & NameRange
  ) => Effect.Effect<typeof S.LeavesBody.Type, ClientError>
  readonly merkleSum: (path: string, range: NameRange) => Effect.Effect<typeof S.SumBody.Type, ClientError>
  readonly merkleParts: (
    path: string,
    range: NameRange,
    size: number
  ) => Effect.Effect<typeof S.PartsBody.Type, ClientError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class HttpSyncClient extends Context.Tag("effect-sync-engine/http/client/HttpClient")<
  HttpSyncClient,
  Client
>() {}

const maxRequestItems = 500
const maxRequestBytes = 1024 * 1024
const pageItems = 1_000
/** The longest line a server sends: its largest content in base64, with room. */
const maxLineBytes = 512 * 1024 * 1024

type Query = Readonly<Record<string, string | number | boolean | undefined>>

const present = (query: Query): Record<string, string> =>
  Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]))
  )

const preconditions = ({
  expectedVersion
}: {
  readonly expectedVersion?: number | undefined
}): Record<string, string> =>
  expectedVersion === undefined
    ? {}
    : expectedVersion === 0
      ? { "if-none-match": "*" }
      : { "if-match": etagOf(expectedVersion) }

/** Lines of a batch, as many as go into one request. */
const requestsOf = (lines: ReadonlyArray<Buffer>): ReadonlyArray<ReadonlyArray<Buffer>> => {
  const requests: Array<Array<Buffer>> = []
  let open: Array<Buffer> = []
  let bytes = 0
  for (const line of lines) {
    if (open.length >= maxRequestItems || (open.length > 0 && bytes + line.length > maxRequestBytes)) {
      requests.push(open)
      open = []
      bytes = 0
    }
    open.push(line)
    bytes += line.length
  }
  if (open.length > 0) requests.push(open)
  return requests
}

const itemOfResponse = (id: string, { headers }: HttpClientResponse, content: Uint8Array): SyncItem => {
  const state = headers["x-sync-state"]
  const contentType: ContentType = headers["content-type"] === "application/json" ? "json" : "binary"
  return {
    id,
    version: Number(headers["x-sync-version"]),
    updatedAt: Number(headers["x-sync-updated-at"]),
    contentType,
    contentHash: headers["x-sync-content-hash"] ?? "",
    state: state === undefined ? undefined : decodeURIComponent(state),
    content,
    traceparent: headers.traceparent
  }
}

const unexpected = ({ status }: HttpClientResponse): RequestFailed =>
  new RequestFailed({ status, error: "UnexpectedAnswer", message: "the answer does not fit" })

const decodeCursor = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ next_after: Schema.NullOr(Schema.String), items: Schema.Number }))
)

const truncated = new RequestFailed({
  status: 200,
  error: "UnexpectedAnswer",
  message: "the stream ended before its last line"
})

const isOk = (status: number): boolean => status >= 200 && status < 300

/** The innermost message: what the system said. */
const causeMessage = (error: Error): string =>
  error.cause instanceof Error ? causeMessage(error.cause) : error.message

/**
 * A client over the platform's HTTP client (`NodeHttpClient.layerUndici`, `FetchHttpClient.layer`, …).
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: ClientOptions): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (platform) => {
    const silent = HttpClient.withTracerPropagation(platform, false)
    const clientFor = ({ headers }: HttpClientRequest.HttpClientRequest) =>
      options.propagateTrace === true && headers.traceparent === undefined ? platform : silent
    const url = options.url.replace(/\/+$/, "")

    const unreachable = (error: HttpClientError): Unreachable =>
      new Unreachable({
        url,
        problem:
          "cause" in error && error.cause instanceof Error
            ? causeMessage(error.cause)
            : (error.description ?? error.reason)
      })

    const text = (response: HttpClientResponse) => Effect.mapError(response.text, unreachable)

    const execute = (
      request: HttpClientRequest.HttpClientRequest,
      accepted: (status: number) => boolean = isOk
    ) =>
      Effect.gen(function* () {
        for (const [argument, value] of request.urlParams) {
          if (!value.isWellFormed()) return yield* new InvalidRequest({ argument, problem: illFormed })
        }
        const authorized =
          options.token === undefined ? request : HttpClientRequest.bearerToken(request, options.token)
        const response = yield* Effect.mapError(clientFor(request).execute(authorized), unreachable)
        return accepted(response.status)
          ? response
          : yield* Effect.fail(errorOf(response.status, yield* text(response)))
      })

    const decoded = <A, I>(response: HttpClientResponse, schema: Schema.Schema<A, I>) =>
      Effect.flatMap(text(response), (body) =>
        Effect.mapError(Schema.decode(Schema.parseJson(schema))(body), () => unexpected(response))
      )

    const get = (path: string, query: Query = {}) =>
      HttpClientRequest.get(`${url}${path}`).pipe(HttpClientRequest.setUrlParams(present(query)))

    const read = <A, I>(path: string, schema: Schema.Schema<A, I>, query?: Query) =>
      Effect.flatMap(execute(get(path, query)), (response) => decoded(response, schema))

    const act = <A, I>(path: string, schema: Schema.Schema<A, I>, body?: unknown) =>
      Effect.flatMap(
        execute(
          body === undefined
            ? HttpClientRequest.post(`${url}${path}`)
            : HttpClientRequest.post(`${url}${path}`).pipe(HttpClientRequest.bodyUnsafeJson(body))
        ),
        (response) => decoded(response, schema)
      )

    const health = (path: string, query?: Query): Effect.Effect<HealthAnswer, ClientError> =>
      Effect.gen(function* () {
        const response = yield* execute(get(path, query), (status) => isOk(status) || status === 503)
        return { ok: isOk(response.status), lifecycle: yield* decoded(response, S.LifecycleBody) }
      })

    const itemUrl = (id: string): Effect.Effect<string, InvalidItem> => {
      const problem = idProblem(id)
      return problem === undefined
        ? Effect.succeed(`${url}/items/${encodeURIComponent(id)}`)
        : Effect.fail(new InvalidItem({ id, field: "id", problem }))
    }

    const writeHeaders = (
      options: DeleteOptions | SubmitOptions,
      version: number | undefined,
      traceparent: string | undefined
    ) => present({ ...preconditions(options), "x-sync-version": version, traceparent })

    const submit = (item: SubmitItem, options: SubmitOptions = {}) =>
      Effect.gen(function* () {
        const target = yield* itemUrl(item.id)
        const content = contentOf(item)
        if ("_tag" in content) return yield* content
        const stateIs = item.state === undefined ? undefined : stateProblem(item.state)
        if (stateIs !== undefined) {
          return yield* new InvalidItem({ id: item.id, field: "state", problem: stateIs })
        }
        const ttl = options.ttl === undefined ? undefined : Math.ceil(Duration.toSeconds(options.ttl))
        const request = HttpClientRequest.put(target).pipe(
          HttpClientRequest.setUrlParams(
            present({
              durability: options.durability,
              sql: options.sql,
              ttl_seconds: ttl
            })
          ),
          HttpClientRequest.bodyUint8Array(
            content,
            item.contentType === "json" ? "application/json" : "application/octet-stream"
          ),
          HttpClientRequest.setHeaders({
            ...writeHeaders(options, item.version, item.traceparent),
            ...(item.state === undefined ? {} : { "x-sync-state": encodeURIComponent(item.state) })
          })
        )
        return receiptOf(yield* decoded(yield* execute(request), S.ReceiptBody))
      })

    const remove = (id: string, options: DeleteOptions = {}) =>
      Effect.gen(function* () {
        const request = HttpClientRequest.del(yield* itemUrl(id)).pipe(
          HttpClientRequest.setUrlParams(present({ durability: options.durability })),
          HttpClientRequest.setHeaders(writeHeaders(options, options.version, options.traceparent))
        )
        const response = yield* execute(request)
        if (response.status !== 204 || response.headers.etag === undefined) return yield* unexpected(response)
        return versionOfEtag(response.headers.etag) ?? 0
      })

    const find = (id: string, options: { readonly verified?: boolean } = {}) =>
      Effect.gen(function* () {
        const request = HttpClientRequest.get(yield* itemUrl(id)).pipe(
          HttpClientRequest.setUrlParams(present({ verified: options.verified }))
        )
        const response = yield* execute(request, (status) => isOk(status) || status === 404)
        if (response.status === 404) {
          const error = errorOf(404, yield* text(response))
          // Another 404 comes from something else than this API and proves nothing.
          return error._tag === "RequestFailed" && error.error === "NotFound"
            ? Option.none()
            : yield* Effect.fail(error)
        }
        const content = yield* Effect.mapError(response.arrayBuffer, unreachable)
        const { "x-sync-content-hash": hash, "x-sync-version": version } = response.headers
        // A page of something else at this address is no item.
        if (hash === undefined || versionProblem(Number(version)) !== undefined) {
          return yield* unexpected(response)
        }
        return Option.some(itemOfResponse(id, response, new Uint8Array(content)))
      })

    const sendBatch = (lines: ReadonlyArray<Buffer>, durability: Durability | undefined) =>
      Effect.gen(function* () {
        const response = yield* execute(
          HttpClientRequest.post(`${url}/items`).pipe(
            HttpClientRequest.setUrlParams(present({ durability })),
            HttpClientRequest.bodyUint8Array(Buffer.concat(lines), "application/x-ndjson")
          )
        )
        const answer = (yield* text(response)).split("\n").filter((line) => line !== "")
        const results = answer.flatMap((line) => resultOf(line) ?? [])
        return results.length === lines.length
          ? results
          : yield* Effect.fail(errorOf(response.status, answer[answer.length - 1] ?? ""))
      })

    const scanPage = (range: ScanRange, limit: number) =>
      Stream.unwrap(
        Effect.map(
          execute(get("/items", { prefix: range.prefix, state: range.state, after: range.after, limit })),
          (response) => {
            const splitter = new LineSplitter(maxLineBytes)
            return Stream.mapError(response.stream, unreachable).pipe(
              Stream.map((chunk) => splitter.push(chunk)),
              Stream.concat(Stream.sync(() => splitter.end())),
              Stream.mapConcat((lines) => lines)
            )
          }
        )
      )

    /** A page, and behind it the pages that its last line leads to. */
    const scan = (range: ScanRange): Stream.Stream<SyncItem, ClientError> =>
      Stream.suspend(() => {
        const limit = Math.min(range.limit ?? pageItems, pageItems)
        let next: { readonly after: string; readonly items: number } | undefined
        let complete = false
        const items = scanPage(range, limit).pipe(
          Stream.mapEffect((line): Effect.Effect<SyncItem | undefined, ClientError> => {
            if (line._tag === "TooLong") return Effect.fail(truncated)
            const item = itemOf(line.bytes)
            if (item !== undefined) return Effect.succeed(item)
            const source = Buffer.from(line.bytes).toString("utf8")
            const cursor = decodeCursor(source)
            if (Option.isNone(cursor)) return Effect.fail(errorOf(200, source))
            complete = true
            const { items, next_after: after } = cursor.value
            if (after !== null) next = { after, items }
            return Effect.succeed(undefined)
          }),
          Stream.filter((item) => item !== undefined)
        )
        const more = Stream.suspend(() => {
          if (!complete) return Stream.fail(truncated)
          const left = range.limit === undefined || next === undefined ? undefined : range.limit - next.items
          return next === undefined || left === 0
            ? Stream.empty
            : scan({ ...range, after: next.after, limit: left })
        })
        return Stream.concat(items, more)
      })

    const letters = (after: number): Stream.Stream<typeof S.DeadLetterBody.Type, ClientError> =>
      Stream.paginateChunkEffect(after, (from) =>
        Effect.map(
          read("/admin/dead-letters", S.DeadLettersBody, { after: from, limit: pageItems }),
          (page) => [Chunk.fromIterable(page.dead_letters), Option.fromNullable(page.next_after)]
        )
      )

    const choice = (sequences: ReadonlyArray<number> | undefined) =>
      sequences === undefined ? { all: true } : { sequences }

    const client: Client = {
      url,
      live: health("/health/live"),
      ready: (operation) => health("/health/ready", { for: operation }),
      startup: health("/health/startup"),
      status: read("/admin/status", StatusBody),
      drain: Effect.map(act("/admin/drain", S.DrainBody), ({ changed }) => changed),
      shutdown: act("/admin/shutdown", S.ShutdownBody),
      flush: Effect.map(act("/admin/flush", S.FlushBody), (body) => ({
        flushed: body.flushed,
        deadLettered: body.dead_lettered,
        pending: body.pending
      })),
      setReadOnly: (readOnly) =>
        Effect.asVoid(act("/admin/readonly", S.ReadOnlyBody, { read_only: readOnly })),
      verify: (options) => act("/admin/verify", S.VerifyBody, options),
      repair: (options) => act("/admin/repair", S.RepairBody, options),
      deadLetters: {
        list: (after = 0) => letters(after),
        retry: (sequences) =>
          Effect.map(
            act("/admin/dead-letters/retry", S.RetriedBody, choice(sequences)),
            ({ retried }) => retried
          ),
        drop: (sequences) =>
          Effect.map(
            act("/admin/dead-letters/drop", S.DroppedBody, choice(sequences)),
            ({ dropped }) => dropped
          )
      },
      metrics: Effect.flatMap(execute(get("/metrics")), text),
      submit,
      submitMany: (items, durability) =>
        Effect.gen(function* () {
          const lines = items.map(batchLine)
          const sent = yield* Effect.forEach(requestsOf(lines.filter(Buffer.isBuffer)), (request) =>
            sendBatch(request, durability)
          )
          const results = sent.flat().values()
          return lines.map(
            (line): SubmitResult =>
              Buffer.isBuffer(line) ? results.next().value! : { _tag: "Rejected", id: line.id, error: line }
          )
        }),
      get: find,
      delete: remove,
      scan,
      merkleRoot: Effect.map(read("/merkle/root", S.RootBody), ({ root }) => root),
      merkleNode: (path, page) =>
        read("/merkle/node", S.NodeBody, {
          path,
          after: page?.after?.name,
          after_kind: page?.after?.kind,
          limit: page?.limit
        }).pipe(
          Effect.asSome,
          Effect.catchIf(
            (error) => error._tag === "RequestFailed" && error.error === "NotFound",
            () => Effect.succeedNone
          )
        ),
      merkleBranches: (path, page) =>
        read("/merkle/branches", S.BranchesBody, { path, after: page?.after, limit: page?.limit }),
      merkleLeaves: (path, page) =>
        read("/merkle/leaves", S.LeavesBody, {
          path,
          after: page?.after,
          up_to: page?.upTo,
          limit: page?.limit
        }),
      merkleSum: (path, { after, upTo }) => read("/merkle/sum", S.SumBody, { path, after, up_to: upTo }),
      merkleParts: (path, { after, upTo }, size) =>
        read("/merkle/parts", S.PartsBody, { path, after, up_to: upTo, size })
    }
    return client
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: ClientOptions): Layer.Layer<HttpSyncClient, never, HttpClient.HttpClient> =>
  Layer.effect(HttpSyncClient, make(options))
