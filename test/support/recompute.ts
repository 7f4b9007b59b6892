/** The root that an archive's rows should have. */
import { Effect } from "effect"
import type { OpenArchive } from "../../src/archive/Archive.js"
import { leafSum, nodeDigest } from "../../src/merkle/Digest.js"
import type { Leaf } from "../../src/merkle/Tree.js"
import type { Total } from "../../src/merkle/TreeDelta.js"

const rowsPerPage = 2_000

/** Reads every live row and adds them up. */
export const recompute = (archive: OpenArchive) =>
  archive.reading((reader) =>
    Effect.gen(function* () {
      let rows = 0
      let sum = 0n
      for (let after: string | undefined = ""; after !== undefined; ) {
        const leaves: ReadonlyArray<{ readonly id: string }> = yield* Effect.tap(
          reader.leaves(after, rowsPerPage),
          (page) => {
            for (const leaf of page) sum += leafSum(leaf)
          }
        )
        rows += leaves.length
        after = leaves.length < rowsPerPage ? undefined : leaves[leaves.length - 1]!.id
      }
      return { root: nodeDigest("", rows, BigInt.asUintN(256, sum)), rows }
    })
  )

/** The total of these leaves, computed afresh. */
export const totalOf = (leaves: Iterable<Leaf>): Total => {
  const sums = Array.from(leaves, leafSum)
  return {
    count: sums.length,
    sum: BigInt.asUintN(
      256,
      sums.reduce((all, sum) => all + sum, 0n)
    )
  }
}
