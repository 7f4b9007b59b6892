/** Errors as answers (status, headers, JSON body), and back. Pure. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import { Option, Schema } from "effect"
import * as EngineErrors from "../../EngineError.js"
import { backpressureLevels, policy } from "../../shared/Backpressure.js"
import { RequestFailed, refusal } from "./RequestFailed.js"
import { camelCase, snakeCase } from "./Wire.js"

/** What a request can fail with: the engine's own errors, and those of HTTP. */
export type Failure = EngineErrors.EngineError | RequestFailed

/** What a client is told about a failure. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Always holds `error` (a stable name) and `message` (for people). */
  readonly body: Readonly<Record<string, unknown>>
}

/** Each error, and the status it is answered with. */
const table = {
  InvalidItem: [400, EngineErrors.InvalidItem],
  InvalidRequest: [400, EngineErrors.InvalidRequest],
  PayloadTooLarge: [413, EngineErrors.PayloadTooLarge],
  VersionConflict: [409, EngineErrors.VersionConflict],
  VersionMismatch: [412, EngineErrors.VersionMismatch],
  GateClosed: [503, EngineErrors.GateClosed],
  ReadOnly: [503, EngineErrors.ReadOnly],
  Backpressure: [429, EngineErrors.Backpressure],
  ClockOutOfRange: [503, EngineErrors.ClockOutOfRange],
  LogFull: [503, EngineErrors.LogFull],
  LogUnavailable: [503, EngineErrors.LogUnavailable],
  TierUnavailable: [503, EngineErrors.TierUnavailable],
  ItemRejected: [422, EngineErrors.ItemRejected],
  NotSupported: [501, EngineErrors.NotSupported],
  CorruptItem: [500, EngineErrors.CorruptItem],
  LogOpenError: [500, EngineErrors.LogOpenError],
  ArchiveStartError: [500, EngineErrors.ArchiveStartError],
  InvalidConfig: [500, EngineErrors.InvalidConfig]
} as const satisfies Readonly<Record<EngineErrors.EngineError["_tag"], readonly [number, object]>>

/** What the policy of a level says; 429 for one that admits writes, or that nobody knows. */
const backpressureStatus = (level: string): number => {
  const known = backpressureLevels.find((one) => one === level)
  const status = known === undefined ? 200 : policy(known).httpStatus
  return status === 200 ? 429 : status
}

/** The status an error is answered with. */
export const statusOf = (error: Failure): number =>
  error._tag === "RequestFailed"
    ? error.status
    : error._tag === "Backpressure"
      ? backpressureStatus(error.level)
      : table[error._tag][0]

const hiddenKeys = new Set(["_tag", "message", "name", "stack", "cause"])

/** `error`, `message` and the error's own fields in snake_case. */
export const errorBody = (error: Failure): typeof ErrorBody.Type => {
  if (error._tag === "RequestFailed") return { error: error.error, message: error.message, ...error.fields }
  const body = { error: error._tag, message: error.message }
  const fields = Object.entries(error).filter(([key, value]) => !hiddenKeys.has(key) && value !== undefined)
  return Object.assign(body, Object.fromEntries(fields.map(([key, value]) => [snakeCase(key), value])))
}

/** `Retry-After` in whole seconds, rounded up, at least 1. */
export const retryAfterSeconds = (milliseconds: number): string =>
  String(Math.max(1, Math.ceil(Number.isFinite(milliseconds) ? milliseconds / 1_000 : 1)))

/** The answer to any error of the engine or of the request. */
export const mapError = (error: Failure): ErrorAnswer => ({
  status: statusOf(error),
  headers: {
    ...("retryAfterMs" in error && { "retry-after": retryAfterSeconds(error.retryAfterMs) }),
    ...("headers" in error && error.headers)
  },
  body: errorBody(error)
})

/** The answer to a defect: says nothing about its inside. */
export const internalError: ErrorAnswer = mapError(
  refusal(500, "InternalError", "an internal error happened; the log of the server has the details")
)

const ErrorBody = Schema.Struct(
  { error: Schema.String, message: Schema.String },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
).annotations({
  identifier: "Error",
  description: "`error` is a stable name, `message` is for people; further fields depend on the error"
})

const EngineError = Schema.Union(...Object.values(table).map(([, schema]) => schema))
const decodeEngineError = Schema.decodeUnknownOption(EngineError)

const ofBody = (status: number, { error, message, ...fields }: typeof ErrorBody.Type) =>
  Option.getOrElse(
    decodeEngineError({
      ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [camelCase(name), field])),
      _tag: error
    }),
    () => refusal(status, error, message, { fields })
  )

const decodeBody = Schema.decodeUnknownOption(Schema.parseJson(ErrorBody))

/** The error that a body describes. */
export const errorOf = (status: number, text: string): Failure =>
  Option.match(decodeBody(text), {
    onNone: () => refusal(status, "UnexpectedAnswer", `the server answered ${status}`),
    onSome: (body) => ofBody(status, body)
  })

/** Whether a value is one of these errors. */
export const isFailure = (value: unknown): value is Failure =>
  value instanceof RequestFailed ||
  (value instanceof Error && "_tag" in value && Object.hasOwn(table, String(value._tag)))

/** The failure that an endpoint answers with one status, and with a body of its own where it has one. */
export const failure = <A extends { readonly error: string; readonly message: string }, I>(
  status: number,
  body: Schema.Schema<A, I>
): Schema.Schema<Failure, I> =>
  Schema.transform(body, Schema.declare(isFailure), {
    strict: false,
    decode: (value: A) => ofBody(status, value),
    encode: errorBody
  }).annotations(HttpApiSchema.annotations({ status }))

/** The failures of an endpoint, one for each status. */
export const errors = (...list: ReadonlyArray<number>): Schema.Schema<Failure, typeof ErrorBody.Encoded> =>
  Schema.Union(...list.map((status) => failure(status, ErrorBody)))
