/** Faults of a request that HTTP itself defines, next to the engine's own errors. */
import { Data } from "effect"

/** A request that cannot be served as it stands, with the status that says so. */
export class HttpProblem extends Data.TaggedError("HttpProblem")<{
  readonly status: number
  /** The stable name a client can compare, such as `UnsupportedMediaType`. */
  readonly error: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
  /** Further fields of the body, in snake_case. */
  readonly fields?: Readonly<Record<string, unknown>>
}> {}

/** A 400 that names the argument at fault. */
export const invalidRequest = (argument: string, problem: string): HttpProblem =>
  new HttpProblem({
    status: 400,
    error: "InvalidRequest",
    message: `${argument} ${problem}`,
    fields: { argument, problem }
  })

/** A 400 for a body that is not what the route takes. */
export const invalidBody = (problem: string): HttpProblem =>
  new HttpProblem({ status: 400, error: "InvalidBody", message: `the body ${problem}`, fields: { problem } })

/** A 404 for an item or tree node that was proven absent. */
export const notFound = (what: "id" | "path", name: string): HttpProblem =>
  new HttpProblem({
    status: 404,
    error: "NotFound",
    message: what === "id" ? `no item ${JSON.stringify(name)}` : `no live item below ${JSON.stringify(name)}`,
    fields: { [what]: name }
  })

/** A 415 that says what would be accepted. */
export const unsupportedMediaType = (header: string, value: string, accepted: string): HttpProblem =>
  new HttpProblem({
    status: 415,
    error: "UnsupportedMediaType",
    message: `${header} ${JSON.stringify(value.slice(0, 100))} is not supported; send ${accepted}`,
    fields: { header, accepted }
  })
