/** The bodies and parameters of the HTTP API, as they travel: snake_case. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import { Schema } from "effect"
import { meanings } from "./OpenApiTransform.js"

const optional = Schema.optional
const strict = { parseOptions: { onExcessProperty: "error" } } as const

/** A whole number in a query or header, without sign, exponent or white space. */
export const wholeNumber = (minimum: number, maximum: number): Schema.Schema<number, string> =>
  Schema.transform(
    Schema.String.pipe(
      Schema.pattern(/^[0-9]{1,16}$/),
      Schema.filter((text) => Number(text) >= minimum && Number(text) <= maximum)
    ),
    Schema.Number,
    { strict: true, decode: Number, encode: String }
  ).annotations({
    message: () => ({ message: `must be a whole number from ${minimum} to ${maximum}`, override: true }),
    jsonSchema: { type: "integer", minimum, maximum }
  })

/** One of a few words in a query. */
export const oneOf = <const Words extends readonly [string, ...Array<string>]>(
  ...words: Words
): Schema.Schema<Words[number]> =>
  Schema.Literal(...words).annotations({
    message: () => ({ message: `must be one of ${words.join(", ")}`, override: true })
  })

/** `true` or `false` in a query. */
export const flag: Schema.Schema<boolean, "true" | "false"> = Schema.transform(
  oneOf("true", "false"),
  Schema.Boolean,
  { strict: true, decode: (text) => text === "true", encode: (value) => (value ? "true" : "false") }
).annotations({ jsonSchema: { type: "boolean" } })

export const Durability = Schema.Literal("memory", "wal", "archive")

const limit = optional(wholeNumber(1, 10_000))
const sequence = wholeNumber(0, Number.MAX_SAFE_INTEGER)

export const ReadyQuery = Schema.Struct({ for: optional(oneOf("queries", "writes")) }).annotations(strict)

export const PutQuery = Schema.Struct({
  durability: optional(oneOf("memory", "wal", "archive")),
  sql: optional(flag),
  ttl_seconds: optional(wholeNumber(1, 3_155_760_000))
}).annotations(strict)

export const DeleteQuery = Schema.Struct({
  durability: optional(oneOf("memory", "wal", "archive"))
}).annotations(strict)

export const GetQuery = Schema.Struct({ verified: optional(flag) }).annotations(strict)

export const BatchQuery = Schema.Struct({
  durability: optional(oneOf("memory", "wal", "archive")),
  results: optional(oneOf("all", "rejected"))
}).annotations(strict)

export const ScanQuery = Schema.Struct({
  prefix: optional(Schema.String),
  state: optional(Schema.String),
  after: optional(Schema.String),
  limit
}).annotations(strict)

export const DeadLettersQuery = Schema.Struct({ after: optional(sequence), limit }).annotations(strict)

export const NodeQuery = Schema.Struct({
  path: optional(Schema.String),
  after: optional(Schema.String),
  after_kind: optional(oneOf("branch", "leaf")),
  limit
}).annotations(strict)

export const NamesQuery = Schema.Struct({
  path: optional(Schema.String),
  after: optional(Schema.String),
  limit
}).annotations(strict)

export const RangeQuery = Schema.Struct({
  path: optional(Schema.String),
  after: optional(Schema.String),
  up_to: optional(Schema.String)
}).annotations(strict)

export const LeavesQuery = Schema.Struct({ ...RangeQuery.fields, limit }).annotations(strict)

export const PartsQuery = Schema.Struct({
  ...RangeQuery.fields,
  size: wholeNumber(1, Number.MAX_SAFE_INTEGER)
}).annotations(strict)

export const WriteHeaders = Schema.Struct({
  "if-match": optional(Schema.String.annotations({ description: 'Write only over this version: `"7"`' })),
  "if-none-match": optional(
    Schema.String.annotations({ description: "`*`: write only if the item is absent" })
  ),
  "x-sync-version": optional(
    wholeNumber(1, Number.MAX_SAFE_INTEGER).annotations({
      description: "Own version; the engine assigns one otherwise"
    })
  ),
  traceparent: optional(
    Schema.String.annotations({ description: "W3C trace context, stored with the version" })
  )
})

export const PutHeaders = Schema.Struct({
  ...WriteHeaders.fields,
  "x-sync-state": optional(Schema.String.annotations({ description: "State tag, percent-encoded UTF-8" })),
  "content-type": optional(
    Schema.String.annotations({
      description: "`application/json` has the body checked to be JSON; others have it detected"
    })
  )
})

export const GetHeaders = Schema.Struct({
  "if-none-match": optional(
    Schema.String.annotations({ description: "Returns 304 when the version is one of these" })
  )
})

export const ErrorBody = Schema.Struct(
  { error: Schema.String, message: Schema.String },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
).annotations({
  identifier: "Error",
  description: "`error` is a stable name, `message` is for people; further fields depend on the error"
})

/** The error bodies of an endpoint, one a status. */
export const errors = (...list: ReadonlyArray<number>): Schema.Schema<typeof ErrorBody.Type> =>
  Schema.Union(
    ...list.map((status) =>
      ErrorBody.annotations(HttpApiSchema.annotations({ status, description: meanings[status] ?? "Error" }))
    )
  )

export const LifecycleBody = Schema.Struct({
  phase: Schema.Literal("starting", "ready", "draining", "shutting_down", "stopped"),
  boot_stage: Schema.String,
  reason: optional(Schema.String),
  drain_requested: Schema.Boolean,
  shutdown_requested: optional(Schema.Boolean)
}).annotations({ identifier: "Lifecycle" })

export const ReceiptBody = Schema.Struct({
  id: Schema.String,
  version: Schema.Number,
  content_hash: Schema.String,
  durability: Durability,
  previous_version: Schema.NullOr(Schema.Number),
  compared: Schema.Boolean
}).annotations({ identifier: "Receipt" })

export const DrainBody = Schema.Struct({ changed: Schema.Boolean, ...LifecycleBody.fields }).annotations({
  identifier: "Drained"
})

export const ShutdownBody = Schema.Struct({
  clean: Schema.Boolean,
  flushed_wal: Schema.Boolean,
  final_checkpoint: Schema.Boolean,
  filter_snapshot: Schema.Boolean,
  items_flushed: Schema.Number,
  items_left_in_log: Schema.NullOr(Schema.Number),
  problems: Schema.Array(Schema.String),
  started_at_ms: Schema.Number,
  completed_at_ms: Schema.Number,
  duration_ms: Schema.Number
}).annotations({ identifier: "ShutdownReport" })

export const FlushBody = Schema.Struct({
  flushed: Schema.Number,
  dead_lettered: Schema.Number,
  pending: Schema.Number
}).annotations({ identifier: "Flushed" })

export const ReadOnlyBody = Schema.Struct({ read_only: Schema.Boolean }).annotations({
  identifier: "ReadOnly",
  ...strict
})

const whole = (least: number, most: number) => Schema.Int.pipe(Schema.between(least, most))

const checkOptions = {
  rows: optional(Schema.Boolean),
  contents: optional(Schema.Boolean),
  roots: optional(Schema.Boolean),
  values: optional(Schema.Literal("sample", "full", false)),
  sample: optional(whole(1, 100_000)),
  differences: optional(whole(0, 10_000)),
  budget: optional(
    Schema.Struct({
      rows: optional(whole(1, Number.MAX_SAFE_INTEGER)),
      milliseconds: optional(whole(1, Number.MAX_SAFE_INTEGER))
    }).annotations(strict)
  )
}

/** What to verify; without `roots`, `rows`, `contents` and `values`: roots and rows. */
export const VerifyRequest = Schema.Struct(checkOptions).annotations({
  identifier: "VerifyRequest",
  ...strict
})

/** What to repair; everything unless said otherwise. */
export const RepairRequest = Schema.Struct(checkOptions).annotations({
  identifier: "RepairRequest",
  ...strict
})

export const VerifyDifferenceBody = Schema.Struct({
  tier: Schema.Literal("archive", "cache"),
  what: Schema.Literal("root", "node", "leaf", "content", "value"),
  id: Schema.String,
  problem: Schema.Literal("missing", "extra", "changed")
}).annotations({ identifier: "VerifyDifference" })

export const VerifyBody = Schema.Struct({
  in_sync: Schema.Boolean,
  complete: Schema.Boolean,
  archive_root: Schema.String,
  /** Null when rows were not asked for, or the budget ended it. */
  recomputed_root: Schema.NullOr(Schema.String),
  /** Null without a cache, when it is unavailable, or when roots were not asked for. */
  cache_root: Schema.NullOr(Schema.String),
  rows_checked: Schema.Number,
  contents_checked: Schema.Number,
  values_checked: Schema.Number,
  differences: Schema.Array(VerifyDifferenceBody),
  differences_total: Schema.Number,
  unchecked: Schema.Array(
    Schema.Struct({ what: Schema.Literal("roots", "rows", "values"), problem: Schema.String })
  ),
  pending: Schema.Number
}).annotations({ identifier: "Verified" })

export const RepairBody = Schema.Struct({
  in_sync: Schema.Boolean,
  complete: Schema.Boolean,
  archive_root: Schema.String,
  cache_root: Schema.NullOr(Schema.String),
  tree_rebuilt: Schema.Boolean,
  contents_restored: Schema.Number,
  contents_lost: Schema.Number,
  lost: Schema.Array(Schema.String),
  cache_written: Schema.Number,
  cache_removed: Schema.Number,
  cache_rebuilt: Schema.Boolean,
  values_rewritten: Schema.Number,
  memory_dropped: Schema.Number,
  rows_checked: Schema.Number,
  contents_checked: Schema.Number,
  values_checked: Schema.Number,
  problems: Schema.Array(Schema.String)
}).annotations({ identifier: "Repaired" })

export const DeadLetterBody = Schema.Struct({
  sequence: Schema.Number,
  reason: Schema.String,
  at: Schema.Number,
  id: Schema.String,
  version: Schema.Number,
  updated_at: Schema.Number,
  deleted: Schema.Boolean,
  state: Schema.NullOr(Schema.String),
  content_type: Schema.Literal("json", "binary"),
  content_hash: Schema.String,
  content_bytes: Schema.Number
}).annotations({ identifier: "DeadLetter" })

export const DeadLettersBody = Schema.Struct({
  dead_letters: Schema.Array(DeadLetterBody),
  next_after: Schema.NullOr(Schema.Number)
}).annotations({ identifier: "DeadLetters" })

/** Which dead letters: these, or `{"all": true}`. */
export const SequencesBody = Schema.Union(
  Schema.Struct({
    sequences: Schema.Array(Schema.NonNegativeInt).pipe(Schema.minItems(1), Schema.maxItems(10_000))
  }).annotations(strict),
  Schema.Struct({ all: Schema.Literal(true) }).annotations(strict)
).annotations({ identifier: "DeadLetterChoice" })

export const RetriedBody = Schema.Struct({ retried: Schema.Number }).annotations({ identifier: "Retried" })

export const DroppedBody = Schema.Struct({ dropped: Schema.Number }).annotations({ identifier: "Dropped" })

export const RootBody = Schema.Struct({ root: Schema.String }).annotations({ identifier: "MerkleRoot" })

export const ChildKind = Schema.Literal("branch", "leaf")

export const NodeBody = Schema.Struct({
  path: Schema.String,
  count: Schema.Number,
  /** Modulo 2^256, 64 hexadecimal digits. */
  sum: Schema.String,
  digest: Schema.String,
  children: Schema.Array(
    Schema.Struct({ name: Schema.String, kind: ChildKind, count: Schema.Number, digest: Schema.String })
  ),
  next_after: Schema.NullOr(Schema.Struct({ name: Schema.String, kind: ChildKind }))
}).annotations({ identifier: "MerkleNode" })

export const BranchesBody = Schema.Struct({
  branches: Schema.Array(Schema.Struct({ name: Schema.String, count: Schema.Number, digest: Schema.String }))
}).annotations({ identifier: "MerkleBranches" })

export const LeavesBody = Schema.Struct({
  leaves: Schema.Array(Schema.Struct({ name: Schema.String, digest: Schema.String }))
}).annotations({ identifier: "MerkleLeaves" })

export const SumBody = Schema.Struct({
  count: Schema.Number,
  /** Modulo 2^256, 64 hexadecimal digits. */
  sum: Schema.String,
  next_after: Schema.NullOr(Schema.String)
}).annotations({ identifier: "MerkleSum" })

export const PartsBody = Schema.Struct({
  parts: Schema.Array(Schema.Struct({ up_to: Schema.String, count: Schema.Number, sum: Schema.String })),
  next_after: Schema.NullOr(Schema.String)
}).annotations({ identifier: "MerkleParts" })
