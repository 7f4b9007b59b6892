/**
 * Finds where two trees differ, moving few digests: equal branches are passed over, and a path with very many
 * items is cut into parts whose sums are compared, so that k differences among n siblings cost O(k log n).
 *
 * Source of the idea: Merkle, "A Digital Signature Based on a Conventional Encryption Function" (CRYPTO 1987), and
 * range-based set reconciliation, Meyer (SRDS 2023), with additive digests.
 *
 * @since 0.1.0
 */
import { Effect, Option, Stream } from "effect"
import type { Branch, LeafHead, MerkleSource, NameRange } from "../merkle/Source.js"
import { joinPath } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import { joinNames, pages } from "./Pages.js"

/**
 * One item that the two sides do not hold alike.
 *
 * @since 0.1.0
 * @category models
 */
export interface Difference {
  readonly id: string
  /** `missing`: only the left side has it; `extra`: only the right side; `changed`: both, differently. */
  readonly kind: "missing" | "extra" | "changed"
}

/**
 * What a comparison has cost.
 *
 * @since 0.1.0
 * @category models
 */
export interface DivergenceCost {
  /** Digests and sums taken from the right side. */
  digests: number
  /** Questions asked of the right side. */
  requests: number
}

const namesPerPage = 1000
/** Up to this many items are compared one by one. */
const listedAtOnce = 64
/** Parts a wide range is cut into at each level. */
const partsPerLevel = 64
/** Questions under way at the right side. */
const concurrency = 8

/** Below this share of the other side's items a side's names do not cut the other finely enough. */
const tooFew = 8

const modulus = 1n << 256n

/**
 * The differences, as they are found, by path. `left` is taken as the truth. While either side is written to, what
 * is under way shows as a difference.
 *
 * @param under only below this path (`""` for everything)
 * @param budget ends the walk; each digest taken from the right side counts as a row
 * @since 0.1.0
 * @category functions
 */
export const divergence = <E1, E2>(
  left: MerkleSource<E1>,
  right: MerkleSource<E2>,
  options: {
    readonly under?: string | undefined
    readonly cost?: DivergenceCost | undefined
    readonly budget?: Budget | undefined
  } = {}
): Stream.Stream<Difference, E1 | E2> => {
  const { budget, cost = { digests: 0, requests: 0 } } = options
  type E = E1 | E2

  const asked = <A>(digests: (answer: A) => number, question: Effect.Effect<A, E2>) =>
    Effect.tap(question, (answer) =>
      Effect.sync(() => {
        cost.requests++
        cost.digests += digests(answer)
        budget?.spend(digests(answer))
      })
    )
  const lengthOf = (answer: ReadonlyArray<unknown>) => answer.length

  const unlessSpent = <A>(stream: Stream.Stream<A, E>): Stream.Stream<A, E> =>
    budget === undefined
      ? stream
      : Stream.unwrap(Effect.map(budget.nextPage(1), (page) => (page === 0 ? Stream.empty : stream)))

  const walk = (path: string): Stream.Stream<Difference, E> => unlessSpent(Stream.unwrap(below(path)))

  const below = (path: string): Effect.Effect<Stream.Stream<Difference, E>, E> =>
    Effect.gen(function* () {
      const mine = Option.getOrUndefined(yield* left.node(path))
      const theirs = Option.getOrUndefined(yield* asked(() => 1, right.node(path)))
      if (mine?.digest === theirs?.digest) return Stream.empty
      let leftLeaves = mine?.count ?? 0
      let rightLeaves = theirs?.count ?? 0
      const unlike: Array<string> = []
      yield* Stream.runForEach(
        joinNames<Branch, E>(
          mine === undefined
            ? Stream.empty
            : pages(undefined, namesPerPage, (after) => left.branches(path, { after, limit: namesPerPage })),
          theirs === undefined
            ? Stream.empty
            : pages(undefined, namesPerPage, (after) =>
                asked(lengthOf, right.branches(path, { after, limit: namesPerPage }))
              )
        ),
        ({ name, left, right }) =>
          Effect.sync(() => {
            leftLeaves -= left?.count ?? 0
            rightLeaves -= right?.count ?? 0
            if (left?.digest !== right?.digest) unlike.push(name)
          })
      )
      return Stream.concat(
        leftLeaves === 0 && rightLeaves === 0 ? Stream.empty : differing(path, {}, leftLeaves, rightLeaves),
        Stream.flatMap(Stream.fromIterable(unlike), (name) => walk(joinPath(path, name)))
      )
    })

  /** Compares the items directly below a path whose names lie in a range; the counts say how to go about it. */
  const differing = (
    path: string,
    range: NameRange,
    leftCount: number,
    rightCount: number
  ): Stream.Stream<Difference, E> => {
    if (Math.min(leftCount, rightCount) === 0 || Math.max(leftCount, rightCount) <= listedAtOnce) {
      return oneByOne(path, range)
    }
    return Stream.unwrap(
      Effect.gen(function* () {
        // A cut may have to read the items, so the near side cuts; not where it has so few that the far side's parts
        // would stay wide, nor where the far side cuts by itself and one question takes the place of many.
        const cutLeft =
          right.cutsItself === true ? rightCount * tooFew < leftCount : leftCount * tooFew >= rightCount
        const size = Math.max(1, Math.ceil((cutLeft ? leftCount : rightCount) / partsPerLevel))
        const cut = cutLeft
          ? yield* left.leafParts(path, range, size)
          : yield* asked(lengthOf, right.leafParts(path, range, size))
        // The counts were not true: the tree is damaged, or has changed meanwhile.
        if (cut.length === 0) return oneByOne(path, range)
        const parts = cut.map((part, index) => ({
          range: {
            after: index === 0 ? range.after : cut[index - 1]!.upTo,
            // Behind the last item of one side the other may still have some.
            upTo: index === cut.length - 1 ? range.upTo : part.upTo
          },
          count: part.count,
          sum: part.sum
        }))
        const sumOf = (
          part: NameRange
        ): Effect.Effect<{ readonly count: number; readonly sum: bigint }, E> =>
          cutLeft ? asked(() => 1, right.leafSum(path, part)) : left.leafSum(path, part)
        const answers = yield* Effect.forEach(parts, (part) => sumOf(part.range), { concurrency })
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
          unlessSpent(differing(path, part.range, part.left, part.right))
        )
      })
    )
  }

  /** All items of a range of both sides, page by page. */
  const oneByOne = (path: string, range: NameRange): Stream.Stream<Difference, E> =>
    joinNames<LeafHead, E>(
      pages(range.after, namesPerPage, (after) =>
        left.leaves(path, { after, upTo: range.upTo, limit: namesPerPage })
      ),
      pages(range.after, namesPerPage, (after) =>
        asked(lengthOf, right.leaves(path, { after, upTo: range.upTo, limit: namesPerPage }))
      )
    ).pipe(
      Stream.filter(({ left, right }) => left?.digest !== right?.digest),
      Stream.map(({ name, left, right }) => ({ id: joinPath(path, name), kind: kindOf(left, right) }))
    )

  return walk(options.under ?? "")
}

/**
 * What it is that only one side has, or both have unlike.
 *
 * @since 0.1.0
 * @category functions
 */
export const kindOf = (left: unknown, right: unknown): Difference["kind"] =>
  right === undefined ? "missing" : left === undefined ? "extra" : "changed"
