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
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => compareBytes(a.name, b.name)

export const treeSource = (items: Iterable<Leaf>): MerkleSource<never> => {
  const leaves = [...items]
  const tree = MerkleTree.from(leaves)
  const below = new Map<string, Below>()
  const at = (path: string): Below => {
    const known = below.get(path)
    if (known !== undefined) return known
    const made = { branches: [], leaves: [] }
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
  for (const { branches, leaves } of below.values()) {
    branches.sort(byName)
    leaves.sort(byName)
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
  const within = (path: string, { after, upTo }: NameRange, limit = Number.POSITIVE_INFINITY) => {
    const { leaves } = at(path)
    const from = after === undefined ? 0 : upToName(leaves, after)
    return leaves.slice(
      from,
      Math.min(from + limit, upTo === undefined ? leaves.length : upToName(leaves, upTo))
    )
  }
  const totalOf = (some: ReadonlyArray<LeafHead>) => ({
    count: some.length,
    sum: BigInt.asUintN(
      256,
      some.reduce((sum, { digest }) => sum + BigInt(`0x${digest}`), 0n)
    )
  })
  return {
    root: Effect.sync(() => tree.root),
    node: (path) => Effect.sync(() => Option.fromNullable(tree.node(path))),
    branches: (path, { after, limit }) =>
      Effect.sync(() =>
        at(path)
          .branches.filter(({ name }) => after === undefined || compareBytes(name, after) > 0)
          .slice(0, limit)
      ),
    leaves: (path, page) => Effect.sync(() => within(path, page, page.limit)),
    leafSum: (path, range) => Effect.sync(() => totalOf(within(path, range))),
    leafParts: (path, range, size) =>
      Effect.sync(() => {
        const found = within(path, range)
        const parts: Array<LeafPart> = []
        for (let i = 0; i < found.length; i += size) {
          const part = found.slice(i, i + size)
          parts.push({ upTo: part[part.length - 1]!.name, ...totalOf(part) })
        }
        return parts
      })
  }
}
