import { describe, expect, it } from "@effect/vitest"
import { MemoryWriters, tokenFor, trustedShare, WriterWatch } from "../../src/archive/WriterLease.js"
import { FilterTrust, reasons } from "../../src/filter/FilterTrust.js"
import { TrackedFilter } from "../../src/filter/TrackedFilter.js"
import { atOnce } from "../support/atOnce.js"

const leaseMs = 10_000
const trustMs = leaseMs * trustedShare
const root = (n: number) => n.toString(16).padStart(64, "0")
const put = (id: string) => ({ id, deleted: false })

const heartbeat = (trust: FilterTrust, at: number, token: string | undefined, seen: string) =>
  trust.heartbeatReturned(trust.heartbeatSent(at), { token, root: seen }, leaseMs)

const commit = (trust: FilterTrust, before: string, after: string, now = 0) =>
  trust.commitSucceeded(trust.commitStarted(), before, after, now)

const trusts = (trust: FilterTrust, now: number) => trust.reason(now) === undefined

/** Trusted at root 1 under token `t`, granted at time 0. */
const trusting = () => {
  const trust = new FilterTrust()
  trust.claim(root(1))
  heartbeat(trust, 0, "t", root(1))
  expect(trusts(trust, 0)).toBe(true)
  return trust
}

describe("FilterTrust", () => {
  it("trusts a snapshot only at its own root and only as the sole writer", () => {
    const trust = new FilterTrust()
    expect(trust.reason(0)).toBe(reasons.empty)
    trust.claim(root(1))
    expect(trust.reason(0)).toBe(reasons.notSole)
    heartbeat(trust, 0, undefined, root(1))
    expect(trust.reason(0)).toBe(reasons.notSole)
    heartbeat(trust, 0, "t", root(1))
    expect(trust.reason(0)).toBeUndefined()

    const other = new FilterTrust()
    other.claim(root(1))
    heartbeat(other, 0, "t", root(2))
    expect(trusts(other, 0)).toBe(false)
    expect(other.reason(0)).toBe(reasons.snapshot)
    expect(other.covered).toBe(false)
  })

  it("trusts for three quarters of the lease, counted from before the question was sent", () => {
    const trust = trusting()
    expect(trusts(trust, trustMs - 1)).toBe(true)
    expect(trusts(trust, trustMs)).toBe(false)
    expect(trust.reason(trustMs)).toBe(reasons.late)
    // The answer came long after: no time is won by that.
    const sent = trust.heartbeatSent(5_000)
    trust.heartbeatReturned(sent, { token: "t", root: root(1) }, leaseMs)
    expect(trusts(trust, 5_000 + trustMs - 1)).toBe(true)
    expect(trusts(trust, 5_000 + trustMs)).toBe(false)
    // The token stood all the time: trust is back at once.
    heartbeat(trust, 60_000, "t", root(1))
    expect(trusts(trust, 60_000)).toBe(true)
  })

  it("a new token needs the root compared again", () => {
    const same = trusting()
    heartbeat(same, 1_000, "u", root(1))
    expect(trusts(same, 1_000)).toBe(true)
    const changed = trusting()
    heartbeat(changed, 1_000, "u", root(2))
    expect(trusts(changed, 1_000)).toBe(false)
    expect(changed.reason(1_000)).toBe(reasons.foreign)
  })

  it("own commits carry the root on, in whatever order their answers come", () => {
    const trust = trusting()
    commit(trust, root(1), root(2))
    expect(trust.coveredRoot).toBe(root(2))
    const [a, b, c] = [trust.commitStarted(), trust.commitStarted(), trust.commitStarted()]
    trust.commitSucceeded(c, root(4), root(5), 0)
    expect(trusts(trust, 0)).toBe(true)
    expect(trust.coveredRoot).toBe(root(2))
    trust.commitSucceeded(a, root(2), root(3), 0)
    expect(trust.coveredRoot).toBe(root(3))
    trust.commitSucceeded(b, root(3), root(4), 0)
    expect(trust.coveredRoot).toBe(root(5))
    expect(trusts(trust, 0)).toBe(true)
    commit(trust, root(5), root(5))
    expect(trusts(trust, 0)).toBe(true)
  })

  it("a commit from another root means that somebody else wrote: lost at once", () => {
    for (const gap of [
      (trust: FilterTrust) => commit(trust, root(7), root(8)),
      (trust: FilterTrust) => commit(trust, root(7), root(7))
    ]) {
      const shared = new FilterTrust()
      shared.claim(root(1))
      heartbeat(shared, 0, undefined, root(1))
      gap(shared)
      expect(shared.covered).toBe(false)
      expect(shared.reason(0)).toBe(reasons.foreign)
      // What no other node can have done is told apart.
      const sole = trusting()
      gap(sole)
      expect(trusts(sole, 0)).toBe(false)
      expect(sole.reason(0)).toBe(reasons.outside)
      // Past its time the token may be another's already.
      const late = trusting()
      late.commitStarted()
      late.commitFailed()
      const ticket = late.commitStarted()
      late.commitSucceeded(ticket, root(7), root(8), trustMs)
      expect(late.covered).toBe(false)
    }
  })

  it("a commit under a token that is no longer the same proves nothing", () => {
    const trust = new FilterTrust()
    trust.claim(root(1))
    const early = trust.commitStarted()
    heartbeat(trust, 0, "t", root(1))
    // Under way while the question was: the answer's root is from before or after it.
    expect(trust.reason(0)).toBe(reasons.unproven)
    trust.commitSucceeded(early, root(1), root(2), 0)
    expect(trust.reason(0)).toBe(reasons.unproven)
    const late = trust.commitStarted()
    trust.commitSucceeded(late, root(2), root(3), trustMs)
    expect(trust.reason(0)).toBe(reasons.unproven)
    commit(trust, root(3), root(4))
    expect(trusts(trust, 0)).toBe(true)

    const two = new FilterTrust()
    two.claim(root(1))
    const [first] = [two.commitStarted(), two.commitStarted()]
    heartbeat(two, 0, "t", root(9))
    // It changed nothing, and found the covered root: but before another node wrote, and before the token.
    two.commitSucceeded(first, root(1), root(1), 0)
    expect(trusts(two, 0)).toBe(false)
  })

  it("an own commit of unknown outcome is no other node's, as long as the token stands", () => {
    const trust = trusting()
    trust.commitStarted()
    trust.commitFailed()
    expect(trusts(trust, 0)).toBe(true)
    commit(trust, root(5), root(6))
    expect(trusts(trust, 0)).toBe(true)
    expect(trust.coveredRoot).toBe(root(6))
    trust.commitStarted()
    trust.commitFailed()
    heartbeat(trust, 0, "t", root(7))
    expect(trusts(trust, 0)).toBe(true)
    expect(trust.coveredRoot).toBe(root(7))
    // Explained once, not for ever.
    heartbeat(trust, 0, "t", root(8))
    expect(trust.reason(0)).toBe(reasons.outside)

    const shared = trusting()
    shared.commitStarted()
    shared.commitFailed()
    heartbeat(shared, 0, "u", root(9))
    expect(shared.reason(0)).toBe(reasons.foreign)
  })

  it("an answer that crossed a commit says nothing about the root", () => {
    const trust = trusting()
    const sent = trust.heartbeatSent(1_000)
    commit(trust, root(1), root(2))
    trust.heartbeatReturned(sent, { token: "t", root: root(1) }, leaseMs)
    expect(trusts(trust, 1_000 + trustMs - 1)).toBe(true)
    expect(trust.coveredRoot).toBe(root(2))
  })

  it("an answer to a question from before the end grants nothing, and a closed filter is never trusted", () => {
    const trust = trusting()
    const sent = trust.heartbeatSent(0)
    trust.close()
    expect(trusts(trust, 0)).toBe(false)
    expect(trust.heartbeatReturned(sent, { token: "t", root: root(1) }, leaseMs)).toBe(false)
    expect(trusts(trust, 0)).toBe(false)
    expect(heartbeat(trust, 0, "t", root(1))).toBe(false)
    expect(trust.reason(0)).toBe(reasons.closed)
    expect(trust.beginRebuild(0)).toBe(reasons.closed)
  })

  it("a rebuild needs one token from its first page to its end, and its time", () => {
    const trust = new FilterTrust()
    expect(trust.beginRebuild(0)).toBe(reasons.notSole)
    heartbeat(trust, 0, "t", root(1))
    expect(trust.beginRebuild(trustMs)).toBe(reasons.late)
    expect(trust.beginRebuild(0)).toBeUndefined()
    commit(trust, root(1), root(2))
    expect(trust.finishRebuild(trustMs)).toBe(reasons.late)
    expect(trust.finishRebuild(trustMs - 1)).toBeUndefined()
    expect(trusts(trust, 0)).toBe(true)
    expect(trust.coveredRoot).toBe(root(2))

    expect(trust.beginRebuild(0)).toBeUndefined()
    heartbeat(trust, 0, undefined, root(2))
    heartbeat(trust, 0, "u", root(2))
    expect(trust.rebuildStands).toBe(false)
    expect(trust.finishRebuild(0)).toBe(reasons.notSole)
  })

  it("a rebuild that ends during a commit has no root until that commit is answered", () => {
    const trust = new FilterTrust()
    heartbeat(trust, 0, "t", root(1))
    trust.beginRebuild(0)
    const ticket = trust.commitStarted()
    expect(trust.finishRebuild(0)).toBeUndefined()
    expect(trusts(trust, 0)).toBe(true)
    expect(trust.coveredRoot).toBeUndefined()
    trust.commitSucceeded(ticket, root(1), root(2), 0)
    expect(trust.coveredRoot).toBe(root(2))
    // Without a root there is nothing to compare once the token is gone.
    trust.beginRebuild(0)
    trust.commitStarted()
    trust.finishRebuild(0)
    heartbeat(trust, 0, undefined, root(2))
    expect(trust.reason(0)).toBe(reasons.unknown)
  })

  it("a rebuild has no root from before a commit of unknown outcome, or before the tree was rebuilt", () => {
    const unsure = trusting()
    unsure.beginRebuild(0)
    unsure.commitStarted()
    unsure.commitFailed()
    expect(unsure.finishRebuild(0)).toBeUndefined()
    expect(unsure.coveredRoot).toBeUndefined()

    const trust = trusting()
    const crossed = trust.heartbeatSent(0)
    trust.treeRebuilt(root(2))
    trust.beginRebuild(0)
    expect(trust.finishRebuild(0)).toBeUndefined()
    expect(trust.coveredRoot).toBeUndefined()
    trust.heartbeatReturned(crossed, { token: "t", root: root(1) }, leaseMs)
    expect(trust.coveredRoot).toBeUndefined()
    heartbeat(trust, 0, "t", root(2))
    expect([trust.coveredRoot, trusts(trust, 0)]).toEqual([root(2), true])
  })

  it("of two commits under way neither is alone, whichever began or ended first", () => {
    for (const order of [
      [0, 1],
      [1, 0]
    ] as const) {
      const trust = trusting()
      trust.beginRebuild(0)
      // They begin one after the other, and the archive makes the second one first.
      const made = [
        { ticket: trust.commitStarted(), before: root(2), after: root(3) },
        { ticket: trust.commitStarted(), before: root(1), after: root(2) }
      ]
      // Which root the new filter covers is not known while they are under way.
      expect(trust.finishRebuild(0)).toBeUndefined()
      for (const index of order) {
        const { after, before, ticket } = made[index]!
        trust.commitSucceeded(ticket, before, after, 0)
        expect([trust.coveredRoot, trusts(trust, 0)]).toEqual([undefined, true])
      }
      expect(trust.beginRebuild(0)).toBeUndefined()
      expect(trust.finishRebuild(0)).toBeUndefined()
      expect(trust.coveredRoot).toBeUndefined()
    }
  })

  it("a commit that was alone ends the doubt about earlier ones, one that was not does not", () => {
    const alone = trusting()
    alone.commitStarted()
    alone.commitFailed()
    commit(alone, root(1), root(2))
    heartbeat(alone, 0, "t", root(9))
    expect(alone.reason(0)).toBe(reasons.outside)
    const beside = trusting()
    beside.commitStarted()
    const other = beside.commitStarted()
    beside.commitFailed()
    beside.commitSucceeded(other, root(1), root(2), 0)
    // The failed one was made after it.
    heartbeat(beside, 0, "t", root(3))
    expect([beside.reason(0), beside.coveredRoot]).toEqual([undefined, root(3)])
  })

  it("a rebuilt tree with another root ends the trust", () => {
    const trust = trusting()
    trust.treeRebuilt(root(1))
    expect(trusts(trust, 0)).toBe(true)
    trust.treeRebuilt(root(2))
    expect(trust.reason(0)).toBe(reasons.tree)
  })
})

describe("the writers' register", () => {
  const ask = (node: string, fresh: string, known?: string) => ({
    node,
    known,
    fresh,
    exclusive: true,
    leaseMs,
    lapsed: []
  })

  it("grants one token, to a node that is alone, and refuses everybody else's commits", () => {
    const writers = new MemoryWriters()
    expect(writers.heartbeat(ask("a", "1")).token).toBe("1")
    expect(writers.heartbeat(ask("a", "2", "1")).token).toBe("1")
    const b = writers.heartbeat(ask("b", "3"))
    expect(b.token).toBeUndefined()
    expect(b.others).toEqual([{ node: "a", token: "1", heartbeat: "2", leaseMs }])
    expect([writers.admits("a"), writers.admits("b")]).toEqual([true, false])
    writers.release({ node: "a", token: "1" })
    expect([writers.admits("a"), writers.admits("b")]).toEqual([true, true])
    expect(writers.heartbeat(ask("a", "4")).token).toBeUndefined()
    writers.leave({ node: "b", token: undefined })
    expect(writers.heartbeat(ask("a", "5")).token).toBe("5")
    expect(writers.heartbeat({ ...ask("c", "6"), exclusive: false }).token).toBeUndefined()
  })

  it("late requests undo nothing: a token goes only by its name, or is replaced", () => {
    const writers = new MemoryWriters()
    writers.heartbeat(ask("a", "1"))
    // The holder forgot its token (a lost answer, a new process): a new one, never none.
    expect(writers.heartbeat(ask("a", "2")).token).toBe("2")
    writers.release({ node: "a", token: "1" })
    expect(writers.admits("b")).toBe(false)
    writers.leave({ node: "a", token: "1" })
    writers.leave({ node: "a", token: undefined })
    expect(writers.admits("b")).toBe(false)
    writers.heartbeat(ask("b", "3"))
    expect(writers.heartbeat({ ...ask("a", "4"), exclusive: false }).token).toBe("4")
    expect(writers.admits("b")).toBe(false)
    writers.leave({ node: "a", token: "4" })
    expect(writers.admits("b")).toBe(true)
    expect(tokenFor({ token: "x" }, 3, { known: "x", fresh: "y", exclusive: false })).toBe("x")
  })

  it("a row lapses when it has not changed for its lease since it was first seen so", () => {
    const writers = new MemoryWriters()
    const watch = new WriterWatch()
    writers.heartbeat(ask("a", "1"))
    const see = (now: number) => watch.observe(writers.heartbeat(ask("b", `b${now}`)).others, now)
    see(500)
    see(5_000)
    expect(watch.lapsed(500 + leaseMs - 1)).toEqual([])
    const lapsed = watch.lapsed(500 + leaseMs)
    expect(lapsed).toEqual([{ node: "a", heartbeat: "1" }])
    // It moved after all, before the request arrived.
    writers.heartbeat(ask("a", "2", "1"))
    expect(writers.heartbeat({ ...ask("b", "x"), lapsed }).token).toBeUndefined()
    see(11_000)
    expect(watch.lapsed(11_000 + leaseMs - 1)).toEqual([])
    expect(writers.heartbeat({ ...ask("b", "y"), lapsed: watch.lapsed(11_000 + leaseMs) }).token).toBe("y")
    expect(writers.rows.has("a")).toBe(false)
    // A row with a lease that nobody can have is waited for as long as the longest one that somebody can have.
    writers.rows.set("a", { node: "a", token: "x", heartbeat: "odd", leaseMs: 2 ** 63 })
    see(20_000)
    expect(watch.lapsed(20_000 + 3_600_000 - 1)).toEqual([])
    expect(watch.lapsed(20_000 + 3_600_000)).toEqual([{ node: "a", heartbeat: "odd" }])
    // A returning node is somebody new.
    writers.heartbeat(ask("a", "3"))
    see(30_000)
    expect(watch.lapsed(30_001)).toEqual([])
  })
})

describe("TrackedFilter", () => {
  const make = () => {
    const clock = { nanos: 0, millis: 1_000_000 }
    const filter = new TrackedFilter({ nanos: () => BigInt(clock.nanos), millis: () => clock.millis })
    const grant = (seen: string, token = "t", entries = 0) =>
      filter.heartbeatReturned(filter.heartbeatSent(), { token, root: seen, entries }, leaseMs)
    return { clock, filter, grant }
  }
  const rebuilt = () => {
    const made = make()
    made.grant(root(1))
    expect(made.filter.beginRebuild(10)).toBeUndefined()
    made.filter.addPage(["stored"])
    expect(made.filter.finishRebuild()).toBeUndefined()
    return made
  }

  it("denies only while it is trusted, and says why it is not", () => {
    const { clock, filter, grant } = make()
    expect(filter.mightExist("absent")).toBe(true)
    expect(filter.status()).toMatchObject({ trusted: false, reason: reasons.empty, entries: 0, bytes: 0 })
    grant(root(1))
    expect(filter.beginRebuild(10)).toBeUndefined()
    filter.addPage(["stored"])
    expect([filter.mightExist("absent"), filter.status().rebuilding]).toEqual([true, true])
    filter.finishRebuild()
    expect([filter.mightExist("absent"), filter.mightExist("stored")]).toEqual([false, true])
    clock.nanos = trustMs * 1e6
    expect(filter.mightExist("absent")).toBe(true)
    expect(filter.status()).toMatchObject({ trusted: false, reason: reasons.late, entries: 1 })
  })

  it("once closed it holds nothing, and has nothing to save", () => {
    const { filter } = rebuilt()
    expect(filter.status().bytes).toBeGreaterThan(0)
    filter.close()
    expect(filter.status()).toMatchObject({
      trusted: false,
      reason: reasons.closed,
      bytes: 0,
      snapshotDue: false
    })
    expect(filter.snapshot()).toBe(reasons.closed)
  })

  it("a machine that slept is told by the wall clock", () => {
    const { clock, filter } = rebuilt()
    clock.millis += trustMs - 1
    expect(filter.mightExist("absent")).toBe(false)
    clock.millis += 1
    expect(filter.mightExist("absent")).toBe(true)
    expect(filter.status().reason).toBe(reasons.late)
  })

  it("puts show at once, in the old and the new filter; deletions add nothing", () => {
    const { filter } = rebuilt()
    filter.beginRebuild(10)
    filter.beforeWrite([put("new"), { id: "deleted", deleted: true }])
    expect([filter.mightExist("new"), filter.mightExist("deleted")]).toEqual([true, false])
    filter.finishRebuild()
    expect([filter.mightExist("new"), filter.mightExist("stored")]).toEqual([true, false])
  })

  it("a commit's ids are in the filter, and in one that is begun while it is under way", () => {
    const { filter } = rebuilt()
    const commit = filter.commitStarted([put("from.log"), { id: "gone", deleted: true }])
    expect(filter.mightExist("from.log")).toBe(true)
    filter.beginRebuild(10)
    filter.finishRebuild()
    expect([filter.mightExist("from.log"), filter.mightExist("gone")]).toEqual([true, false])
    commit.failed()
    commit.succeeded(root(8), root(9))
    expect(filter.trusted()).toBe(true)
    const other = filter.commitStarted([put("other")])
    other.succeeded(root(1), root(2))
    expect(filter.trust.coveredRoot).toBe(root(2))
  })

  it("what it denied is told to the commit once, the newest also after very many that never came to one", () => {
    const { filter } = rebuilt()
    filter.beforeWrite([put("stored"), put("early")])
    expect(filter.takeDenied([put("stored"), put("early"), put("other")])).toEqual(new Set(["early"]))
    expect(filter.takeDenied([put("early")])).toBeUndefined()
    for (let n = 0; n < 120_000; n++) filter.beforeWrite([put(`lost.${n}`)])
    filter.beforeWrite([put("late")])
    const asked = ["late", "lost.0", "lost.90000"]
    expect(filter.takeDenied(asked.map(put))).toEqual(new Set(["late", "lost.90000"]))
  })

  it("a snapshot carries the trust to the next start, and nothing else does", () => {
    const { filter } = rebuilt()
    expect(filter.status()).toMatchObject({ insertsSinceSnapshot: 1, snapshotDue: true })
    const taken = filter.snapshot()
    if (typeof taken === "string") throw new Error(taken)
    filter.beforeWrite([put("later")])
    taken.saved()
    expect(filter.status()).toMatchObject({ insertsSinceSnapshot: 1, snapshotDue: false })

    const next = make()
    expect(next.filter.load(atOnce(taken.encode))).toBeUndefined()
    next.filter.beforeWrite([put("in.the.log")])
    expect(next.filter.mightExist("absent")).toBe(true)
    next.grant(root(1))
    expect(["absent", "stored", "in.the.log"].map((id) => next.filter.mightExist(id))).toEqual([
      false,
      true,
      true
    ])
    expect(next.filter.status().snapshotDue).toBe(false)

    const moved = make()
    moved.filter.load(atOnce(taken.encode))
    moved.grant(root(2))
    expect(moved.filter.mightExist("absent")).toBe(true)
    expect(moved.filter.status()).toMatchObject({ reason: reasons.snapshot, entries: 0 })
    expect(moved.filter.snapshot()).toBe(reasons.snapshot)

    const damaged = make()
    const bytes = Uint8Array.from(atOnce(taken.encode))
    bytes[bytes.length >> 1]! ^= 1
    expect(damaged.filter.load(bytes)).toContain("checksum")
    damaged.grant(root(1))
    expect(damaged.filter.mightExist("absent")).toBe(true)

    const late = make()
    late.filter.beforeWrite([put("first")])
    expect(late.filter.load(atOnce(taken.encode))).toContain("before the first write")
  })

  it("asks for a rebuild when it is empty, outgrown, or holds many keys that are gone", () => {
    const { filter, grant } = make()
    expect(filter.rebuildReason(0)).toBe(reasons.empty)
    grant(root(1), "t", 0)
    filter.beginRebuild(100_000)
    filter.addPage(Array.from({ length: 60_000 }, (_, n) => `k${n}`))
    filter.finishRebuild()
    grant(root(1), "t", 50_000)
    expect(filter.rebuildReason(0)).toBeUndefined()
    grant(root(1), "t", 40_000)
    expect(filter.rebuildReason(10_000)).toBeUndefined()
    expect(filter.rebuildReason(0)).toContain("no longer stored")
    grant(root(1), "t", 60_000)
    filter.beginRebuild(300)
    filter.addPage(Array.from({ length: 60_000 }, (_, n) => `k${n}`))
    filter.finishRebuild()
    expect(filter.rebuildReason(0)).toContain("outgrown")
  })
})
