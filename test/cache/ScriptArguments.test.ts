import { describe, expect, it } from "vitest"
import { headIn, recordIn, totalIn } from "../../src/cache/ReplyDecoder.js"
import { chunkStarts, encodeIds, encodeRecords, lineOf } from "../../src/cache/ScriptArguments.js"
import { leafDigest } from "../../src/merkle/Digest.js"
import { recordOf, tombstoneOf } from "./records.js"

const limits = { maxItems: 100, maxBytes: 10_000 }

describe("encoding", () => {
  it("lays out id, line, leaf and content", () => {
    const record = recordOf("é.b", 7, "text", { state: "on hold" })
    const data = encodeRecords([record], 0, 1, true)
    const line = lineOf(record)
    expect(data.readUInt16BE(0)).toBe(4)
    expect(data.toString("utf8", 2, 6)).toBe("é.b")
    expect(data.readUInt16BE(6)).toBe(line.length)
    expect(data.toString("utf8", 8, 8 + line.length)).toBe(line)
    const at = 8 + line.length
    expect(data.toString("hex", at, at + 32)).toBe(leafDigest(record))
    expect(data.readUInt32BE(at + 32)).toBe(4)
    expect(data.toString("utf8", at + 36)).toBe("text")
  })

  it("cuts chunks by count, by bytes and before an id comes again", () => {
    const small = Array.from({ length: 250 }, (_, i) => recordOf(`a.${i}`, 1, ""))
    expect(chunkStarts(small, { maxItems: 100, maxBytes: 1e9 })).toEqual([0, 100, 200])
    const large = Array.from({ length: 5 }, (_, i) => recordOf(`b.${i}`, 1, new Uint8Array(4_000)))
    expect(chunkStarts(large, limits)).toEqual([0, 2, 4])
    const huge = [recordOf("h", 1, new Uint8Array(50_000)), recordOf("i", 1)]
    expect(chunkStarts(huge, limits)).toEqual([0, 1])
    const again = [recordOf("x", 1), recordOf("y", 1), recordOf("x", 2)]
    expect(chunkStarts(again, limits)).toEqual([0, 2])
    expect(chunkStarts([], limits)).toEqual([])
  })

  it("has room for the longest record", () => {
    const record = recordOf("\uffff".repeat(85), Number.MAX_SAFE_INTEGER, "x", {
      updatedAt: Number.MAX_SAFE_INTEGER,
      state: "é".repeat(32),
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    })
    const data = encodeRecords([record], 0, 1, true)
    expect(data.subarray(-5).toString("hex")).toBe("0000000178")
    expect(data.length).toBe(2 + 255 + 2 + Buffer.byteLength(lineOf(record)) + 32 + 4 + 1)
  })

  it("puts the length in bytes before each id", () => {
    expect(encodeIds(["é", "b"]).toString("hex")).toBe("0002c3a9000162")
  })
})

describe("decoding", () => {
  const record = recordOf("a", 7, "text", { contentType: "json", state: " two  spaces " })
  const line = Buffer.from(lineOf(record))
  const content = Buffer.from(record.content)

  it("gives back what was encoded", () => {
    expect(recordIn("a", line, content)).toEqual(record)
    const gone = tombstoneOf("a", 8)
    expect(recordIn("a", Buffer.from(lineOf(gone)), null)).toEqual(gone)
    expect(headIn("a", line)).toEqual({
      id: "a",
      version: 7,
      contentHash: record.contentHash,
      deleted: false
    })
    expect([recordIn("a", null, null), headIn("a", null)]).toEqual(["absent", "absent"])
  })

  it("copies the content", () => {
    const read = recordIn("a", line, content)
    if (typeof read === "string") throw new Error(read)
    content[0]! ^= 1
    expect(read.content).toEqual(record.content)
    content[0]! ^= 1
    // One of the buffers that small copies share, not the reply's.
    expect(read.content.buffer).not.toBe(content.buffer)
  })

  it("tells damaged values", () => {
    const other = Buffer.from("texx")
    expect(recordIn("a", line, other)).toBe("corrupted")
    expect(recordIn("a", line, null)).toBe("corrupted")
    expect(recordIn("a", null, content)).toBe("corrupted")
    for (const bad of ["", "x", "0 1 j h - ", line.toString().replace("7 ", "9007199254740993 ")]) {
      expect([recordIn("a", Buffer.from(bad), content), headIn("a", Buffer.from(bad))]).toEqual([
        "corrupted",
        "corrupted"
      ])
    }
    expect(recordIn("a", line.subarray(0, 40), content)).toBe("corrupted")
    expect(recordIn("a", Buffer.from(lineOf(record).replace(" j ", " d ")), content)).toBe("corrupted")
  })

  it("reads nodes of 40 bytes only, and no negative counts", () => {
    const node = Buffer.alloc(40)
    node.writeDoubleBE(3, 0)
    node[39] = 5
    node[8] = 0x80
    expect(totalIn(node)).toEqual({ count: 3, sum: 2n ** 255n + 5n })
    node.writeDoubleBE(-1, 0)
    expect(totalIn(node)?.count).toBe(0)
    expect([totalIn(node.subarray(1)), totalIn(null)]).toEqual([undefined, undefined])
  })
})
