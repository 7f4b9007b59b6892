/**
 * What a verification finds in the trees. The archive's has to be what its rows say: every row is hashed again, every
 * node that they make is compared with the stored one, and nothing else may be stored. Two trees are compared node by
 * node and item by item, without trusting that an equal digest above proves what is listed below: that finds nodes that
 * were changed in their place.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { ArchiveReader, OpenArchive, RecomputedRoot } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import { leafSum, nodeDigest } from "../merkle/Digest.js"
import { compareChildren } from "../merkle/MerkleTree.js"
import type { Digest, TreeChild } from "../merkle/Tree.js"
import { joinPath, NodeStream, type PathTotal, zero } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import { kindOf } from "./Divergence.js"

/**
 * Something that is not as it should be.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifyDifference {
  /** Where. */
  readonly tier: "archive" | "cache"
  /**
   * `root`: the digest at the top. `node`: an interior node of that tier's tree, by its path. `leaf`: an item as that
   * tier's tree lists it. `content`: an item's bytes, which do not hash to its content hash. `value`: an item as that
   * tier holds it.
   */
  readonly what: "root" | "node" | "leaf" | "content" | "value"
  /** An id; of a node its path. Empty for the root. */
  readonly id: string
  /** As seen from the truth: the rows for the archive's tree, the archive for the cache. */
  readonly problem: "missing" | "extra" | "changed"
}

/** All of it counted, the first of it listed. */
export class Findings {
  readonly listed: Array<VerifyDifference> = []
  total = 0

  constructor(private readonly most: number) {}

  add(difference: VerifyDifference): void {
    this.total++
    if (this.listed.length < this.most) this.listed.push(difference)
  }

  addAll({ listed, total }: Findings): void {
    this.listed.push(...listed.slice(0, this.most - this.listed.length))
    this.total += total
  }

  /** None found so far, and as many listed as here. */
  fresh(): Findings {
    return new Findings(this.most)
  }
}

export interface RowCheck {
  /** The stored root. */
  readonly root: Digest
  /** None when the budget ended it. */
  readonly recomputed: RecomputedRoot | undefined
  readonly rows: number
  /** Nothing was written meanwhile, or reads saw one state: what was found is so. */
  readonly settled: boolean
}

const rowsPerPage = 1000
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
  for (const node of whole ? nodes.end() : []) {
    if (node.path === "") top = node
    else complete.push(node)
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

const childrenPerPage = 1000
/** Pages under way at each side. */
const concurrency = 16

/** A difference of the right tree. */
export interface TreeDifference extends Omit<VerifyDifference, "tier"> {
  readonly what: "node" | "leaf"
}

/** A tree by its children, in pages by ascending name then branch before leaf. */
export interface ChildSource<E> {
  readonly children: (
    ...args: Parameters<OpenArchive["children"]>
  ) => Effect.Effect<ReadonlyArray<TreeChild>, E>
}

/** Where to read on. */
interface Place {
  readonly path: string
  readonly after: Pick<TreeChild, "name" | "kind"> | undefined
}

/**
 * Hands over everything in which the right tree is not the left one, a page at a time; the top node is not among it, the
 * roots say that. Each child that is looked at counts against the budget as a row.
 */
export const treeDifferences = <E1, E2, E3>(
  left: ChildSource<E1>,
  right: ChildSource<E2>,
  budget: Budget,
  each: (differences: ReadonlyArray<TreeDifference>) => Effect.Effect<unknown, E3>
): Effect.Effect<void, E1 | E2 | E3> =>
  Effect.gen(function* () {
    // What is to be read next is last: a path is finished before its neighbour is begun, so little waits here.
    const places: Array<Place> = [{ path: "", after: undefined }]
    while (places.length > 0) {
      if ((yield* budget.nextPage(1)) === 0) return
      const some = places.splice(-concurrency).reverse()
      const found = yield* Effect.forEach(some, (place) => comparePage(left, right, place), { concurrency })
      for (const { differences, looked } of found) {
        budget.spend(looked)
        if (differences.length > 0) yield* each(differences)
      }
      for (const { next } of found.reverse()) for (const place of next.reverse()) places.push(place)
    }
  })

const comparePage = <E1, E2>(left: ChildSource<E1>, right: ChildSource<E2>, { after, path }: Place) =>
  Effect.map(
    Effect.zip(
      left.children(path, { after, limit: childrenPerPage }),
      right.children(path, { after, limit: childrenPerPage }),
      { concurrent: true }
    ),
    ([mine, theirs]) => {
      // Behind the end of a full page one of them has more than was read: that is for the next one.
      const ends = [mine, theirs].flatMap((page) => page.slice(childrenPerPage - 1))
      const end = ends.sort(compareChildren)[0]
      const differences: Array<TreeDifference> = []
      const next: Array<Place> = []
      let i = 0
      let j = 0
      while (i < mine.length || j < theirs.length) {
        const [a, b] = [mine[i], theirs[j]]
        const order = a === undefined ? 1 : b === undefined ? -1 : compareChildren(a, b)
        const child = order <= 0 ? a! : b!
        if (end !== undefined && compareChildren(child, end) > 0) break
        if (order <= 0) i++
        if (order >= 0) j++
        const id = joinPath(path, child.name)
        const held = order <= 0 ? a : undefined
        const listed = order >= 0 ? b : undefined
        if (held?.digest !== listed?.digest) {
          const what = child.kind === "branch" ? "node" : "leaf"
          differences.push({ what, id, problem: kindOf(held, listed) })
        }
        if (child.kind === "branch") next.push({ path: id, after: undefined })
      }
      if (end !== undefined) next.push({ path, after: { name: end.name, kind: end.kind } })
      return { differences, next, looked: i + j }
    }
  )
