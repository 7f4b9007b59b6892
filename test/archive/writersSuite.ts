/** What the writers' register of every archive must do; run over memory, SQLite and MySQL. */

import { it } from "@effect/vitest"
import { Effect, Either, Fiber, Schedule, type Scope } from "effect"
import { describe, expect } from "vitest"
import type { OpenArchive } from "../../src/archive/Archive.js"
import {
  type HeartbeatRequest,
  longestLeaseMs,
  MemoryWriters,
  type WriterRow
} from "../../src/archive/WriterLease.js"
import { emptyRoot } from "../../src/merkle/Digest.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import { type ItemRecord, tombstone } from "../../src/SyncItem.js"
import { recompute } from "../support/recompute.js"
import { numbers, put } from "./records.js"
import type { ArchiveUnderTest } from "./suite.js"

const leaseMs = 10_000

const ask = (node: string, fresh: string, more: Partial<HeartbeatRequest> = {}): HeartbeatRequest => ({
  node,
  known: undefined,
  fresh,
  exclusive: true,
  leaseMs,
  lapsed: [],
  ...more
})

const refusal = {
  _tag: "ArchiveError",
  operation: "commit",
  kind: "transient",
  problem: "another node is the sole writer just now; it gives way within seconds"
}

const byNode = (a: WriterRow, b: WriterRow) => (a.node < b.node ? -1 : 1)

const passes = (archive: OpenArchive, records: ReadonlyArray<ItemRecord>) =>
  Effect.map(Effect.either(archive.commit(records)), (result) => {
    if (Either.isLeft(result)) expect(result.left).toMatchObject(refusal)
    return Either.isRight(result)
  })

export const describeWriters = (
  name: string,
  fresh: Effect.Effect<ArchiveUnderTest, unknown, Scope.Scope>,
  options: { readonly timeout?: number } = {}
): void => {
  const test = (
    title: string,
    body: (
      a: OpenArchive,
      b: OpenArchive,
      another: ArchiveUnderTest["another"]
    ) => Effect.Effect<void, unknown, Scope.Scope>
  ) =>
    it.scopedLive(
      title,
      () =>
        Effect.gen(function* () {
          const { another, archive } = yield* fresh
          yield* body(archive, yield* another, another)
        }),
      options.timeout ?? 20_000
    )

  describe(name, () => {
    test("grants one token, to a node that is alone, and refuses everybody else's commits", (a, b) =>
      Effect.gen(function* () {
        expect(yield* a.writers.heartbeat(ask("a", "1"))).toEqual({
          token: "1",
          others: [],
          root: emptyRoot,
          entries: 0,
          topVersion: 0
        })
        expect(yield* passes(a, [put("x.1", 1)])).toBe(true)
        const seen = yield* a.writers.heartbeat(ask("a", "2", { known: "1" }))
        expect(seen).toEqual({
          token: "1",
          others: [],
          root: MerkleTree.from([put("x.1", 1)]).root,
          entries: 1,
          topVersion: 1
        })
        // Before its first heartbeat a node has no name: refused too, and without any effect.
        expect(yield* passes(b, [put("x.2", 1)])).toBe(false)
        expect(yield* b.writers.heartbeat(ask("b", "3"))).toEqual({
          ...seen,
          token: undefined,
          others: [{ node: "a", token: "1", heartbeat: "2", leaseMs }]
        })
        expect(yield* passes(b, [put("x.2", 1), tombstone("x.1", 2, 2)])).toBe(false)
        expect(yield* b.heads(["x.1", "x.2"])).toHaveLength(1)
        expect(yield* b.root).toBe(seen.root)
        expect(yield* b.maxVersion).toBe(1)
        // What would change nothing harms nobody.
        expect(yield* b.commit([put("x.1", 1)])).toMatchObject({ applied: 0, rootAfter: seen.root })
        expect(yield* passes(a, [put("x.3", 1)])).toBe(true)
        yield* a.writers.release({ node: "a", token: "1" })
        expect(yield* passes(b, [put("x.2", 1)])).toBe(true)
        expect(yield* passes(a, [put("x.4", 1)])).toBe(true)
        expect((yield* a.writers.heartbeat(ask("a", "4"))).token).toBeUndefined()
        yield* b.writers.leave({ node: "b", token: undefined })
        expect((yield* a.writers.heartbeat(ask("a", "5"))).token).toBe("5")
        expect(yield* passes(b, [put("x.5", 1)])).toBe(false)
        expect((yield* b.writers.heartbeat(ask("c", "6", { exclusive: false }))).token).toBeUndefined()
        yield* a.writers.leave({ node: "a", token: "5" })
        expect(yield* passes(b, [put("x.5", 1)])).toBe(true)
        // Nobody's commits pass as long as nobody is the sole writer.
        expect(yield* passes(a, [put("x.6", 1)])).toBe(true)
        expect((yield* recompute(a)).root).toBe(yield* b.root)
      }))

    test("late requests undo nothing: a token goes only by its name, or is replaced", (a, b) =>
      Effect.gen(function* () {
        yield* a.writers.heartbeat(ask("a", "1"))
        // The holder forgot its token (a lost answer, a new process): a new one, never none.
        expect((yield* a.writers.heartbeat(ask("a", "2"))).token).toBe("2")
        yield* a.writers.release({ node: "a", token: "1" })
        expect(yield* passes(b, [put("x", 1)])).toBe(false)
        yield* a.writers.leave({ node: "a", token: "1" })
        yield* a.writers.leave({ node: "a", token: undefined })
        expect(yield* passes(b, [put("x", 1)])).toBe(false)
        yield* b.writers.heartbeat(ask("b", "3"))
        expect((yield* a.writers.heartbeat(ask("a", "4", { exclusive: false }))).token).toBe("4")
        expect(yield* passes(b, [put("x", 1)])).toBe(false)
        yield* a.writers.leave({ node: "a", token: "4" })
        expect(yield* passes(b, [put("x", 1)])).toBe(true)
        // Of nodes that are not there.
        yield* a.writers.release({ node: "nobody", token: "4" })
        yield* a.writers.leave({ node: "nobody", token: "4" })
      }))

    test("a holder that crashed is waited out, and refused when it turns out to be alive", (a, b, another) =>
      Effect.gen(function* () {
        yield* a.writers.heartbeat(ask("a", "1"))
        const lapsed = [{ node: "a", heartbeat: "1" }]
        // It moved after all, before the request arrived.
        yield* a.writers.heartbeat(ask("a", "2", { known: "1" }))
        expect((yield* b.writers.heartbeat(ask("b", "3", { lapsed }))).others).toHaveLength(1)
        expect(yield* passes(b, [put("x", 1)])).toBe(false)
        const gone = yield* b.writers.heartbeat(
          ask("b", "4", {
            lapsed: [
              { node: "a", heartbeat: "2" },
              { node: "b", heartbeat: "3" },
              { node: "c", heartbeat: "2" }
            ]
          })
        )
        expect(gone).toMatchObject({ token: "4", others: [] })
        expect(yield* passes(b, [put("x", 1)])).toBe(true)
        expect(yield* passes(a, [put("y", 1)])).toBe(false)
        // The same node again, in a new process: it returns as somebody new.
        const again = yield* another
        expect(yield* again.writers.heartbeat(ask("a", "5"))).toMatchObject({ token: undefined })
        expect(yield* passes(again, [put("y", 1)])).toBe(false)
        yield* b.writers.release({ node: "b", token: "4" })
        expect(yield* passes(again, [put("y", 1)])).toBe(true)
      }))

    test("a holder that crashed and came back at once is the same node", (a, b, another) =>
      Effect.gen(function* () {
        yield* a.writers.heartbeat(ask("a", "1"))
        const again = yield* another
        expect(yield* passes(again, [put("x", 1)])).toBe(false)
        expect((yield* again.writers.heartbeat(ask("a", "2"))).token).toBe("2")
        expect(yield* passes(again, [put("x", 1)])).toBe(true)
        expect(yield* passes(b, [put("y", 1)])).toBe(false)
        yield* again.writers.leave({ node: "a", token: "2" })
        expect(yield* passes(b, [put("y", 1)])).toBe(true)
      }))

    test("serves one node at a time, and takes only names it can keep", (a, b) =>
      Effect.gen(function* () {
        const refused = (request: HeartbeatRequest) => Effect.flip(b.writers.heartbeat(request))
        const long = "é".repeat(32)
        for (const request of [
          ask("", "1"),
          ask(`${long}x`, "1"),
          ask("b", ""),
          ask("b", `${long}x`),
          ask("b", "1", { leaseMs: 0 }),
          ask("b", "1", { leaseMs: 1.5 }),
          ask("b", "1", { leaseMs: longestLeaseMs + 1 })
        ]) {
          expect(yield* refused(request)).toMatchObject({ operation: "heartbeat", kind: "permanent" })
        }
        const odd = " '\"`\\%_😀 "
        yield* b.writers.heartbeat(ask(long, `${long.slice(1)}ab`, { leaseMs: longestLeaseMs }))
        yield* a.writers.heartbeat(ask(odd, odd))
        expect((yield* b.writers.heartbeat(ask(long, "1"))).others).toEqual([
          { node: odd, token: undefined, heartbeat: odd, leaseMs }
        ])
        expect((yield* a.writers.heartbeat(ask(odd, "1"))).others).toMatchObject([
          { node: long, token: "1", leaseMs }
        ])
        expect(yield* refused(ask("b", "2"))).toMatchObject({
          kind: "permanent",
          problem: expect.stringContaining("already serves another node")
        })
        yield* a.writers.leave({ node: odd, token: undefined })
        yield* b.writers.leave({ node: long, token: "1" })
        expect((yield* b.writers.heartbeat(ask("b", "2"))).others).toEqual([])
      }))

    test("does what the model does, whatever is asked in whatever order", (first, second, another) =>
      Effect.gen(function* () {
        const archives = [first, second, yield* another]
        const nodes = ["a", "b", "c"]
        const model = new MemoryWriters()
        const random = numbers(29)
        const names = ["none"]
        const present = new Set<number>()
        const pick = <A>(values: ReadonlyArray<A>) => values[random(values.length)]!
        let seen = { passed: 0, refused: 0, tokens: 0 }
        let stored = 0
        for (let step = 0; step < 160; step++) {
          const at = random(3)
          const node = nodes[at]!
          const archive = archives[at]!
          const own = { node, token: random(3) > 0 ? (model.rows.get(node)?.token ?? "none") : pick(names) }
          const sort = random(10)
          if (sort < 4) {
            names.push(`n${step}`)
            const request = ask(node, `n${step}`, {
              known: random(4) === 0 ? undefined : own.token,
              exclusive: random(5) > 0,
              lapsed: [...model.rows.values()]
                .filter(() => random(6) === 0)
                .map(({ heartbeat, node }) => ({ node, heartbeat: random(4) === 0 ? "none" : heartbeat }))
            })
            const expected = model.heartbeat(request)
            const answer = yield* archive.writers.heartbeat(request)
            present.add(at)
            expect({
              token: answer.token,
              others: [...answer.others].sort(byNode),
              entries: answer.entries
            }).toEqual({
              token: expected.token,
              others: [...expected.others].sort(byNode),
              entries: stored
            })
            expect(answer.root).toBe(yield* archive.root)
            if (answer.token !== undefined) seen = { ...seen, tokens: seen.tokens + 1 }
          } else if (sort < 6) {
            model.release(own)
            yield* archive.writers.release(own)
          } else if (sort < 7) {
            const leaving = random(2) === 0 ? own : { node, token: undefined }
            model.leave(leaving)
            yield* archive.writers.leave(leaving)
            present.delete(at)
          } else {
            const admitted = model.admits(present.has(at) ? node : "")
            expect(yield* passes(archive, [put(`m.${step}`, 1)])).toBe(admitted)
            if (admitted) stored++
            seen = admitted ? { ...seen, passed: seen.passed + 1 } : { ...seen, refused: seen.refused + 1 }
          }
        }
        // The run was worth something.
        expect(Math.min(seen.passed, seen.refused, seen.tokens)).toBeGreaterThan(5)
        expect((yield* recompute(first)).root).toBe(yield* second.root)
      }))

    test("whoever was granted the token has seen every commit that passed without it", (a, b) =>
      Effect.gen(function* () {
        let committed = 0
        for (let round = 0; round < 20; round++) {
          const commits = yield* Effect.fork(
            Effect.forEach(
              Array.from({ length: 3 }, (_, i) => put(`r.${round}.${i}`, 1)),
              (record) => passes(b, [record]),
              { concurrency: 3 }
            )
          )
          if (round % 2 === 0) yield* Effect.sleep(`${round % 7} millis`)
          const { entries, token } = yield* a.writers.heartbeat(ask("a", `t${round}`))
          expect(token).toBe(`t${round}`)
          committed += (yield* Fiber.join(commits)).filter((passed) => passed).length
          expect(entries).toBe(committed)
          yield* a.writers.release({ node: "a", token: `t${round}` })
        }
        expect(yield* passes(b, [put("r.end", 1)])).toBe(true)
      }))

    test("is handed over and back while both write", (a, b) =>
      Effect.gen(function* () {
        const token = (yield* a.writers.heartbeat(ask("a", "a0"))).token!
        const writing = (archive: OpenArchive, name: string) =>
          Effect.forEach(
            Array.from({ length: 12 }, (_, i) => put(`${name}.${i}`, 1)),
            (record) =>
              Effect.retry(archive.commit([record]), {
                while: (error) => error.kind === "transient",
                schedule: Schedule.spaced("5 millis")
              }),
            { discard: true }
          )
        yield* b.writers.heartbeat(ask("b", "b0"))
        const both = yield* Effect.fork(
          Effect.all([writing(a, "a"), writing(b, "b")], { concurrency: 2, discard: true })
        )
        yield* Effect.sleep("20 millis")
        expect(yield* b.count({ prefix: "b" })).toBe(0)
        const found = yield* a.writers.heartbeat(ask("a", "a1", { known: token }))
        expect(found).toMatchObject({ token, others: [{ node: "b", token: undefined }] })
        yield* a.writers.release({ node: "a", token })
        yield* Fiber.join(both)
        expect(yield* a.count({ prefix: "" })).toBe(24)
        yield* a.writers.leave({ node: "a", token: undefined })
        const alone = yield* b.writers.heartbeat(ask("b", "b1"))
        expect(alone).toMatchObject({ token: "b1", others: [], entries: 24 })
        expect(alone.root).toBe((yield* recompute(a)).root)
        expect(yield* passes(a, [put("late", 1)])).toBe(false)
      }))
  })
}
