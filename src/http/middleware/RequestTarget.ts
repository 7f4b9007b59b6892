/** Request targets: taken apart strictly, before the router guesses. Pure. */
import { Either } from "effect"
import { HttpProblem, invalidRequest } from "../api/HttpProblem.js"

/** A request target in origin form, decoded. */
export interface RequestTarget {
  /** The segments between the slashes, percent-decoded, without the leading empty one. */
  readonly segments: ReadonlyArray<string>
  /** The same target, encoded in the one way every router reads alike. */
  readonly canonical: string
  /** The names in the query, as often as they stand there. */
  readonly parameters: ReadonlyArray<string>
}

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/**
 * Takes a target apart. Refused are absolute and authority forms, fragments, and percent-encoding that is not
 * UTF-8, in path and query.
 */
export const parseTarget = (url: string): Either.Either<RequestTarget, HttpProblem> => {
  if (!url.startsWith("/"))
    return Either.left(invalidRequest("the request target", "must be a path, such as /items/a"))
  if (url.includes("#"))
    return Either.left(invalidRequest("the request target", "holds a # that is not encoded"))
  const mark = url.indexOf("?")
  const path = mark === -1 ? url : url.slice(0, mark)
  const query = mark === -1 ? "" : url.slice(mark)
  if (decode(query) === undefined)
    return Either.left(invalidRequest("the query", "has invalid percent-encoding"))
  const segments: Array<string> = []
  for (const raw of path.slice(1).split("/")) {
    const segment = decode(raw)
    if (segment === undefined) return Either.left(invalidRequest("the path", "has invalid percent-encoding"))
    segments.push(segment)
  }
  return Either.right({
    segments,
    canonical: `/${segments.map(encodeURIComponent).join("/")}${query}`,
    parameters: [...new URLSearchParams(query).keys()]
  })
}

/** A route as its method, its segments (one that starts with `:` stands for any) and its query. */
export interface RoutePattern {
  readonly method: string
  readonly segments: ReadonlyArray<string>
  readonly parameters: ReadonlySet<string>
}

const matches = (pattern: RoutePattern, segments: ReadonlyArray<string>): boolean =>
  pattern.segments.length === segments.length &&
  pattern.segments.every((part, index) => part.startsWith(":") || part === segments[index])

/** Whether a route serves a method; `GET` brings `HEAD` along. */
const serves = (pattern: RoutePattern, method: string): boolean =>
  pattern.method === method || (pattern.method === "GET" && method === "HEAD")

const notAllowed = (patterns: ReadonlyArray<RoutePattern>, method: string): HttpProblem => {
  const methods = patterns.flatMap((pattern) =>
    pattern.method === "GET" ? ["GET", "HEAD"] : [pattern.method]
  )
  const allowed = [...new Set(methods)].sort()
  return new HttpProblem({
    status: 405,
    error: "MethodNotAllowed",
    message: `this path does not take ${method}; it takes ${allowed.join(", ")}`,
    headers: { allow: allowed.join(", ") },
    fields: { allowed }
  })
}

/**
 * Why no route takes a request: there is no such path, the path takes other methods, or the query holds what the
 * route does not know or a parameter twice.
 */
export const routeProblem = (
  routes: ReadonlyArray<RoutePattern>,
  method: string,
  { parameters, segments }: RequestTarget
): HttpProblem | undefined => {
  const ofPath = routes.filter((pattern) => matches(pattern, segments))
  if (ofPath.length === 0) {
    const message = "there is no such route; GET /docs lists them"
    return new HttpProblem({ status: 404, error: "UnknownRoute", message })
  }
  const route = ofPath.find((pattern) => serves(pattern, method))
  if (route === undefined) return notAllowed(ofPath, method)
  const seen = new Set<string>()
  for (const name of parameters) {
    const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name
    if (!route.parameters.has(name)) return invalidRequest(shown, "is not a parameter of this route")
    if (seen.has(name)) return invalidRequest(shown, "is given twice")
    seen.add(name)
  }
  return undefined
}
