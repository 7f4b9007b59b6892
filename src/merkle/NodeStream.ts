/** The nodes of the tree from its leaves in order, with no more in hand than one path. */
import { ancestors, type Total } from "./TreeDelta.js"

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
