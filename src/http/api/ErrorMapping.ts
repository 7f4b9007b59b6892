/** From errors to answers: status, headers, JSON body. Pure. */
import type { EngineError } from "../../EngineError.js"
import { type BackpressureLevel, backpressureLevels, policy } from "../../shared/Backpressure.js"
import type { HttpProblem } from "./HttpProblem.js"

/** What a client is told about a failure. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Always holds `error` (a stable name) and `message` (for people). */
  readonly body: Readonly<Record<string, unknown>>
}

/** Writes a camelCase name as snake_case: `retryAfterMs` becomes `retry_after_ms`. */
export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const statuses: { readonly [Tag in Exclude<EngineError["_tag"], "Backpressure">]: number } = {
  InvalidItem: 400,
  InvalidRequest: 400,
  PayloadTooLarge: 413,
  VersionConflict: 409,
  VersionMismatch: 412,
  GateClosed: 503,
  ReadOnly: 503,
  ClockOutOfRange: 503,
  LogFull: 503,
  LogUnavailable: 503,
  TierUnavailable: 503,
  ItemRejected: 422,
  NotSupported: 501,
  CorruptItem: 500,
  LogOpenError: 500,
  ArchiveStartError: 500,
  InvalidConfig: 500
}

const isLevel = (level: string): level is BackpressureLevel =>
  (backpressureLevels as ReadonlyArray<string>).includes(level)

/** The status of a refusal by backpressure: what the level's policy says, 429 for a level that admits writes. */
const backpressureStatus = (level: string): number => {
  const status = isLevel(level) ? policy(level).httpStatus : 429
  return status === 200 ? 429 : status
}

/** The status an error of the engine is answered with. */
export const statusOf = (error: EngineError): number =>
  error._tag === "Backpressure" ? backpressureStatus(error.level) : statuses[error._tag]

const hiddenKeys = new Set(["_tag", "message", "name", "stack", "cause"])

/** `error`, `message` and the error's own fields in snake_case. */
export const errorBody = (error: EngineError): Readonly<Record<string, unknown>> => {
  const body: Record<string, unknown> = { error: error._tag, message: error.message }
  for (const [key, value] of Object.entries(error)) {
    if (!hiddenKeys.has(key) && value !== undefined) body[snakeCase(key)] = value
  }
  return body
}

/** `Retry-After` in whole seconds, rounded up, at least 1. */
export const retryAfterSeconds = (milliseconds: number): string =>
  String(Math.max(1, Math.ceil(Number.isFinite(milliseconds) ? milliseconds / 1_000 : 1)))

const retryHeaders = (error: EngineError): Readonly<Record<string, string>> =>
  "retryAfterMs" in error ? { "retry-after": retryAfterSeconds(error.retryAfterMs) } : {}

/** The answer to any error of the engine or of the request. */
export const mapError = (error: EngineError | HttpProblem): ErrorAnswer =>
  error._tag === "HttpProblem"
    ? {
        status: error.status,
        headers: error.headers ?? {},
        body: { error: error.error, message: error.message, ...error.fields }
      }
    : { status: statusOf(error), headers: retryHeaders(error), body: errorBody(error) }

/** The answer to a defect: says nothing about its inside. */
export const internalError: ErrorAnswer = {
  status: 500,
  headers: {},
  body: {
    error: "InternalError",
    message: "an internal error happened; the log of the server has the details"
  }
}
