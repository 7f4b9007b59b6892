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

export const ScanQuery = wire({ prefix: text, state: text, after: text, limit })

export const DeadLettersQuery = wire({
  after: optional(wholeNumber(0, globalThis.Number.MAX_SAFE_INTEGER)),
  limit
})

export const NodeQuery = wire({
  path: text,
  after: text,
  afterKind: optional(oneOf("branch", "leaf")),
  limit
})

export const NamesQuery = wire({ path: text, after: text, limit })

export const RangeQuery = wire({ path: text, after: text, upTo: text })

export const LeavesQuery = wire({ path: text, after: text, upTo: text, limit })

export const PartsQuery = wire({
  path: text,
  after: text,
  upTo: text,
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
  clean: Boolean,
  flushedWal: Boolean,
  finalCheckpoint: Boolean,
  filterSnapshot: Boolean,
  itemsFlushed: Number,
  itemsLeftInLog: orNull(Number),
  problems: List(String),
  startedAtMs: Number,
  completedAtMs: Number,
  durationMs: Number
}).annotations({ identifier: "ShutdownReport" })

export const FlushBody = wire({ flushed: Number, deadLettered: Number, pending: Number }).annotations({
  identifier: "Flushed"
})

export const ReadOnlyBody = wire({ readOnly: Boolean }).annotations({ identifier: "ReadOnly", ...strict })

const whole = (least: number, most: number) => Schema.Int.pipe(Schema.between(least, most))

const CheckOptions = Schema.Struct({
  rows: optional(Boolean),
  contents: optional(Boolean),
  roots: optional(Boolean),
  values: optional(Literal("sample", "full", false)),
  sample: optional(whole(1, 100_000)),
  differences: optional(whole(0, 10_000)),
  budget: optional(
    Schema.Struct({
      rows: optional(whole(1, globalThis.Number.MAX_SAFE_INTEGER)),
      milliseconds: optional(whole(1, globalThis.Number.MAX_SAFE_INTEGER))
    }).annotations(strict)
  )
})

/** What to verify; without `roots`, `rows`, `contents` and `values`: roots and rows. */
export const VerifyRequest = CheckOptions.annotations({ identifier: "VerifyRequest", ...strict })

/** What to repair; everything unless said otherwise. */
export const RepairRequest = CheckOptions.annotations({ identifier: "RepairRequest", ...strict })

const checked = { rowsChecked: Number, contentsChecked: Number, valuesChecked: Number }

export const VerifyBody = wire({
  inSync: Boolean,
  complete: Boolean,
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
  inSync: Boolean,
  complete: Boolean,
  archiveRoot: String,
  cacheRoot: orNull(String),
  treeRebuilt: Boolean,
  contentsRestored: Number,
  contentsLost: Number,
  lost: List(String),
  cacheWritten: Number,
  cacheRemoved: Number,
  cacheRebuilt: Boolean,
  valuesRewritten: Number,
  memoryDropped: Number,
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
  version: Number,
  updatedAt: Number,
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
    acceptsWrites: Boolean,
    acceptsQueries: Boolean,
    readOnly: Boolean,
    degraded: List(wire({ component: String, reason: String, since: Number })),
    archive: wire({ dialect: String, target: String, available: Boolean }),
    cache: wire({ configured: Boolean, available: Boolean, trusted: Boolean }),
    filter: wire({ trusted: Boolean, entries: Number, reason: text }),
    backpressure: wire({ level: String, pressure: Number })
  }),
  stats: wire({
    startedAtMs: Number,
    uptimeMs: Number,
    log: wire({
      items: Number,
      bytes: Number,
      maxItems: Number,
      maxBytes: Number,
      committed: Number,
      released: Number
    }),
    memory: wire({
      items: Number,
      bytes: Number,
      maxBytes: Number,
      hits: Number,
      misses: Number,
      evictions: Number
    }),
    pending: Number,
    acknowledged: Number,
    archived: Number,
    superseded: Number,
    deadLetters: Number,
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
