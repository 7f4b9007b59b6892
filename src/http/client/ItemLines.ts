/** The lines of batches and scans, as a client writes and reads them. Pure. */
import { Either, Option, Schema } from "effect"
import { type EngineError, InvalidItem, type WriteError } from "../../EngineError.js"
import type { SubmitItem, SubmitResult } from "../../SyncEngine.js"
import { bytesOf, isJson, type SyncItem } from "../../SyncItem.js"
import { contentIn, contentLine, fitsInLine, readObject } from "../../shared/ndjson/ObjectLine.js"
import { ReceiptBody } from "../api/ApiSchemas.js"
import { errorOf } from "../api/ErrorMapping.js"
import { wire } from "../api/Wire.js"

/**
 * An item to submit.
 *
 * @since 0.1.0
 * @category models
 */
export interface BatchItem {
  readonly item: SubmitItem
  /** Time to live in seconds; such an item is volatile, in the cache alone. */
  readonly ttlSeconds: number | undefined
}

/** The bytes to send, or why there are none. */
export const contentOf = ({ content, id }: SubmitItem): Either.Either<Uint8Array, InvalidItem> => {
  const bytes = bytesOf(content)
  return typeof bytes === "string"
    ? Either.left(new InvalidItem({ id, field: "content", problem: bytes }))
    : Either.right(bytes)
}

/** The line for one item. JSON goes in as it stands where it fits on a line, everything else as base64. */
export const batchLine = ({ item, ttlSeconds }: BatchItem): Either.Either<Buffer, InvalidItem> =>
  Either.map(contentOf(item), (content) => {
    const inline = item.contentType === "json" && fitsInLine(content) && isJson(content)
    const head = {
      id: item.id,
      version: item.version,
      state: item.state,
      ttl_seconds: ttlSeconds,
      traceparent: item.traceparent,
      content_type: inline ? undefined : item.contentType
    }
    return Buffer.concat([...contentLine(head, content, inline)])
  })

const decodeReceipt = Schema.decodeUnknownOption(ReceiptBody)
const decodeRejection = Schema.decodeUnknownOption(
  Schema.Struct({
    status: Schema.Literal("rejected"),
    id: Schema.optional(Schema.String),
    message: Schema.String
  })
)

const isWriteError = (error: EngineError): error is WriteError =>
  error._tag !== "CorruptItem" &&
  error._tag !== "LogOpenError" &&
  error._tag !== "ArchiveStartError" &&
  error._tag !== "InvalidConfig"

const rejected = (text: string, id: string, message: string): SubmitResult => {
  const error = errorOf(400, text)
  return {
    _tag: "Rejected",
    id,
    error:
      error._tag !== "RequestFailed" && isWriteError(error)
        ? error
        : new InvalidItem({ id, field: "line", problem: message })
  }
}

/** The result on one line of a batch's answer; `undefined` for the summary. */
export const resultOf = (text: string): SubmitResult | undefined => {
  const value = Either.getOrUndefined(readObject(Buffer.from(text)))?.value
  if (value?.status === "acknowledged") {
    const receipt = decodeReceipt(value)
    return Option.isSome(receipt) ? { _tag: "Acknowledged", receipt: receipt.value } : undefined
  }
  const rejection = Option.getOrUndefined(decodeRejection(value))
  return rejection === undefined ? undefined : rejected(text, rejection.id ?? "", rejection.message)
}

const decodeItem = Schema.decodeUnknownOption(
  wire({
    id: Schema.String,
    version: Schema.Number,
    updatedAt: Schema.Number,
    state: Schema.NullOr(Schema.String),
    contentType: Schema.Literal("json", "binary"),
    contentHash: Schema.String
  })
)

/** The item on one line of a scan; `undefined` for other lines. */
export const itemOf = (line: Uint8Array): SyncItem | undefined => {
  const read = Either.getOrUndefined(readObject(line))
  const item = read === undefined ? Option.none() : decodeItem(read.value)
  if (read === undefined || Option.isNone(item)) return undefined
  return {
    ...item.value,
    state: item.value.state ?? undefined,
    content: contentIn(line, read.members, read.value.content_base64 ?? ""),
    traceparent: undefined
  }
}
