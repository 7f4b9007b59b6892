/**
 * What stands before and behind every route: strict targets, the gatekeeper, bodies within bounds, and answers in one
 * form whatever went wrong.
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApi from "@effect/platform/HttpApi"
import { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { SchemaAST as AST, Cause, Clock, Effect, Either, Layer, Option, Schema } from "effect"
import { Api, Bearer } from "../api/Api.js"
import { type ErrorAnswer, type Failure, internalError, isFailure, mapError } from "../api/ErrorMapping.js"
import { invalidBody, invalidRequest } from "../api/RequestFailed.js"
import type { Gatekeeper } from "./Authorization.js"
import { nodeRequest } from "./HttpContext.js"
import { type BodyBudget, isBodyUncertain, jsonBody } from "./RequestBody.js"
import { parseTarget, protocolProblem, type RoutePattern, routeOf } from "./RequestTarget.js"

/** What the middleware needs to know. */
export interface MiddlewareOptions {
  readonly gatekeeper: Gatekeeper
  readonly budget: BodyBudget
  /** Whether clients had better go elsewhere: the engine ends, or the server does. */
  readonly leaving: () => boolean
  readonly requestStarted: () => void
  readonly requestEnded: () => void
}

const namesOf = (schema: Schema.Schema.All): ReadonlyArray<string> =>
  AST.getPropertySignatures(AST.encodedAST(schema.ast)).map(({ name }) => String(name))

const jsonOf = (payload: Schema.Schema.All): RoutePattern["json"] => {
  if (HttpApiSchema.getEncoding(payload.ast).kind !== "Json") return undefined
  const empty = Schema.decodeUnknownEither(payload as Schema.Schema.AnyNoContext)({})
  return Either.isRight(empty) ? "optional" : "required"
}

const routes: Array<RoutePattern> = []
HttpApi.reflect(Api, {
  onGroup: () => {},
  onEndpoint: ({ endpoint, middleware }) => {
    routes.push({
      method: endpoint.method,
      segments: endpoint.path.slice(1).split("/"),
      parameters: new Set(Option.match(endpoint.urlParamsSchema, { onNone: () => [], onSome: namesOf })),
      json: Option.match(endpoint.payloadSchema, { onNone: () => undefined, onSome: jsonOf }),
      secured: [...middleware].some(({ key }) => key === Bearer.key)
    })
  }
})

/** The decoder quotes what it got, which can be the whole body. */
const maxMessageLength = 500

const undecodable = ({ issues, message }: HttpApiDecodeError, { json }: RoutePattern): Failure => {
  if (json !== undefined) return invalidBody(`does not fit: ${message.slice(0, maxMessageLength)}`)
  const issue = issues[0]
  const name = issue?.path.map(String).join(".") ?? ""
  return invalidRequest(name === "" ? "the request" : name, issue?.message ?? "does not fit")
}

/** The platform takes a body that cannot be read for a defect; this one tells it from real ones. */
class BodyRefused {
  constructor(readonly failure: Failure) {}
}

const failureOf = (error: unknown, route: RoutePattern): Failure | undefined => {
  if (error instanceof HttpApiDecodeError) return undecodable(error, route)
  if (error instanceof BodyRefused) return error.failure
  return isFailure(error) ? error : undefined
}

/** An error as a response. */
const errorResponse = (answer: ErrorAnswer): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(answer.body, { status: answer.status, headers: answer.headers })

const refuse = (error: Failure): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.succeed(errorResponse(mapError(error)))

const recover = (
  cause: Cause.Cause<unknown>,
  route: RoutePattern
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  const error = failureOf(Cause.squash(cause), route)
  return error !== undefined
    ? refuse(error)
    : Effect.logError("HTTP request failed", cause).pipe(
        Effect.annotateLogs({ method: route.method, route: `/${route.segments[0] ?? ""}` }),
        Effect.as(errorResponse(internalError))
      )
}

/**
 * The gatekeeper at the routes that ask for the token. It reads the header itself: the platform takes any scheme for
 * `Bearer`.
 */
export const bearerLayer = (gatekeeper: Gatekeeper): Layer.Layer<Bearer> =>
  Layer.succeed(Bearer, {
    bearer: () =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, method }) => {
        const refusal = gatekeeper({ method, area: undefined, headers })
        return refusal === undefined ? Effect.void : Effect.fail(refusal)
      })
  })

/** The request as the router is to see it: its one canonical target, and a JSON body only within bounds. */
const confined = (
  request: HttpServerRequest.HttpServerRequest,
  url: string,
  json: RoutePattern["json"],
  budget: BodyBudget
): HttpServerRequest.HttpServerRequest => {
  if (json === undefined) return request.modify({ url })
  const headers = Headers.set(request.headers, "content-type", "application/json")
  const body = jsonBody(nodeRequest(request), budget, json)
  return Object.defineProperty(request.modify({ url, headers }), "json", {
    value: Effect.catchAll(body, (failure) => Effect.die(new BodyRefused(failure)))
  })
}

const serve = Effect.fnUntraced(function* (
  router: HttpApp.Default,
  request: HttpServerRequest.HttpServerRequest,
  { budget, gatekeeper }: MiddlewareOptions
) {
  const { headers, method } = request
  const misuse = protocolProblem(nodeRequest(request))
  if (misuse !== undefined) return yield* refuse(misuse)
  const target = parseTarget(request.url)
  const found = Either.flatMap(target, (target) => routeOf(routes, method, target))
  // Routes that ask for the token call the gatekeeper themselves; nothing else gets past it here.
  if (Either.isLeft(found) || found.right.secured !== true) {
    const area = Either.isRight(target) ? target.right.segments[0] : undefined
    const refusal = gatekeeper({ method, area, headers })
    if (refusal !== undefined) return yield* refuse(refusal)
  }
  if (Either.isLeft(target)) return yield* refuse(target.left)
  if (Either.isLeft(found)) return yield* refuse(found.left)
  const route = found.right
  const startedAt = yield* Clock.currentTimeNanos
  const response = yield* router.pipe(
    Effect.provideService(
      HttpServerRequest.HttpServerRequest,
      confined(request, target.right.canonical, route.json, budget)
    ),
    Effect.catchAllCause((cause) => recover(cause, route))
  )
  const milliseconds = Number((yield* Clock.currentTimeNanos) - startedAt) / 1e6
  // Neither ids nor queries: they can be personal.
  yield* Effect.annotateLogs(Effect.logDebug("HTTP request"), {
    method,
    route: `/${route.segments[0] ?? ""}`,
    status: response.status,
    milliseconds
  })
  return response
})

const finish = (
  response: HttpServerResponse.HttpServerResponse,
  request: HttpServerRequest.HttpServerRequest,
  options: MiddlewareOptions
): HttpServerResponse.HttpServerResponse => {
  const headers: Record<string, string> = { "x-content-type-options": "nosniff" }
  if (response.headers["cache-control"] === undefined) headers["cache-control"] = "no-store"
  if (options.leaving() || isBodyUncertain(nodeRequest(request))) headers.connection = "close"
  return HttpServerResponse.setHeaders(response, headers)
}

/** The middleware around the router. Never fails but by interruption. */
export const requestMiddleware =
  (options: MiddlewareOptions) =>
  (router: HttpApp.Default): HttpApp.Default =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      options.requestStarted()
      return serve(router, request, options).pipe(
        Effect.map((response) => finish(response, request, options)),
        Effect.ensuring(Effect.sync(options.requestEnded))
      )
    })
