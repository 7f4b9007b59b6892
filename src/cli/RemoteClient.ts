/**
 * HTTP requests to a running daemon, with its errors turned back into the engine's own.
 *
 * @since 0.1.0
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as EngineError from "../EngineError.js"
import type { BackendError } from "./Backend.js"
import { type CliError, failed } from "./CliError.js"

/** @since 0.1.0 @category models */
export interface Target {
  /** Without a slash at the end. */
  readonly url: string
  readonly token: Redacted.Redacted | undefined
}

/** @since 0.1.0 @category models */
export interface Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE"
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly body?: { readonly bytes: Uint8Array; readonly type: string }
}

/** An error body as it travels. @since 0.1.0 @category models */
export interface ErrorDocument {
  readonly error: string
  readonly message: string
  readonly [field: string]: unknown
}

const classes: { readonly [tag: string]: new (fields: never) => EngineError.EngineError } = {
  InvalidItem: EngineError.InvalidItem,
  InvalidRequest: EngineError.InvalidRequest,
  PayloadTooLarge: EngineError.PayloadTooLarge,
  StaleVersion: EngineError.StaleVersion,
  VersionMismatch: EngineError.VersionMismatch,
  GateClosed: EngineError.GateClosed,
  ReadOnly: EngineError.ReadOnly,
  Backpressure: EngineError.Backpressure,
  LogFull: EngineError.LogFull,
  LogUnavailable: EngineError.LogUnavailable,
  TierUnavailable: EngineError.TierUnavailable,
  ItemRejected: EngineError.ItemRejected,
  CorruptItem: EngineError.CorruptItem,
  NotSupported: EngineError.NotSupported
}

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const notFields = ["error", "message", "line", "status"]

/** The engine's error that a body stands for, or a plain failure with its message. @since 0.1.0 @category functions */
export const errorOf = (document: ErrorDocument): BackendError => {
  const Class = classes[document.error]
  if (Class !== undefined) {
    const fields: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(document)) {
      if (!notFields.includes(name)) fields[camelCase(name)] = value
    }
    try {
      return new Class(fields as never)
    } catch {
      // Another version's fields: its message still says everything.
    }
  }
  const advice =
    document.error === "Unauthorized"
      ? "pass --token or --token-file, or set SYNC_ENGINE_ADMIN_TOKEN"
      : undefined
  return failed(document.message, advice)
}

const isErrorDocument = (value: unknown): value is ErrorDocument =>
  typeof value === "object" &&
  value !== null &&
  "error" in value &&
  typeof value.error === "string" &&
  "message" in value &&
  typeof value.message === "string"

const rootProblem = (error: unknown): string => {
  let problem = error
  while (
    typeof problem === "object" &&
    problem !== null &&
    "cause" in problem &&
    problem.cause !== undefined &&
    !(problem instanceof AggregateError)
  ) {
    problem = problem.cause
  }
  if (problem instanceof AggregateError && problem.errors.length > 0) problem = problem.errors[0]
  return problem instanceof Error ? problem.message : String(problem)
}

/** Nobody answers, or not to the end. */
const unreachable =
  (target: Target) =>
  (error: HttpClientError.HttpClientError): CliError =>
    error._tag === "RequestError"
      ? failed(
          `no daemon answers at ${target.url} (${rootProblem(error)})`,
          "start one with `sync-engine run`, name another with --url, or open the data directory in this process with --offline"
        )
      : failed(`the daemon at ${target.url} broke off its answer (${rootProblem(error)})`)

/** @since 0.1.0 @category models */
export interface RemoteClient {
  readonly target: Target
  /** The response of a request that succeeded; `accepted` are further statuses that are no failure. */
  readonly request: (
    request: Request,
    accepted?: ReadonlyArray<number>
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, BackendError, Scope.Scope>
  /** The parsed JSON body of a request that succeeded. */
  readonly json: (request: Request) => Effect.Effect<unknown, BackendError>
  /** What a failing response body means here. */
  readonly broken: (error: HttpClientError.HttpClientError) => CliError
}

/** @since 0.1.0 @category constructors */
export const make = (target: Target): Effect.Effect<RemoteClient, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (base) => {
    // Otherwise every item would be stored with the trace of a command that nobody traces.
    const client = HttpClient.withTracerPropagation(base, false)
    const broken = unreachable(target)

    const refuse = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<never, BackendError> =>
      Effect.flatMap(
        Effect.catchAll(response.json, () => Effect.succeed(undefined)),
        (body) =>
          Effect.fail(
            isErrorDocument(body)
              ? errorOf(body)
              : failed(
                  `${target.url} answers with status ${response.status}`,
                  "is this the address of a sync-engine daemon?"
                )
          )
      )

    const build = ({ body, headers, method, path, query }: Request): HttpClientRequest.HttpClientRequest => {
      const parameters: Record<string, string> = {}
      for (const [name, value] of Object.entries(query ?? {}))
        if (value !== undefined) parameters[name] = value
      let request = HttpClientRequest.make(method)(`${target.url}${path}`, { urlParams: parameters })
      for (const [name, value] of Object.entries(headers ?? {})) {
        if (value !== undefined) request = HttpClientRequest.setHeader(request, name, value)
      }
      if (body !== undefined) {
        request = HttpClientRequest.setBody(request, HttpBody.uint8Array(body.bytes, body.type))
      }
      return target.token === undefined ? request : HttpClientRequest.bearerToken(request, target.token)
    }

    const request: RemoteClient["request"] = (given, accepted = []) =>
      client.execute(build(given)).pipe(
        // A malformed address is a defect in the client below.
        Effect.catchAllDefect((defect) => Effect.fail(failed(`${target.url}: ${rootProblem(defect)}`))),
        Effect.mapError((error) => (error._tag === "CliError" ? error : broken(error))),
        Effect.flatMap((response) =>
          (response.status >= 200 && response.status < 300) || accepted.includes(response.status)
            ? Effect.succeed(response)
            : refuse(response)
        )
      )

    return {
      target,
      broken,
      request,
      json: (given) =>
        request(given).pipe(
          Effect.flatMap((response) => Effect.mapError(response.json, broken)),
          Effect.scoped
        )
    }
  })

/** For messages about causes that are no expected errors. @since 0.1.0 @category functions */
export const causeMessage = (cause: Cause.Cause<unknown>): string => rootProblem(Cause.squash(cause))
