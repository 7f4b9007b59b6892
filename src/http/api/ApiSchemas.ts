/** The bodies of the HTTP API. */
import { Schema } from "effect"
import { isClean, type ShutdownReport } from "../../Lifecycle.js"
import { sumToHex } from "../../merkle/Digest.js"
import type { EngineHealth, EngineStats, Receipt, RepairResult, VerifyResult } from "../../SyncEngine.js"
import type { DeadLetter } from "../../wal/WriteAheadLog.js"
import { fieldsOf, orNull, wire } from "./Wire.js"

const { Boolean, Literal, Number, String, encodeSync, optional } = Schema
const List = Schema.Array
const strict = { parseOptions: { onExcessProperty: "error" } } as const

const text = optional(String)
const numbers = fieldsOf(Number)
const strings = fieldsOf(String)
const flags = fieldsOf(Boolean)

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

// The engine's results as these bodies, for the command, which shows them as such.

export const encodeStatus = encodeSync(StatusBody)
export const encodeFlushed = encodeSync(FlushBody)
export const encodeVerified = encodeSync(VerifyBody)
export const encodeRepaired = encodeSync(RepairBody)
export const encodeShutdown = encodeSync(ShutdownBody)
export const encodeDeadLetter = encodeSync(DeadLetterBody)

export const statusBody = (health: EngineHealth, stats: EngineStats) => encodeStatus({ health, stats })
export const verifyBody = (result: VerifyResult) => encodeVerified(verified(result))
export const repairBody = (result: RepairResult) => encodeRepaired(repaired(result))
export const shutdownBody = (report: ShutdownReport) => encodeShutdown({ ...report, clean: isClean(report) })
export const deadLetterBody = (letter: DeadLetter) => encodeDeadLetter(deadLetterRow(letter))
