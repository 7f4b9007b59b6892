/**
 * A backend over a running daemon.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { InvalidItem, type WriteError } from "../EngineError.js"
import type { FlushBody } from "../http/ApiSchemas.js"
import { versionOfEtag } from "../http/Preconditions.js"
import type { Durability, Receipt, SubmitResult } from "../SyncEngine.js"
import type { SyncItem } from "../SyncItem.js"
import type {
  Backend,
  BackendError,
  DeadLetterRow,
  ReportDocument,
  StatusDocument,
  VerifyDocument,
  WriteOptions
} from "./Backend.js"
import { type CliError, failed } from "./CliError.js"
import type { IngestItem } from "./IngestLine.js"
import { membersOf } from "./JsonMembers.js"
import { LineSplitter, type SplitLine } from "./LineSplitter.js"
import { isBelow } from "./LocalBackend.js"
import * as RemoteClient from "./RemoteClient.js"

const pageSize = 1_000
/** The longest line that is taken from a daemon: its largest content in base64 with room for the rest. */
const maxLineBytes = 512 * 1024 * 1024

const pathOf = (id: string): string => `/items/${encodeURIComponent(id)}`

const preconditions = (expectedVersion: number | undefined): Readonly<Record<string, string | undefined>> =>
  expectedVersion === undefined
    ? {}
    : expectedVersion === 0
      ? { "if-none-match": "*" }
      : { "if-match": `"${expectedVersion}"` }

interface ReceiptDocument {
  readonly id: string
  readonly version: number
  readonly content_hash: string
  readonly durability: Durability
  readonly previous_version: number | null
}

const receiptOf = (document: ReceiptDocument): Receipt => ({
  id: document.id,
  version: document.version,
  contentHash: document.content_hash,
  durability: document.durability,
  previousVersion: document.previous_version ?? undefined
})

const bytesOf = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? new TextEncoder().encode(content) : content

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** JSON contents travel as they stand; a line ingested from a file holds no line break. */
const batchLine = ({ item, ttlSeconds }: IngestItem): Buffer => {
  const head = JSON.stringify({
    id: item.id,
    version: item.version,
    state: item.state,
    content_type: item.contentType,
    ttl_seconds: ttlSeconds
  }).slice(0, -1)
  const content = view(bytesOf(item.content))
  const embeds = item.contentType === "json" && !content.includes(0x0a) && !content.includes(0x0d)
  return embeds
    ? Buffer.concat([Buffer.from(`${head},"content":`), content, Buffer.from("}\n")])
    : Buffer.from(`${head},"content_base64":"${content.toString("base64")}"}\n`)
}

/** A line's result; none for the summary. A line that speaks of no item ends the batch with an error. */
const resultOf = (
  document: Readonly<Record<string, unknown>>,
  id: string
): SubmitResult | BackendError | undefined => {
  if (document.status === "acknowledged") {
    return { _tag: "Acknowledged", receipt: receiptOf(document as unknown as ReceiptDocument) }
  }
  if (typeof document.error !== "string") return undefined
  const error = RemoteClient.errorOf(document as unknown as RemoteClient.ErrorDocument)
  if (document.status !== "rejected") return error
  return error._tag === "CliError"
    ? { _tag: "Rejected", id, error: new InvalidItem({ id, field: "line", problem: error.message }) }
    : { _tag: "Rejected", id, error: error as WriteError }
}

const itemOf = (bytes: Uint8Array, document: Readonly<Record<string, unknown>>): SyncItem => {
  const source = membersOf(bytes).find(({ name }) => name === "content")
  return {
    id: document.id as string,
    version: document.version as number,
    updatedAt: document.updated_at as number,
    contentType: document.content_type as SyncItem["contentType"],
    contentHash: document.content_hash as string,
    state: (document.state as string | null) ?? undefined,
    content:
      source === undefined
        ? new Uint8Array(Buffer.from((document.content_base64 as string | undefined) ?? "", "base64"))
        : new Uint8Array(bytes.subarray(source.start, source.end)),
    traceparent: undefined
  }
}

const decodeState = (header: string | undefined): string | undefined =>
  header === undefined ? undefined : decodeURIComponent(header)

/** @since 0.1.0 @category constructors */
export const make = (target: RemoteClient.Target): Effect.Effect<Backend, never, HttpClient.HttpClient> =>
  Effect.map(RemoteClient.make(target), (client): Backend => {
    const post = (path: string, body?: unknown) =>
      client.json({
        method: "POST",
        path,
        ...(body === undefined
          ? {}
          : { body: { bytes: new TextEncoder().encode(JSON.stringify(body)), type: "application/json" } })
      })

    /** The lines of a response, parsed. */
    const linesOf = (response: HttpClientResponse.HttpClientResponse) => {
      const splitter = new LineSplitter(maxLineBytes)
      const parse = (lines: ReadonlyArray<SplitLine>) =>
        Effect.try({
          try: () =>
            Chunk.unsafeFromArray(
              lines.map((line) => {
                if (line._tag === "TooLong") throw new Error(`a line of ${line.length} bytes`)
                return {
                  bytes: line.bytes,
                  document: JSON.parse(view(line.bytes).toString("utf8")) as Readonly<Record<string, unknown>>
                }
              })
            ),
          catch: (error) =>
            failed(`the daemon at ${target.url} sent what cannot be read: ${(error as Error).message}`)
        })
      return response.stream.pipe(
        Stream.mapError(client.broken),
        Stream.mapEffect((chunk) => parse(splitter.push(chunk))),
        Stream.concat(Stream.fromEffect(Effect.suspend(() => parse(splitter.end())))),
        Stream.flattenChunks
      )
    }

    const submitMany: Backend["submitMany"] = (items, durability) =>
      Effect.gen(function* () {
        const response = yield* client.request({
          method: "POST",
          path: "/items",
          query: { durability },
          body: { bytes: Buffer.concat(items.map(batchLine)), type: "application/x-ndjson" }
        })
        const results: Array<SubmitResult> = []
        let ending: BackendError | undefined
        yield* Stream.runForEach(linesOf(response), ({ document }) =>
          Effect.sync(() => {
            const id = items[results.length]?.item.id
            if (id === undefined) return
            const result = resultOf(document, id)
            if (result === undefined) return
            if (result._tag === "Acknowledged" || result._tag === "Rejected") results.push(result)
            else ending = result
          })
        )
        const cut = ending ?? failed(`the daemon at ${target.url} broke off its answer`)
        if (results.length === items.length) return results
        // What was answered counts; the rest got the error that ended the batch.
        if (results.length === 0 || cut._tag === "CliError") return yield* Effect.fail(cut)
        for (const { item } of items.slice(results.length)) {
          results.push({ _tag: "Rejected", id: item.id, error: cut as WriteError })
        }
        return results
      }).pipe(Effect.scoped)

    const page = (prefix: string, state: string | undefined, after: string | undefined, limit: number) =>
      Effect.gen(function* () {
        const response = yield* client.request({
          method: "GET",
          path: "/items",
          query: { prefix: state === undefined ? prefix : undefined, state, after, limit: String(limit) }
        })
        const items: Array<SyncItem> = []
        let nextAfter: string | undefined
        let ended = false
        yield* Stream.runForEach(linesOf(response), ({ bytes, document }) => {
          if (typeof document.error === "string") {
            return Effect.fail(RemoteClient.errorOf(document as RemoteClient.ErrorDocument))
          }
          if ("next_after" in document) {
            nextAfter = (document.next_after as string | null) ?? undefined
            ended = true
          } else items.push(itemOf(bytes, document))
          return Effect.void
        })
        if (!ended) return yield* failed(`the daemon at ${target.url} broke off its answer`)
        return { items, nextAfter }
      }).pipe(Effect.scoped)

    const scan: Backend["scan"] = ({ limit, prefix, state }) => {
      const pages = Stream.paginateChunkEffect(undefined as string | undefined, (after) =>
        Effect.map(
          page(prefix, state, after, Math.min(limit ?? pageSize, pageSize)),
          ({ items, nextAfter }) =>
            [Chunk.unsafeFromArray(items), Option.fromNullable<string | undefined>(nextAfter)] as const
        )
      )
      const all = state === undefined ? pages : Stream.filter(pages, ({ id }) => isBelow(id, prefix))
      return limit === undefined ? all : Stream.take(all, limit)
    }

    const get: Backend["get"] = (id) =>
      Effect.gen(function* () {
        const response = yield* client.request({ method: "GET", path: pathOf(id) }, [404])
        const body = yield* Effect.mapError(response.arrayBuffer, client.broken)
        if (response.status === 404) return yield* absence(new Uint8Array(body))
        const { headers } = response
        return Option.some<SyncItem>({
          id,
          version: Number(headers["x-sync-version"]),
          updatedAt: Number(headers["x-sync-updated-at"]),
          contentType: headers["content-type"]?.startsWith("application/json") === true ? "json" : "binary",
          contentHash: headers["x-sync-content-hash"] ?? "",
          state: decodeState(headers["x-sync-state"]),
          content: new Uint8Array(body),
          traceparent: headers.traceparent
        })
      }).pipe(Effect.scoped)

    /** Only the daemon's own word counts as absence; another server's 404 does not. */
    const absence = (body: Uint8Array): Effect.Effect<Option.Option<SyncItem>, CliError> => {
      const text = view(body).toString("utf8")
      return text.includes('"NotFound"')
        ? Effect.succeedNone
        : Effect.fail(
            failed(`${target.url} answers with status 404`, "is this the address of a sync-engine daemon?")
          )
    }

    const writeQuery = ({ durability }: WriteOptions) => ({ durability })

    return {
      where: target.url,
      submitMany,
      submit: (item, options) =>
        Effect.map(
          client.json({
            method: "PUT",
            path: pathOf(item.id),
            query: writeQuery(options),
            headers: {
              ...preconditions(options.expectedVersion),
              "x-sync-version": item.version === undefined ? undefined : String(item.version),
              "x-sync-state": item.state === undefined ? undefined : encodeURIComponent(item.state)
            },
            body: {
              bytes: bytesOf(item.content),
              type: item.contentType === "json" ? "application/json" : "application/octet-stream"
            }
          }),
          (body) => receiptOf(body as ReceiptDocument)
        ),
      get,
      delete: (id, options) =>
        client
          .request({
            method: "DELETE",
            path: pathOf(id),
            query: writeQuery(options),
            headers: preconditions(options.expectedVersion)
          })
          .pipe(
            Effect.map(({ headers }) => Option.fromNullable(versionOfEtag(headers.etag ?? ""))),
            Effect.scoped
          ),
      scan,
      status: Effect.map(
        client.json({ method: "GET", path: "/admin/status" }),
        (body) => body as StatusDocument
      ),
      verify: Effect.map(post("/admin/verify"), (body) => body as VerifyDocument),
      flush: Effect.map(post("/admin/flush"), (body) => body as typeof FlushBody.Type),
      root: Effect.map(
        client.json({ method: "GET", path: "/merkle/root" }),
        (body) => (body as { readonly root: string }).root
      ),
      drain: Effect.map(post("/admin/drain"), (body) => (body as { readonly changed: boolean }).changed),
      shutdown: Effect.map(post("/admin/shutdown"), (body) => body as ReportDocument),
      deadLetters: {
        list: Stream.paginateChunkEffect(0, (after) =>
          Effect.map(
            client.json({
              method: "GET",
              path: "/admin/dead-letters",
              query: { after: String(after), limit: String(pageSize) }
            }),
            (body) => {
              const { dead_letters, next_after } = body as {
                readonly dead_letters: ReadonlyArray<DeadLetterRow>
                readonly next_after: number | null
              }
              return [Chunk.unsafeFromArray([...dead_letters]), Option.fromNullable(next_after)] as const
            }
          )
        ),
        retry: (sequences) =>
          Effect.map(
            post("/admin/dead-letters/retry", sequences === undefined ? { all: true } : { sequences }),
            (body) => (body as { readonly retried: number }).retried
          ),
        drop: (sequences) =>
          Effect.map(
            post("/admin/dead-letters/drop", sequences === undefined ? { all: true } : { sequences }),
            (body) => (body as { readonly dropped: number }).dropped
          )
      }
    }
  })
