/**
 * Proves that the archive's tree is what its rows say: every row is hashed again, every node that they make is compared
 * with the stored one, and nothing else may be stored.
 */
import { Effect } from "effect"
import type { ArchiveReader, RecomputedRoot } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import { leafSum, nodeDigest } from "../merkle/Digest.js"
import type { Digest } from "../merkle/Tree.js"
import { NodeStream, type PathTotal, zero } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import type { Findings } from "./Findings.js"

export interface RowCheck {
  /** The stored root. */
  readonly root: Digest
  /** None when the budget ended it. */
  readonly recomputed: RecomputedRoot | undefined
  readonly rows: number
  /** Nothing was written meanwhile, or reads saw one state: what was found is so. */
  readonly settled: boolean
}

const rowsPerPage = 500
const nodesAtOnce = 1000

export const checkRows = Effect.fnUntraced(function* (
  reader: ArchiveReader,
  budget: Budget,
  findings: Findings
): Effect.fn.Return<RowCheck, ArchiveError> {
  const before = yield* reader.root
  const found = findings.total
  const nodes = new NodeStream()
  let complete: Array<PathTotal> = []
  let stored = 0
  let rows = 0

  const compare = Effect.suspend(() => {
    const some = complete
    complete = []
    if (some.length === 0) return Effect.void
    return Effect.map(reader.nodes(some.map(({ path }) => path)), (held) => {
      const byPath = new Map(held.map((node) => [node.path, node]))
      for (const { count, path, sum } of some) {
        const node = byPath.get(path)
        if (node !== undefined) stored++
        if (node?.count === count && node.sum === sum) continue
        const problem = node === undefined ? "missing" : "changed"
        findings.add({ tier: "archive", what: "node", id: path, problem })
      }
    })
  })

  const whole = yield* budget.eachPage(
    rowsPerPage,
    (after = "", limit) => reader.leaves(after, limit),
    (page) => {
      for (const leaf of page) complete.push(...nodes.next(leaf.id, leafSum(leaf)))
      rows += page.length
      return complete.length >= nodesAtOnce ? compare : Effect.void
    }
  )
  let top: PathTotal = { path: "", ...zero }
  if (whole) {
    for (const node of nodes.end()) {
      if (node.path === "") top = node
      else complete.push(node)
    }
  }
  yield* compare
  if (whole && (yield* reader.nodeCount) > stored) yield* findExtra(reader, budget, findings)

  const root = yield* reader.root
  const recomputed = whole ? { root: nodeDigest("", top.count, top.sum), rows } : undefined
  if (recomputed !== undefined && recomputed.root !== root) {
    findings.add({ tier: "archive", what: "root", id: "", problem: "changed" })
  }
  const settled = reader.consistent || before === root || findings.total === found
  return { root, recomputed, rows, settled }
})

/** Stored nodes without an item below. */
const findExtra = (reader: ArchiveReader, budget: Budget, findings: Findings) =>
  budget.eachPage(
    nodesAtOnce,
    (after = "", limit) => reader.nodePaths(after, limit),
    Effect.fnUntraced(function* (paths) {
      for (const path of paths) {
        // Ids below the path come next to each other, and before anything that is not below.
        const below = `${path}.`
        const [first] = yield* reader.leaves(below, 1)
        if (first?.id.startsWith(below) === true) continue
        findings.add({ tier: "archive", what: "node", id: path, problem: "extra" })
      }
    })
  )
