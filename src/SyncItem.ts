/**
 * What the engine carries: items, their ids, their records in the tiers.
 *
 * @since 0.1.0
 */
import { hash } from "node:crypto"

/**
 * How an item's bytes are to be read: `json` when they are one valid JSON text in UTF-8, otherwise `binary`.
 *
 * @since 0.1.0
 * @category models
 */
export type ContentType = "json" | "binary"

/**
 * An item as an application reads it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SyncItem {
  /** Dot-separated path, 1 to 255 bytes of UTF-8; compared byte for byte. */
  readonly id: string
  /** Positive safe integer; the newest wins. */
  readonly version: number
  /** Milliseconds since the epoch at which this version was accepted. */
  readonly updatedAt: number
  readonly contentType: ContentType
  /** SHA-256 of the exact bytes, 64 lower-case hexadecimal digits. */
  readonly contentHash: string
  /** A tag by which items can be listed and counted, 1 to 64 bytes of UTF-8. */
  readonly state: string | undefined
  /** The exact bytes that were submitted. Never mutate them: tiers share the array, and contents share its `buffer`. */
  readonly content: Uint8Array
  /** W3C `traceparent` of the request that wrote this version. */
  readonly traceparent: string | undefined
}

/**
 * A row of the log, the cache or the archive: an item, or the tombstone of one.
 * A tombstone has no content, no state and the hash of zero bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemRecord extends SyncItem {
  readonly deleted: boolean
}

/**
 * What identifies one version of an item.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemHead {
  readonly id: string
  readonly version: number
  readonly contentHash: string
  readonly deleted: boolean
}

/**
 * One version of an item without its content: two writes of one version number are the same version only when all
 * of this is equal.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemVersion extends ItemHead {
  readonly contentType: ContentType
  readonly state: string | undefined
}

/**
 * The most bytes of UTF-8 that an id may have.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxIdBytes = 255

/**
 * The most bytes of UTF-8 that a state tag may have.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxStateBytes = 64

/**
 * Contents above this size are taken as `binary` unless the caller says `json`.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxDetectedJsonBytes = 1024 * 1024

/**
 * SHA-256 of zero bytes: the content hash of every tombstone.
 *
 * @since 0.1.0
 * @category constants
 */
export const emptyContentHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/**
 * The content of a tombstone: no bytes.
 *
 * @since 0.1.0
 * @category constants
 */
export const emptyContent: Uint8Array = new Uint8Array(0)

/**
 * SHA-256 of the bytes in lower-case hexadecimal.
 *
 * @since 0.1.0
 * @category functions
 */
export const contentHashOf = (content: Uint8Array): string => hash("sha256", content, "hex")

// C0 controls, DEL, C1 controls.
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]/

/**
 * What is wrong with a text that has no form in UTF-8.
 *
 * @since 0.1.0
 * @category functions
 */
export const illFormed = "is not well-formed Unicode (a lone surrogate)"
const plainAscii = /^[!-~ ]*$/

/**
 * The text's length in UTF-8 bytes.
 *
 * @since 0.1.0
 * @category functions
 */
export const utf8Length = (text: string): number => Buffer.byteLength(text, "utf8")

/**
 * Says what is wrong with an id, or `undefined` when it is valid.
 *
 * @example
 * ```ts
 * idProblem("geo.fr.11.2988507") // undefined
 * idProblem("geo..fr") // "has an empty segment"
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const idProblem = (id: unknown): string | undefined => {
  if (typeof id !== "string") return "must be a string"
  if (id.length === 0) return "is empty; it takes 1 to 255 bytes"
  const ascii = plainAscii.test(id)
  if (!ascii && controlCharacters.test(id)) return "holds a control character"
  if (!ascii && !id.isWellFormed()) return illFormed
  const bytes = ascii ? id.length : utf8Length(id)
  if (bytes > maxIdBytes) return `has ${bytes} bytes in UTF-8; at most ${maxIdBytes} are allowed`
  if (id.startsWith(".") || id.endsWith(".") || id.includes("..")) return "has an empty segment"
  return undefined
}

/**
 * Says what is wrong with a prefix for scans (an id path such as `geo.fr`, or empty for everything),
 * or `undefined` when it is valid.
 *
 * @since 0.1.0
 * @category functions
 */
export const prefixProblem = (prefix: unknown): string | undefined =>
  prefix === "" ? undefined : idProblem(prefix)

/**
 * Says what is wrong with a state tag, or `undefined` when it is valid.
 *
 * @since 0.1.0
 * @category functions
 */
export const stateProblem = (state: unknown): string | undefined => {
  if (typeof state !== "string") return "must be a string"
  if (state.length === 0) return "is empty; it takes 1 to 64 bytes"
  if (controlCharacters.test(state)) return "holds a control character"
  if (!state.isWellFormed()) return illFormed
  const bytes = utf8Length(state)
  return bytes > maxStateBytes
    ? `has ${bytes} bytes in UTF-8; at most ${maxStateBytes} are allowed`
    : undefined
}

/**
 * Says what is wrong with a version, or `undefined` when it is valid.
 *
 * @since 0.1.0
 * @category functions
 */
export const versionProblem = (version: unknown): string | undefined =>
  Number.isSafeInteger(version) && (version as number) > 0
    ? undefined
    : "must be a whole number from 1 to 9007199254740991"

const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/**
 * Says what is wrong with a W3C traceparent, or `undefined`.
 *
 * @since 0.1.0
 * @category functions
 */
export const traceparentProblem = (traceparent: unknown): string | undefined =>
  typeof traceparent === "string" && traceparentPattern.test(traceparent)
    ? undefined
    : "must be a W3C traceparent (version-traceid-parentid-flags in lower-case hexadecimal)"

const encoder = new TextEncoder()

/** A view of a buffer that was transferred to somebody else, or that has shrunk, has no bytes and no elements. */
const isGone = (content: Uint8Array): boolean => {
  if (content.length > 0) return false
  try {
    content.at(0)
    return false
  } catch {
    return true
  }
}

/**
 * The bytes of a content as a caller gives it, a string in UTF-8; or, as text, what is wrong with it. A lone surrogate
 * has no form in UTF-8: encoders would put another character in its place.
 *
 * @since 0.1.0
 * @category functions
 */
export const bytesOf = (content: unknown): Uint8Array | string => {
  if (typeof content === "string") return content.isWellFormed() ? encoder.encode(content) : illFormed
  if (!(content instanceof Uint8Array)) return "must be a Uint8Array or a string"
  return isGone(content) ? "is a view of a buffer that is gone (transferred or shrunk)" : content
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * Whether the bytes are one valid JSON text in UTF-8.
 *
 * @since 0.1.0
 * @category functions
 */
export const isJson = (content: Uint8Array): boolean => {
  if (content.length === 0) return false
  try {
    JSON.parse(utf8.decode(content))
    return true
  } catch {
    return false
  }
}

/** Only these bytes can open a JSON text. */
const opensJson = Buffer.from('{["-0123456789tfn \t\n\r')

/**
 * Detects the content type from the bytes. Above 1 MiB the answer is `binary` without looking, because
 * parsing would stall the thread; callers that know better say `contentType: "json"`.
 *
 * @since 0.1.0
 * @category functions
 */
export const detectContentType = (content: Uint8Array): ContentType => {
  const first = content[0]
  if (first === undefined || content.length > maxDetectedJsonBytes) return "binary"
  return opensJson.includes(first) && isJson(content) ? "json" : "binary"
}

/**
 * Orders two versions of the same item by number alone: positive when `a` is newer, negative when `b` is. Of one number
 * there is one version, the one that the archive took first; another content under it is a conflict and never
 * replaces it.
 *
 * @since 0.1.0
 * @category functions
 */
export const compareVersions = (a: { readonly version: number }, b: { readonly version: number }): number =>
  a.version - b.version

/**
 * Whether two heads of an id are of the same content under the same version number.
 *
 * @since 0.1.0
 * @category functions
 */
export const sameHead = (a: Omit<ItemHead, "id">, b: Omit<ItemHead, "id">): boolean =>
  a.version === b.version && a.contentHash === b.contentHash && a.deleted === b.deleted

/**
 * Whether `a` is newer than `b`, or the same.
 *
 * @since 0.1.0
 * @category functions
 */
export const isAtLeast = (a: Omit<ItemHead, "id">, b: Omit<ItemHead, "id">): boolean =>
  a.version > b.version || sameHead(a, b)

/**
 * Whether two writes of an id are the same version: a repeat that changes nothing. The same number with another hash,
 * state or content type is a conflict.
 *
 * @since 0.1.0
 * @category functions
 */
export const sameVersion = (a: ItemVersion, b: ItemVersion): boolean =>
  sameHead(a, b) && a.state === b.state && a.contentType === b.contentType

/**
 * The tombstone of an item.
 *
 * @since 0.1.0
 * @category constructors
 */
export const tombstone = (
  id: string,
  version: number,
  updatedAt: number,
  traceparent?: string
): ItemRecord => ({
  id,
  version,
  updatedAt,
  contentType: "binary",
  contentHash: emptyContentHash,
  state: undefined,
  content: emptyContent,
  traceparent,
  deleted: true
})

const utf8Lenient = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * An item's bytes as text (UTF-8, invalid sequences replaced).
 *
 * @since 0.1.0
 * @category functions
 */
export const textOf = (item: SyncItem): string => utf8Lenient.decode(item.content)

/**
 * An item's content parsed as JSON; throws a `SyntaxError` when it is not JSON.
 *
 * @since 0.1.0
 * @category functions
 */
export const jsonOf = (item: SyncItem): unknown => JSON.parse(textOf(item))
