/**
 * Reading request bodies within bounds. A body that is refused is not destroyed but discarded, so that its
 * sender gets the answer and not a reset connection.
 */
import type { IncomingMessage } from "node:http"
import { Effect, Schema } from "effect"
import { PayloadTooLarge } from "../../EngineError.js"
import { repeatedName } from "../../shared/ndjson/JsonMembers.js"
import { join } from "../../shared/Pieces.js"
import { HttpProblem, invalidBody, invalidRequest, unsupportedMediaType } from "../api/HttpProblem.js"
import { askForBody, bodyProblem, isBroken } from "../node/BodySource.js"

/** How many bytes of bodies the server holds at once, over all requests. */
export interface BodyBudget {
  used: number
  readonly max: number
}

/** The 503 for a server whose budget is used up. */
export const overBudget = (): HttpProblem =>
  new HttpProblem({
    status: 503,
    error: "Overloaded",
    message: "too many bytes of request bodies are in flight; try again",
    headers: { "retry-after": "1" },
    fields: { retry_after_ms: 1_000 }
  })

/** The declared length of a body, or `undefined` when it is not declared. */
export const declaredLength = (source: IncomingMessage): number | undefined => {
  const header = source.headers["content-length"]
  return header === undefined ? undefined : Number(header)
}

/**
 * What is stored are the bytes that came: content codings are not undone, and a part of something (which nobody here
 * could put together) is not taken for the whole (RFC 9110, section 14.5).
 */
export const requirePlain = (source: IncomingMessage): Effect.Effect<void, HttpProblem> => {
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

const collect = (
  source: IncomingMessage,
  budget: BodyBudget,
  maxBytes: number,
  tooLarge: (bytes: number) => PayloadTooLarge | HttpProblem,
  taken: { bytes: number }
): Effect.Effect<ReadonlyArray<Uint8Array>, PayloadTooLarge | HttpProblem> =>
  Effect.async((resume) => {
    const declared = declaredLength(source)
    if (declared !== undefined && declared > maxBytes) {
      source.resume()
      return resume(Effect.fail(tooLarge(declared)))
    }
    if (source.readableEnded) return resume(Effect.succeed([]))
    if (isBroken(source)) return resume(Effect.fail(bodyProblem(source)))
    askForBody(source)
    const parts: Array<Buffer> = []
    const stop = () => {
      source.off("data", onData).off("end", onEnd).off("error", onClose).off("close", onClose)
    }
    const refuse = (problem: PayloadTooLarge | HttpProblem) => {
      stop()
      source.on("error", ignore)
      source.resume()
      resume(Effect.fail(problem))
    }
    const onData = (part: Buffer) => {
      taken.bytes += part.length
      budget.used += part.length
      if (taken.bytes > maxBytes) return refuse(tooLarge(taken.bytes))
      if (budget.used > budget.max) return refuse(overBudget())
      parts.push(part)
    }
    const onEnd = () => {
      stop()
      resume(Effect.succeed(parts))
    }
    const onClose = () => {
      stop()
      source.on("error", ignore)
      resume(Effect.fail(bodyProblem(source)))
    }
    source.on("data", onData).on("end", onEnd).on("error", onClose).on("close", onClose)
    return Effect.sync(stop)
  })

const ignore = () => {}

/**
 * Reads a whole body of at most `maxBytes` and hands it to `use`; its bytes count against the budget until `use`
 * is done. A sender that disconnects ends the reading with a failure, so `use` only ever sees a whole body.
 */
export const withBody = <A, E, R>(
  source: IncomingMessage,
  options: {
    readonly budget: BodyBudget
    readonly maxBytes: number
    readonly tooLarge: (bytes: number) => PayloadTooLarge | HttpProblem
  },
  use: (body: Uint8Array) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | PayloadTooLarge | HttpProblem, R> =>
  Effect.suspend(() => {
    const { budget } = options
    const taken = { bytes: 0 }
    return collect(source, budget, options.maxBytes, options.tooLarge, taken).pipe(
      Effect.flatMap(join),
      Effect.flatMap(use),
      Effect.ensuring(
        Effect.sync(() => {
          budget.used -= taken.bytes
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

const parseJson = (body: Uint8Array): Effect.Effect<unknown, HttpProblem> =>
  Effect.suspend(() => {
    let text: string
    let value: unknown
    try {
      text = utf8.decode(body)
    } catch {
      return Effect.fail(invalidBody("is not valid UTF-8"))
    }
    try {
      value = JSON.parse(text)
    } catch (cause) {
      return Effect.fail(invalidBody(`is not valid JSON: ${(cause as SyntaxError).message}`))
    }
    if (isDeeper(value, maxDepth)) return Effect.fail(invalidBody(`nests more than ${maxDepth} levels`))
    const twice = repeatedName(Buffer.from(text))
    return twice === undefined
      ? Effect.succeed(value)
      : Effect.fail(invalidBody(`has ${JSON.stringify(twice.slice(0, 80))} twice`))
  })

/** The decoder quotes what it got, which can be the whole body. */
const maxMessageLength = 500

/**
 * Reads a small JSON body (at most 1 MiB) and decodes it. 415 unless the request says that it is JSON: a browser
 * sends other types across origins without asking first.
 */
export const jsonBody = <A, I>(
  source: IncomingMessage,
  budget: BodyBudget,
  schema: Schema.Schema<A, I>
): Effect.Effect<A, PayloadTooLarge | HttpProblem> =>
  Effect.gen(function* () {
    const type = mediaTypeOf(source)
    if (type !== "application/json") {
      return yield* Effect.fail(unsupportedMediaType("Content-Type", type ?? "", "application/json"))
    }
    yield* requirePlain(source)
    const value = yield* withBody(
      source,
      { budget, maxBytes: maxJsonBytes, tooLarge: jsonTooLarge },
      parseJson
    )
    return yield* Effect.mapError(Schema.decodeUnknown(schema)(value), (error) =>
      invalidBody(`does not fit: ${error.message.slice(0, maxMessageLength)}`)
    )
  })

/** As {@link jsonBody}; a request without a body has the default. */
export const optionalJsonBody = <A, I>(
  source: IncomingMessage,
  budget: BodyBudget,
  schema: Schema.Schema<A, I>,
  otherwise: A
): Effect.Effect<A, PayloadTooLarge | HttpProblem> => {
  const { "content-length": length, "transfer-encoding": encoding } = source.headers
  return encoding === undefined && (length === undefined || length === "0")
    ? Effect.succeed(otherwise)
    : jsonBody(source, budget, schema)
}
