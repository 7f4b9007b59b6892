import { contentHashOf, type ItemRecord, tombstone } from "../../src/SyncItem.js"

const encoder = new TextEncoder()

/** A record whose content is the text. */
export const recordOf = (
  id: string,
  version: number,
  text: string | Uint8Array = `${id}@${version}`,
  more: Partial<ItemRecord> = {}
): ItemRecord => {
  const content = typeof text === "string" ? encoder.encode(text) : text
  return {
    id,
    version,
    updatedAt: 1_700_000_000_000 + (version % 1_000_000),
    contentType: "binary",
    contentHash: contentHashOf(content),
    state: undefined,
    content,
    traceparent: undefined,
    deleted: false,
    ...more
  }
}

export const tombstoneOf = (id: string, version: number): ItemRecord =>
  tombstone(id, version, 1_700_000_000_000 + version)

/** A small seeded generator (mulberry32): the same seed gives the same run. */
export const seeded = (seed: number): ((below: number) => number) => {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * below)
  }
}
