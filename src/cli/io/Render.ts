/** Results as text and as JSON. Pure. */

import type { SyncItem } from "../../SyncItem.js"
import { counted } from "../../shared/Counted.js"
import { fitsInLine } from "../../shared/ndjson/ObjectLine.js"
import type { DeadLetterRow, RepairDocument, ReportDocument, VerifyDocument } from "../backend/Backend.js"

/**
 * The member that carries an item's content in a JSON line: `"content"` with the exact bytes when they are JSON
 * that fits in one line as it stands, otherwise `"contentBase64"`.
 */
const contentMember = (item: SyncItem): string => {
  const bytes = Buffer.from(item.content.buffer, item.content.byteOffset, item.content.byteLength)
  const bare = (byte: number | undefined) => byte !== undefined && byte !== 0x20 && byte !== 0x09
  const fits = item.contentType === "json" && bare(bytes[0]) && bare(bytes.at(-1)) && fitsInLine(bytes)
  return fits ? `"content":${bytes.toString("utf8")}` : `"contentBase64":"${bytes.toString("base64")}"`
}

/** An item as a line that `ingest` reads. */
export const ingestLine = (item: SyncItem): string => {
  const state = item.state === undefined ? "" : `"state":${JSON.stringify(item.state)},`
  return `{"id":${JSON.stringify(item.id)},"version":${item.version},${state}${contentMember(item)}}`
}

/** An item with all it carries, as one line of JSON. */
export const itemJson = (item: SyncItem): string => {
  const head = {
    id: item.id,
    version: item.version,
    updated_at: item.updatedAt,
    content_type: item.contentType,
    content_hash: item.contentHash,
    state: item.state ?? null,
    traceparent: item.traceparent ?? null
  }
  return `${JSON.stringify(head).slice(0, -1)},${contentMember(item)}}`
}

/** What `verify --json` says; a difference of a root says which one is there. More when more was asked for. */
export const verificationOf = (document: VerifyDocument, extended: boolean) => {
  const { archive_root, cache_root, recomputed_root, rows_checked } = document
  const { complete, contents_checked, differences_total, unchecked, values_checked } = document
  return {
    in_sync: document.in_sync,
    ...{ archive_root, recomputed_root, cache_root, rows_checked },
    differences: document.differences.map((difference) => {
      const root = difference.tier === "archive" ? archive_root : cache_root
      return difference.what === "root" && root !== null ? { ...difference, root } : difference
    }),
    ...(extended ? { differences_total, complete, contents_checked, values_checked, unchecked } : {})
  }
}

/** A dead letter as one line for people. */
export const deadLetterText = (letter: DeadLetterRow): string =>
  `${String(letter.sequence).padEnd(10)}  ${new Date(letter.at).toISOString()}  ${letter.id}  version ${letter.version}  ${letter.reason}\n`

/** Lines of name and value, values aligned. */
export const pairs = (rows: ReadonlyArray<readonly [string, string | number]>): string => {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("")
}

/** A JSON document as lines of path and value. */
export const documentText = (document: unknown): string => {
  const rows: Array<readonly [string, string]> = []
  const walk = (path: string, value: unknown) => {
    if (Array.isArray(value) && value.every((part) => typeof part !== "object")) {
      rows.push([path, value.length === 0 ? "none" : value.join(", ")])
    } else if (typeof value === "object" && value !== null) {
      for (const [name, part] of Object.entries(value)) walk(path === "" ? name : `${path}.${name}`, part)
    } else if (typeof value === "number") rows.push([path, String(Math.round(value * 1000) / 1000)])
    else if (value !== undefined) rows.push([path, value === null ? "none" : String(value)])
  }
  walk("", document)
  return pairs(rows)
}

export const verificationText = (document: VerifyDocument): string => {
  const { differences, unchecked } = document
  const more = document.differences_total - differences.length
  return (
    pairs([
      ["in sync", document.in_sync ? "yes" : "no"],
      ["complete", document.complete ? "yes" : "no"],
      ["archive root", document.archive_root],
      ["recomputed root", document.recomputed_root ?? "not recomputed"],
      ["cache root", document.cache_root ?? "none (no cache, or not looked at)"],
      ["rows checked", document.rows_checked],
      ["contents checked", document.contents_checked],
      ["values checked", document.values_checked],
      ["differences", document.differences_total]
    ]) +
    differences
      .map(
        ({ id, problem, tier, what }) => `${tier.padEnd(7)}  ${what.padEnd(7)}  ${problem.padEnd(7)}  ${id}\n`
      )
      .join("") +
    (more > 0 ? `and ${more} more\n` : "") +
    unchecked.map(({ problem, what }) => `${what} not checked: ${problem}\n`).join("")
  )
}

export const repairText = (document: RepairDocument): string =>
  pairs([
    ["in sync", document.in_sync ? "yes" : "no"],
    ["complete", document.complete ? "yes" : "no"],
    ["archive root", document.archive_root],
    ["cache root", document.cache_root ?? "none (no cache)"],
    ["archive's tree", document.tree_rebuilt ? "rebuilt" : "as the rows say"],
    ["contents restored", document.contents_restored],
    ["contents lost", [document.contents_lost, ...document.lost].join(" ")],
    ["cache items written", document.cache_written],
    ["cache items removed", document.cache_removed],
    ["cache's tree", document.cache_rebuilt ? "rebuilt" : "kept"],
    ["values rewritten", document.values_rewritten],
    ["memory entries dropped", document.memory_dropped],
    ["problems", document.problems.join("; ") || "none"]
  ])

/** What to know about the writes a shutdown has left. */
export const leftHint = (itemsLeftInLog: number | null | undefined): string | undefined => {
  if (itemsLeftInLog === 0) return undefined
  return typeof itemsLeftInLog === "number"
    ? `${counted(itemsLeftInLog, "acknowledged write is", "acknowledged writes are")} safe in the log; the next start goes on from there`
    : "what the log holds is not known; keep its file"
}

export const reportText = (report: ReportDocument): string =>
  pairs([
    ["clean", report.clean ? "yes" : "no"],
    ["log flushed", report.flushed_wal ? "yes" : "no"],
    ["final checkpoint", report.final_checkpoint ? "yes" : "no"],
    ["filter snapshot", report.filter_snapshot ? "yes" : "no"],
    ["items flushed", report.items_flushed],
    ["items left in the log", report.items_left_in_log ?? "unknown"],
    ["problems", report.problems.join("; ") || "none"],
    ["duration", `${report.duration_ms} ms`]
  ])
