/**
 * Reading request bodies within bounds, as the connection knows them: one that is sent only when asked for, one that
 * broke off. A body that is refused is not destroyed but discarded, so that its sender gets the answer and not a reset
 * connection.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Effect } from "effect"
import { PayloadTooLarge } from "../../EngineError.js"
import { repeatedName } from "../../shared/ndjson/JsonMembers.js"
import { join } from "../../shared/Pieces.js"
import {
  invalidBody,
  invalidRequest,
  type RequestFailed,
  refusal,
  unsupportedMediaType
} from "../api/RequestFailed.js"

const reluctant = new WeakMap<IncomingMessage, ServerResponse>()
const broken = new WeakMap<IncomingMessage, RequestFailed>()

/** Notes that the client waits for `100 Continue` before it sends the body. */
export const awaitsContinue = (source: IncomingMessage, response: ServerResponse): void => {
  reluctant.set(source, response)
}

/** Whether the body has not been asked for: it may come all the same, or never. */
export const isBodyUncertain = (source: IncomingMessage): boolean => reluctant.has(source)

/** Ends a body that cannot come to its end, and tells who reads it. */
export const breakBody = (source: IncomingMessage, problem: RequestFailed): void => {
  broken.set(source, problem)
  if (source.listenerCount("error") > 0) source.emit("error", problem)
}

/** The sender disconnected, as far as the connection knows. */
const brokenOff = refusal(400, "InvalidBody", "the body ended before it was complete")

/** Waits until there is something to read, or the end. Takes nothing, so that giving up loses nothing. */
export const readable = (source: IncomingMessage): Effect.Effect<void, RequestFailed> =>
  Effect.async((resume) => {
    if (source.readableEnded || source.readableLength > 0) return resume(Effect.void)
    const fail = () => {
      stop()
      resume(Effect.fail(broken.get(source) ?? brokenOff))
    }
    const stop = () => {
      source.off("readable", onReadable).off("end", onReadable).off("error", fail).off("close", fail)
    }
    const onReadable = () => {
      stop()
      resume(Effect.void)
    }
    if (broken.has(source) || source.destroyed) return fail()
    reluctant.get(source)?.writeContinue()
    reluctant.delete(source)
    source.on("readable", onReadable).on("end", onReadable).on("error", fail).on("close", fail)
    return Effect.sync(stop)
  })

/** Lets the sender finish without keeping anything. */
export const discard = (source: IncomingMessage): void => {
  source.on("error", () => {}).resume()
}

/** How many bytes of bodies the server holds at once, over all requests. */
export interface BodyBudget {
  used: number
  readonly max: number
}

/** The 503 for a server whose budget is used up. */
export const overBudget = (): RequestFailed =>
  refusal(503, "Overloaded", "too many bytes of request bodies are in flight; try again", {
    headers: { "retry-after": "1" },
    fields: { retry_after_ms: 1_000 }
  })

/**
 * What is stored are the bytes that came: content codings are not undone, and a part of something (which nobody here
 * could put together) is not taken for the whole (RFC 9110, section 14.5).
 */
export const requirePlain = (source: IncomingMessage): Effect.Effect<void, RequestFailed> => {
  const { "content-encoding": coding, "content-range": range } = source.headers
  if (range !== undefined) {
    return Effect.fail(invalidRequest("Content-Range", "is not supported; send the whole body without it"))
  }
  return coding === undefined || coding.trim().toLowerCase() === "identity"
    ? Effect.void
    : Effect.fail(unsupportedMediaType("Content-Encoding", coding, "the body without content coding"))
}

/** The media type without parameters, in lower case. */
export const mediaTypeOf = (source: IncomingMessage): string | undefined =>
  source.headers["content-type"]?.split(";")[0]?.trim().toLowerCase()

interface BodyOptions {
  readonly budget: BodyBudget
  readonly maxBytes: number
  readonly tooLarge: (bytes: number) => PayloadTooLarge
}

/** Reads to the end; `taken` holds what counts against the budget. */
const collect = Effect.fnUntraced(function* (
  source: IncomingMessage,
  { budget, maxBytes, tooLarge }: BodyOptions,
  taken: { bytes: number }
) {
  const parts: Array<Buffer> = []
  for (;;) {
    const part = source.read() as Buffer | null
    if (part !== null) {
      taken.bytes += part.length
      budget.used += part.length
      if (taken.bytes > maxBytes) return yield* tooLarge(taken.bytes)
      if (budget.used > budget.max) return yield* overBudget()
      parts.push(part)
    } else if (source.readableEnded) return parts
    else yield* readable(source)
  }
})

/**
 * Reads a whole body of at most `maxBytes` and hands it to `use`; its bytes count against the budget until `use`
 * is done. A sender that disconnects ends the reading with a failure, so `use` only ever sees a whole body.
 */
export const withBody = <A, E, R>(
  source: IncomingMessage,
  options: BodyOptions,
  use: (body: Uint8Array) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | PayloadTooLarge | RequestFailed, R> =>
  Effect.suspend(() => {
    const taken = { bytes: 0 }
    const declared = Number(source.headers["content-length"] ?? 0)
    // Node itself lets a body go of which nothing was read.
    if (declared > options.maxBytes) return Effect.fail(options.tooLarge(declared))
    return collect(source, options, taken).pipe(
      Effect.tapError(() => Effect.sync(() => discard(source))),
      Effect.flatMap(join),
      Effect.flatMap(use),
      Effect.ensuring(
        Effect.sync(() => {
          options.budget.used -= taken.bytes
        })
      )
    )
  })

const maxJsonBytes = 1024 * 1024

const jsonTooLarge = (bytes: number): PayloadTooLarge =>
  new PayloadTooLarge({ id: "", bytes, maxBytes: maxJsonBytes, limit: "JSON bodies" })

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** No body that is taken nests deeper; decoding recurses. */
const maxDepth = 16

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

const parseJson = Effect.fnUntraced(function* (body: Uint8Array) {
  const text = yield* Effect.try({
    try: () => utf8.decode(body),
    catch: () => invalidBody("is not valid UTF-8")
  })
  const value = yield* Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) => invalidBody(`is not valid JSON: ${(cause as SyntaxError).message}`)
  })
  if (isDeeper(value, maxDepth)) return yield* invalidBody(`nests more than ${maxDepth} levels`)
  const twice = repeatedName(Buffer.from(text))
  return twice === undefined ? value : yield* invalidBody(`has ${JSON.stringify(twice.slice(0, 80))} twice`)
})

/**
 * Reads a small JSON body (at most 1 MiB). 415 unless the request says that it is JSON: a browser sends other types
 * across origins without asking first. A body that may be left out is `{}` then.
 */
export const jsonBody = Effect.fnUntraced(function* (
  source: IncomingMessage,
  budget: BodyBudget,
  presence: "required" | "optional"
) {
  const { "content-length": length, "transfer-encoding": encoding } = source.headers
  const isAbsent = encoding === undefined && (length === undefined || length === "0")
  if (isAbsent && presence === "optional") return {} as unknown
  const type = mediaTypeOf(source)
  if (type !== "application/json") {
    return yield* unsupportedMediaType("Content-Type", type ?? "", "application/json")
  }
  yield* requirePlain(source)
  return yield* withBody(source, { budget, maxBytes: maxJsonBytes, tooLarge: jsonTooLarge }, parseJson)
})
