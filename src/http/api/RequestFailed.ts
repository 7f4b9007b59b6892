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

/** A 400 that names the argument at fault. */
export const invalidRequest = (argument: string, problem: string): RequestFailed =>
  new RequestFailed({
    status: 400,
    error: "InvalidRequest",
    message: `${argument} ${problem}`,
    fields: { argument, problem }
  })

/** A 400 for a body that is not what the route takes. */
export const invalidBody = (problem: string): RequestFailed =>
  new RequestFailed({
    status: 400,
    error: "InvalidBody",
    message: `the body ${problem}`,
    fields: { problem }
  })

/** A 400 for what is no request at all; where the next one begins is not certain. */
export const malformed = (message: string): RequestFailed =>
  new RequestFailed({ status: 400, error: "MalformedRequest", message, headers: { connection: "close" } })

/** A 404 for an item or tree node that was proven absent. */
export const notFound = (what: "id" | "path", name: string): RequestFailed =>
  new RequestFailed({
    status: 404,
    error: "NotFound",
    message: what === "id" ? `no item ${JSON.stringify(name)}` : `no live item below ${JSON.stringify(name)}`,
    fields: { [what]: name }
  })

/** A 415 that says what would be accepted. */
export const unsupportedMediaType = (header: string, value: string, accepted: string): RequestFailed =>
  new RequestFailed({
    status: 415,
    error: "UnsupportedMediaType",
    message: `${header} ${JSON.stringify(value.slice(0, 100))} is not supported; send ${accepted}`,
    fields: { header, accepted }
  })
