/**
 * What stands before and behind every route: strict targets, the gatekeeper, and answers in one form whatever
 * went wrong.
 *
 * @since 0.1.0
 */
import * as HttpApi from "@effect/platform/HttpApi"
import type { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import type * as HttpApp from "@effect/platform/HttpApp"
import type { RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Phase } from "../Lifecycle.js"
import { Api } from "./Api.js"
import type { Gatekeeper } from "./Authorization.js"
import { internalError, mapError } from "./ErrorMapping.js"
import { errorResponse, nodeRequest } from "./HttpContext.js"
import { HttpProblem, invalidRequest } from "./HttpProblem.js"
import { hasUnreadBody } from "./RequestBody.js"
import { allowedMethods, parseTarget, type RequestTarget, type RoutePattern } from "./RequestTarget.js"

/** What the front needs to know. @since 0.1.0 @category models */
export interface FrontOptions {
  readonly gatekeeper: Gatekeeper
  readonly phase: () => Phase
  /** Whether the server itself is being closed. */
  readonly closing: () => boolean
  readonly requestStarted: () => void
  readonly requestEnded: () => void
}

const routesOfApi = (): ReadonlyArray<RoutePattern> => {
  const routes: Array<RoutePattern> = []
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      routes.push({ method: endpoint.method, segments: endpoint.path.slice(1).split("/") })
    }
  })
  return routes
}

const routes = routesOfApi()

const noRoute = (method: string, { segments }: RequestTarget): HttpProblem => {
  const allowed = allowedMethods(routes, segments)
  return allowed.length === 0
    ? new HttpProblem({
        status: 404,
        error: "UnknownRoute",
        message: "there is no such route; GET /docs lists them"
      })
    : new HttpProblem({
        status: 405,
        error: "MethodNotAllowed",
        message: `this path does not take ${method}; it takes ${allowed.join(", ")}`,
        headers: { allow: allowed.join(", ") },
        fields: { allowed }
      })
}

const undecodable = ({ issues }: HttpApiDecodeError): HttpProblem => {
  const issue = issues[0]
  const name = issue?.path.map(String).join(".") ?? ""
  if (issue?._tag === "Unexpected") return invalidRequest(name, "is not a parameter of this route")
  return invalidRequest(name === "" ? "the request" : name, issue?.message ?? "does not fit")
}

const hasTag = (error: unknown, tag: string): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === tag

const failure = (
  cause: Cause.Cause<unknown>,
  method: string,
  target: RequestTarget
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  const error = Cause.squash(cause)
  if (hasTag(error, "RouteNotFound" satisfies RouteNotFound["_tag"])) {
    return Effect.succeed(errorResponse(mapError(noRoute(method, target))))
  }
  if (hasTag(error, "HttpApiDecodeError")) {
    return Effect.succeed(errorResponse(mapError(undecodable(error as HttpApiDecodeError))))
  }
  return Effect.logError("HTTP request failed", cause).pipe(
    Effect.annotateLogs({ method, route: `/${target.segments[0] ?? ""}` }),
    Effect.as(errorResponse(internalError))
  )
}

const leaving = new Set<Phase>(["draining", "shutting_down", "stopped"])

/**
 * Closing a connection while its request body still arrives would reset it, and the client would not see the
 * answer; such a connection is closed by the server's own shutdown instead.
 */
const finish = (
  response: HttpServerResponse.HttpServerResponse,
  request: HttpServerRequest.HttpServerRequest,
  options: FrontOptions
): HttpServerResponse.HttpServerResponse => {
  const headers: Record<string, string> = { "x-content-type-options": "nosniff" }
  if (response.headers["cache-control"] === undefined) headers["cache-control"] = "no-store"
  if ((options.closing() || leaving.has(options.phase())) && !hasUnreadBody(nodeRequest(request))) {
    headers.connection = "close"
  }
  return HttpServerResponse.setHeaders(response, headers)
}

/**
 * The middleware around the router. Never fails but by interruption.
 *
 * @since 0.1.0
 * @category middleware
 */
export const front =
  (options: FrontOptions) =>
  (router: HttpApp.Default): HttpApp.Default =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      options.requestStarted()
      return serve(router, request, options).pipe(
        Effect.map((response) => finish(response, request, options)),
        Effect.ensuring(Effect.sync(options.requestEnded))
      )
    })

const serve = (
  router: HttpApp.Default,
  request: HttpServerRequest.HttpServerRequest,
  { gatekeeper }: FrontOptions
): HttpApp.Default =>
  Effect.gen(function* () {
    const { method } = request
    const target = parseTarget(request.url)
    const refusal = gatekeeper({
      method,
      area: Either.isRight(target) ? target.right.segments[0] : undefined,
      headers: request.headers
    })
    if (refusal !== undefined) return errorResponse(mapError(refusal))
    if (Either.isLeft(target)) return errorResponse(mapError(target.left))
    const startedAt = yield* Clock.currentTimeMillis
    const response = yield* router.pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        request.modify({ url: target.right.canonical })
      ),
      Effect.catchAllCause((cause) => failure(cause, method, target.right))
    )
    const milliseconds = (yield* Clock.currentTimeMillis) - startedAt
    // Neither ids nor queries: they can be personal.
    yield* Effect.annotateLogs(Effect.logDebug("HTTP request"), {
      method,
      route: `/${target.right.segments[0] ?? ""}`,
      status: response.status,
      milliseconds
    })
    return response
  })
