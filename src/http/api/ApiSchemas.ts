/** The bodies and parameters of the HTTP API. */
import { Schema } from "effect"
import { sumToHex } from "../../merkle/Digest.js"
import type { Receipt, RepairResult, VerifyResult } from "../../SyncEngine.js"
import { maxOwnVersion } from "../../shared/OwnVersions.js"
import type { DeadLetter } from "../../wal/WriteAheadLog.js"
import { orNull, parseWhole, wire } from "./Wire.js"

const { Boolean, Literal, Number, String, optional } = Schema
const List = Schema.Array
const strict = { parseOptions: { onExcessProperty: "error" } } as const

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

/** Fields that are all of one kind. */
const fieldsOf =
  <Field>(field: Field) =>
  <Name extends string>(...names: ReadonlyArray<Name>): { readonly [N in Name]: Field } =>
    Object.fromEntries(names.map((name) => [name, field])) as { readonly [N in Name]: Field }

const numbers = fieldsOf(Number)
const strings = fieldsOf(String)
const flags = fieldsOf(Boolean)
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

const lifecycle = {
  phase: Literal("starting", "ready", "draining", "shutting_down", "stopped"),
  bootStage: String,
  reason: text,
  drainRequested: Boolean,
  shutdownRequested: optional(Boolean)
}

export const LifecycleBody = wire(lifecycle).annotations({ identifier: "Lifecycle" })

export const NotReadyBody = wire({ error: String, message: String, ...lifecycle }).annotations({
  identifier: "NotReady"
})

export const ReceiptBody = wire({
  id: String,
  version: Number,
  contentHash: String,
  durability: Literal("memory", "wal", "archive"),
  previousVersion: orNull(Number),
  compared: Boolean
}).annotations({ identifier: "Receipt" })

/** What `ReceiptBody` says; by hand because batches have thousands. */
export const receiptBody = (receipt: Receipt): typeof ReceiptBody.Encoded => ({
  id: receipt.id,
  version: receipt.version,
  content_hash: receipt.contentHash,
  durability: receipt.durability,
  previous_version: receipt.previousVersion ?? null,
  compared: receipt.compared
})

export const DrainBody = wire({ changed: Boolean, ...lifecycle }).annotations({ identifier: "Drained" })

export const ShutdownBody = wire({
  ...flags("clean", "flushedWal", "finalCheckpoint", "filterSnapshot"),
  itemsFlushed: Number,
  itemsLeftInLog: orNull(Number),
  problems: List(String),
  ...numbers("startedAtMs", "completedAtMs", "durationMs")
}).annotations({ identifier: "ShutdownReport" })

export const FlushBody = wire(numbers("flushed", "deadLettered", "pending")).annotations({
  identifier: "Flushed"
})

export const ReadOnlyBody = wire({ readOnly: Boolean }).annotations({ identifier: "ReadOnly", ...strict })

const whole = (least: number, most: number) => Schema.Int.pipe(Schema.between(least, most))

const CheckOptions = Schema.Struct({
  ...fieldsOf(optional(Boolean))("rows", "contents", "roots"),
  values: optional(Literal("sample", "full", false)),
  sample: optional(whole(1, 100_000)),
  differences: optional(whole(0, 10_000)),
  budget: optional(
    Schema.Struct(
      fieldsOf(optional(whole(1, globalThis.Number.MAX_SAFE_INTEGER)))("rows", "milliseconds")
    ).annotations(strict)
  )
})

/** What to verify; without `roots`, `rows`, `contents` and `values`: roots and rows. */
export const VerifyRequest = CheckOptions.annotations({ identifier: "VerifyRequest", ...strict })

/** What to repair; everything unless said otherwise. */
export const RepairRequest = CheckOptions.annotations({ identifier: "RepairRequest", ...strict })

const checked = numbers("rowsChecked", "contentsChecked", "valuesChecked")

export const VerifyBody = wire({
  ...flags("inSync", "complete"),
  archiveRoot: String,
  recomputedRoot: orNull(String),
  cacheRoot: orNull(String),
  ...checked,
  differences: List(
    wire({
      tier: Literal("archive", "cache"),
      what: Literal("root", "node", "leaf", "content", "value"),
      id: String,
      problem: Literal("missing", "extra", "changed")
    }).annotations({ identifier: "VerifyDifference" })
  ),
  differencesTotal: Number,
  unchecked: List(wire({ what: Literal("roots", "rows", "values"), problem: String })),
  pending: Number
}).annotations({ identifier: "Verified" })

const checkedFields = ({ checked: { contents, rows, values } }: VerifyResult | RepairResult) => ({
  rowsChecked: rows,
  contentsChecked: contents,
  valuesChecked: values
})

/** What a verification found, without its nesting. */
export const verified = (result: VerifyResult): typeof VerifyBody.Type => ({
  ...result,
  ...checkedFields(result),
  recomputedRoot: result.recomputed?.root
})

export const RepairBody = wire({
  ...flags("inSync", "complete"),
  archiveRoot: String,
  cacheRoot: orNull(String),
  treeRebuilt: Boolean,
  ...numbers("contentsRestored", "contentsLost"),
  lost: List(String),
  ...numbers("cacheWritten", "cacheRemoved"),
  cacheRebuilt: Boolean,
  ...numbers("valuesRewritten", "memoryDropped"),
  ...checked,
  problems: List(String)
}).annotations({ identifier: "Repaired" })

/** What a repair did, without its nesting. */
export const repaired = (result: RepairResult): typeof RepairBody.Type => ({
  ...result,
  ...checkedFields(result)
})

export const DeadLetterBody = wire({
  sequence: Number,
  reason: String,
  at: Number,
  id: String,
  ...numbers("version", "updatedAt"),
  deleted: Boolean,
  state: orNull(String),
  contentType: Literal("json", "binary"),
  contentHash: String,
  contentBytes: Number
}).annotations({ identifier: "DeadLetter" })

/** A dead letter without its content, which can be large. */
export const deadLetterRow = ({ record, ...letter }: DeadLetter): typeof DeadLetterBody.Type => ({
  ...record,
  ...letter,
  contentBytes: record.content.byteLength
})

export const DeadLettersBody = wire({
  deadLetters: List(DeadLetterBody),
  nextAfter: orNull(Number)
}).annotations({ identifier: "DeadLetters" })

/** Which dead letters: these, or `{"all": true}`. */
export const SequencesBody = Schema.Union(
  Schema.Struct({
    sequences: List(Schema.NonNegativeInt).pipe(Schema.minItems(1), Schema.maxItems(10_000))
  }).annotations(strict),
  Schema.Struct({ all: Literal(true) }).annotations(strict)
).annotations({ identifier: "DeadLetterChoice" })

export const RetriedBody = wire({ retried: Number }).annotations({ identifier: "Retried" })

export const DroppedBody = wire({ dropped: Number }).annotations({ identifier: "Dropped" })

export const StatusBody = wire({
  health: wire({
    lifecycle: LifecycleBody,
    ...flags("acceptsWrites", "acceptsQueries", "readOnly"),
    degraded: List(wire({ ...strings("component", "reason"), since: Number })),
    archive: wire({ ...strings("dialect", "target"), available: Boolean }),
    cache: wire(flags("configured", "available", "trusted")),
    filter: wire({ trusted: Boolean, entries: Number, reason: text }),
    backpressure: wire({ level: String, pressure: Number })
  }),
  stats: wire({
    ...numbers("startedAtMs", "uptimeMs"),
    log: wire(numbers("items", "bytes", "maxItems", "maxBytes", "committed", "released")),
    memory: wire(numbers("items", "bytes", "maxBytes", "hits", "misses", "evictions")),
    ...numbers("pending", "acknowledged", "archived", "superseded", "deadLetters"),
    flushes: Schema.Record({ key: String, value: Number }),
    flushFailures: Number,
    startupTimings: List(
      Schema.transform(wire({ phase: String, milliseconds: Number }), Schema.Tuple(String, Number), {
        strict: true,
        decode: ({ milliseconds, phase }) => [phase, milliseconds] as const,
        encode: ([phase, milliseconds]) => ({ phase, milliseconds })
      })
    )
  })
}).annotations({ identifier: "Status" })

export const RootBody = wire({ root: String }).annotations({ identifier: "MerkleRoot" })

const ChildKind = Literal("branch", "leaf")

/** A sum modulo 2^256 as 64 hexadecimal digits. */
const Sum = Schema.transform(String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)), Schema.BigIntFromSelf, {
  strict: true,
  decode: (hex) => BigInt(`0x${hex}`),
  encode: sumToHex
})

export const NodeBody = wire({
  path: String,
  count: Number,
  sum: Sum,
  digest: String,
  children: List(wire({ name: String, kind: ChildKind, count: Number, digest: String })),
  nextAfter: orNull(wire({ name: String, kind: ChildKind }))
}).annotations({ identifier: "MerkleNode" })

export const BranchesBody = wire({
  branches: List(wire({ name: String, count: Number, digest: String }))
}).annotations({ identifier: "MerkleBranches" })

export const LeavesBody = wire({ leaves: List(wire({ name: String, digest: String })) }).annotations({
  identifier: "MerkleLeaves"
})

export const SumBody = wire({ count: Number, sum: Sum, nextAfter: orNull(String) }).annotations({
  identifier: "MerkleSum"
})

export const PartsBody = wire({
  parts: List(wire({ upTo: String, count: Number, sum: Sum })),
  nextAfter: orNull(String)
}).annotations({ identifier: "MerkleParts" })
