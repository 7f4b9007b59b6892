/**
 * What HTTP asks of every request (RFC 9110 and 9112) and node's parser leaves to the server, and which route a
 * request is for: targets are taken apart strictly, before the router guesses. Pure.
 */
import type { IncomingMessage } from "node:http"
import { Either } from "effect"
import { invalidRequest, malformed, type RequestFailed, refusal } from "../api/RequestFailed.js"

const closing = { headers: { connection: "close" } }

/** What the checks need of a request. */
export type RequestHead = Pick<IncomingMessage, "httpVersion" | "headers" | "rawHeaders">

const countOf = (rawHeaders: ReadonlyArray<string>, name: string): number =>
  rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length

/**
 * Why a request cannot be taken whatever its route is. After such an answer the connection ends: where the next
 * request begins is not certain.
 */
export const protocolProblem = ({
  headers,
  httpVersion,
  rawHeaders
}: RequestHead): RequestFailed | undefined => {
  const isOld = httpVersion === "1.0"
  const hosts = countOf(rawHeaders, "host")
  if (hosts > 1 || (hosts === 0 && !isOld)) {
    return malformed(hosts === 0 ? "the Host header is missing" : "there is more than one Host header")
  }
  const coding = headers["transfer-encoding"]
  if (coding !== undefined && isOld) return malformed("HTTP/1.0 has no Transfer-Encoding")
  if (coding !== undefined && coding.trim().toLowerCase() !== "chunked") {
    return refusal(501, "UnsupportedTransferCoding", "of the transfer codings only chunked is taken", closing)
  }
  const { expect } = headers
  if (expect !== undefined && !isOld && expect.trim().toLowerCase() !== "100-continue") {
    return refusal(417, "ExpectationFailed", "of the expectations only 100-continue is met", closing)
  }
  return undefined
}

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
export const parseTarget = (url: string): Either.Either<RequestTarget, RequestFailed> => {
  const refused = (what: string, problem: string) => Either.left(invalidRequest(what, problem))
  if (!url.startsWith("/")) return refused("the request target", "must be a path, such as /items/a")
  if (url.includes("#")) return refused("the request target", "holds a # that is not encoded")
  const mark = url.indexOf("?")
  const path = mark === -1 ? url : url.slice(0, mark)
  const query = mark === -1 ? "" : url.slice(mark)
  if (decode(query) === undefined) return refused("the query", "has invalid percent-encoding")
  const segments: Array<string> = []
  for (const raw of path.slice(1).split("/")) {
    const segment = decode(raw)
    if (segment === undefined) return refused("the path", "has invalid percent-encoding")
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
  /** Whether it takes JSON, and whether that may be left out. */
  readonly json?: "required" | "optional" | undefined
  /** Whether the route itself asks for the token. */
  readonly secured?: boolean
}

const matches = (pattern: RoutePattern, segments: ReadonlyArray<string>): boolean =>
  pattern.segments.length === segments.length &&
  pattern.segments.every((part, index) => part.startsWith(":") || part === segments[index])

/** Whether a route serves a method; `GET` brings `HEAD` along. */
const serves = (pattern: RoutePattern, method: string): boolean =>
  pattern.method === method || (pattern.method === "GET" && method === "HEAD")

const notAllowed = (patterns: ReadonlyArray<RoutePattern>, method: string): RequestFailed => {
  const methods = patterns.flatMap((pattern) =>
    pattern.method === "GET" ? ["GET", "HEAD"] : [pattern.method]
  )
  const allowed = [...new Set(methods)].sort()
  const allow = allowed.join(", ")
  const message = `this path does not take ${method}; it takes ${allow}`
  return refusal(405, "MethodNotAllowed", message, { headers: { allow }, fields: { allowed } })
}

/**
 * The route that takes a request. There is none when there is no such path, the path takes other methods, or the query
 * holds what the route does not know or a parameter twice.
 */
export const routeOf = (
  routes: ReadonlyArray<RoutePattern>,
  method: string,
  { parameters, segments }: RequestTarget
): Either.Either<RoutePattern, RequestFailed> => {
  const ofPath = routes.filter((pattern) => matches(pattern, segments))
  if (ofPath.length === 0) {
    return Either.left(refusal(404, "UnknownRoute", "there is no such route; GET /docs lists them"))
  }
  const route = ofPath.find((pattern) => serves(pattern, method))
  if (route === undefined) return Either.left(notAllowed(ofPath, method))
  const seen = new Set<string>()
  for (const name of parameters) {
    const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name
    if (!route.parameters.has(name))
      return Either.left(invalidRequest(shown, "is not a parameter of this route"))
    if (seen.has(name)) return Either.left(invalidRequest(shown, "is given twice"))
    seen.add(name)
  }
  return Either.right(route)
}
