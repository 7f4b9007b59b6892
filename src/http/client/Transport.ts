/** How a client's requests travel: with its token, and with every failure in the engine's words. */
import * as HttpClient from "@effect/platform/HttpClient"
import { type HttpClientError, isHttpClientError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import { Data, Effect, type Redacted } from "effect"
import { InvalidRequest } from "../../EngineError.js"
import { illFormed } from "../../SyncItem.js"
import { errorOf, type Failure, isFailure } from "../api/ErrorMapping.js"
import { type RequestFailed, refusal } from "../api/RequestFailed.js"

/**
 * The server could not be reached, or the connection broke.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly url: string
  readonly problem: string
}> {
  override get message() {
    return `${this.url} cannot be reached: ${this.problem}`
  }
}

/**
 * What a call of the client can fail with: the engine's own errors where the server returned one, `RequestFailed` for
 * every other refusal and for what is no answer of this API, `Unreachable` when there was no answer.
 *
 * @since 0.1.0
 * @category errors
 */
export type ClientError = Failure | Unreachable

/**
 * Where the server is, and how to talk to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  /** Such as `http://127.0.0.1:7420`; a path in front of the API is kept. */
  readonly url: string
  /** The server's `ADMIN_TOKEN`. */
  readonly token?: Redacted.Redacted | undefined
  /**
   * Sends the current span's `traceparent`, which the server stores with what the request writes; default false,
   * because without an exporter nobody could look the span up. An item's own one is sent in any case.
   */
  readonly propagateTrace?: boolean | undefined
}

/** An answer with the right status and something else in it. */
export const unexpected = (status: number, message = "the answer does not fit"): RequestFailed =>
  refusal(status, "UnexpectedAnswer", message)

/** The innermost message: what the system said. */
const causeMessage = (error: Error): string =>
  error.cause instanceof Error ? causeMessage(error.cause) : error.message

/** The requests of one client. */
export class Transport {
  /** Without a slash at its end. */
  readonly url: string
  private readonly silent: HttpClient.HttpClient

  constructor(
    private readonly platform: HttpClient.HttpClient,
    private readonly options: ClientOptions
  ) {
    this.url = options.url.replace(/\/+$/, "")
    this.silent = HttpClient.withTracerPropagation(platform, false)
  }

  /** Sends a request; an answer that is no success is a failure. */
  readonly execute = (
    request: HttpClientRequest.HttpClientRequest
  ): Effect.Effect<HttpClientResponse, ClientError> =>
    Effect.gen(this, function* () {
      for (const [argument, value] of request.urlParams) {
        if (!value.isWellFormed()) return yield* new InvalidRequest({ argument, problem: illFormed })
      }
      const { platform, silent } = this
      const { propagateTrace = false, token } = this.options
      const client = propagateTrace && request.headers.traceparent === undefined ? platform : silent
      const authorized = token === undefined ? request : HttpClientRequest.bearerToken(request, token)
      const response = yield* Effect.mapError(client.execute(authorized), this.unreachable)
      if (response.status >= 200 && response.status < 300) return response
      return yield* Effect.fail(errorOf(response.status, yield* this.text(response)))
    })

  /** The same, for the client that is derived from the API. */
  readonly client: HttpClient.HttpClient.With<ClientError> = HttpClient.makeWith<
    never,
    never,
    ClientError,
    never
  >(Effect.flatMap(this.execute), Effect.succeed)

  text(response: HttpClientResponse): Effect.Effect<string, Unreachable> {
    return Effect.mapError(response.text, this.unreachable)
  }

  readonly unreachable = (error: HttpClientError): Unreachable =>
    new Unreachable({
      url: this.url,
      problem:
        "cause" in error && error.cause instanceof Error
          ? causeMessage(error.cause)
          : (error.description ?? error.reason)
    })

  /** The failure of a derived call: what is none of the API's is an answer that does not fit. */
  readonly told = (error: unknown): ClientError => {
    if (isFailure(error) || error instanceof Unreachable) return error
    if (isHttpClientError(error) && "cause" in error && error.cause instanceof Error) {
      return this.unreachable(error)
    }
    return unexpected(
      isHttpClientError(error) && error._tag === "ResponseError" ? error.response.status : 200
    )
  }
}
