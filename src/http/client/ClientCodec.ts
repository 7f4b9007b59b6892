/** What a client of the HTTP API reads and writes: lines and errors, back in the engine's words. Pure. */
import { Data, Option, Schema } from "effect"
import * as EngineErrors from "../../EngineError.js"
import type { Receipt, SubmitItem, SubmitResult } from "../../SyncEngine.js"
import { bytesOf, isJson, type SyncItem } from "../../SyncItem.js"
import { membersOf } from "../../shared/ndjson/JsonMembers.js"
import { ReceiptBody } from "../api/ApiSchemas.js"

/** The server's answer is an error that is none of the engine's, or no answer of this API at all. */
export class RequestFailed extends Data.TaggedError("RequestFailed")<{
  readonly status: number
  /** The error's stable name, such as `Unauthorized`. */
  readonly error: string
  readonly message: string
}> {}

/** The server could not be reached, or the connection broke. */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly url: string
  readonly problem: string
}> {
  override get message() {
    return `${this.url} cannot be reached: ${this.problem}`
  }
}

/** What a call of the client can fail with. */
export type ClientError = EngineErrors.EngineError | RequestFailed | Unreachable

const EngineError = Schema.Union(
  EngineErrors.InvalidItem,
  EngineErrors.InvalidRequest,
  EngineErrors.PayloadTooLarge,
  EngineErrors.VersionConflict,
  EngineErrors.ClockOutOfRange,
  EngineErrors.VersionMismatch,
  EngineErrors.GateClosed,
  EngineErrors.ReadOnly,
  EngineErrors.Backpressure,
  EngineErrors.LogFull,
  EngineErrors.LogUnavailable,
  EngineErrors.TierUnavailable,
  EngineErrors.ItemRejected,
  EngineErrors.CorruptItem,
  EngineErrors.NotSupported
)

const decodeEngineError = Schema.decodeUnknownOption(EngineError)
const decodeErrorBody = Schema.decodeUnknownOption(
  Schema.Struct({ error: Schema.String, message: Schema.String })
)

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The error that a body describes. */
export const errorOf = (status: number, text: string): EngineErrors.EngineError | RequestFailed => {
  const value = parse(text)
  const body = decodeErrorBody(value)
  if (Option.isNone(body)) {
    return new RequestFailed({ status, error: "UnexpectedAnswer", message: `the server answered ${status}` })
  }
  const { error, message } = body.value
  const fields = Object.fromEntries(
    Object.entries(value as object).map(([name, field]) => [camelCase(name), field])
  )
  return Option.getOrElse(
    decodeEngineError({ ...fields, _tag: error }),
    () => new RequestFailed({ status, error, message })
  )
}

/** A receipt from its body. */
export const receiptOf = (body: typeof ReceiptBody.Type): Receipt => ({
  id: body.id,
  version: body.version,
  contentHash: body.content_hash,
  durability: body.durability,
  previousVersion: body.previous_version ?? undefined,
  compared: body.compared
})

/** An item to submit, with a time to live when it is volatile. */
export interface BatchItem {
  readonly item: SubmitItem
  readonly ttlSeconds: number | undefined
}

/** The bytes to send, or why there are none. */
export const contentOf = (item: SubmitItem): Uint8Array | EngineErrors.InvalidItem => {
  const content = bytesOf(item.content)
  return typeof content === "string"
    ? new EngineErrors.InvalidItem({ id: item.id, field: "content", problem: content })
    : content
}

/** The line for one item. JSON goes in as it stands where it fits on a line, everything else as base64. */
export const batchLine = ({ item, ttlSeconds }: BatchItem): Buffer | EngineErrors.InvalidItem => {
  const bytes = contentOf(item)
  if ("_tag" in bytes) return bytes
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const inline =
    item.contentType === "json" && !content.includes(0x0a) && !content.includes(0x0d) && isJson(content)
  const head = JSON.stringify({
    id: item.id,
    version: item.version,
    state: item.state,
    ttl_seconds: ttlSeconds,
    traceparent: item.traceparent,
    ...(inline ? {} : { content_type: item.contentType, content_base64: content.toString("base64") })
  })
  return inline
    ? Buffer.concat([Buffer.from(`${head.slice(0, -1)},"content":`), content, Buffer.from("}\n")])
    : Buffer.from(`${head}\n`)
}

const ResultLine = Schema.Union(
  Schema.Struct({ status: Schema.Literal("acknowledged"), ...ReceiptBody.fields }),
  Schema.Struct({
    status: Schema.Literal("rejected"),
    id: Schema.optional(Schema.String),
    error: Schema.String,
    message: Schema.String
  })
)
const decodeResult = Schema.decodeUnknownOption(ResultLine)

const isWriteError = (error: EngineErrors.EngineError): error is EngineErrors.WriteError =>
  error._tag !== "CorruptItem" &&
  error._tag !== "LogOpenError" &&
  error._tag !== "ArchiveStartError" &&
  error._tag !== "InvalidConfig"

/** The result on one line of a batch's answer; `undefined` for the summary. */
export const resultOf = (text: string): SubmitResult | undefined => {
  const value = decodeResult(parse(text))
  if (Option.isNone(value)) return undefined
  if (value.value.status === "acknowledged") return { _tag: "Acknowledged", receipt: receiptOf(value.value) }
  const { id = "", message } = value.value
  const error = errorOf(400, text)
  return {
    _tag: "Rejected",
    id,
    error:
      error._tag !== "RequestFailed" && isWriteError(error)
        ? error
        : new EngineErrors.InvalidItem({ id, field: "line", problem: message })
  }
}

const ItemLine = Schema.Struct({
  id: Schema.String,
  version: Schema.Number,
  updated_at: Schema.Number,
  state: Schema.NullOr(Schema.String),
  content_type: Schema.Literal("json", "binary"),
  content_hash: Schema.String,
  content_base64: Schema.optional(Schema.String)
})
const decodeItem = Schema.decodeUnknownOption(ItemLine)

/** The item on one line of a scan; `undefined` for other lines. */
export const itemOf = (line: Uint8Array): SyncItem | undefined => {
  const value = decodeItem(parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8")))
  if (Option.isNone(value)) return undefined
  const body = value.value
  const raw = membersOf(line).find(({ name }) => name === "content")
  return {
    id: body.id,
    version: body.version,
    updatedAt: body.updated_at,
    contentType: body.content_type,
    contentHash: body.content_hash,
    state: body.state ?? undefined,
    content:
      raw === undefined
        ? new Uint8Array(Buffer.from(body.content_base64 ?? "", "base64"))
        : new Uint8Array(line.subarray(raw.start, raw.end)),
    traceparent: undefined
  }
}
