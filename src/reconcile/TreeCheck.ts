/**
 * Compares two trees node by node and item by item, without trusting that an equal digest above proves what is listed
 * below: finds nodes that were changed in their place.
 */
import { Effect } from "effect"
import { compareChildren } from "../merkle/MerkleTree.js"
import type { TreeChild } from "../merkle/Tree.js"
import { joinPath } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import { kindOf } from "./Divergence.js"
import type { VerifyDifference } from "./Findings.js"

const childrenPerPage = 1000
/** Pages under way at each side. */
const concurrency = 16

/** A difference of the right tree. */
export interface TreeDifference extends Omit<VerifyDifference, "tier"> {
  readonly what: "node" | "leaf"
}

type Cursor = Pick<TreeChild, "name" | "kind">

/** A tree by its children, in pages by ascending name then branch before leaf. */
export interface ChildSource<E> {
  readonly children: (
    path: string,
    page: { readonly after?: Cursor | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<TreeChild>, E>
}

/** Where to read on. */
interface Place {
  readonly path: string
  readonly after: Cursor | undefined
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
