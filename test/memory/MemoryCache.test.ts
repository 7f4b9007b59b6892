import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { MemoryCache, recordBytes, recordOverheadBytes } from "../../src/memory/MemoryCache.js"
import { compareVersions, emptyContentHash, type ItemRecord, tombstone } from "../../src/SyncItem.js"
import { ContentCopies, sharedBufferBytes } from "../../src/shared/ContentCopies.js"

const recordOf = (id: string, version = 1, size = 0, fields: Partial<ItemRecord> = {}): ItemRecord => ({
  id,
  version,
  updatedAt: 0,
  contentType: "binary",
  contentHash: emptyContentHash,
  state: undefined,
  content: new Uint8Array(size),
  traceparent: undefined,
  deleted: false,
  ...fields
})

const unit = recordBytes(recordOf("item-0000"))
const idOf = (n: number) => `item-${String(n).padStart(4, "0")}`

// Numerical Recipes' linear congruential generator: seeded and good enough to draw ids.
const generator = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe("recordBytes", () => {
  it("counts content, strings and the fixed overhead", () => {
    const record = recordOf("a.ü", 1, 100, { state: "open", traceparent: "0".repeat(55) })
    expect(recordBytes(record)).toBe(recordOverheadBytes + 100 + 2 * 3 + 64 + 2 * 4 + 55)
    expect(recordBytes(tombstone("ab", 1, 0))).toBe(recordOverheadBytes + 4 + 64)
  })
})

describe("MemoryCache", () => {
  it("answers what was put, and counts hits and misses but no peeks", () => {
    const cache = new MemoryCache({ maxBytes: 10 * unit })
    const record = recordOf("a")
    expect(cache.put(record)).toBe(true)
    expect(cache.get("a")).toBe(record)
    expect(cache.get("b")).toBeUndefined()
    expect(cache.peek("a")).toBe(record)
    expect(cache.peek("b")).toBeUndefined()
    expect(cache.stats()).toEqual({
      hits: 1,
      misses: 1,
      evictions: 0,
      insertions: 1,
      bytes: recordBytes(record),
      maxBytes: 10 * unit,
      items: 1
    })
  })

  it("keeps the newest version whatever the order, tombstones included", () => {
    const versions = [
      recordOf("a", 1, 5),
      recordOf("a", 2, 7),
      recordOf("a", 3, 3, { contentHash: "0".repeat(64) }),
      recordOf("a", 3, 9, { contentHash: "f".repeat(64) }),
      tombstone("a", 4, 0)
    ]
    fc.assert(
      fc.property(fc.shuffledSubarray(versions, { minLength: 1 }), (order) => {
        const cache = new MemoryCache({ maxBytes: 10 * unit })
        let newest: ItemRecord | undefined
        for (const record of order) {
          const isOlder = newest !== undefined && compareVersions(record, newest) < 0
          expect(cache.put(record)).toBe(!isOlder)
          if (newest === undefined || compareVersions(record, newest) > 0) newest = record
          expect(cache.peek("a")).toBe(newest)
          expect(cache.bytes).toBe(recordBytes(newest!))
        }
      }),
      { numRuns: 200, seed: 1 }
    )
  })

  it("takes an equal record as known and keeps the one it has", () => {
    const cache = new MemoryCache({ maxBytes: 10 * unit })
    const first = recordOf("a", 2)
    cache.put(first)
    expect(cache.put(recordOf("a", 2))).toBe(true)
    expect(cache.peek("a")).toBe(first)
    expect(cache.stats().insertions).toBe(1)
  })

  it("does not keep what is above the bound, and drops what that made outdated", () => {
    const cache = new MemoryCache({ maxBytes: 2 * unit })
    cache.put(recordOf("a", 1))
    cache.put(recordOf("b", 1))
    expect(cache.put(recordOf("c", 1, 3 * unit))).toBe(true)
    expect(cache.peek("c")).toBeUndefined()
    expect(cache.size).toBe(2)
    expect(cache.put(recordOf("a", 2, 3 * unit))).toBe(true)
    expect(cache.peek("a")).toBeUndefined()
    expect(cache.bytes).toBe(recordBytes(recordOf("b")))
    expect(cache.put(recordOf("b", 2))).toBe(true)
    expect(cache.put(recordOf("b", 1, 3 * unit))).toBe(false)
    expect(cache.peek("b")?.version).toBe(2)
  })

  it("keeps what is as large as the bound, and its replacement", () => {
    const cache = new MemoryCache({ maxBytes: unit })
    for (const version of [1, 2]) {
      expect(cache.put(recordOf(idOf(0), version))).toBe(true)
      expect([cache.peek(idOf(0))?.version, cache.bytes]).toEqual([version, unit])
    }
  })

  it("takes a replacement for a use: what is written again and again stays through a scan", () => {
    const cache = new MemoryCache({ maxBytes: 10 * unit })
    for (const version of [1, 2, 3]) cache.put(recordOf(idOf(0), version))
    cache.put(recordOf(idOf(1), 1))
    for (let n = 2; n < 40; n++) cache.put(recordOf(idOf(n), 1))
    expect([cache.peek(idOf(0))?.version, cache.peek(idOf(1))]).toEqual([3, undefined])
  })

  it("makes room for a replacement that has grown, at the expense of others", () => {
    const cache = new MemoryCache({ maxBytes: 3 * unit })
    for (const n of [0, 1, 2]) cache.put(recordOf(idOf(n)))
    cache.put(recordOf(idOf(0), 2, unit))
    expect(cache.peek(idOf(0))?.version).toBe(2)
    expect(cache.size).toBe(2)
    expect(cache.bytes).toBe(3 * unit)
    expect(cache.peek(idOf(1))).toBeUndefined()
  })

  it("copies a content that would pin a large buffer, and shares every other", () => {
    const cache = new MemoryCache({ maxBytes: 100 * unit })
    const packet = new Uint8Array(8 * sharedBufferBytes).fill(7)
    const slice = recordOf("slice", 1, 0, { content: packet.subarray(100, 200) })
    cache.put(slice)
    expect(cache.peek("slice")).toEqual(slice)
    expect(cache.peek("slice")?.content.buffer).not.toBe(packet.buffer)
    cache.put({ ...slice, version: 2 })
    expect(cache.peek("slice")?.content.buffer).not.toBe(packet.buffer)
    const own = recordOf("own", 1, 100)
    cache.put(own)
    expect(cache.peek("own")).toBe(own)
  })

  it("keeps what stays together, so that few survivors do not pin the buffers of all that went", () => {
    const copies = new ContentCopies()
    const cache = new MemoryCache({ maxBytes: 1000 * unit })
    for (let n = 0; n < 10_000; n++) {
      cache.put(recordOf(idOf(n), 1, 0, { content: copies.copy(new Uint8Array(100).fill(n)) }))
      if (n % 50 === 0) for (let use = 0; use < 3; use++) cache.get(idOf(n))
    }
    const kept = Array.from({ length: 180 }, (_, n) => cache.peek(idOf(n * 50))?.content)
    expect(kept.every((content, n) => content?.[99] === ((n * 50) & 255))).toBe(true)
    const buffers = new Set(kept.map((content) => content?.buffer))
    expect(buffers.size).toBeLessThanOrEqual(Math.ceil((200 * 100) / (sharedBufferBytes - 100)) + 1)
  })

  it("counts what its contents pin, whatever happened to those beside them", () => {
    const copies = new ContentCopies()
    const cache = new MemoryCache({ maxBytes: 500 * unit })
    const kept: Array<string> = []
    let version = 0
    for (let n = 0; n < 2000; n++) {
      kept.push(idOf(n))
      cache.put(recordOf(idOf(n), 1, 0, { content: copies.copy(new Uint8Array(250)) }))
      for (let more = 0; more < 20; more++) {
        cache.put(recordOf("hot", ++version, 0, { content: copies.copy(new Uint8Array(250)) }))
      }
      cache.put(recordOf("gone", n + 1, 0, { content: copies.copy(new Uint8Array(250)) }))
      if (n % 2 === 0) cache.remove("gone")
      expect(cache.bytes).toBeLessThanOrEqual(cache.maxBytes)
    }
    const records = [...kept, "hot", "gone"].flatMap((id) => cache.peek(id) ?? [])
    expect(records.length).toBe(cache.size)
    const buffers = new Set(records.map(({ content }) => content.buffer))
    const pinned = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0)
    const beside = records.reduce((sum, record) => sum + recordBytes(record) - record.content.byteLength, 0)
    expect(cache.bytes).toBe(pinned + beside)
    cache.setMaxBytes(0)
    expect([cache.size, cache.bytes]).toEqual([0, 0])
  })

  it("removes, clears, and follows its bound at once", () => {
    const cache = new MemoryCache({ maxBytes: 100 * unit })
    for (let n = 0; n < 100; n++) cache.put(recordOf(idOf(n)))
    expect(cache.size).toBe(100)
    expect(cache.remove(idOf(50))).toBe(true)
    expect(cache.remove(idOf(50))).toBe(false)
    expect(cache.bytes).toBe(99 * unit)
    cache.setMaxBytes(10 * unit)
    expect(cache.maxBytes).toBe(10 * unit)
    expect(cache.size).toBe(10)
    expect(cache.stats().evictions).toBe(89)
    cache.setMaxBytes(0)
    expect([cache.size, cache.bytes]).toEqual([0, 0])
    expect(cache.put(recordOf("a"))).toBe(true)
    expect(cache.size).toBe(0)
    cache.setMaxBytes(10 * unit)
    cache.put(recordOf("a"))
    cache.clear()
    expect([cache.size, cache.bytes, cache.peek("a")]).toEqual([0, 0, undefined])
    cache.put(recordOf("a"))
    expect(cache.size).toBe(1)
  })

  it("refuses a bound that is no number of bytes", () => {
    for (const maxBytes of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new MemoryCache({ maxBytes })).toThrow(RangeError)
      expect(() => new MemoryCache({ maxBytes: 1 }).setMaxBytes(maxBytes)).toThrow(RangeError)
    }
  })

  it("keeps through a scan what was used twice, and lets go of what was used once", () => {
    const cache = new MemoryCache({ maxBytes: 20 * unit })
    cache.put(recordOf("item-twic"))
    cache.put(recordOf("item-once"))
    cache.get("item-twic")
    cache.get("item-twic")
    cache.get("item-once")
    for (let n = 0; n < 200; n++) cache.put(recordOf(idOf(n)))
    expect(cache.peek("item-twic")).toBeDefined()
    expect(cache.peek("item-once")).toBeUndefined()
    expect(cache.bytes).toBe(20 * unit)
  })

  it("enters an id that comes back soon into the main queue, where a scan does not reach it", () => {
    const scan = (cache: MemoryCache, from: number, count: number) => {
      for (let n = from; n < from + count; n++) cache.put(recordOf(idOf(n)))
    }
    const survives = (absence: number, cleared = false) => {
      const cache = new MemoryCache({ maxBytes: 20 * unit })
      cache.put(recordOf("item-back"))
      scan(cache, 0, 20)
      expect(cache.peek("item-back")).toBeUndefined()
      scan(cache, 20, absence)
      if (cleared) {
        cache.clear()
        scan(cache, 500, 20)
      }
      cache.put(recordOf("item-back"))
      scan(cache, 1000, 500)
      return cache.peek("item-back") !== undefined
    }
    expect(survives(5)).toBe(true)
    expect(survives(100)).toBe(false)
    expect(survives(5, true)).toBe(false)
  })

  it("gives what was used in the main queue a second chance there, counting anew from its entry", () => {
    const cache = new MemoryCache({ maxBytes: 20 * unit })
    for (let n = 0; n < 20; n++) cache.put(recordOf(idOf(n)))
    for (let n = 0; n < 20; n++) {
      cache.get(idOf(n))
      cache.get(idOf(n))
    }
    cache.get(idOf(0))
    // All twenty have earned the main queue, where the oldest leaves although it was used the most before.
    cache.put(recordOf(idOf(20)))
    expect(cache.peek(idOf(0))).toBeUndefined()
    cache.get(idOf(1))
    cache.put(recordOf(idOf(21)))
    expect(cache.peek(idOf(1))).toBeDefined()
    expect(cache.peek(idOf(2))).toBeUndefined()
  })

  it("still makes room when everything in it is in use", () => {
    const cache = new MemoryCache({ maxBytes: 1000 * unit })
    for (let n = 0; n < 1000; n++) cache.put(recordOf(idOf(n)))
    for (let uses = 0; uses < 3; uses++) for (let n = 0; n < 1000; n++) cache.get(idOf(n))
    for (let n = 1000; n < 1500; n++) {
      expect(cache.put(recordOf(idOf(n)))).toBe(true)
      expect(cache.peek(idOf(n))).toBeDefined()
      expect(cache.bytes).toBe(1000 * unit)
    }
  })

  it("accounts exactly, stays within the bound and never goes back a version, after any commands", () => {
    const id = fc.integer({ min: 0, max: 30 }).map(idOf)
    const command = fc.oneof(
      {
        weight: 24,
        arbitrary: fc.record({
          kind: fc.constant("put" as const),
          id,
          version: fc.integer({ min: 1, max: 5 }),
          size: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.constantFrom(0, 9_000, 30_000)),
          deleted: fc.boolean(),
          state: fc.constantFrom(undefined, "open", "état")
        })
      },
      { weight: 24, arbitrary: fc.record({ kind: fc.constant("get" as const), id }) },
      { weight: 8, arbitrary: fc.record({ kind: fc.constant("remove" as const), id }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant("bound" as const),
          bytes: fc.integer({ min: 0, max: 25_000 })
        })
      },
      { weight: 1, arbitrary: fc.constant({ kind: "clear" as const }) }
    )
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 300 }), (commands) => {
        const cache = new MemoryCache({ maxBytes: 12_000 })
        const newest = new Map<string, ItemRecord>()
        let hits = 0
        let misses = 0
        for (const step of commands) {
          if (step.kind === "put") {
            const record = step.deleted
              ? tombstone(step.id, step.version, 0)
              : recordOf(step.id, step.version, step.size, {
                  state: step.state,
                  contentHash: `${step.size}`.padStart(64, "1")
                })
            const known = cache.peek(step.id)
            const order = known === undefined ? 1 : compareVersions(record, known)
            expect(cache.put(record)).toBe(order >= 0)
            const fits = recordBytes(record) <= cache.maxBytes
            expect(cache.peek(step.id)).toBe(order > 0 ? (fits ? record : undefined) : known)
            const before = newest.get(step.id)
            if (before === undefined || order > 0) newest.set(step.id, record)
          } else if (step.kind === "get") {
            const known = cache.peek(step.id)
            expect(cache.get(step.id)).toBe(known)
            if (known === undefined) misses++
            else hits++
          } else if (step.kind === "remove") {
            const wasHeld = cache.peek(step.id) !== undefined
            expect(cache.remove(step.id)).toBe(wasHeld)
            expect(cache.peek(step.id)).toBeUndefined()
          } else if (step.kind === "bound") {
            cache.setMaxBytes(step.bytes)
          } else {
            cache.clear()
          }
          let bytes = 0
          let items = 0
          for (let n = 0; n <= 30; n++) {
            const held = cache.peek(idOf(n))
            if (held === undefined) continue
            items++
            bytes += recordBytes(held)
            expect(held).toBe(newest.get(held.id))
          }
          expect(cache.bytes).toBe(bytes)
          expect(cache.size).toBe(items)
          expect(cache.bytes).toBeLessThanOrEqual(cache.maxBytes)
          expect(cache.stats()).toMatchObject({ hits, misses, bytes, items })
        }
      }),
      { numRuns: 150, seed: 20_260 }
    )
  })

  it("hits more often than LRU on skewed reads that a scan interrupts", () => {
    const random = generator(42)
    const distinct = 4000
    // Zipf with exponent 0.9 by the inverse of its cumulative sums.
    const sums: Array<number> = []
    let sum = 0
    for (let rank = 1; rank <= distinct; rank++) {
      sum += rank ** -0.9
      sums.push(sum)
    }
    const draw = () => {
      const target = random() * sum
      let low = 0
      let high = distinct - 1
      while (low < high) {
        const middle = (low + high) >> 1
        if (sums[middle]! < target) low = middle + 1
        else high = middle
      }
      return low
    }
    const trace: Array<string> = []
    let scanned = 0
    for (let round = 0; round < 40; round++) {
      for (let n = 0; n < 2000; n++) trace.push(idOf(draw()))
      for (let n = 0; n < 500; n++) trace.push(`s${String(scanned++).padStart(8, "0")}`)
    }
    for (const items of [100, 400, 1000]) {
      const cache = new MemoryCache({ maxBytes: items * unit })
      const lru = new Map<string, true>()
      let lruHits = 0
      for (const id of trace) {
        if (cache.get(id) === undefined) cache.put(recordOf(id))
        if (lru.delete(id)) lruHits++
        else if (lru.size >= items) lru.delete(lru.keys().next().value!)
        lru.set(id, true)
      }
      expect(cache.stats().hits).toBeGreaterThan(lruHits * 1.05)
    }
  })
})
