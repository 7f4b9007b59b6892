import { describe, expect, it } from "vitest"
import { packRecords, unpackRecords } from "../../../src/archive/sqlite/PackedRecords.js"
import { type ItemRecord, tombstone } from "../../../src/SyncItem.js"
import { put } from "../suite.js"

describe("PackedRecords", () => {
  it("gives every record back, whatever its texts hold and whether there are any", () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`
    const records: ReadonlyArray<ItemRecord> = [
      put("a", 1),
      { ...put("a.\u{1f600}.\u00e9", Number.MAX_SAFE_INTEGER), state: "\uffee", traceparent },
      { ...put("b", 2), state: "", content: new Uint8Array(0), contentType: "binary" },
      tombstone("c", 3, 4),
      { ...put("d", 1.5), contentHash: "no hash at all" }
    ]
    const contents = new Uint8Array(Buffer.concat(records.map(({ content }) => content))).buffer
    const unpacked = unpackRecords(structuredClone(packRecords(records)), contents)
    expect(unpacked).toEqual(
      records.map((record) => ({ ...record, content: new Uint8Array(record.content) }))
    )
    expect(unpackRecords(packRecords([]), new ArrayBuffer(0))).toEqual([])
  })
})
