import { describe, expect, it } from "vitest"
import {
  headBytes,
  recordIn,
  stampBytes,
  stampIn,
  stampOf,
  valueBound,
  valueHeadIn,
  writeStamp,
  writeValue
} from "../../src/cache/ItemValue.js"
import type { ItemRecord } from "../../src/SyncItem.js"
import { recordOf, tombstoneOf } from "./records.js"

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

const valueOf = (record: ItemRecord, epoch = 0): Buffer => {
  const bytes = Buffer.alloc(valueBound(record) + 3)
  return bytes.subarray(3, writeValue(bytes, 3, record, epoch))
}

describe("the value of an item", () => {
  const records = [
    recordOf("a", 1, ""),
    recordOf("é.b", Number.MAX_SAFE_INTEGER, "text", { contentType: "json", state: " two  spaces " }),
    recordOf("t", 7, "x", { traceparent, updatedAt: 0 }),
    recordOf("\uffff".repeat(85), 2 ** 32, "x", { state: "é".repeat(32), traceparent }),
    tombstoneOf("gone", 8),
    { ...tombstoneOf("traced", 8), traceparent }
  ]

  it("is what was written, whole and as a head alone", () => {
    for (const record of records) {
      const epoch = record.deleted ? 0 : 0xfeedbeef
      const value = valueOf(record, epoch)
      expect(value.length).toBeLessThanOrEqual(valueBound(record))
      expect(recordIn(record.id, value)).toEqual({ record, epoch })
      const { content, ...head } = record
      const short = value.subarray(0, value.length - content.length)
      expect(valueHeadIn(record.id, short)).toEqual({ ...head, epoch })
      expect(stampOf(value).length).toBe(stampBytes)
      const stamp = Buffer.alloc(stampBytes)
      writeStamp(stamp, 0, stampIn(value)!, epoch)
      expect(stampOf(value)).toEqual(stamp)
    }
  })

  it("takes 58 bytes beside a content of 256, which is what an allocation of 320 has room for", () => {
    expect(valueOf(recordOf("geo.fr.11.2988507", 1, new Uint8Array(256)), 7).length).toBe(headBytes + 256)
    expect(headBytes).toBe(58)
  })

  it("notices every changed byte but those of the epoch, which a rebuild changes", () => {
    for (const record of records) {
      const value = valueOf(record, record.deleted ? 0 : 7)
      for (let at = 0; at < value.length; at++) {
        for (const bits of [1, 0x80, 0xff]) {
          value[at]! ^= bits
          const read = recordIn(record.id, value)
          if (at < 6 || at > 9) expect([at, read]).toEqual([at, undefined])
          else if (!record.deleted) expect(read?.record).toEqual(record)
          value[at]! ^= bits
        }
      }
      for (let end = 0; end < value.length; end++) {
        expect(recordIn(record.id, value.subarray(0, end))).toBeUndefined()
      }
    }
  })

  it("is no other item's", () => {
    const value = valueOf(recordOf("a.b", 1, "same"), 7)
    expect([recordIn("a.c", value), valueHeadIn("a.b.", value), valueHeadIn("", value)]).toEqual([
      undefined,
      undefined,
      undefined
    ])
  })

  it("copies the content", () => {
    const record = recordOf("a", 7, "text")
    const value = valueOf(record)
    const read = recordIn("a", value)!.record
    value.fill(0)
    expect(read.content).toEqual(record.content)
    // One of the buffers that small copies share, not the reply's.
    expect(read.content.buffer).not.toBe(value.buffer)
  })

  it("leaves out what no write can have brought", () => {
    const senseless = recordOf("a", 1, "x", { state: "s".repeat(300), traceparent: "short" })
    expect(recordIn("a", valueOf(senseless))?.record).toEqual(recordOf("a", 1, "x"))
    const none = valueOf(recordOf("a", 1))
    expect(() => writeValue(none, 0, recordOf("a", 1, "", { contentHash: "0" }), 1)).toThrow(RangeError)
  })

  it("has no stamp where the numbers make no sense", () => {
    const value = valueOf(recordOf("a", 1))
    for (const at of [10, 18]) {
      value[at] = 1
      expect(stampIn(value)).toBeUndefined()
      value[at] = 0
    }
    value[17] = 0
    expect(stampIn(value)).toBeUndefined()
    expect(stampIn(value.subarray(0, headBytes - 1))).toBeUndefined()
  })
})
