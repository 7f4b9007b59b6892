/** What every handler needs of the server it runs in, and how a handler's failure becomes an answer. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { Context, Effect } from "effect"
import type { EngineError } from "../../EngineError.js"
import { type ErrorAnswer, mapError } from "../api/ErrorMapping.js"
import type { HttpProblem } from "../api/HttpProblem.js"
import type { BodyBudget } from "./RequestBody.js"

/** The server's state that its handlers share. */
export class HttpContext extends Context.Tag("effect-sync-engine/http/middleware/HttpContext")<
  HttpContext,
  {
    readonly budget: BodyBudget
    /** Milliseconds without a byte in either direction after which a streaming connection is given up. */
    readonly streamIdleTimeout: number
    /** Notes that the answer to a shutdown is owed until this response has been sent or has become impossible. */
    readonly oweShutdownAnswer: (response: ServerResponse) => void
  }
>() {}

/** Node's request behind a platform request. */
export const nodeRequest = (request: HttpServerRequest): IncomingMessage =>
  NodeHttpServerRequest.toIncomingMessage(request)

/** Node's response behind a platform request. */
export const nodeResponse = (request: HttpServerRequest): ServerResponse =>
  NodeHttpServerRequest.toServerResponse(request)

/** An error as a response. */
export const errorResponse = (answer: ErrorAnswer): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(answer.body, { status: answer.status, headers: answer.headers })

/** Turns the expected failures of a handler into responses. */
export const answering = <A, R>(
  effect: Effect.Effect<A, EngineError | HttpProblem, R>
): Effect.Effect<A | HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.catchAll(effect, (error) => Effect.succeed(errorResponse(mapError(error))))

/**
 * Ends a connection on which no byte moved for this long, so that a peer who stopped reading or writing in the
 * middle of a stream does not hold it.
 */
export const guardIdle = (response: ServerResponse, milliseconds: number): void => {
  response.setTimeout(milliseconds, () => response.destroy())
}
