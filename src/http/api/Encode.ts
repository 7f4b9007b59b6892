/** From the engine's values to the bodies that travel. Pure. */
import { isClean, type LifecycleSnapshot, type ShutdownReport } from "../../Lifecycle.js"
import { sumToHex } from "../../merkle/Digest.js"
import type { TreeChild, TreeNode } from "../../merkle/Tree.js"
import type { Receipt, RepairResult, VerifyResult } from "../../SyncEngine.js"
import type { SyncItem } from "../../SyncItem.js"
import type { DeadLetter } from "../../wal/WriteAheadLog.js"
import type {
  DeadLetterBody,
  LifecycleBody,
  NodeBody,
  ReceiptBody,
  RepairBody,
  ShutdownBody,
  VerifyBody
} from "./ApiSchemas.js"

export const lifecycleBody = (snapshot: LifecycleSnapshot): typeof LifecycleBody.Type => ({
  phase: snapshot.phase,
  boot_stage: snapshot.bootStage,
  ...(snapshot.reason === undefined ? {} : { reason: snapshot.reason }),
  drain_requested: snapshot.drainRequested,
  ...(snapshot.shutdownRequested === true ? { shutdown_requested: true } : {})
})

export const receiptBody = (receipt: Receipt): typeof ReceiptBody.Type => ({
  id: receipt.id,
  version: receipt.version,
  content_hash: receipt.contentHash,
  durability: receipt.durability,
  previous_version: receipt.previousVersion ?? null,
  compared: receipt.compared
})

export const shutdownBody = (report: ShutdownReport): typeof ShutdownBody.Type => ({
  clean: isClean(report),
  flushed_wal: report.flushedWal,
  final_checkpoint: report.finalCheckpoint,
  filter_snapshot: report.filterSnapshot,
  items_flushed: report.itemsFlushed,
  items_left_in_log: report.itemsLeftInLog ?? null,
  problems: report.problems,
  started_at_ms: report.startedAtMs,
  completed_at_ms: report.completedAtMs,
  duration_ms: report.durationMs
})

export const verifyBody = (result: VerifyResult): typeof VerifyBody.Type => ({
  in_sync: result.inSync,
  complete: result.complete,
  archive_root: result.archiveRoot,
  recomputed_root: result.recomputed?.root ?? null,
  cache_root: result.cacheRoot ?? null,
  rows_checked: result.checked.rows,
  contents_checked: result.checked.contents,
  values_checked: result.checked.values,
  differences: result.differences.map(({ id, problem, tier, what }) => ({ tier, what, id, problem })),
  differences_total: result.differencesTotal,
  unchecked: result.unchecked.map(({ problem, what }) => ({ what, problem })),
  pending: result.pending
})

export const repairBody = (result: RepairResult): typeof RepairBody.Type => ({
  in_sync: result.inSync,
  complete: result.complete,
  archive_root: result.archiveRoot,
  cache_root: result.cacheRoot ?? null,
  tree_rebuilt: result.treeRebuilt,
  contents_restored: result.contentsRestored,
  contents_lost: result.contentsLost,
  lost: result.lost,
  cache_written: result.cacheWritten,
  cache_removed: result.cacheRemoved,
  cache_rebuilt: result.cacheRebuilt,
  values_rewritten: result.valuesRewritten,
  memory_dropped: result.memoryDropped,
  rows_checked: result.checked.rows,
  contents_checked: result.checked.contents,
  values_checked: result.checked.values,
  problems: result.problems
})

/** A dead letter without its content, which can be large. */
export const deadLetterBody = ({ sequence, record, reason, at }: DeadLetter): typeof DeadLetterBody.Type => ({
  sequence,
  reason,
  at,
  id: record.id,
  version: record.version,
  updated_at: record.updatedAt,
  deleted: record.deleted,
  state: record.state ?? null,
  content_type: record.contentType,
  content_hash: record.contentHash,
  content_bytes: record.content.byteLength
})

export const nodeBody = (
  node: TreeNode,
  children: ReadonlyArray<TreeChild>,
  limit: number
): typeof NodeBody.Type => {
  const last = children.length >= limit ? children[children.length - 1] : undefined
  return {
    path: node.path,
    count: node.count,
    sum: sumToHex(node.sum),
    digest: node.digest,
    children: children.map(({ name, kind, count, digest }) => ({ name, kind, count, digest })),
    next_after: last === undefined ? null : { name: last.name, kind: last.kind }
  }
}

const lineEnd = Buffer.from("}\n")
const base64End = Buffer.from('"}\n')
/** A multiple of three, so that base64 can be made of it alone. */
const bytesPerPiece = 48 * 1024

/**
 * An item as one NDJSON line. JSON content goes in as it stands, nothing is parsed; JSON that spans several lines
 * goes in as base64, so that the bytes are always the ones the hash covers.
 */
function* itemLine(item: SyncItem): Generator<Uint8Array> {
  const head = JSON.stringify({
    id: item.id,
    version: item.version,
    updated_at: item.updatedAt,
    state: item.state ?? null,
    content_type: item.contentType,
    content_hash: item.contentHash
  }).slice(0, -1)
  const content = Buffer.from(item.content.buffer, item.content.byteOffset, item.content.byteLength)
  if (item.contentType === "binary" || content.includes(0x0a) || content.includes(0x0d)) {
    yield Buffer.from(`${head},"content_base64":"`)
    for (let at = 0; at < content.length; at += bytesPerPiece) {
      yield Buffer.from(content.toString("base64", at, at + bytesPerPiece), "latin1")
    }
    yield base64End
  } else {
    yield Buffer.from(`${head},"content":`)
    yield content
    yield lineEnd
  }
}

/**
 * Items as NDJSON, in parts of some size. A large content is not copied, and encoded in parts that are made when they
 * are asked for.
 */
export function* itemLines(items: Iterable<SyncItem>): Generator<Uint8Array> {
  let parts: Array<Uint8Array> = []
  let bytes = 0
  const taken = (): Uint8Array => {
    const together = parts.length === 1 ? parts[0]! : Buffer.concat(parts, bytes)
    parts = []
    bytes = 0
    return together
  }
  for (const item of items) {
    for (const part of itemLine(item)) {
      if (part.length >= bytesPerPiece && bytes > 0) yield taken()
      parts.push(part)
      bytes += part.length
      if (bytes >= bytesPerPiece) yield taken()
    }
  }
  if (bytes > 0) yield taken()
}

/** One value as an NDJSON line. */
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`
