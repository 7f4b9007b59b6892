/**
 * Finds where two trees differ, moving few digests: equal branches are passed over, and a path with very many
 * items is cut into parts whose sums are compared, so that k differences among n siblings cost O(k log n).
 *
 * Source of the idea: Merkle, "A Digital Signature Based on a Conventional Encryption Function" (CRYPTO 1987), and
 * range-based set reconciliation, Meyer (SRDS 2023), with additive digests.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { compareBytes } from "../merkle/ByteOrder.js"
import type { Branch, LeafHead, MerkleSource, NameRange } from "../merkle/Source.js"
import { joinPath } from "../merkle/TreeDelta.js"

/** One item that the two sides do not hold alike. @since 0.1.0 @category models */
export interface Difference {
  readonly id: string
  /** `missing`: only the left side has it; `extra`: only the right side; `changed`: both, differently. */
  readonly kind: "missing" | "extra" | "changed"
}

/** What a comparison has cost. @since 0.1.0 @category models */
export interface DivergenceCost {
  /** Digests and sums taken from the right side. */
  digests: number
  /** Questions asked of the right side. */
  requests: number
}

const branchesPerPage = 1000
const leavesPerPage = 1000
/** Up to this many items are compared one by one. */
const listedAtOnce = 64
/** Parts a wide range is cut into at each level. */
const partsPerLevel = 64
/** Questions under way at the right side. */
const concurrency = 8

/** Below this share of the right side's items the left side's names do not cut it finely enough. */
const tooFew = 8

const modulus = 1n << 256n

/**
 * The differences, as they are found, by path. `left` is taken as the truth.
 *
 * @param under only below this path (`""` for everything)
 * @since 0.1.0
 * @category functions
 */
export const divergence = <E1, E2>(
  left: MerkleSource<E1>,
  right: MerkleSource<E2>,
  options: { readonly under?: string | undefined; readonly cost?: DivergenceCost | undefined } = {}
): Stream.Stream<Difference, E1 | E2> => {
  const cost = options.cost ?? { digests: 0, requests: 0 }
  type E = E1 | E2

  const asked = <A>(digests: (answer: A) => number, question: Effect.Effect<A, E2>) =>
    Effect.tap(question, (answer) =>
      Effect.sync(() => {
        cost.requests++
        cost.digests += digests(answer)
      })
    )
  const lengthOf = (answer: ReadonlyArray<unknown>) => answer.length

  /** All branches of a path that differ, and the sums of all branches on both sides. */
  const branchesOf = <E3>(source: MerkleSource<E3>, path: string) =>
    Stream.paginateEffect(undefined as string | undefined, (after) =>
      Effect.map(source.branches(path, { after, limit: branchesPerPage }), (page) => {
        const last = page.length < branchesPerPage ? undefined : page[page.length - 1]!.name
        return [
          page,
          last === undefined ? Option.none<string>() : Option.some<string | undefined>(last)
        ] as const
      })
    )

  const allBranches = <E3>(
    source: MerkleSource<E3>,
    path: string
  ): Effect.Effect<ReadonlyMap<string, Branch>, E3> =>
    Effect.map(Stream.runCollect(branchesOf(source, path)), (pages) => {
      const branches = new Map<string, Branch>()
      for (const page of pages) for (const branch of page) branches.set(branch.name, branch)
      return branches
    })

  const walk = (path: string): Stream.Stream<Difference, E> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const mine = Option.getOrUndefined(yield* left.node(path))
        const theirs = Option.getOrUndefined(yield* asked(() => 1, right.node(path)))
        if (mine?.digest === theirs?.digest) return Stream.empty
        const leftBranches = mine === undefined ? new Map<string, Branch>() : yield* allBranches(left, path)
        const rightBranches =
          theirs === undefined
            ? new Map<string, Branch>()
            : yield* asked((branches) => branches.size, allBranches(right, path))
        const unlike: Array<string> = []
        for (const [name, branch] of leftBranches) {
          if (rightBranches.get(name)?.digest !== branch.digest) unlike.push(name)
        }
        for (const name of rightBranches.keys()) if (!leftBranches.has(name)) unlike.push(name)
        unlike.sort(compareBytes)
        const leftLeaves = (mine?.count ?? 0) - itemsBelow(leftBranches)
        const rightLeaves = (theirs?.count ?? 0) - itemsBelow(rightBranches)
        return Stream.concat(
          leftLeaves === 0 && rightLeaves === 0 ? Stream.empty : differing(path, {}, leftLeaves, rightLeaves),
          Stream.flatMap(Stream.fromIterable(unlike), (name) => walk(joinPath(path, name)))
        )
      })
    )

  /** Compares the items directly below a path whose names lie in a range; the counts say how to go about it. */
  const differing = (
    path: string,
    range: NameRange,
    leftCount: number,
    rightCount: number
  ): Stream.Stream<Difference, E> => {
    if (leftCount === 0) return Stream.map(listed(right, path, range, true), (leaf) => extra(path, leaf))
    if (rightCount === 0) return Stream.map(listed(left, path, range, false), (leaf) => missing(path, leaf))
    if (Math.max(leftCount, rightCount) <= listedAtOnce) return oneByOne(path, range)
    return Stream.unwrap(
      Effect.gen(function* () {
        // The left side cuts, because a cut may have to read the items. Only where the right one has very many more
        // would its parts stay wide.
        const cutLeft = leftCount * tooFew >= rightCount
        const size = Math.max(1, Math.ceil((cutLeft ? leftCount : rightCount) / partsPerLevel))
        const cut = cutLeft
          ? yield* left.leafParts(path, range, size)
          : yield* asked(lengthOf, right.leafParts(path, range, size))
        const parts = cut.map((part, index) => ({
          range: {
            after: index === 0 ? range.after : cut[index - 1]!.upTo,
            // Behind the last item of one side the other may still have some.
            upTo: index === cut.length - 1 ? range.upTo : part.upTo
          },
          count: part.count,
          sum: part.sum
        }))
        const answers = yield* Effect.forEach(
          parts,
          (part) =>
            cutLeft
              ? asked(() => 1, right.leafSum(path, part.range))
              : (left.leafSum(path, part.range) as Effect.Effect<
                  { readonly count: number; readonly sum: bigint },
                  E
                >),
          { concurrency }
        )
        const open = parts.flatMap((part, index) => {
          const answer = answers[index]!
          if (part.count === answer.count && (part.sum - answer.sum) % modulus === 0n) return []
          return [
            cutLeft
              ? { range: part.range, left: part.count, right: answer.count }
              : { range: part.range, left: answer.count, right: part.count }
          ]
        })
        return Stream.flatMap(Stream.fromIterable(open), (part) =>
          differing(path, part.range, part.left, part.right)
        )
      })
    )
  }

  /** All items of a range of one side, page by page. */
  const listed = (
    source: MerkleSource<E>,
    path: string,
    range: NameRange,
    counted: boolean
  ): Stream.Stream<LeafHead, E> =>
    Stream.paginateChunkEffect(range.after, (after) =>
      Effect.map(
        counted
          ? asked(lengthOf, right.leaves(path, { after, upTo: range.upTo, limit: leavesPerPage }))
          : source.leaves(path, { after, upTo: range.upTo, limit: leavesPerPage }),
        (page) => {
          const last = page.length < leavesPerPage ? undefined : page[page.length - 1]!.name
          return [
            Chunk.unsafeFromArray([...page]),
            last === undefined ? Option.none<string>() : Option.some<string | undefined>(last)
          ] as const
        }
      )
    )

  const oneByOne = (path: string, range: NameRange): Stream.Stream<Difference, E> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const limit = listedAtOnce + 1
        const mine = yield* left.leaves(path, { ...range, limit })
        const theirs = yield* asked(lengthOf, right.leaves(path, { ...range, limit }))
        const byName = new Map(theirs.map((leaf) => [leaf.name, leaf]))
        const found: Array<Difference> = []
        for (const leaf of mine) {
          const other = byName.get(leaf.name)
          byName.delete(leaf.name)
          if (other === undefined) found.push(missing(path, leaf))
          else if (other.digest !== leaf.digest) {
            found.push({ id: joinPath(path, leaf.name), kind: "changed" })
          }
        }
        for (const leaf of byName.values()) found.push(extra(path, leaf))
        return Stream.fromIterable(found)
      })
    )

  return walk(options.under ?? "")
}

const itemsBelow = (branches: ReadonlyMap<string, Branch>): number => {
  let items = 0
  for (const branch of branches.values()) items += branch.count
  return items
}

const missing = (path: string, leaf: LeafHead): Difference => ({
  id: joinPath(path, leaf.name),
  kind: "missing"
})

const extra = (path: string, leaf: LeafHead): Difference => ({
  id: joinPath(path, leaf.name),
  kind: "extra"
})
