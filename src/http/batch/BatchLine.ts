/** One line of `POST /items`. Pure. */
import { Either } from "effect"
import type { SubmitItem } from "../../SyncEngine.js"
import {
  type ContentType,
  idProblem,
  stateProblem,
  traceparentProblem,
  versionProblem
} from "../../SyncItem.js"
import type { Member } from "../../shared/ndjson/JsonMembers.js"
import { contentIn, isBase64, readObject } from "../../shared/ndjson/ObjectLine.js"

/** What a good line asks for. */
export type BatchLine =
  | {
      readonly _tag: "Put"
      readonly item: SubmitItem
      /** Time to live in seconds; such an item is volatile. */
      readonly ttlSeconds: number | undefined
    }
  | { readonly _tag: "Delete"; readonly id: string }

/** What is wrong with a bad line, and its id where that could be read. */
export interface LineProblem {
  readonly id: string | undefined
  readonly problem: string
}

/** Names as `ingest` files have them, next to those of the HTTP API. */
const aliases: ReadonlyMap<string, string> = new Map([
  ["contentBase64", "content_base64"],
  ["ttlSeconds", "ttl_seconds"]
])

const ownName = (name: string): string => aliases.get(name) ?? name

const putFields = "id content content_base64 version state content_type ttl_seconds traceparent".split(" ")
const deleteFields = ["id", "delete"]

/** The longest time to live: 100 years. */
const maxTtlSeconds = 3_155_760_000

const membersProblem = (members: ReadonlyArray<Member>, known: ReadonlyArray<string>): string | undefined => {
  const seen = new Set<string>()
  for (const { name } of members) {
    if (!known.includes(name)) {
      return `has the field ${JSON.stringify(name.slice(0, 60))}; allowed are ${known.join(", ")}`
    }
    if (seen.has(name)) return `has the field "${name}" twice`
    seen.add(name)
  }
  return undefined
}

const contentProblem = (value: Readonly<Record<string, unknown>>): string | undefined => {
  const has = (name: string) => Object.hasOwn(value, name)
  if (has("content") === has("content_base64")) return 'must have either "content" or "content_base64"'
  const encoded = value.content_base64
  if (has("content_base64") && !isBase64(encoded)) {
    return '"content_base64" must be a string in base64 (RFC 4648, with padding)'
  }
  return [undefined, "json", "binary"].includes(value.content_type as string | undefined)
    ? undefined
    : '"content_type" must be "json" or "binary"'
}

const problems: ReadonlyArray<readonly [name: string, problem: (value: unknown) => string | undefined]> = [
  ["traceparent", traceparentProblem],
  ["version", versionProblem],
  // `null` is how the scan writes "no state".
  ["state", (state) => (state === null ? undefined : stateProblem(state))]
]

const putProblem = (value: Readonly<Record<string, unknown>>): string | undefined => {
  const contentIs = contentProblem(value)
  if (contentIs !== undefined) return contentIs
  for (const [name, problemOf] of problems) {
    const problem = value[name] === undefined ? undefined : problemOf(value[name])
    if (problem !== undefined) return `"${name}" ${problem}`
  }
  const ttl = value.ttl_seconds
  return ttl === undefined || (typeof ttl === "number" && ttl > 0 && ttl <= maxTtlSeconds)
    ? undefined
    : `"ttl_seconds" must be a number above 0 and at most ${maxTtlSeconds}`
}

const renamed = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(value).map(([name, member]) => [ownName(name), member]))

/** Reads a line. `content` is taken over byte for byte as it stands in the line; `content_base64` is decoded. */
export const parseBatchLine = (bytes: Uint8Array): Either.Either<BatchLine, LineProblem> => {
  const parsed = readObject(bytes)
  if (Either.isLeft(parsed)) return Either.left({ id: undefined, problem: parsed.left.problem })
  const value = renamed(parsed.right.value)
  const id = typeof value.id === "string" ? value.id : undefined
  const fail = (problem: string): Either.Either<never, LineProblem> => Either.left({ id, problem })
  const idIs = idProblem(value.id)
  if (id === undefined || idIs !== undefined) return fail(`"id" ${idIs ?? "must be a string"}`)
  const members = parsed.right.members.map((member) => ({ ...member, name: ownName(member.name) }))
  const deletes = Object.hasOwn(value, "delete")
  const problem = membersProblem(members, deletes ? deleteFields : putFields)
  if (problem !== undefined) return fail(problem)
  if (deletes) {
    return value.delete === true ? Either.right({ _tag: "Delete", id }) : fail('"delete" must be true')
  }
  const putIs = putProblem(value)
  if (putIs !== undefined) return fail(putIs)
  const isRaw = members.some(({ name }) => name === "content")
  const type = value.content_type as ContentType | undefined
  return Either.right({
    _tag: "Put",
    item: {
      id,
      content: contentIn(bytes, members, value.content_base64),
      contentType: type ?? (isRaw ? "json" : undefined),
      version: value.version as number | undefined,
      traceparent: value.traceparent as string | undefined,
      state: (value.state as string | null | undefined) ?? undefined
    },
    ttlSeconds: value.ttl_seconds as number | undefined
  })
}
