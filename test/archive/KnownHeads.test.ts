import { describe, expect, it } from "vitest"
import { CommitPlan } from "../../src/archive/CommitPlan.js"
import { KnownHeads } from "../../src/archive/KnownHeads.js"
import { tombstone } from "../../src/SyncItem.js"
import { put } from "./records.js"

/** As committed over no rows. */
const planOf = (records: ReadonlyArray<ReturnType<typeof put>>) => {
  const plan = new CommitPlan()
  plan.decide(records, new Map())
  return plan
}

const known = (heads: KnownHeads, ids: string) => {
  const guess = heads.guess()
  return [...ids].filter((id) => guess({ id, version: 100 }) !== undefined).join("")
}

describe("KnownHeads", () => {
  it("goes round: the head that was learned first gives way, one that is learned again keeps its place", () => {
    const heads = new KnownHeads(4)
    heads.learn(planOf(["a", "b", "c", "d"].map((id) => put(id, 1))))
    expect(known(heads, "abcdef")).toBe("abcd")
    heads.learn(planOf([put("a", 2), put("e", 1)]))
    expect(known(heads, "abcdef")).toBe("bcde")
    heads.learn(planOf([put("c", 3), put("f", 1)]))
    expect(known(heads, "abcdef")).toBe("cdef")
    const e = put("e", 1)
    expect(heads.guess()({ id: "e", version: 2 })).toMatchObject({
      ...{ id: "e", version: 1, updatedAt: e.updatedAt, contentHash: e.contentHash, deleted: false },
      sum: planOf([e]).insertSums[0]
    })
    expect(heads.guess()({ id: "c", version: 4 })).toMatchObject({ version: 3 })
  })

  it("a place that was forgotten is taken again, and takes nobody else's head with it", () => {
    const heads = new KnownHeads(4)
    heads.learn(planOf(["a", "b", "c", "d"].map((id) => put(id, 1))))
    heads.forget([put("a", 1), put("x", 1)])
    heads.learn(planOf([tombstone("e", 1, 7), put("a", 5)]))
    expect(known(heads, "abcde")).toBe("acde")
    expect(heads.guess()({ id: "e", version: 2 })).toMatchObject({
      updatedAt: 7,
      deleted: true,
      sum: undefined
    })
    heads.clear()
    expect(known(heads, "abcde")).toBe("")
    heads.learn(planOf([put("z", 1)]))
    expect(known(heads, "z")).toBe("z")
  })
})
