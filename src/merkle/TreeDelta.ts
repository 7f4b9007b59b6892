/**
 * The arithmetic of the tree: what a batch of changed leaves adds to the nodes above them, and the nodes from all
 * leaves in order.
 */
import { leafSum } from "./Digest.js"
import type { Leaf } from "./Tree.js"

/** How many leaves, and the sum of their digests modulo 2^256. As a difference the count may be negative. */
export interface Total {
  readonly count: number
  readonly sum: bigint
}

export const zero: Total = { count: 0, sum: 0n }

export const add = (a: Total, b: Total): Total => ({
  count: a.count + b.count,
  sum: BigInt.asUintN(256, a.sum + b.sum)
})

export const subtract = (a: Total, b: Total): Total => ({
  count: a.count - b.count,
  sum: BigInt.asUintN(256, a.sum - b.sum)
})

/** The interior nodes above an id, from the top: `""`, `a`, `a.b` for `a.b.c`. The id itself is not one of them. */
export const ancestors = (id: string): Array<string> => {
  const paths = [""]
  for (let dot = id.indexOf("."); dot !== -1; dot = id.indexOf(".", dot + 1)) paths.push(id.slice(0, dot))
  return paths
}

/** The path above a path, and the last segment. The top has no parent. */
export const splitPath = (path: string): { readonly parent: string | undefined; readonly name: string } => {
  const dot = path.lastIndexOf(".")
  if (dot !== -1) return { parent: path.slice(0, dot), name: path.slice(dot + 1) }
  return { parent: path === "" ? undefined : "", name: path }
}

/** A path with one more segment. */
export const joinPath = (parent: string, name: string): string => (parent === "" ? name : `${parent}.${name}`)

/** Collects the changes of a batch. Changes commute, so neither their order nor their grouping matters. */
export class TreeDelta {
  /** By the path right above the leaf. */
  private readonly totals = new Map<string, { count: number; sum: bigint }>()
  private path = ""
  private total = { count: 0, sum: 0n }

  constructor() {
    this.totals.set("", this.total)
  }

  /**
   * One id's leaf changed; `undefined` stands for "not a live item". Returns what the new one adds; what the old one
   * did may be known.
   */
  change(
    before: Leaf | undefined,
    after: Leaf | undefined,
    beforeSum = before === undefined ? undefined : leafSum(before)
  ): bigint | undefined {
    const leaf = after ?? before
    if (leaf === undefined) return undefined
    const total = this.above(leaf.id)
    if (beforeSum !== undefined) {
      total.count--
      total.sum -= beforeSum
    }
    if (after === undefined) return undefined
    const sum = leafSum(after)
    total.count++
    total.sum += sum
    return sum
  }

  /** What to add to which node, sums modulo 2^256; nodes that do not change are left out. */
  toMap(): Map<string, Total> {
    const all = new Map<string, { count: number; sum: bigint }>()
    for (const [path, { count, sum }] of this.totals) {
      for (let at: string | undefined = path; at !== undefined; at = splitPath(at).parent) {
        const total = all.get(at)
        if (total === undefined) all.set(at, { count, sum })
        else {
          total.count += count
          total.sum += sum
        }
      }
    }
    const result = new Map<string, Total>()
    for (const [path, total] of all) {
      const sum = BigInt.asUintN(256, total.sum)
      if (total.count !== 0 || sum !== 0n) result.set(path, { count: total.count, sum })
    }
    return result
  }

  // Batches come in the order of their ids: most leaves stand beside the one before.
  private above(id: string) {
    const { path } = this
    const end = Math.max(0, id.lastIndexOf("."))
    if (end === path.length && id.startsWith(path)) return this.total
    this.path = id.slice(0, end)
    let total = this.totals.get(this.path)
    if (total === undefined) {
      total = { count: 0, sum: 0n }
      this.totals.set(this.path, total)
    }
    this.total = total
    return total
  }
}

/**
 * What a commit has changed: the live leaves and tombstones that stood there before (no entry where there was no row),
 * and what the commit has added to the nodes.
 *
 * @since 0.1.0
 * @category models
 */
export interface TreeChange {
  readonly before: ReadonlyMap<string, Omit<Leaf, "id"> & { readonly deleted: boolean }>
  readonly delta: ReadonlyMap<string, Total>
}

export const noChange: TreeChange = { before: new Map(), delta: new Map() }

/** Two commits of different ids as one. */
export const bothChanges = (a: TreeChange, b: TreeChange): TreeChange => {
  if (a.before.size + a.delta.size === 0) return b
  if (b.before.size + b.delta.size === 0) return a
  const delta = new Map(a.delta)
  addInto(delta, b.delta)
  return { before: new Map([...a.before, ...b.before]), delta }
}

/** Adds one set of node changes into another, in place; entries that become zero are removed. */
export const addInto = (target: Map<string, Total>, delta: ReadonlyMap<string, Total>): void => {
  for (const [path, change] of delta) {
    const total = add(target.get(path) ?? zero, change)
    if (total.count === 0 && total.sum === 0n) target.delete(path)
    else target.set(path, total)
  }
}

/** A node's total and where it stands. */
export interface PathTotal extends Total {
  readonly path: string
}

/**
 * Turns leaves in ascending order into finished nodes. The ids below a path stand next to each other, so only
 * the nodes above the current leaf are open at any time.
 */
export class NodeStream {
  private readonly open: Array<{ path: string; count: number; sum: bigint }> = []

  /** Takes the next leaf; returns the nodes that are complete now. */
  next(id: string, sum: bigint): Array<PathTotal> {
    const paths = ancestors(id)
    let shared = 0
    while (shared < this.open.length && this.open[shared]!.path === paths[shared]) shared++
    const done = this.close(shared)
    for (const path of paths.slice(shared)) this.open.push({ path, count: 0, sum: 0n })
    const deepest = this.open[this.open.length - 1]!
    deepest.count++
    deepest.sum += sum
    return done
  }

  /** The nodes that are still open, the top last. */
  end(): Array<PathTotal> {
    return this.close(0)
  }

  private close(depth: number): Array<PathTotal> {
    const done: Array<PathTotal> = []
    while (this.open.length > depth) {
      const node = this.open.pop()!
      const above = this.open[this.open.length - 1]
      if (above !== undefined) {
        above.count += node.count
        above.sum += node.sum
      }
      done.push({ path: node.path, count: node.count, sum: BigInt.asUintN(256, node.sum) })
    }
    return done
  }
}
