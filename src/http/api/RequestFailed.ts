/** Faults of a request that HTTP itself defines, next to the engine's own errors. */
import { Data } from "effect"

/**
 * The request cannot be served as it stands, and none of the engine's errors says so; a client also fails with it
 * when what it got is no answer of this API.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestFailed extends Data.TaggedError("RequestFailed")<{
  readonly status: number
  /** The stable name that a caller can compare, such as `Unauthorized`. */
  readonly error: string
  readonly message: string
  /** Headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>
  /** Further fields of the body, in snake_case. */
  readonly fields?: Readonly<Record<string, unknown>>
}> {}

export const refusal = (
  status: number,
  error: string,
  message: string,
  more: Pick<RequestFailed, "headers" | "fields"> = {}
): RequestFailed => new RequestFailed({ status, error, message, ...more })

/** A 400 that names the argument at fault. */
export const invalidRequest = (argument: string, problem: string): RequestFailed =>
  refusal(400, "InvalidRequest", `${argument} ${problem}`, { fields: { argument, problem } })

/** A 400 for a body that is not what the route takes. */
export const invalidBody = (problem: string): RequestFailed =>
  refusal(400, "InvalidBody", `the body ${problem}`, { fields: { problem } })

/** A 400 for what is no request at all; where the next one begins is not certain. */
export const malformed = (message: string): RequestFailed =>
  refusal(400, "MalformedRequest", message, { headers: { connection: "close" } })

/** A 404 for an item or tree node that was proven absent. */
export const notFound = (what: "id" | "path", name: string): RequestFailed => {
  const absent = what === "id" ? "no item" : "no live item below"
  return refusal(404, "NotFound", `${absent} ${JSON.stringify(name)}`, { fields: { [what]: name } })
}

/** A 415 that says what would be accepted. */
export const unsupportedMediaType = (header: string, value: string, accepted: string): RequestFailed => {
  const message = `${header} ${JSON.stringify(value.slice(0, 100))} is not supported; send ${accepted}`
  return refusal(415, "UnsupportedMediaType", message, { fields: { header, accepted } })
}
