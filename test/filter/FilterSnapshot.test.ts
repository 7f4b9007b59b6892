import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { CuckooFilter } from "../../src/filter/CuckooFilter.js"
import { decodeFilterSnapshot, encodeFilterSnapshot } from "../../src/filter/FilterSnapshot.js"

const root = createHash("sha256").update("root").digest("hex")

const snapshotOf = (keys: number) => {
  const filter = new CuckooFilter({ capacity: 300 })
  for (let n = 0; n < keys; n++) filter.add(`item.${n}`)
  return { filter, root, entryCount: keys }
}

describe("filter snapshot", () => {
  it("comes back whole, of an empty filter too", () => {
    for (const keys of [0, 280, 2_000]) {
      const snapshot = snapshotOf(keys)
      const decoded = decodeFilterSnapshot(encodeFilterSnapshot(snapshot))
      if (typeof decoded === "string") throw new Error(decoded)
      expect(decoded.root).toBe(root)
      expect(decoded.entryCount).toBe(keys)
      expect(decoded.filter.toBytes()).toEqual(snapshot.filter.toBytes())
      for (let n = 0; n < keys; n++) expect(decoded.filter.has(`item.${n}`)).toBe(true)
    }
  })

  it("is refused when any byte is changed, in any bit", () => {
    const bytes = encodeFilterSnapshot(snapshotOf(280))
    for (let at = 0; at < bytes.byteLength; at++) {
      const damaged = bytes.slice()
      damaged[at]! ^= 1 << (at % 8)
      expect(decodeFilterSnapshot(damaged)).toEqual(expect.any(String))
    }
  })

  it("is refused when cut or prolonged anywhere", () => {
    const bytes = encodeFilterSnapshot(snapshotOf(280))
    for (let length = 0; length < bytes.byteLength; length++) {
      expect(decodeFilterSnapshot(bytes.subarray(0, length))).toEqual(expect.any(String))
    }
    expect(decodeFilterSnapshot(new Uint8Array([...bytes, 0]))).toEqual(expect.any(String))
    expect(decodeFilterSnapshot(bytes.subarray(1))).toEqual(expect.any(String))
  })

  it("names another format's version even when its checksum is right", () => {
    const bytes = encodeFilterSnapshot(snapshotOf(10))
    bytes[4] = 2
    const end = bytes.byteLength - 32
    bytes.set(createHash("sha256").update(bytes.subarray(0, end)).digest(), end)
    expect(decodeFilterSnapshot(bytes)).toBe("the snapshot has format 2, not 1")
  })

  it("refuses to encode a root that is no digest, or an impossible count", () => {
    const { filter } = snapshotOf(1)
    expect(() => encodeFilterSnapshot({ filter, root: "", entryCount: 1 })).toThrow(RangeError)
    expect(() => encodeFilterSnapshot({ filter, root: root.toUpperCase(), entryCount: 1 })).toThrow(
      RangeError
    )
    expect(() => encodeFilterSnapshot({ filter, root, entryCount: -1 })).toThrow(RangeError)
    expect(() => encodeFilterSnapshot({ filter, root, entryCount: 0.5 })).toThrow(RangeError)
  })
})
