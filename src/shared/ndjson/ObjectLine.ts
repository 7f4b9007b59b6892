/**
 * Lines of NDJSON: objects read with the places where their members stand, and written with a content that goes in
 * byte for byte. Pure: no Effect, no I/O.
 */
import { isUtf8 } from "node:buffer"
import { Either } from "effect"
import { copyOfContent } from "../ContentCopies.js"
import { type Member, membersOf } from "./JsonMembers.js"

/** What a line holds, and where. */
export interface ObjectLine {
  readonly value: Readonly<Record<string, unknown>>
  readonly members: ReadonlyArray<Member>
}

/** Whether a line holds nothing but white space; such lines are skipped. */
export const isBlank = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** What a line is not, and more about it for whoever wrote the line by hand. */
export interface LineFault {
  readonly problem: string
  readonly detail: string
}

const fault = (problem: string, detail = ""): Either.Either<never, LineFault> =>
  Either.left({ problem, detail })

/** Reads a line. */
export const readObject = (bytes: Uint8Array): Either.Either<ObjectLine, LineFault> => {
  if (!isUtf8(bytes)) return fault("is not valid UTF-8")
  try {
    const value: unknown = JSON.parse(bufferOf(bytes).toString("utf8"))
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Either.right({ value: value as Record<string, unknown>, members: membersOf(bytes) })
      : fault("is not a JSON object", ' such as {"id": "a.b", "content": 1}')
  } catch (error) {
    return fault("is not valid JSON", `: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const base64Pattern = /^[A-Za-z0-9+/]*={0,2}$/

/** Whether a value is text in base64 (RFC 4648, with padding). */
export const isBase64 = (value: unknown): value is string =>
  typeof value === "string" && value.length % 4 === 0 && base64Pattern.test(value)

/** The bytes of a member as they stand in the line, or decoded; a copy, because lines share memory with their chunk. */
export const contentIn = (
  line: Uint8Array,
  members: ReadonlyArray<Member>,
  encoded: unknown
): Uint8Array<ArrayBuffer> => {
  const raw = members.find(({ name }) => name === "content")
  return raw === undefined
    ? new Uint8Array(Buffer.from(String(encoded), "base64"))
    : copyOfContent(line.subarray(raw.start, raw.end))
}

/** One value as a line. */
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`

/** Whether JSON can stand in a line as it is. */
export const fitsInLine = (content: Uint8Array): boolean => !content.includes(0x0a) && !content.includes(0x0d)

const lineEnd = Buffer.from("}\n")
const base64End = Buffer.from('"}\n')
/** A multiple of three, so that base64 can be made of it alone. */
const bytesPerPiece = 48 * 1024

/** The line of an object and its content: in base64, or as it stands. A large content is not copied. */
export function* contentLine(head: object, content: Uint8Array, inline: boolean): Generator<Uint8Array> {
  const open = JSON.stringify(head).slice(0, -1)
  if (inline) {
    yield Buffer.from(`${open},"content":`)
    yield content
    yield lineEnd
    return
  }
  const source = bufferOf(content)
  yield Buffer.from(`${open},"content_base64":"`)
  for (let at = 0; at < source.length; at += bytesPerPiece) {
    yield Buffer.from(source.toString("base64", at, at + bytesPerPiece), "latin1")
  }
  yield base64End
}

/** Puts parts together to pieces of some size; large ones are handed on as they are, and made when they are asked for. */
export function* inPieces(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  let open: Array<Uint8Array> = []
  let bytes = 0
  const taken = (): Uint8Array => {
    const together = open.length === 1 ? open[0]! : Buffer.concat(open, bytes)
    open = []
    bytes = 0
    return together
  }
  for (const part of parts) {
    if (part.length >= bytesPerPiece && bytes > 0) yield taken()
    open.push(part)
    bytes += part.length
    if (bytes >= bytesPerPiece) yield taken()
  }
  if (bytes > 0) yield taken()
}
