import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { ItemRecord } from "../../src/SyncItem.js"
import {
  cut,
  decode,
  entrySizes,
  firstDamaged,
  rowChecksum,
  stampChecksums
} from "../../src/wal/SegmentCodec.js"
import {
  encodedBytes,
  encodeOne,
  maxSegmentBytes,
  maxSegmentEntries,
  SegmentWriter
} from "../../src/wal/SegmentWriter.js"
import { recordOf, recordsOf, seeded } from "./support.js"

const hexDigits = fc.constantFrom(..."0123456789abcdef")
const record: fc.Arbitrary<ItemRecord> = fc.record({
  id: fc.string({ minLength: 1, maxLength: 60, unit: "binary" }),
  version: fc.maxSafeNat(),
  updatedAt: fc.oneof(fc.maxSafeNat(), fc.double({ noNaN: true })),
  contentType: fc.constantFrom("json" as const, "binary" as const),
  contentHash: fc.array(hexDigits, { minLength: 64, maxLength: 64 }).map((digits) => digits.join("")),
  state: fc.option(fc.string({ maxLength: 20, unit: "grapheme" }), { nil: undefined }),
  content: fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes)),
  traceparent: fc.option(fc.string({ maxLength: 55 }), { nil: undefined }),
  deleted: fc.boolean()
})

const encode = (records: ReadonlyArray<ItemRecord>, capacity?: number) => {
  const writer = new SegmentWriter(1, capacity)
  for (const each of records) writer.add(each, encodedBytes(each))
  const segment = writer.seal()
  stampChecksums(segment.data, segment.items)
  return segment
}

describe("SegmentCodec", () => {
  it("gives back every field of every record", () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 5000 }),
        (records, capacity) => {
          const { data, items, maxVersion } = encode(records, capacity)
          expect(firstDamaged(data, items)).toBe(undefined)
          expect(decode(data, items)).toStrictEqual(records)
          expect(maxVersion).toBe(Math.max(...records.map(({ version }) => version)))
          expect(data.length).toBe(records.reduce((sum, each) => sum + encodedBytes(each), 0))
          expect([...entrySizes(data, items)]).toEqual(records.map(encodedBytes))
        }
      ),
      { seed: 1, numRuns: 300 }
    )
  })

  it("keeps the largest version, no content and megabytes of it", () => {
    const large = { ...recordOf(2), version: Number.MAX_SAFE_INTEGER, content: seeded(1).bytes(3_000_000) }
    const empty = { ...recordOf(3), content: new Uint8Array(0), state: "", traceparent: "" }
    const { data, items, maxVersion } = encode([empty, large, empty], 64)
    const [before, decoded, after] = decode(data, items)
    expect([before, after]).toStrictEqual([empty, empty])
    expect(Buffer.compare(decoded!.content, large.content)).toBe(0)
    expect({ ...decoded, content: [] }).toStrictEqual({ ...large, content: [] })
    expect(maxVersion).toBe(9007199254740991)
  })

  it("copies a large content piece by piece, also when nobody waits for it", () => {
    const large = { ...recordOf(1), content: seeded(2).bytes(2_500_000) }
    const writer = new SegmentWriter(1)
    writer.add(large, encodedBytes(large))
    expect([writer.fill(), writer.fill(), writer.fill(), writer.fill()]).toEqual([false, false, true, true])
    const { data } = writer.seal()
    stampChecksums(data, 1)
    expect(Buffer.compare(data, encodeOne(large))).toBe(0)
    const [decoded] = decode(data, 1)
    expect(Buffer.compare(decoded!.content, large.content)).toBe(0)
    // Nothing else is in that memory, so it is not copied once more.
    expect(decoded!.content.buffer).toBe(data.buffer)
  })

  it("gives contents memory of their own, so that a record does not keep its segment", () => {
    const { data, items } = encode(recordsOf(1, 3))
    const [first] = decode(data, items)
    expect(first!.content.buffer).not.toBe(data.buffer)
    data.fill(0)
    expect(first!.content).toStrictEqual(recordOf(1).content)
  })

  it("decodes and cuts parts", () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 12 }),
        fc.nat(11),
        fc.integer({ min: 1, max: 12 }),
        (records, start, count) => {
          const { data, items } = encode(records)
          const from = start % items
          const to = Math.min(items, from + count)
          const part = cut(data, items, from, to)
          expect(firstDamaged(part, to - from)).toBe(undefined)
          expect(decode(part, to - from)).toStrictEqual(records.slice(from, to))
          expect(decode(data, items, from)).toStrictEqual(records.slice(from))
          expect(firstDamaged(data, items, from, items)).toBe(undefined)
        }
      ),
      { seed: 2, numRuns: 200 }
    )
  })

  it("notices any changed byte, and in which entry", () => {
    const records = recordsOf(1, 6, 20)
    const { data, items } = encode(records)
    const checksum = rowChecksum([1, 6], data)
    const ends = records.map((_, index) =>
      records.slice(0, index + 1).reduce((sum, each) => sum + encodedBytes(each) - 8, 0)
    )
    for (let at = 0; at < data.length; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        data[at]! ^= flip
        const found = firstDamaged(data, items)
        const entry = at < ends[5]! ? ends.findIndex((end) => at < end) : Math.floor((at - ends[5]!) / 8)
        expect(found).toBe(entry)
        expect(rowChecksum([1, 6], data)).not.toBe(checksum)
        data[at]! ^= flip
      }
    }
    expect(firstDamaged(data, items)).toBe(undefined)
  })

  it("notices a wrong number of entries and changed row numbers", () => {
    const { data, items } = encode(recordsOf(1, 4))
    for (const wrong of [0.5, 1, 2, 3, 5, 1000, Number.NaN])
      expect(firstDamaged(data, wrong)).not.toBe(undefined)
    expect(firstDamaged(data, items)).toBe(undefined)
    expect(rowChecksum([1, 2, 3], data)).not.toBe(rowChecksum([1, 2, 4], data))
    expect(rowChecksum([1, 2], data)).not.toBe(rowChecksum([2, 1], data))
  })

  it("closes a segment at its bounds, but takes one entry of any size", () => {
    const writer = new SegmentWriter(1)
    expect(writer.admits(maxSegmentBytes * 10)).toBe(true)
    const small = recordOf(1)
    writer.add(small, encodedBytes(small))
    expect(writer.admits(maxSegmentBytes - writer.bytes)).toBe(true)
    expect(writer.admits(maxSegmentBytes - writer.bytes + 1)).toBe(false)
    for (let index = 1; index < maxSegmentEntries; index++) writer.add(small, 0 + encodedBytes(small))
    expect(writer.admits(1)).toBe(false)
  })

  it("rewinds to a mark", () => {
    const writer = new SegmentWriter(1)
    const records = recordsOf(1, 5)
    for (const each of records.slice(0, 3)) writer.add(each, encodedBytes(each))
    const rewind = writer.mark()
    for (const each of records.slice(3)) writer.add(each, encodedBytes(each))
    rewind()
    const { data, items, maxVersion } = writer.seal()
    expect(decode(data, items)).toStrictEqual(records.slice(0, 3))
    expect(maxVersion).toBe(3)
  })

  it("refuses what has no form in the log, with nothing added", () => {
    const writer = new SegmentWriter(1)
    const badHashes = ["z".repeat(64), "A".repeat(64), `${"a".repeat(63)}g`, `Ā${"a".repeat(63)}`]
    for (const contentHash of badHashes) {
      const bad = { ...recordOf(1), contentHash }
      expect(() => writer.add(bad, encodedBytes(bad))).toThrow(RangeError)
    }
    expect(() => encodedBytes({ ...recordOf(1), contentHash: "ab" })).toThrow(RangeError)
    expect(() => encodedBytes({ ...recordOf(1), id: "x".repeat(65_535) })).toThrow(RangeError)
    expect(writer.items).toBe(0)
    expect(writer.bytes).toBe(0)
  })

  it("encodes one record as a segment of one", () => {
    const data = encodeOne(recordOf(15, 40))
    expect(firstDamaged(data, 1)).toBe(undefined)
    expect(decode(data, 1)).toStrictEqual([recordOf(15, 40)])
  })
})
