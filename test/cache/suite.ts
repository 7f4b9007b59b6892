/** What every cache promises; run over the model in memory and over Redis. */
import { Effect, Option, type Scope } from "effect"
import { describe, expect, it } from "vitest"
import type { CacheChange, CacheService } from "../../src/cache/Cache.js"
import { compareBytes } from "../../src/merkle/ByteOrder.js"
import { emptyRoot } from "../../src/merkle/Digest.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import type { LeafHead } from "../../src/merkle/Source.js"
import type { TreeChild } from "../../src/merkle/Tree.js"
import { splitPath } from "../../src/merkle/TreeDelta.js"
import { compareVersions, type ItemRecord, sameVersion } from "../../src/SyncItem.js"
import { totalOf } from "../support/recompute.js"
import { recordOf, seeded, tombstoneOf } from "./records.js"

/** Opens an empty cache. */
export type OpenCache = Effect.Effect<CacheService, unknown, Scope.Scope>

const permutations = <A>(items: ReadonlyArray<A>): Array<Array<A>> =>
  items.length <= 1
    ? [[...items]]
    : items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]))

const byId = (a: { readonly id: string }, b: { readonly id: string }) => compareBytes(a.id, b.id)

/** What a cache should hold: the newest record an id, and whether it stands in the tree. */
class Expected {
  readonly records = new Map<string, { record: ItemRecord; ttl: boolean }>()

  put(record: ItemRecord, ttl: boolean | "keep"): void {
    const old = this.records.get(record.id)
    if (old !== undefined) {
      const order = compareVersions(record, old.record)
      const inTree = !old.record.deleted && !old.ttl
      if (order < 0 || (order === 0 && !sameVersion(record, old.record) && (inTree || ttl === true))) return
    }
    const kept = ttl === "keep" ? old !== undefined && !old.record.deleted && old.ttl : ttl
    this.records.set(record.id, { record, ttl: kept })
  }

  get inTree(): Array<ItemRecord> {
    return [...this.records.values()]
      .filter(({ record, ttl }) => !record.deleted && !ttl)
      .map(({ record }) => record)
  }

  get tree(): MerkleTree {
    return MerkleTree.from(this.inTree)
  }
}

/** Checks everything a cache says against what it should hold. */
const check = Effect.fnUntraced(function* (cache: CacheService, expected: Expected) {
  const tree = expected.tree
  expect(yield* cache.root).toBe(tree.root)
  const ids = [...expected.records.keys()]
  const records = [...expected.records.values()].map(({ record }) => record).sort(byId)
  const held = [...expected.records.values()].map(({ record, ttl }) =>
    ttl && !record.deleted ? { ...record, volatile: true } : record
  )
  expect([...(yield* cache.getMany([...ids, "not.there"]))].sort(byId)).toEqual(held.sort(byId))
  expect([...(yield* cache.heads([...ids, "not.there"]))].sort(byId)).toEqual(
    records.map(({ contentHash, deleted, id, version }) => ({ id, version, contentHash, deleted }))
  )
  for (const path of new Set(["", "no", ...tree.totals().keys()])) {
    expect(yield* cache.node(path)).toEqual(Option.fromNullable(tree.node(path)))
    expect(yield* cache.children(path, { limit: 1_000 })).toEqual(tree.children(path))
    const children = tree.children(path)
    expect(yield* cache.branches(path, { limit: 1_000 })).toEqual(
      children.filter(({ kind }) => kind === "branch")
    )
    expect(yield* cache.leaves(path, { limit: 1_000 })).toEqual(
      children.filter(({ kind }) => kind === "leaf").map(({ digest, name }) => ({ name, digest }))
    )
    const leaves = expected.inTree.filter(({ id }) => splitPath(id).parent === path)
    expect(yield* cache.leafSum(path, {})).toEqual(totalOf(leaves))
  }
})

const strangeIds = [
  ...[
    "a",
    "a.b",
    "a.b.c",
    "a.b.d",
    "a.c",
    "b",
    "b.x",
    "A",
    "á",
    "a ",
    "a.b ",
    "%",
    "_",
    "a%",
    "*",
    "?",
    "[x]"
  ],
  ...[
    "item:x",
    "tree:",
    "leaves:",
    "epoch",
    "changes",
    "{x}",
    "x{y}.z",
    "a\\b",
    "日本.東京",
    "😀.\uff5e",
    "😀.😀"
  ],
  ...["a.b.c.d.e.f.g.h", "__proto__", "constructor.x", "0", "-1", "1e5"]
]

export const cacheSuite = (name: string, open: OpenCache) => {
  const test = (title: string, body: (cache: CacheService) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it(title, () => Effect.runPromise(Effect.scoped(Effect.flatMap(open, body))))

  describe(name, () => {
    test("is empty at first", (cache) =>
      Effect.gen(function* () {
        expect(yield* cache.root).toBe(emptyRoot)
        expect(yield* cache.get("a")).toEqual(Option.none())
        expect(yield* cache.getMany([])).toEqual([])
        expect(yield* cache.put([])).toEqual({ applied: 0, same: 0, newer: [] })
        yield* check(cache, new Expected())
      }))

    test("keeps every field of a record, exactly", (cache) =>
      Effect.gen(function* () {
        const records = [
          recordOf(
            "bytes",
            1,
            Uint8Array.from({ length: 256 }, (_, i) => i)
          ),
          recordOf("empty", 2, ""),
          recordOf("json", 3, '{"a":1}', { contentType: "json", state: "a state  with spaces é " }),
          recordOf("trace", Number.MAX_SAFE_INTEGER, "x", {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            state: "-"
          }),
          tombstoneOf("gone", 5)
        ]
        expect((yield* cache.put(records)).applied).toBe(5)
        for (const record of records) expect(yield* cache.get(record.id)).toEqual(Option.some(record))
      }))

    test("the newest version wins in every order of puts, deletes and fills", (cache) =>
      Effect.gen(function* () {
        const [one, two] = [recordOf("x", 3, "1"), recordOf("x", 3, "2")]
        const writes = [recordOf("x", 1), tombstoneOf("x", 2), one, two, tombstoneOf("x", 3)]
        for (const [number, order] of permutations(writes).entries()) {
          const id = `perm.${number}`
          for (const [step, write] of order.entries()) {
            const record = { ...write, id }
            const held = yield* cache.get(id)
            const result = yield* step % 2 === 0 ? cache.put([record]) : cache.fill([record])
            // Of one version the first stays, but a tombstone, which stands in no tree.
            const order = Option.isSome(held) ? compareVersions(record, held.value) : 1
            const older = order < 0 || (order === 0 && Option.exists(held, ({ deleted }) => !deleted))
            expect(result.applied).toBe(older ? 0 : 1)
            if (older && Option.isSome(held)) {
              const { contentHash, deleted, version } = held.value
              expect(result.newer).toEqual([{ id, version, contentHash, deleted }])
            }
          }
          const first = order.find((write) => write === one || write === two)!
          expect(yield* cache.get(id)).toEqual(Option.some({ ...first, id }))
        }
        expect((yield* cache.node("perm")).pipe(Option.map((node) => node.count))).toEqual(Option.some(120))
      }))

    test("of the same version and hash, content beats a tombstone", (cache) =>
      Effect.gen(function* () {
        const empty = recordOf("e.x", 3, "")
        yield* cache.put([empty])
        expect((yield* cache.put([tombstoneOf("e.x", 3)])).newer.length).toBe(1)
        yield* cache.put([tombstoneOf("e.y", 3)])
        expect((yield* cache.put([recordOf("e.y", 3, "")])).applied).toBe(1)
        expect((yield* cache.put([tombstoneOf("e.y", 3)])).applied).toBe(0)
        expect(yield* cache.root).toBe(MerkleTree.from([empty, recordOf("e.y", 3, "")]).root)
      }))

    test("compares versions as numbers up to 2^53 - 1", (cache) =>
      Effect.gen(function* () {
        const max = Number.MAX_SAFE_INTEGER
        yield* cache.put([recordOf("n", 9)])
        expect((yield* cache.put([recordOf("n", 10)])).applied).toBe(1)
        expect((yield* cache.put([recordOf("n", max)])).applied).toBe(1)
        expect((yield* cache.put([recordOf("n", max - 1)])).newer[0]?.version).toBe(max)
      }))

    test("a put again of the same version counts as the same", (cache) =>
      Effect.gen(function* () {
        const record = recordOf("a.b", 1)
        yield* cache.put([record])
        expect(yield* cache.put([record])).toEqual({ applied: 0, same: 1, newer: [] })
        expect(yield* cache.root).toBe(MerkleTree.from([record]).root)
      }))

    test("of a version that is stored, only a repair brings in another record", (cache) =>
      Effect.gen(function* () {
        const stored = recordOf("a.b", 1)
        const tree = MerkleTree.from([stored])
        yield* cache.put([stored])
        const others = [
          { ...stored, state: "other" },
          { ...stored, updatedAt: stored.updatedAt + 1 },
          { ...stored, contentType: stored.contentType === "json" ? ("binary" as const) : ("json" as const) },
          { ...stored, traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01` },
          { ...recordOf("a.b", 1, "1") },
          { ...recordOf("a.b", 1, "2") }
        ]
        for (const other of others) {
          const { contentHash, deleted, id, version } = stored
          const kept = sameVersion(other, stored)
            ? { applied: 0, same: 1, newer: [] }
            : { applied: 0, same: 0, newer: [{ id, version, contentHash, deleted }] }
          expect(yield* cache.put([other])).toEqual(kept)
          expect(yield* cache.fill([other])).toEqual(kept)
          expect(yield* cache.put([other], { ttl: 60_000 })).toEqual(kept)
          expect(yield* cache.get("a.b")).toEqual(Option.some(stored))
          expect(yield* cache.root).toBe(tree.root)
        }
        for (const other of others) {
          expect((yield* cache.repair([other])).newer).toEqual([])
          expect(yield* cache.get("a.b")).toEqual(Option.some(other))
          expect(yield* cache.root).toBe(MerkleTree.from([other]).root)
        }
        yield* cache.put([recordOf("a.b", 3)])
        expect((yield* cache.repair([recordOf("a.b", 2)])).newer).toHaveLength(1)
      }))

    test("items with a time to live stay outside the tree, and change sides with a put", (cache) =>
      Effect.gen(function* () {
        const [one, two, three] = [recordOf("a.b", 1), recordOf("a.b", 2), recordOf("a.b", 3)] as const
        yield* cache.put([one], { ttl: 60_000 })
        expect(yield* cache.get("a.b")).toEqual(Option.some({ ...one, volatile: true }))
        expect(yield* cache.root).toBe(emptyRoot)
        yield* cache.put([one])
        expect(yield* cache.get("a.b")).toEqual(Option.some(one))
        expect(yield* cache.root).toBe(MerkleTree.from([one]).root)
        yield* cache.put([two], { ttl: 60_000 })
        expect(yield* cache.root).toBe(emptyRoot)
        expect(yield* cache.children("", { limit: 10 })).toEqual([])
        yield* cache.fill([three])
        expect(yield* cache.get("a.b")).toEqual(Option.some({ ...three, volatile: true }))
        expect(yield* cache.root).toBe(emptyRoot)
        yield* cache.put([tombstoneOf("a.b", 4)])
        yield* cache.fill([recordOf("a.b", 5)])
        expect(yield* cache.root).toBe(MerkleTree.from([recordOf("a.b", 5)]).root)
      }))

    test("removes items for good, unless a newer version is there", (cache) =>
      Effect.gen(function* () {
        const [a, b] = [recordOf("a.x", 5), recordOf("a.y", 5)] as const
        yield* cache.put([a, b, tombstoneOf("t", 9)])
        expect(yield* cache.deleteMany([{ id: "a.x", version: 4 }, { id: "none" }])).toBe(0)
        expect(yield* cache.deleteMany([{ id: "a.x", version: 5 }, { id: "t" }])).toBe(2)
        expect(yield* cache.getMany(["a.x", "t"])).toEqual([])
        expect(yield* cache.root).toBe(MerkleTree.from([b]).root)
        expect((yield* cache.put([recordOf("t", 1)])).applied).toBe(1)
      }))

    test("pages children and leaves by bytes, branches before leaves", (cache) =>
      Effect.gen(function* () {
        const random = seeded(7)
        const ids = new Set<string>()
        while (ids.size < 120) {
          const name = `${"aAé😀\uff5e -z"[random(8)] ?? "q"}${random(40)}`.replace(/[\ud800-\udfff]/g, "😀")
          ids.add(random(2) === 0 ? `p.${name}` : `p.${name}.${random(3)}`)
        }
        const records = [...ids].map((id) => recordOf(id, 1))
        yield* cache.put(records)
        const children = MerkleTree.from(records).children("p")
        for (const limit of [1, 7, 1_000]) {
          const seen: Array<TreeChild> = []
          for (;;) {
            const page: ReadonlyArray<TreeChild> = yield* cache.children("p", { after: seen.at(-1), limit })
            seen.push(...page)
            if (page.length < limit) break
          }
          expect(seen).toEqual(children)
        }
        const leaves = children.filter(({ kind }) => kind === "leaf").map(({ name }) => name)
        expect(leaves.length).toBeGreaterThan(20)
        const names: Array<string> = []
        for (;;) {
          const page: ReadonlyArray<LeafHead> = yield* cache.leaves("p", { after: names.at(-1), limit: 9 })
          names.push(...page.map(({ name }) => name))
          if (page.length < 9) break
        }
        expect(names).toEqual(leaves)
        const range = { after: leaves[4], upTo: leaves[15] }
        const within: ReadonlyArray<LeafHead> = yield* cache.leaves("p", { ...range, limit: 1_000 })
        expect(within.map(({ name }) => name)).toEqual(leaves.slice(5, 16))
        const between = records.filter(
          ({ id }) =>
            leaves.includes(id.slice(2)) &&
            compareBytes(id.slice(2), leaves[4]!) > 0 &&
            compareBytes(id.slice(2), leaves[15]!) <= 0
        )
        expect(between.length).toBe(11)
        expect(yield* cache.leafSum("p", range)).toEqual(totalOf(between))
      }))

    test("keeps strange ids apart", (cache) =>
      Effect.gen(function* () {
        const expected = new Expected()
        const records = strangeIds.map((id, i) => recordOf(id, i + 1))
        for (const record of records) expected.put(record, false)
        yield* cache.put(records)
        yield* check(cache, expected)
        for (const id of strangeIds.filter((_, i) => i % 2 === 0)) {
          yield* cache.deleteMany([{ id }])
          expected.records.delete(id)
        }
        yield* check(cache, expected)
      }))

    for (const seed of [1, 2, 3, 4]) {
      test(`agrees with the model through random writes (seed ${seed})`, (cache) =>
        Effect.gen(function* () {
          const random = seeded(seed)
          const expected = new Expected()
          for (let round = 0; round < 40; round++) {
            const batch = Array.from({ length: 1 + random(30) }, () => {
              const id = strangeIds[random(strangeIds.length)]!
              const version = 1 + random(12)
              return random(4) === 0 ? tombstoneOf(id, version) : recordOf(id, version, String(random(3)))
            })
            const kind = random(10)
            if (kind < 5) {
              yield* cache.put(batch)
              for (const record of batch) expected.put(record, false)
            } else if (kind < 7) {
              yield* cache.put(batch, { ttl: 600_000 })
              for (const record of batch) expected.put(record, true)
            } else if (kind < 9) {
              yield* cache.fill(batch)
              for (const record of batch) expected.put(record, "keep")
            } else {
              yield* cache.deleteMany(batch.map(({ id }) => ({ id })))
              for (const { id } of batch) expected.records.delete(id)
            }
            if (round % 8 === 7) yield* check(cache, expected)
          }
          yield* check(cache, expected)
          expect(yield* cache.rebuildTree).toBe(expected.tree.root)
          yield* check(cache, expected)
          const all = [...expected.records.keys()].map((id) => ({ id }))
          yield* cache.deleteMany(all)
          expect(yield* cache.root).toBe(emptyRoot)
          expect(yield* cache.children("", { limit: 10 })).toEqual([])
        }))
    }

    test("resets to empty and can be filled again", (cache) =>
      Effect.gen(function* () {
        const records = strangeIds.map((id) => recordOf(id, 1))
        yield* cache.put(records)
        yield* cache.put([recordOf("ttl", 1)], { ttl: 60_000 })
        expect(yield* cache.reset).toBe(records.length + 1)
        expect(yield* cache.root).toBe(emptyRoot)
        expect(yield* cache.getMany([...strangeIds, "ttl"])).toEqual([])
        yield* cache.put(records)
        expect(yield* cache.root).toBe(MerkleTree.from(records).root)
      }))

    test("concurrent gets of the same and of different ids all answer", (cache) =>
      Effect.gen(function* () {
        const records = Array.from({ length: 700 }, (_, i) => recordOf(`c.${i}`, i + 1))
        yield* cache.put(records)
        const answers = yield* Effect.forEach(
          [...records, ...records.slice(0, 50)].map(({ id }) => id).concat("c.none"),
          (id) => Effect.map(cache.get(id), (found) => [id, found] as const),
          { concurrency: "unbounded" }
        )
        expect(answers.length).toBe(751)
        for (const [id, found] of answers) {
          expect(found).toEqual(id === "c.none" ? Option.none() : Option.some(records[Number(id.slice(2))]!))
        }
      }))

    test("the change stream is read in order from any position and is bounded", (cache) =>
      Effect.gen(function* () {
        const entries = Array.from(
          { length: 1_200 },
          (_, i): CacheChange => ({
            operation: i % 3 === 0 ? "DELETE" : "PUT",
            id: `é.${i}`,
            version: i + 1,
            contentHash: recordOf("x", i + 1).contentHash,
            sequence: i + 10
          })
        )
        yield* cache.appendChanges(entries, 1_000_000)
        const first = yield* cache.readChanges("", 500)
        const second = yield* cache.readChanges(first.at(-1)!.position, 10_000)
        const plain = [...first, ...second].map(({ position: _, ...entry }) => entry)
        expect(plain).toEqual(entries)
        expect(yield* cache.readChanges(second.at(-1)!.position, 10)).toEqual([])
        yield* cache.appendChanges(entries, 300)
        const rest = yield* cache.readChanges("", 100_000)
        expect(rest.length).toBeLessThan(800)
        expect(rest.at(-1)?.sequence).toBe(1_209)
      }))

    test("stays with the archive that claimed it first, until that one does not renew it", (cache) =>
      Effect.gen(function* () {
        expect(yield* cache.claim("one", 60_000)).toBe("one")
        expect(yield* cache.claim("two", 60_000)).toBe("one")
        expect(yield* cache.claim("one", 50)).toBe("one")
        const renewed = yield* cache.claim("two", 50)
        yield* Effect.sleep("200 millis")
        expect(["one", "two"]).toContain(renewed)
        expect(yield* cache.claim("two", 60_000)).toBe("two")
        expect(yield* cache.claim("one", 60_000)).toBe("two")
      }))

    test("has nothing to tidy after a rebuild or reset that was finished", (cache) =>
      Effect.gen(function* () {
        yield* cache.put([recordOf("a.b", 1)])
        yield* cache.rebuildTree
        expect(yield* cache.tidy).toBe(false)
        yield* cache.reset
        expect(yield* cache.tidy).toBe(false)
        expect(yield* cache.root).toBe(emptyRoot)
      }))
  })
}
