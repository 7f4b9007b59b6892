/** Reads one line of `ingest` input. Pure: no Effect, no I/O. */
import { Either } from "effect"
import type { BatchItem } from "../../http/client/HttpClient.js"
import { idProblem, stateProblem, versionProblem } from "../../SyncItem.js"
import type { Member } from "../../shared/ndjson/JsonMembers.js"
import { contentIn, isBase64, readObject } from "../../shared/ndjson/ObjectLine.js"

const fields = ["id", "content", "contentBase64", "version", "state", "ttlSeconds"]

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

/** The longest time to live: 100 years. */
const maxTtlSeconds = 3_155_760_000

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
  if (contentBase64 !== undefined && !isBase64(contentBase64)) {
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
export const parseIngestLine = (bytes: Uint8Array): Either.Either<BatchItem, string> =>
  Either.flatMap(
    Either.mapLeft(readObject(bytes), ({ detail, problem }) => problem + detail),
    ({ members, value }) => {
      const problem = fieldProblem(members) ?? valueProblem(value)
      if (problem !== undefined) return Either.left(problem)
      return Either.right({
        item: {
          id: value.id as string,
          content: contentIn(bytes, members, value.contentBase64),
          contentType: members.some(({ name }) => name === "content") ? ("json" as const) : undefined,
          version: value.version as number | undefined,
          state: value.state as string | undefined
        },
        ttlSeconds: value.ttlSeconds as number | undefined
      })
    }
  )
