/**
 * What stands before and behind every route: strict targets, the gatekeeper, and answers in one form whatever
 * went wrong.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import type { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { SchemaAST as AST, Cause, Clock, Effect, Either, Option } from "effect"
import { Api } from "../api/Api.js"
import { internalError, mapError } from "../api/ErrorMapping.js"
import { type HttpProblem, invalidRequest } from "../api/HttpProblem.js"
import { isBodyUncertain } from "../node/BodySource.js"
import { protocolProblem } from "../node/Protocol.js"
import type { Gatekeeper } from "./Authorization.js"
import { errorResponse, nodeRequest } from "./HttpContext.js"
import { parseTarget, type RequestTarget, type RoutePattern, routeProblem } from "./RequestTarget.js"

/** What the front needs to know. */
export interface FrontOptions {
  readonly gatekeeper: Gatekeeper
  /** Whether clients had better go elsewhere: the engine ends, or the server does. */
  readonly leaving: () => boolean
  readonly requestStarted: () => void
  readonly requestEnded: () => void
}

const routesOfApi = (): ReadonlyArray<RoutePattern> => {
  const routes: Array<RoutePattern> = []
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      const query = Option.map(endpoint.urlParamsSchema, ({ ast }) =>
        AST.getPropertySignatures(AST.encodedAST(ast)).map(({ name }) => String(name))
      )
      routes.push({
        method: endpoint.method,
        segments: endpoint.path.slice(1).split("/"),
        parameters: new Set(Option.getOrElse(query, () => []))
      })
    }
  })
  return routes
}

const routes = routesOfApi()

const undecodable = ({ issues }: HttpApiDecodeError): HttpProblem => {
  const issue = issues[0]
  const name = issue?.path.map(String).join(".") ?? ""
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
  if (hasTag(error, "HttpApiDecodeError")) {
    return Effect.succeed(errorResponse(mapError(undecodable(error as HttpApiDecodeError))))
  }
  return Effect.logError("HTTP request failed", cause).pipe(
    Effect.annotateLogs({ method, route: `/${target.segments[0] ?? ""}` }),
    Effect.as(errorResponse(internalError))
  )
}

const finish = (
  response: HttpServerResponse.HttpServerResponse,
  request: HttpServerRequest.HttpServerRequest,
  options: FrontOptions
): HttpServerResponse.HttpServerResponse => {
  const headers: Record<string, string> = { "x-content-type-options": "nosniff" }
  if (response.headers["cache-control"] === undefined) headers["cache-control"] = "no-store"
  if (options.leaving() || isBodyUncertain(nodeRequest(request))) {
    headers.connection = "close"
  }
  return HttpServerResponse.setHeaders(response, headers)
}

/** The middleware around the router. Never fails but by interruption. */
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
    const misuse = protocolProblem(nodeRequest(request))
    if (misuse !== undefined) return errorResponse(mapError(misuse))
    const target = parseTarget(request.url)
    const refusal = gatekeeper({
      method,
      area: Either.isRight(target) ? target.right.segments[0] : undefined,
      headers: request.headers
    })
    if (refusal !== undefined) return errorResponse(mapError(refusal))
    if (Either.isLeft(target)) return errorResponse(mapError(target.left))
    const misrouted = routeProblem(routes, method, target.right)
    if (misrouted !== undefined) return errorResponse(mapError(misrouted))
    const startedAt = yield* Clock.currentTimeNanos
    const response = yield* router.pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        request.modify({ url: target.right.canonical })
      ),
      Effect.catchAllCause((cause) => failure(cause, method, target.right))
    )
    const milliseconds = Number((yield* Clock.currentTimeNanos) - startedAt) / 1e6
    // Neither ids nor queries: they can be personal.
    yield* Effect.annotateLogs(Effect.logDebug("HTTP request"), {
      method,
      route: `/${target.right.segments[0] ?? ""}`,
      status: response.status,
      milliseconds
    })
    return response
  })
