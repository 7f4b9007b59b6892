/**
 * The whole tree in memory: the model that the stored trees are tested against, and the tree of the
 * in-memory archive.
 */
import { compareBytes } from "./ByteOrder.js"
import { emptyRoot, leafDigest, makeNode, nodeDigest } from "./Digest.js"
import type { Digest, Leaf, TreeChild, TreeNode } from "./Tree.js"
import { addInto, joinPath, splitPath, type Total, TreeDelta } from "./TreeDelta.js"

type ChildKey = Pick<TreeChild, "name" | "kind">

/** Orders children as `Archive.children` pages them: by name, a branch before the leaf of the same name. */
export const compareChildren = (a: ChildKey, b: ChildKey): number =>
  compareBytes(a.name, b.name) || (a.kind === b.kind ? 0 : a.kind === "branch" ? -1 : 1)

/** A leaf as a child of the path above it. */
export const leafChild = (leaf: Leaf): TreeChild => ({
  name: splitPath(leaf.id).name,
  kind: "leaf",
  count: 1,
  digest: leafDigest(leaf)
})

/** A mutable tree of leaves and node totals. */
export class MerkleTree {
  private readonly nodes = new Map<string, Total>()
  private readonly leaves = new Map<string, Leaf>()

  /** A tree that holds these leaves. */
  static from(leaves: Iterable<Leaf>): MerkleTree {
    const tree = new MerkleTree()
    tree.apply(Array.from(leaves, (after) => ({ id: after.id, after })))
    return tree
  }

  /** Puts (`after`) or removes (`after` undefined) the leaves of distinct ids. */
  apply(changes: Iterable<{ readonly id: string; readonly after: Leaf | undefined }>): void {
    const delta = new TreeDelta()
    for (const { id, after } of changes) {
      delta.change(this.leaves.get(id), after)
      if (after === undefined) this.leaves.delete(id)
      else this.leaves.set(id, after)
    }
    addInto(this.nodes, delta.toMap())
  }

  get root(): Digest {
    const total = this.nodes.get("")
    return total === undefined ? emptyRoot : nodeDigest("", total.count, total.sum)
  }

  /** The node at a path; none when no leaf lies below it. */
  node(path: string): TreeNode | undefined {
    const total = this.nodes.get(path)
    return total === undefined ? undefined : makeNode(path, total)
  }

  leaf(id: string): Leaf | undefined {
    return this.leaves.get(id)
  }

  /** Every node that has leaves below, by path. */
  totals(): ReadonlyMap<string, Total> {
    return this.nodes
  }

  /** All children of a path in order. Looks at every node and leaf. */
  children(path: string): Array<TreeChild> {
    const children: Array<TreeChild> = []
    for (const [below, total] of this.nodes) {
      const { name, parent } = splitPath(below)
      if (parent !== path) continue
      children.push({
        name,
        kind: "branch",
        count: total.count,
        digest: nodeDigest(below, total.count, total.sum)
      })
    }
    for (const leaf of this.leaves.values()) {
      if (leaf.id === joinPath(path, splitPath(leaf.id).name)) children.push(leafChild(leaf))
    }
    return children.sort(compareChildren)
  }
}
