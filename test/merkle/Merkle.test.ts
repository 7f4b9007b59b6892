import { createHash } from "node:crypto"
import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { compareBytes } from "../../src/merkle/ByteOrder.js"
import { emptyRoot, leafDigest, leafSum, nodeDigest } from "../../src/merkle/Digest.js"
import { fromLimbs, toLimbs } from "../../src/merkle/Limbs.js"
import { compareChildren, MerkleTree } from "../../src/merkle/MerkleTree.js"
import type { Leaf } from "../../src/merkle/Tree.js"
import {
  add,
  addInto,
  ancestors,
  joinPath,
  NodeStream,
  splitPath,
  subtract,
  type Total,
  TreeDelta
} from "../../src/merkle/TreeDelta.js"
import { contentHashOf } from "../../src/SyncItem.js"
import { totalOf } from "../support/recompute.js"

const run = { seed: 7, numRuns: 200 }

const segment = fc.constantFrom("a", "b", "c", "a-x", "é", "Ａ", "😀", "z0")
const id = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("."))
const leaf: fc.Arbitrary<Leaf> = fc
  .tuple(id, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.nat(), fc.nat(99))
  .map(([id, version, updatedAt, content]) => ({
    id,
    version,
    updatedAt,
    contentHash: contentHashOf(Buffer.from(String(content)))
  }))
const leaves = fc.uniqueArray(leaf, { selector: (leaf) => leaf.id, maxLength: 40 })
const sum256 = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n })

const shuffled = <A>(values: ReadonlyArray<A>, seed: number): Array<A> => {
  const copy = [...values]
  let state = seed + 1
  for (let i = copy.length - 1; i > 0; i--) {
    state = (state * 48_271) % 2_147_483_647
    const j = state % (i + 1)
    ;[copy[i], copy[j]] = [copy[j]!, copy[i]!]
  }
  return copy
}

describe("digests", () => {
  it("hash the documented bytes", () => {
    const contentHash = contentHashOf(Buffer.from("x"))
    const version = 2 ** 40 + 5
    const parts = Buffer.alloc(16)
    parts.writeBigUInt64BE(BigInt(version), 0)
    parts.writeBigUInt64BE(77n, 8)
    const text = Buffer.from("geo.é")
    const expected = createHash("sha256")
      .update(Buffer.from([0, 0, text.length]))
      .update(text)
      .update(parts)
      .update(Buffer.from(contentHash, "hex"))
      .digest("hex")
    expect(leafDigest({ id: "geo.é", version, updatedAt: 77, contentHash })).toBe(expected)

    const node = Buffer.alloc(40)
    node.writeBigUInt64BE(3n, 0)
    node[39] = 9
    expect(nodeDigest("geo", 3, 9n)).toBe(
      createHash("sha256")
        .update(Buffer.from([1, 0, 3]))
        .update("geo")
        .update(node)
        .digest("hex")
    )
    expect(emptyRoot).toBe(
      createHash("sha256")
        .update(Buffer.from([1]))
        .update(Buffer.alloc(42))
        .digest("hex")
    )
  })

  it("differ whenever a covered field differs, and between a leaf and a node", () => {
    fc.assert(
      fc.property(leaf, leaf, (a, b) => {
        const same =
          a.id === b.id &&
          a.version === b.version &&
          a.updatedAt === b.updatedAt &&
          a.contentHash === b.contentHash
        expect(leafDigest(a) === leafDigest(b)).toBe(same)
        expect(nodeDigest(a.id, a.version, a.updatedAt === 0 ? 0n : leafSum(a))).not.toBe(leafDigest(a))
      }),
      run
    )
  })

  it("refuse what they cannot represent", () => {
    const good = { id: "a", version: 1, updatedAt: 1, contentHash: contentHashOf(Buffer.from("")) }
    // What only a damaged row holds has a digest of its own.
    const odd = [-1, -2, 2 ** 53, 2 ** 63].flatMap((number) => [
      { ...good, version: number },
      { ...good, updatedAt: number }
    ])
    const hashes = ["none", "ab", "ab".repeat(31), "ab".repeat(40)].map((contentHash) => ({
      ...good,
      contentHash
    }))
    const digests = [good, ...odd, ...hashes].map(leafDigest)
    expect(new Set(digests).size).toBe(digests.length)
    expect(nodeDigest("x", -1, 0n)).not.toBe(nodeDigest("x", 1, 0n))
    expect(() => nodeDigest("x".repeat(70_000), 1, 1n)).toThrow(RangeError)
  })
})

describe("paths", () => {
  it("list the nodes above an id, never the id itself", () => {
    expect(ancestors("a")).toEqual([""])
    expect(ancestors("a.b.c")).toEqual(["", "a", "a.b"])
    expect(splitPath("a.b.c")).toEqual({ parent: "a.b", name: "c" })
    expect(splitPath("a")).toEqual({ parent: "", name: "a" })
    expect(splitPath("")).toEqual({ parent: undefined, name: "" })
    for (const path of ["a", "a.b.c"]) {
      const { name, parent } = splitPath(path)
      expect(joinPath(parent!, name)).toBe(path)
    }
  })
})

describe("byte order", () => {
  it("is the order of the UTF-8 bytes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
      }),
      { ...run, numRuns: 1_000 }
    )
    // Where the orders of code units and of bytes part, and right before.
    const borders = [0x41, 0x7ff, 0xc000, 0xd7ff, 0xe000, 0xf8ff, 0xffff, 0x10000, 0x10ffff]
    const texts = borders.map((code) => String.fromCodePoint(code))
    for (const a of texts) {
      for (const b of texts) {
        const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b))
        expect([a, b, Math.sign(compareBytes(a, b))]).toEqual([a, b, bytes])
      }
    }
    expect(compareBytes("\uff21", "😀")).toBeLessThan(0)
    expect("\uff21" < "😀").toBe(false)
  })
})

describe("tree", () => {
  it("does not depend on order or grouping", () => {
    fc.assert(
      fc.property(leaves, fc.nat(), fc.integer({ min: 1, max: 5 }), (leaves, seed, size) => {
        const whole = MerkleTree.from(leaves)
        const pieces = new MerkleTree()
        const order = shuffled(leaves, seed)
        for (let i = 0; i < order.length; i += size) {
          pieces.apply(order.slice(i, i + size).map((after) => ({ id: after.id, after })))
        }
        expect(pieces.root).toBe(whole.root)
        expect(new Map(pieces.totals())).toEqual(new Map(whole.totals()))
      }),
      run
    )
  })

  it("has the former root again after a deletion, and the empty root after all", () => {
    fc.assert(
      fc.property(leaves, leaf, (leaves, extra) => {
        const others = leaves.filter((leaf) => leaf.id !== extra.id)
        const tree = MerkleTree.from(others)
        const before = tree.root
        tree.apply([{ id: extra.id, after: extra }])
        expect(tree.root).not.toBe(before)
        tree.apply([{ id: extra.id, after: undefined }])
        expect(tree.root).toBe(before)
        tree.apply(others.map((leaf) => ({ id: leaf.id, after: undefined })))
        expect(tree.root).toBe(emptyRoot)
        expect(tree.totals().size).toBe(0)
      }),
      run
    )
  })

  it("kept incrementally equals one computed afresh, node by node", () => {
    const step = fc.record({ leaf, remove: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const tree = new MerkleTree()
        const live = new Map<string, Leaf>()
        for (const { leaf, remove } of steps) {
          tree.apply([{ id: leaf.id, after: remove ? undefined : leaf }])
          if (remove) live.delete(leaf.id)
          else live.set(leaf.id, leaf)
        }
        const paths = new Set([...live.keys()].flatMap(ancestors))
        expect(new Set(tree.totals().keys())).toEqual(paths)
        for (const path of paths) {
          const below = [...live.values()].filter((leaf) => path === "" || leaf.id.startsWith(`${path}.`))
          expect(tree.totals().get(path)).toEqual(totalOf(below))
        }
      }),
      run
    )
  })

  it("streamed from its leaves in order has the same nodes, each once, the top last", () => {
    fc.assert(
      fc.property(leaves, (leaves) => {
        const nodes = new NodeStream()
        const sorted = [...leaves].sort((a, b) => compareBytes(a.id, b.id))
        const found = [...sorted.flatMap((leaf) => nodes.next(leaf.id, leafSum(leaf))), ...nodes.end()]
        const totals = MerkleTree.from(leaves).totals()
        expect(found).toHaveLength(totals.size)
        for (const { path, ...total } of found) expect(total).toEqual(totals.get(path))
        if (found.length > 0) expect(found[found.length - 1]!.path).toBe("")
        // Nothing is left over for whoever goes on.
        expect(nodes.end()).toEqual([])
      }),
      run
    )
  })

  it("lists children by name, a branch before the leaf of its name, whatever came first", () => {
    fc.assert(
      fc.property(leaves, (leaves) => {
        const tree = MerkleTree.from(leaves)
        for (const path of tree.totals().keys()) {
          const places = tree.children(path).map(({ kind, name }) => ({ kind, name }))
          const expected = [...leaves.map(({ id }) => id), ...tree.totals().keys()]
            .filter((one) => one !== "" && splitPath(one).parent === path)
            .map((one) => splitPath(one).name)
            .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          expect(places.map(({ name }) => name)).toEqual(expected)
          for (const [index, { kind, name }] of places.entries()) {
            const next = places[index + 1]
            if (next?.name === name) expect([kind, next.kind]).toEqual(["branch", "leaf"])
          }
        }
      }),
      run
    )
    expect(compareChildren({ name: "a", kind: "leaf" }, { name: "a", kind: "branch" })).toBeGreaterThan(0)
    expect(compareChildren({ name: "a", kind: "branch" }, { name: "a", kind: "leaf" })).toBeLessThan(0)
    expect(compareChildren({ name: "a", kind: "leaf" }, { name: "a", kind: "leaf" })).toBe(0)
    expect(compareChildren({ name: "a", kind: "leaf" }, { name: "b", kind: "branch" })).toBeLessThan(0)
  })

  it("has no node where nothing is, and lets go of what it never had", () => {
    const tree = new MerkleTree()
    tree.apply([{ id: "a.b", after: undefined }])
    expect([tree.root, tree.totals().size]).toEqual([emptyRoot, 0])
    const one: Leaf = { id: "a.b", version: 1, updatedAt: 1, contentHash: contentHashOf(Buffer.from("1")) }
    tree.apply([{ id: "a.b", after: one }])
    expect(tree.node("a.b")).toBeUndefined()
    expect([tree.leaf("a.b"), tree.leaf("a")]).toEqual([one, undefined])
  })

  it("lets an id be an item and a prefix at once", () => {
    const contentHash = contentHashOf(Buffer.from("1"))
    const one: Leaf = { id: "a.b", version: 1, updatedAt: 1, contentHash }
    const two: Leaf = { id: "a.b.c", version: 1, updatedAt: 1, contentHash }
    const tree = MerkleTree.from([one, two])
    expect(tree.node("a.b")?.count).toBe(1)
    expect(tree.node("a")?.count).toBe(2)
    expect(tree.children("a").map(({ kind, name }) => [name, kind])).toEqual([
      ["b", "branch"],
      ["b", "leaf"]
    ])
    tree.apply([{ id: "a.b", after: undefined }])
    expect(tree.children("a").map(({ kind }) => kind)).toEqual(["branch"])
    expect(tree.root).toBe(MerkleTree.from([two]).root)
  })

  it("drops what cancels out and adds up deltas", () => {
    fc.assert(
      fc.property(leaves, leaves, (a, b) => {
        const forth = new TreeDelta()
        const back = new TreeDelta()
        const both = new TreeDelta()
        for (const leaf of a) {
          forth.change(undefined, leaf)
          back.change(leaf, undefined)
          both.change(undefined, leaf)
          both.change(leaf, undefined)
        }
        expect(both.toMap().size).toBe(0)
        const sum = new Map<string, Total>(MerkleTree.from(b).totals())
        const before = new Map(sum)
        addInto(sum, forth.toMap())
        addInto(sum, back.toMap())
        expect(sum).toEqual(before)
      }),
      run
    )
    // Only what is nothing in both respects is left out.
    const target = new Map<string, Total>([["a", { count: 1, sum: 5n }]])
    addInto(target, new Map([["a", { count: -1, sum: 0n }]]))
    expect(target.get("a")).toEqual({ count: 0, sum: 5n })
    addInto(target, new Map([["a", { count: 1, sum: -5n }]]))
    expect(target.get("a")).toEqual({ count: 1, sum: 0n })
    const unchanged = new TreeDelta()
    const same = { id: "a.b", version: 1, updatedAt: 1, contentHash: contentHashOf(Buffer.from("1")) }
    unchanged.change(same, { ...same })
    expect(unchanged.toMap().size).toBe(0)
  })

  it("adds and subtracts totals modulo 2^256", () => {
    fc.assert(
      fc.property(sum256, sum256, (a, b) => {
        const sum = add({ count: 1, sum: a }, { count: 2, sum: b })
        expect(sum).toEqual({ count: 3, sum: (a + b) % 2n ** 256n })
        expect(subtract(sum, { count: 2, sum: b })).toEqual({ count: 1, sum: a })
      }),
      run
    )
  })
})

describe("limbs", () => {
  it("are balanced and round trip", () => {
    const edges = fc.constantFrom(
      0n,
      1n,
      2n ** 31n,
      2n ** 31n - 1n,
      2n ** 255n,
      2n ** 256n - 1n,
      0x80000000_7fffffffn
    )
    fc.assert(
      fc.property(fc.oneof(sum256, edges), (sum) => {
        const limbs = toLimbs(sum)
        expect(limbs).toHaveLength(8)
        for (const limb of limbs) expect(limb >= -(2 ** 31) && limb < 2 ** 31).toBe(true)
        expect(fromLimbs(limbs)).toBe(sum)
        expect(fromLimbs(limbs.map(String))).toBe(sum)
      }),
      run
    )
  })

  it("added up limb by limb stand for the sum of the deltas", () => {
    fc.assert(
      fc.property(fc.array(sum256, { maxLength: 300 }), (deltas) => {
        const totals = new Array<bigint>(8).fill(0n)
        for (const delta of deltas) {
          for (const [i, limb] of toLimbs(delta).entries()) totals[i]! += BigInt(limb)
        }
        expect(fromLimbs(totals)).toBe(
          BigInt.asUintN(
            256,
            deltas.reduce((a, b) => a + b, 0n)
          )
        )
      }),
      run
    )
  })

  it("take any 64-bit totals", () => {
    const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    fc.assert(
      fc.property(fc.array(int64, { minLength: 8, maxLength: 8 }), (totals) => {
        const sum = fromLimbs(totals)
        expect(fromLimbs(toLimbs(sum))).toBe(sum)
      }),
      run
    )
    expect(() => fromLimbs([1, 2])).toThrow(RangeError)
  })
})
