/**
 * Request targets: taken apart strictly, before the router guesses. Pure.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type HttpProblem, invalidRequest } from "./HttpProblem.js"

/**
 * A request target in origin form, decoded.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestTarget {
  /** The segments between the slashes, percent-decoded, without the leading empty one. */
  readonly segments: ReadonlyArray<string>
  /** The same target, encoded in the one way every router reads alike. */
  readonly canonical: string
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
 *
 * @since 0.1.0
 * @category functions
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
  return Either.right({ segments, canonical: `/${segments.map(encodeURIComponent).join("/")}${query}` })
}

/** A route as its methods and its segments; a segment that starts with `:` stands for any. @since 0.1.0 @category models */
export interface RoutePattern {
  readonly method: string
  readonly segments: ReadonlyArray<string>
}

/**
 * The methods that a path takes, for `Allow`; none when no route has this path. `GET` brings `HEAD` along.
 *
 * @since 0.1.0
 * @category functions
 */
export const allowedMethods = (
  routes: ReadonlyArray<RoutePattern>,
  segments: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const methods = new Set<string>()
  for (const route of routes) {
    const matches =
      route.segments.length === segments.length &&
      route.segments.every((part, index) =>
        part.startsWith(":") ? segments[index] !== "" : part === segments[index]
      )
    if (!matches) continue
    methods.add(route.method)
    if (route.method === "GET") methods.add("HEAD")
  }
  return [...methods].sort()
}
