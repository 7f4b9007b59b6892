import { setImmediate } from "node:timers/promises"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck, Option, Stream } from "effect"
import type { MerkleSource } from "../../src/merkle/Source.js"
import type { Leaf } from "../../src/merkle/Tree.js"
import { type Difference, type DivergenceCost, divergence } from "../../src/reconcile/Divergence.js"
import { contentHashOf, emptyContentHash } from "../../src/SyncItem.js"
import { treeSource } from "./treeSource.js"

const leaf = (id: string, version = 1): Leaf => ({
  id,
  version,
  updatedAt: 1_700_000_000_000,
  contentHash: emptyContentHash
})

/** By definition: what one side has and the other has not, or has otherwise. */
const expected = (left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>) => {
  const differences: Array<Difference> = []
  for (const [id, version] of left) {
    if (!right.has(id)) differences.push({ id, kind: "missing" })
    else if (right.get(id) !== version) differences.push({ id, kind: "changed" })
  }
  for (const id of right.keys()) if (!left.has(id)) differences.push({ id, kind: "extra" })
  return sorted(differences)
}

const sorted = (differences: ReadonlyArray<Difference>) =>
  [...differences].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))

const sourceOf = (items: ReadonlyMap<string, number>) =>
  treeSource(Array.from(items, ([id, version]) => leaf(id, version)))

const found = <E>(
  left: MerkleSource<E>,
  right: MerkleSource<E>,
  options?: { readonly under?: string; readonly cost?: DivergenceCost }
) =>
  Effect.map(Stream.runCollect(divergence(left, right, options)), (all) => sorted(Chunk.toReadonlyArray(all)))

/** Names that sort around the dot, that prolong each other, and beyond the basic plane. */
const segment = FastCheck.constantFrom(
  "a",
  "b",
  "a-b",
  "a b",
  "ab",
  "0",
  "é",
  "\u{1f600}",
  "\uffef",
  "%",
  "_"
)
const id = FastCheck.array(segment, { minLength: 1, maxLength: 6 }).map((segments) => segments.join("."))
const items = FastCheck.array(FastCheck.tuple(id, FastCheck.integer({ min: 1, max: 3 })), {
  maxLength: 60
}).map((pairs) => new Map(pairs))

/** Many siblings below one path, some of them prefixes of others, of which some are changed, added or taken. */
const wide = FastCheck.record({
  count: FastCheck.integer({ min: 0, max: 700 }),
  under: FastCheck.constantFrom("", "w.", "w.x."),
  edits: FastCheck.array(
    FastCheck.tuple(
      FastCheck.integer({ min: 0, max: 900 }),
      FastCheck.constantFrom("change", "take", "below", "behind")
    ),
    { maxLength: 400 }
  )
}).map(({ count, edits, under }) => {
  const left = new Map<string, number>()
  for (let i = 0; i < count; i++) left.set(`${under}n${i}`, 1)
  const right = new Map<string, number>(left)
  for (const [i, edit] of edits) {
    if (edit === "change") right.set(`${under}n${i}`, 2)
    else if (edit === "take") right.delete(`${under}n${i}`)
    else if (edit === "below") right.set(`${under}n${i}.below`, 1)
    else right.set(`${under}z${i}`, 1)
  }
  return { left, right }
})

const cutting = (source: MerkleSource<never>): MerkleSource<never> => ({ ...source, cutsItself: true })

describe("divergence", () => {
  it("finds exactly the symmetric difference of small trees of any shape", async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(items, items, FastCheck.boolean(), async (left, right, cuts) => {
        const far = cuts ? cutting(sourceOf(right)) : sourceOf(right)
        expect(await Effect.runPromise(found(sourceOf(left), far))).toEqual(expected(left, right))
        // Promises alone let nobody else in.
        await setImmediate()
      }),
      { numRuns: 50, seed: 1 }
    )
  })

  it("finds exactly the symmetric difference of wide trees, whichever side is the longer one", async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(wide, FastCheck.boolean(), async ({ left, right }, cuts) => {
        const near = sourceOf(left)
        const far = sourceOf(right)
        const seen = cuts ? cutting(far) : far
        expect(await Effect.runPromise(found(near, seen))).toEqual(expected(left, right))
        expect(await Effect.runPromise(found(seen, near))).toEqual(expected(right, left))
        await setImmediate()
      }),
      { numRuns: 60, seed: 2 }
    )
  })

  it.effect("one side empty: everything, from either side; both empty: nothing", () =>
    Effect.gen(function* () {
      const some = new Map([...Array(2500).keys()].map((i) => [`p.${i % 3}.n${i}`, 1] as const))
      const none = new Map<string, number>()
      expect(yield* found(sourceOf(some), sourceOf(none))).toEqual(expected(some, none))
      expect(yield* found(sourceOf(none), sourceOf(some))).toEqual(expected(none, some))
      expect(yield* found(sourceOf(none), sourceOf(none))).toEqual([])
    })
  )

  it.effect("equal trees cost one digest", () =>
    Effect.gen(function* () {
      const some = new Map([...Array(500).keys()].map((i) => [`p.${i % 3}.n${i}`, 1] as const))
      const cost = { digests: 0, requests: 0 }
      expect(yield* found(sourceOf(some), sourceOf(some), { cost })).toEqual([])
      expect(cost).toEqual({ digests: 1, requests: 1 })
    })
  )

  it.effect("thousands of branches side by side", () =>
    Effect.gen(function* () {
      const left = new Map([...Array(3500).keys()].map((i) => [`u.${i}.profile`, 1] as const))
      const right = new Map<string, number>(left)
      right.delete("u.1.profile")
      right.set("u.2222.profile", 2)
      right.set("u.4000.profile", 1)
      const cost = { digests: 0, requests: 0 }
      expect(yield* found(sourceOf(left), sourceOf(right), { cost })).toEqual(expected(left, right))
      expect(cost.digests).toBeLessThan(3500 + 100)
    })
  )

  it.effect("stays below a path", () =>
    Effect.gen(function* () {
      const left = new Map([
        ["a", 1],
        ["a.b", 1],
        ["a.b.c", 1],
        ["ab.c", 1]
      ])
      expect(yield* found(sourceOf(left), sourceOf(new Map()), { under: "a" })).toEqual([
        { id: "a.b", kind: "missing" },
        { id: "a.b.c", kind: "missing" }
      ])
    })
  )

  it.effect("ends, and finds what differs, when the counts of a node are not true", () =>
    Effect.gen(function* () {
      const left = new Map([...Array(300).keys()].map((i) => [`w.${i}`, 1] as const))
      const right = new Map<string, number>(left)
      right.set("w.17", 2)
      const lying = (count: number): MerkleSource<never> => {
        const source = sourceOf(right)
        return {
          ...source,
          node: (path) =>
            Effect.map(
              source.node(path),
              Option.map((node) => ({ ...node, count, digest: contentHashOf(new Uint8Array([count % 256])) }))
            )
        }
      }
      const none = sourceOf(new Map())
      const empty = { ...none, node: lying(300).node, cutsItself: true }
      expect(yield* found(sourceOf(left), empty)).toEqual(expected(left, new Map()))
      for (const count of [1, 17, 64, 100_000]) {
        expect(yield* found(sourceOf(left), lying(count))).toEqual([{ id: "w.17", kind: "changed" }])
      }
    })
  )

  it.effect("costs O(k log n) digests for k changes among 20 000 siblings", () =>
    Effect.gen(function* () {
      const n = 20_000
      const names = Array.from(
        { length: n },
        (_, i) => `w.${contentHashOf(Buffer.from(String(i))).slice(0, 12)}`
      )
      const left = new Map(names.map((name) => [name, 1] as const))
      const near = sourceOf(left)
      for (const k of [1, 10, 100]) {
        const right = new Map<string, number>(left)
        for (let i = 0; i < k; i++) {
          const name = names[i * 199]!
          if (i % 3 === 2) right.delete(name)
          else right.set(i % 3 === 0 ? name : `${name}x`, 2)
        }
        const far = sourceOf(right)
        for (const side of [far, cutting(far)]) {
          const cost = { digests: 0, requests: 0 }
          expect(yield* found(near, side, { cost })).toEqual(expected(left, right))
          expect(cost.digests).toBeLessThan(3 * k * Math.log2(n) + n / 1000)
          if (side.cutsItself === true) expect(cost.requests).toBeLessThan(4 * k + 8)
        }
      }
    })
  )

  it.effect("reads the items of the near side once, and once more those of parts that differ", () =>
    Effect.gen(function* () {
      const n = 20_000
      const names = Array.from({ length: n }, (_, i) => `w.${String(i).padStart(6, "0")}`)
      const left = new Map(names.map((name) => [name, 1] as const))
      const right = new Map<string, number>(left)
        .set(names[5]!, 2)
        .set(names[7777]!, 2)
        .set(`${names[7777]}x`, 1)
      for (const far of [sourceOf(right), cutting(sourceOf(right))]) {
        const source = sourceOf(left)
        let read = 0
        const near: MerkleSource<never> = {
          ...source,
          leaves: (path, page) =>
            Effect.tap(source.leaves(path, page), (found) => Effect.sync(() => (read += found.length))),
          // Counted as what an archive has to read for it.
          leafSum: (path, range) =>
            Effect.tap(source.leafSum(path, range), ({ count }) => Effect.sync(() => (read += count)))
        }
        expect(yield* found(near, far)).toEqual(expected(left, right))
        expect(read).toBeLessThanOrEqual(n + 2 * 1001)
      }
    })
  )

  it.effect("goes on when what it holds of a part is written to meanwhile", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 9000 }, (_, i) => `w.${String(i).padStart(6, "0")}`)
      const left = new Map(names.map((name) => [name, 1] as const))
      const right = new Map<string, number>(left).set(names[5]!, 2)
      const source = sourceOf(left)
      const later = new Map([...left, ...names.map((name) => [`${name}x`, 1] as const)])
      const grown = sourceOf(later)
      let pages = 0
      const near: MerkleSource<never> = {
        ...source,
        // When the part is read again it has twice the items.
        leaves: (path, page) => (++pages > 3 ? grown : source).leaves(path, page)
      }
      const all = yield* found(near, sourceOf(right))
      expect(all).toContainEqual({ id: names[5], kind: "changed" })
    })
  )
})
