/**
 * Reading request bodies within bounds. A body that is refused is not destroyed but discarded, so that its
 * sender gets the answer and not a reset connection.
 *
 * @since 0.1.0
 */
import type { IncomingMessage } from "node:http"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { PayloadTooLarge } from "../EngineError.js"
import { askForBody, bodyProblem, isBroken } from "./BodySource.js"
import { HttpProblem, invalidBody, unsupportedMediaType } from "./HttpProblem.js"

/**
 * How many bytes of bodies the server holds at once, over all requests.
 *
 * @since 0.1.0
 * @category models
 */
export interface BodyBudget {
  used: number
  readonly max: number
}

/** The 503 for a server whose budget is used up. @since 0.1.0 @category constructors */
export const overBudget = (): HttpProblem =>
  new HttpProblem({
    status: 503,
    error: "Overloaded",
    message: "too many bytes of request bodies are in flight; try again",
    headers: { "retry-after": "1" },
    fields: { retry_after_ms: 1_000 }
  })

/** The declared length of a body, or `undefined` when it is not declared. @since 0.1.0 @category functions */
export const declaredLength = (source: IncomingMessage): number | undefined => {
  const header = source.headers["content-length"]
  return header === undefined ? undefined : Number(header)
}

/** Content codings are not undone: what is stored are the bytes that came. @since 0.1.0 @category functions */
export const requireIdentity = (source: IncomingMessage): Effect.Effect<void, HttpProblem> => {
  const coding = source.headers["content-encoding"]
  return coding === undefined || coding.trim().toLowerCase() === "identity"
    ? Effect.void
    : Effect.fail(unsupportedMediaType("Content-Encoding", coding, "the body without content coding"))
}

/** The media type without parameters, in lower case. @since 0.1.0 @category functions */
export const mediaTypeOf = (source: IncomingMessage): string | undefined =>
  source.headers["content-type"]?.split(";")[0]?.trim().toLowerCase()

const collect = (
  source: IncomingMessage,
  budget: BodyBudget,
  maxBytes: number,
  tooLarge: (bytes: number) => PayloadTooLarge | HttpProblem,
  taken: { bytes: number }
): Effect.Effect<Uint8Array, PayloadTooLarge | HttpProblem> =>
  Effect.async((resume) => {
    const declared = declaredLength(source)
    if (declared !== undefined && declared > maxBytes) {
      source.resume()
      return resume(Effect.fail(tooLarge(declared)))
    }
    if (source.readableEnded) return resume(Effect.succeed(new Uint8Array(0)))
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
      resume(Effect.succeed(Buffer.concat(parts, taken.bytes)))
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
 *
 * @since 0.1.0
 * @category combinators
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
  Effect.try({
    try: () => JSON.parse(utf8.decode(body)) as unknown,
    catch: (cause) =>
      cause instanceof SyntaxError
        ? invalidBody(`is not valid JSON: ${cause.message}`)
        : invalidBody("is not valid UTF-8")
  }).pipe(
    Effect.filterOrFail(
      (value) => !isDeeper(value, maxDepth),
      () => invalidBody(`nests more than ${maxDepth} levels`)
    )
  )

/** The decoder quotes what it got, which can be the whole body. */
const maxMessageLength = 500

/**
 * Reads a small JSON body (at most 1 MiB) and decodes it. 415 unless the request says that it is JSON: a browser
 * sends other types across origins without asking first.
 *
 * @since 0.1.0
 * @category combinators
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
    yield* requireIdentity(source)
    const value = yield* withBody(
      source,
      { budget, maxBytes: maxJsonBytes, tooLarge: jsonTooLarge },
      parseJson
    )
    return yield* Effect.mapError(Schema.decodeUnknown(schema)(value), (error) =>
      invalidBody(`does not fit: ${error.message.slice(0, maxMessageLength)}`)
    )
  })

/**
 * As {@link jsonBody}; a request without a body has the default.
 *
 * @since 0.1.0
 * @category combinators
 */
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
