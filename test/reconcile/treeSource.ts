/** A tree in memory as a source of a comparison, fast for wide paths. */
import { Effect, Option } from "effect"
import { compareBytes } from "../../src/merkle/ByteOrder.js"
import { leafDigest } from "../../src/merkle/Digest.js"
import { MerkleTree } from "../../src/merkle/MerkleTree.js"
import type { Branch, LeafHead, LeafPart, MerkleSource, NameRange } from "../../src/merkle/Source.js"
import type { Leaf } from "../../src/merkle/Tree.js"
import { splitPath } from "../../src/merkle/TreeDelta.js"

interface Below {
  readonly branches: Array<Branch>
  readonly leaves: Array<LeafHead>
  /** Of the digests before each leaf, and of all. */
  readonly sums: Array<bigint>
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => compareBytes(a.name, b.name)

export const treeSource = (items: Iterable<Leaf>): MerkleSource<never> => {
  const leaves = [...items]
  const tree = MerkleTree.from(leaves)
  const below = new Map<string, Below>()
  const at = (path: string): Below => {
    const known = below.get(path)
    if (known !== undefined) return known
    const made = { branches: [], leaves: [], sums: [0n] }
    below.set(path, made)
    return made
  }
  for (const path of tree.totals().keys()) {
    const { name, parent } = splitPath(path)
    if (parent === undefined) continue
    const { count, digest } = tree.node(path)!
    at(parent).branches.push({ name, count, digest })
  }
  for (const leaf of leaves) {
    const { name, parent } = splitPath(leaf.id)
    at(parent ?? "").leaves.push({ name, digest: leafDigest(leaf) })
  }
  for (const { branches, leaves, sums } of below.values()) {
    branches.sort(byName)
    leaves.sort(byName)
    for (const { digest } of leaves) sums.push(sums.at(-1)! + BigInt(`0x${digest}`))
  }
  /** How many of the names come before, or are, this one. */
  const upToName = (names: ReadonlyArray<LeafHead>, name: string) => {
    let from = 0
    let to = names.length
    while (from < to) {
      const middle = (from + to) >>> 1
      if (compareBytes(names[middle]!.name, name) <= 0) from = middle + 1
      else to = middle
    }
    return from
  }
  /** The leaves of a range by their places: from the first to the one behind the last. */
  const placesOf = (path: string, { after, upTo }: NameRange): readonly [from: number, to: number] => {
    const { leaves } = at(path)
    const from = after === undefined ? 0 : upToName(leaves, after)
    return [from, upTo === undefined ? leaves.length : Math.max(from, upToName(leaves, upTo))]
  }
  const totalOf = (path: string, from: number, to: number) => {
    const { sums } = at(path)
    return { count: to - from, sum: BigInt.asUintN(256, sums[to]! - sums[from]!) }
  }
  return {
    root: Effect.sync(() => tree.root),
    node: (path) => Effect.sync(() => Option.fromNullable(tree.node(path))),
    branches: (path, { after, limit }) =>
      Effect.sync(() =>
        at(path)
          .branches.filter(({ name }) => after === undefined || compareBytes(name, after) > 0)
          .slice(0, limit)
      ),
    leaves: (path, page) =>
      Effect.sync(() => {
        const [from, to] = placesOf(path, page)
        return at(path).leaves.slice(from, Math.min(from + page.limit, to))
      }),
    leafSum: (path, range) => Effect.sync(() => totalOf(path, ...placesOf(path, range))),
    leafParts: (path, range, size) =>
      Effect.sync(() => {
        const [first, end] = placesOf(path, range)
        const parts: Array<LeafPart> = []
        for (let from = first; from < end; from += size) {
          const to = Math.min(from + size, end)
          parts.push({ upTo: at(path).leaves[to - 1]!.name, ...totalOf(path, from, to) })
        }
        return parts
      })
  }
}
