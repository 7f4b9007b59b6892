import { describe, expect, it } from "vitest"
import { totalIn } from "../../src/cache/ReplyDecoder.js"
import { chunkStarts, encodeIds } from "../../src/cache/ScriptArguments.js"
import { recordOf } from "./records.js"

const limits = { maxItems: 100, maxBytes: 10_000 }

describe("encoding", () => {
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

  it("puts the length in bytes before each id", () => {
    expect(encodeIds(["é", "b"]).toString("hex")).toBe("0002c3a9000162")
  })
})

describe("decoding", () => {
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
