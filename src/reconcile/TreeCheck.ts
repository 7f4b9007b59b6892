/**
 * Compares two trees node by node and item by item, without trusting that an equal digest above proves what is listed
 * below: finds nodes that were changed in their place.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Branch, LeafHead, MerkleSource } from "../merkle/Source.js"
import { joinPath } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import { kindOf } from "./Divergence.js"
import type { VerifyDifference } from "./Findings.js"
import { joinNames, pages } from "./Pages.js"

const namesPerPage = 1000

/** A difference of the right tree. @since 0.1.0 @category models */
export interface TreeDifference {
  readonly what: "node" | "leaf"
  readonly id: string
  readonly problem: VerifyDifference["problem"]
}

/**
 * Everything in which the right tree is not the left one; the top node is not among it, the roots say that. Each node
 * that is looked at counts against the budget as a row.
 *
 * @since 0.1.0
 * @category functions
 */
export const treeDifferences = <E1, E2>(
  left: MerkleSource<E1>,
  right: MerkleSource<E2>,
  budget: Budget
): Stream.Stream<TreeDifference, E1 | E2> => {
  type E = E1 | E2

  const branches = <E3>(source: MerkleSource<E3>, path: string) =>
    pages(undefined, namesPerPage, (after) => source.branches(path, { after, limit: namesPerPage }))
  const leaves = <E3>(source: MerkleSource<E3>, path: string) =>
    pages(undefined, namesPerPage, (after) => source.leaves(path, { after, limit: namesPerPage }))

  const walk = (path: string): Stream.Stream<TreeDifference, E> =>
    Stream.unwrap(
      Effect.map(budget.nextPage(1), (left_) => {
        if (left_ === 0) return Stream.empty
        budget.spend(1)
        const items = joinNames<LeafHead, E>(leaves(left, path), leaves(right, path)).pipe(
          Stream.filter(({ left, right }) => left?.digest !== right?.digest),
          Stream.map(
            ({ left, name, right }): TreeDifference => ({
              what: "leaf",
              id: joinPath(path, name),
              problem: kindOf(left, right)
            })
          )
        )
        const nodes = joinNames<Branch, E>(branches(left, path), branches(right, path)).pipe(
          Stream.flatMap(({ left, name, right }) => {
            const id = joinPath(path, name)
            const below = walk(id)
            return left?.digest === right?.digest
              ? below
              : Stream.concat(
                  Stream.make<[TreeDifference]>({ what: "node", id, problem: kindOf(left, right) }),
                  below
                )
          })
        )
        return Stream.concat(items, nodes)
      })
    )

  return walk("")
}
