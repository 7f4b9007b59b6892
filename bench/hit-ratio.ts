/**
 * Hit ratios of the L1 cache (S3-FIFO) against plain LRU and FIFO on request traces.
 *
 * Usage: tsx bench/hit-ratio.ts FOLDER
 * Reads `*.bin.gz` (a big-endian 32-bit integer a request) and `*.txt.gz` (a block number a line).
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { gunzipSync } from "node:zlib"
import { MemoryCache, recordBytes } from "../src/memory/MemoryCache.js"
import { emptyContent, emptyContentHash, type ItemRecord } from "../src/SyncItem.js"

export interface HitRatio {
  readonly trace: string
  readonly requests: number
  readonly distinct: number
  /** Capacity in items, and as a share of the distinct ids. */
  readonly items: number
  readonly share: number
  readonly s3fifo: number
  readonly lru: number
  readonly fifo: number
}

const shares = [0.01, 0.05, 0.1, 0.2, 0.4]

const readTrace = (path: string): Array<string> => {
  const bytes = gunzipSync(readFileSync(path))
  if (path.endsWith(".txt.gz")) {
    return bytes
      .toString("latin1")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => /^\d+$/.test(line))
  }
  const ids: Array<string> = []
  for (let at = 0; at + 4 <= bytes.length; at += 4) ids.push(String(bytes.readInt32BE(at)))
  return ids
}

const recordOf = (id: string): ItemRecord => ({
  id,
  version: 1,
  updatedAt: 0,
  contentType: "binary",
  contentHash: emptyContentHash,
  state: undefined,
  content: emptyContent,
  traceparent: undefined,
  deleted: false
})

const s3fifo = (records: ReadonlyArray<ItemRecord>, items: number): number => {
  const cache = new MemoryCache({ maxBytes: items * recordBytes(records[0]!) })
  for (const record of records) if (cache.get(record.id) === undefined) cache.put(record)
  return cache.stats().hits / records.length
}

// A Map keeps insertion order: its first key is the oldest.
const mapBased =
  (touch: boolean) =>
  (records: ReadonlyArray<ItemRecord>, items: number): number => {
    const cache = new Map<string, ItemRecord>()
    let hits = 0
    for (const record of records) {
      const known = cache.get(record.id)
      if (known !== undefined) {
        hits++
        if (!touch) continue
        cache.delete(record.id)
      } else if (cache.size >= items) {
        cache.delete(cache.keys().next().value!)
      }
      cache.set(record.id, record)
    }
    return hits / records.length
  }

const lru = mapBased(true)
const fifo = mapBased(false)

/** Replays every trace of a folder against each policy, all items of one size. */
export const hitRatios = (folder: string): Array<HitRatio> => {
  const rows: Array<HitRatio> = []
  for (const file of readdirSync(folder).sort()) {
    if (!/\.(txt|bin)\.gz$/.test(file)) continue
    const trace = readTrace(join(folder, file))
    // Ids of one length, so that all records have one size.
    const byId = new Map(trace.map((id) => [id, recordOf(id.padStart(12, "0"))]))
    const records = trace.map((id) => byId.get(id)!)
    for (const share of shares) {
      const items = Math.max(10, Math.round(byId.size * share))
      rows.push({
        trace: file.replace(/\.(txt|bin)\.gz$/, ""),
        requests: records.length,
        distinct: byId.size,
        items,
        share,
        s3fifo: s3fifo(records, items),
        lru: lru(records, items),
        fifo: fifo(records, items)
      })
    }
  }
  return rows
}

/** The rows as a text table. */
export const hitRatioTable = (rows: ReadonlyArray<HitRatio>): string => {
  const percent = (ratio: number) => `${(ratio * 100).toFixed(2)} %`.padStart(9)
  const lines = rows.map(
    (row) =>
      `${row.trace.padEnd(14)} ${String(row.items).padStart(7)} ${percent(row.share)} ${percent(row.s3fifo)} ` +
      `${percent(row.lru)} ${percent(row.fifo)}  ${(row.s3fifo / row.lru).toFixed(3)}`
  )
  const ahead = rows.filter((row) => row.s3fifo >= row.lru).length
  return [
    "trace            items  of distinct   S3-FIFO       LRU      FIFO  S3-FIFO/LRU",
    ...lines,
    `S3-FIFO is at least as good as LRU in ${ahead} of ${rows.length} rows.`
  ].join("\n")
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = process.argv[2]
  if (folder === undefined) {
    console.error("usage: tsx bench/hit-ratio.ts FOLDER")
    process.exitCode = 2
  } else {
    console.log(hitRatioTable(hitRatios(folder)))
  }
}
