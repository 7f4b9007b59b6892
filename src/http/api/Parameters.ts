/** The parameters and headers of the HTTP API. */
import { Schema } from "effect"
import { maxOwnVersion } from "../../shared/OwnVersions.js"
import { fieldsOf, parseWhole, wire } from "./Wire.js"

const { Boolean, Literal, Number, String, optional } = Schema

/** A whole number in a query or header. */
const wholeNumber = (minimum: number, maximum: number): Schema.Schema<number, string> =>
  Schema.transform(
    String.pipe(Schema.filter((text) => parseWhole(text, minimum, maximum) !== undefined)),
    Number,
    { strict: true, decode: globalThis.Number, encode: globalThis.String }
  ).annotations({
    message: () => ({ message: `must be a whole number from ${minimum} to ${maximum}`, override: true }),
    jsonSchema: { type: "integer", minimum, maximum }
  })

/** One of a few words in a query. */
const oneOf = <const Words extends readonly [string, ...Array<string>]>(
  ...words: Words
): Schema.Schema<Words[number]> =>
  Literal(...words).annotations({
    message: () => ({ message: `must be one of ${words.join(", ")}`, override: true })
  })

/** `true` or `false` in a query. */
const flag: Schema.Schema<boolean, "true" | "false"> = Schema.transform(oneOf("true", "false"), Boolean, {
  strict: true,
  decode: (text) => text === "true",
  encode: (value) => (value ? "true" : "false")
}).annotations({ jsonSchema: { type: "boolean" } })

const durability = oneOf("memory", "wal", "archive")
const limit = optional(wholeNumber(1, 10_000))
const text = optional(String)
const texts = fieldsOf(text)
const described = (description: string) => optional(String.annotations({ description }))

// Parameters that a query does not know are refused before it is decoded (`RequestTarget`).

export const ReadyQuery = wire({ for: optional(oneOf("queries", "writes")) })

export const PutQuery = wire({
  durability: optional(durability),
  sql: optional(flag),
  ttlSeconds: optional(wholeNumber(1, 3_155_760_000))
})

export const DeleteQuery = wire({ durability: optional(durability) })

export const GetQuery = wire({ verified: optional(flag) })

export const BatchQuery = wire({
  durability: optional(durability),
  results: optional(oneOf("all", "rejected"))
})

export const ScanQuery = wire({ ...texts("prefix", "state", "after"), limit })

export const DeadLettersQuery = wire({
  after: optional(wholeNumber(0, globalThis.Number.MAX_SAFE_INTEGER)),
  limit
})

export const NodeQuery = wire({
  ...texts("path", "after"),
  afterKind: optional(oneOf("branch", "leaf")),
  limit
})

export const NamesQuery = wire({ ...texts("path", "after"), limit })

export const RangeQuery = wire(texts("path", "after", "upTo"))

export const LeavesQuery = wire({ ...texts("path", "after", "upTo"), limit })

export const PartsQuery = wire({
  ...texts("path", "after", "upTo"),
  size: wholeNumber(1, globalThis.Number.MAX_SAFE_INTEGER)
})

export const BatchHeaders = Schema.Struct({ traceparent: text })

export const WriteHeaders = Schema.Struct({
  "if-match": described('Write only over this version: `"7"`'),
  "if-none-match": described("`*`: write only if the item is absent"),
  "x-sync-version": optional(
    wholeNumber(1, maxOwnVersion).annotations({
      description: "Own version; the engine assigns one otherwise"
    })
  ),
  traceparent: described("W3C trace context, stored with the version")
})

export const PutHeaders = Schema.Struct({
  ...WriteHeaders.fields,
  "x-sync-state": described("State tag, percent-encoded UTF-8"),
  "content-type": described("`application/json` has the body checked to be JSON; others have it detected")
})

export const GetHeaders = Schema.Struct({
  "if-none-match": described("Returns 304 when the version is one of these")
})
