import { describe, expect, it } from "vitest"
import { type HistoryRecord, judge, type ReadRecord, type WriteRecord } from "./History.js"

let time = 0
const span = () => ({ start: ++time, end: ++time })

const wrote = (call: string, version: number, rest: Partial<WriteRecord> = {}): WriteRecord => ({
  kind: "write",
  call,
  id: "a",
  node: 0,
  level: "wal",
  outcome: "acknowledged",
  version,
  ...span(),
  ...rest
})
const unanswered = (call: string, rest: Partial<WriteRecord> = {}): WriteRecord => {
  const { version: _, ...write } = wrote(call, 0, { outcome: "unknown", ...rest })
  return write
}
const read = (version: number, call?: string, rest: Partial<ReadRecord> = {}): ReadRecord => ({
  kind: "read",
  id: "a",
  node: 0,
  version,
  ...(call === undefined ? {} : { call }),
  ...span(),
  ...rest
})
const final = (version: number, call?: string): ReadRecord => {
  const { node: _, ...rest } = read(version, call, { from: "sql" })
  return rest
}
const death = (node = 0): HistoryRecord => ({ kind: "death", node, at: ++time })
const deleted = { deletes: true }

const found = (...records: ReadonlyArray<HistoryRecord>) => judge(records).violations.map(({ what }) => what)

describe("the judge of histories", () => {
  it("finds a lost write, also one that was lost in a crash", () => {
    expect(found(wrote("1", 10), final(0))).toEqual(["lost"])
    expect(found(wrote("1", 10), wrote("2", 20), death(), final(10, "1"))).toEqual(["lost"])
    expect(found(wrote("1", 10), wrote("2", 20, deleted), final(10, "1"))).toEqual(["lost"])
    expect(found(wrote("1", 10), wrote("2", 20), final(20, "2"))).toEqual([])
  })

  it("finds a read that is older than what was acknowledged or read before", () => {
    expect(found(wrote("1", 10), wrote("2", 20), read(10, "1"))).toEqual(["stale"])
    expect(found(wrote("1", 10), unanswered("2"), read(20, "2"), read(10, "1"))).toEqual(["stale"])
    expect(found(wrote("1", 10), wrote("2", 20, deleted), read(10, "1"))).toEqual(["stale"])
    // Where only a version is told.
    expect(found(wrote("1", 10), wrote("2", 20), read(10))).toEqual(["stale"])
  })

  it("finds what comes back after its deletion was seen, though nobody answered the deletion", () => {
    expect(found(wrote("1", 10), unanswered("2", deleted), read(0), read(10, "1"))).toEqual(["stale"])
    expect(found(wrote("1", 10), unanswered("2", deleted), read(10, "1"), read(0))).toEqual([])
  })

  it("finds an invention", () => {
    expect(found(wrote("1", 10), read(20, "2"))).toEqual(["invented"])
    expect(found(wrote("1", 10), wrote("2", 20, { id: "b" }), read(20, "2"))).toEqual(["invented"])
    expect(found(wrote("1", 10), read(11, "1"))).toEqual(["invented"])
    expect(found(unanswered("1", { outcome: "refused" }), read(10, "1"))).toEqual(["invented"])
    expect(found(unanswered("1"), read(10, "1"), read(11, "1"))).toEqual(["invented"])
    expect(found(read(10, "1"), wrote("1", 10))).toContain("invented")
  })

  it("finds a false absence, also beside deletions that cannot explain it", () => {
    expect(found(wrote("1", 10), read(0))).toEqual(["falsely absent"])
    expect(found(wrote("1", 10), read(0), wrote("2", 20, deleted))).toEqual(["falsely absent"])
    expect(found(wrote("0", 5, deleted), wrote("1", 10), read(0))).toEqual(["falsely absent"])
    expect(found(wrote("1", 10), unanswered("2", { ...deleted, outcome: "refused" }), read(0))).toEqual([
      "falsely absent"
    ])
    // The deletion that had no answer ended with its node, before the put began.
    expect(found(unanswered("0", deleted), death(), wrote("1", 10), read(0))).toEqual(["falsely absent"])
    expect(found(unanswered("0", deleted), wrote("1", 10), read(0))).toEqual([])
  })

  it("finds writes out of order and comparisons with what was not there", () => {
    expect(found(wrote("1", 10), wrote("2", 9))).toEqual(["out of order"])
    const twice = [wrote("1", 10, { start: 1, end: 9 }), wrote("2", 10, { start: 2, end: 8 })]
    expect(found(...twice)).toEqual(["out of order"])
    expect(found(wrote("1", 10), wrote("2", 20), wrote("3", 30, { over: 10 }))).toEqual([
      "overwritten unseen"
    ])
    expect(found(wrote("1", 10), wrote("2", 20, { over: 0 }))).toEqual(["overwritten unseen"])
    expect(found(wrote("1", 10, { over: 0 }), wrote("2", 20, { over: 10 }))).toEqual([])
    expect(found(wrote("1", 10, deleted), wrote("2", 20, { over: 0 }))).toEqual([])
    expect(found(wrote("1", 10), unanswered("2", deleted), wrote("3", 30, { over: 0 }))).toEqual([])
  })

  it("lets memory forget what was acknowledged in memory only when its node dies", () => {
    const early = { level: "memory" } as const
    expect(found(wrote("1", 10), wrote("2", 20, early), read(10, "1"))).toEqual(["stale"])
    expect(found(wrote("1", 10), wrote("2", 20, early), death(), read(10, "1"))).toEqual([])
    expect(found(wrote("1", 10), wrote("2", 20, early), death(), read(0))).toEqual(["falsely absent"])
    expect(found(wrote("1", 10), wrote("2", 20, early), death(1), read(10, "1"))).toEqual(["stale"])
    const trouble = { kind: "trouble", node: 0, from: time, to: time + 5 } as const
    expect(found(trouble, wrote("1", 10), wrote("2", 20, early), read(10, "1"))).toEqual([])
    expect(found(trouble, wrote("1", 10), wrote("2", 20), read(10, "1"))).toEqual(["stale"])
    time += 10
    expect(found(trouble, wrote("1", 10), wrote("2", 20, early), read(10, "1"))).toEqual(["stale"])
  })

  it("judges a node by what it acknowledged, and the stores by what all did", () => {
    expect(found(wrote("1", 10), wrote("2", 20, { node: 1 }), read(10, "1"))).toEqual([])
    expect(found(wrote("1", 10), wrote("2", 20, { node: 1 }), read(10, "1", { node: 1 }))).toEqual(["stale"])
    expect(found(wrote("1", 10), wrote("2", 20, { node: 1 }), final(10, "1"))).toEqual(["lost"])
  })

  it("accepts whatever overlapping and unanswered calls allow", () => {
    const slow = unanswered("2")
    const overlapping = { start: slow.start, end: time + 1 }
    expect(found(wrote("1", 10), slow, read(10, "1", overlapping), read(10, "1"))).not.toContain("invented")
    expect(
      found(
        wrote("1", 10, { start: 1, end: 10 }),
        read(0, undefined, { start: 2, end: 9 }),
        read(10, "1", { start: 3, end: 4 }),
        wrote("2", 20, { ...deleted, start: 11, end: 20 }),
        read(10, "1", { start: 12, end: 13 }),
        read(0, undefined, { start: 14, end: 15 }),
        unanswered("3", { start: 21, end: 22 }),
        read(0, undefined, { start: 23, end: 24 }),
        read(30, "3", { start: 25, end: 26 })
      )
    ).toEqual([])
  })

  it("takes time in proportion to the calls", () => {
    const records: Array<HistoryRecord> = []
    for (let n = 1; n <= 200_000; n++) {
      // One id is in half of the calls.
      const id = n % 2 === 0 ? "hot" : `id${n % 2_000}`
      records.push(wrote(String(n), n, { id, deletes: n % 7 === 0 }))
      records.push(read(n % 7 === 0 ? 0 : n, n % 7 === 0 ? undefined : String(n), { id }))
    }
    records.push(read(10, "10", { id: "hot" }))
    // Of this process: others do not slow it down.
    const from = process.cpuUsage()
    const { reads, violations, writes } = judge(records)
    const { system, user } = process.cpuUsage(from)
    expect((user + system) / 1000).toBeLessThan(15_000)
    expect([reads, writes]).toEqual([200_001, 200_000])
    expect(violations.map(({ what }) => what)).toEqual(["stale"])
    expect(violations[0]!.lines.length).toBeLessThanOrEqual(40)
  })
})
