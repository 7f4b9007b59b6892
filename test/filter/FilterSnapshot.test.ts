import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { CuckooFilter } from "../../src/filter/CuckooFilter.js"
import { decodeFilterSnapshot, encodeFilterSnapshot } from "../../src/filter/FilterSnapshot.js"
import { YieldToEventLoop } from "../../src/shared/YieldToEventLoop.js"
import { atOnce } from "../support/atOnce.js"

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
      const decoded = decodeFilterSnapshot(atOnce(encodeFilterSnapshot(snapshot)))
      if (typeof decoded === "string") throw new Error(decoded)
      expect(decoded.root).toBe(root)
      expect(decoded.entryCount).toBe(keys)
      expect(decoded.filter.toBytes()).toEqual(snapshot.filter.toBytes())
      for (let n = 0; n < keys; n++) expect(decoded.filter.has(`item.${n}`)).toBe(true)
    }
  })

  it("is refused when any byte is changed, in any bit", () => {
    const bytes = atOnce(encodeFilterSnapshot(snapshotOf(280)))
    for (let at = 0; at < bytes.byteLength; at++) {
      const damaged = bytes.slice()
      damaged[at]! ^= 1 << (at % 8)
      expect(decodeFilterSnapshot(damaged)).toEqual(expect.any(String))
    }
  })

  it("is refused when cut or prolonged anywhere", () => {
    const bytes = atOnce(encodeFilterSnapshot(snapshotOf(280)))
    for (let length = 0; length < bytes.byteLength; length++) {
      expect(decodeFilterSnapshot(bytes.subarray(0, length))).toEqual(expect.any(String))
    }
    expect(decodeFilterSnapshot(new Uint8Array([...bytes, 0]))).toEqual(expect.any(String))
    expect(decodeFilterSnapshot(bytes.subarray(1))).toEqual(expect.any(String))
  })

  it("names another format's version even when its checksum is right", () => {
    const bytes = atOnce(encodeFilterSnapshot(snapshotOf(10)))
    bytes[4] = 2
    const end = bytes.byteLength - 32
    bytes.set(createHash("sha256").update(bytes.subarray(0, end)).digest(), end)
    expect(decodeFilterSnapshot(bytes)).toBe("the snapshot has format 2, not 1")
  })

  it("is of the filter as it was at first, and hashed in pieces between which others have their turn", () => {
    const filter = new CuckooFilter({ capacity: 1_000_000 })
    filter.add("before")
    let turns = 0
    const turn = Effect.sync(() => {
      turns++
      filter.add(`later.${turns}`)
    })
    const encoding = encodeFilterSnapshot({ filter, root, entryCount: 1 })
    filter.add("later.0")
    const bytes = Effect.runSync(Effect.provideService(encoding, YieldToEventLoop, turn))
    expect(turns).toBe(Math.ceil((bytes.byteLength - 32) / (1024 * 1024)))
    expect(turns).toBeGreaterThan(2)
    const decoded = decodeFilterSnapshot(bytes)
    if (typeof decoded === "string") throw new Error(decoded)
    expect(decoded.filter.count).toBe(1)
    expect(decoded.filter.has("before")).toBe(true)
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
