/** Reads one line of `ingest` input. Pure: no Effect, no I/O. */
import { isUtf8 } from "node:buffer"
import { Either } from "effect"
import type { SubmitItem } from "../../SyncEngine.js"
import { idProblem, stateProblem, versionProblem } from "../../SyncItem.js"
import { type Member, membersOf } from "../../shared/ndjson/JsonMembers.js"

/** A good line. */
export interface IngestItem {
  readonly item: SubmitItem
  /** Time to live in seconds; such an item is volatile. */
  readonly ttlSeconds: number | undefined
}

const fields = ["id", "content", "contentBase64", "version", "state", "ttlSeconds"]

const base64 = /^[A-Za-z0-9+/]*={0,2}$/

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

/** The longest time to live: 100 years. */
const maxTtlSeconds = 3_155_760_000

/** Whether a line holds nothing but white space; such lines are skipped. */
export const isBlank = (bytes: Uint8Array): boolean => {
  for (const byte of bytes) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false
  }
  return true
}

const parseObject = (bytes: Uint8Array): Either.Either<Readonly<Record<string, unknown>>, string> => {
  if (!isUtf8(bytes)) return Either.left("is not valid UTF-8")
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Either.right(value as Record<string, unknown>)
      : Either.left('is not a JSON object such as {"id": "a.b", "content": 1}')
  } catch (error) {
    return Either.left(`is not valid JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const fieldProblem = (members: ReadonlyArray<Member>): string | undefined => {
  const seen = new Set<string>()
  for (const { name } of members) {
    if (!fields.includes(name)) return `has the unknown field ${quoted(name)}; known are ${fields.join(", ")}`
    if (seen.has(name)) return `has the field ${quoted(name)} twice`
    seen.add(name)
  }
  if (!seen.has("id")) return 'has no "id"'
  if (seen.has("content") && seen.has("contentBase64")) return 'has both "content" and "contentBase64"'
  if (!seen.has("content") && !seen.has("contentBase64")) return 'has neither "content" nor "contentBase64"'
  return undefined
}

const valueProblem = (value: Readonly<Record<string, unknown>>): string | undefined => {
  const id = idProblem(value.id)
  if (id !== undefined) return `"id" ${id}`
  const { contentBase64, version, state, ttlSeconds } = value
  if (
    contentBase64 !== undefined &&
    (typeof contentBase64 !== "string" || contentBase64.length % 4 !== 0 || !base64.test(contentBase64))
  ) {
    return '"contentBase64" must be a string in base64 (RFC 4648, with padding)'
  }
  const versionIs = version === undefined ? undefined : versionProblem(version)
  if (versionIs !== undefined) return `"version" ${versionIs}`
  const stateIs = state === undefined ? undefined : stateProblem(state)
  if (stateIs !== undefined) return `"state" ${stateIs}`
  if (
    ttlSeconds !== undefined &&
    !(typeof ttlSeconds === "number" && ttlSeconds > 0 && ttlSeconds <= maxTtlSeconds)
  ) {
    return `"ttlSeconds" must be a number above 0 and at most ${maxTtlSeconds}`
  }
  return undefined
}

/**
 * Reads a line. `content` is taken over byte for byte as it stands in the line (white space around the value
 * excluded), so numbers, key order and escapes survive; `contentBase64` is decoded. The left side says in
 * words what is wrong with the line.
 */
export const parseIngestLine = (bytes: Uint8Array): Either.Either<IngestItem, string> =>
  Either.flatMap(parseObject(bytes), (value) => {
    const members = membersOf(bytes)
    const problem = fieldProblem(members) ?? valueProblem(value)
    if (problem !== undefined) return Either.left(problem)
    const source = members.find((member) => member.name === "content")
    return Either.right({
      item: {
        id: value.id as string,
        // A copy: the line shares memory with a whole chunk of the input.
        content:
          source === undefined
            ? new Uint8Array(Buffer.from(value.contentBase64 as string, "base64"))
            : new Uint8Array(bytes.subarray(source.start, source.end)),
        contentType: source === undefined ? undefined : ("json" as const),
        version: value.version as number | undefined,
        state: value.state as string | undefined
      },
      ttlSeconds: value.ttlSeconds as number | undefined
    })
  })
