/**
 * Finds where two trees differ, moving few digests: equal branches are passed over, and a path with very many
 * items is cut into parts whose sums are compared, so that k differences among n siblings cost O(k log n).
 *
 * Source of the idea: Merkle, "A Digital Signature Based on a Conventional Encryption Function" (CRYPTO 1987), and
 * range-based set reconciliation, Meyer (SRDS 2023), with additive digests.
 *
 * @since 0.1.0
 */
import { Chunk, Effect, Option, Order, Stream } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"
import type { Branch, LeafHead, LeafPart, MerkleSource, NameRange } from "../merkle/Source.js"
import { joinPath, type Total } from "../merkle/TreeDelta.js"
import type { Budget } from "./Budget.js"
import { held, heldAtOnce, partOf, partsOf } from "./Parts.js"

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
const listedAtOnce = 16
/** Questions under way at the right side. */
const concurrency = 8

/** Below this share of the other side's items a side's names do not cut the other finely enough. */
const tooFew = 8

const modulus = 1n << 256n

/** A source whose answers are counted as what they cost. */
const counted = <E>(source: MerkleSource<E>, cost: DivergenceCost, budget?: Budget): MerkleSource<E> => {
  const asked = <A>(question: Effect.Effect<A, E>, digests: (answer: A) => number = () => 1) =>
    Effect.map(question, (answer) => {
      cost.requests++
      cost.digests += digests(answer)
      budget?.spend(digests(answer))
      return answer
    })
  const lengthOf = (answer: ReadonlyArray<unknown>) => answer.length
  return {
    ...source,
    node: (path) => asked(source.node(path)),
    branches: (path, page) => asked(source.branches(path, page), lengthOf),
    leaves: (path, page) => asked(source.leaves(path, page), lengthOf),
    leafSum: (path, range) => asked(source.leafSum(path, range)),
    leafParts: (path, range, size) => asked(source.leafParts(path, range, size), lengthOf)
  }
}

/**
 * The differences, as they are found, by path. `left` is taken as the truth. While either side is written to, what
 * is under way shows as a difference.
 *
 * @param options.under only below this path (`""` for everything)
 * @param options.budget ends the walk; each digest taken from the right side counts as a row
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
  const { budget, cost = { digests: 0, requests: 0 }, under = "" } = options
  return new Walk<E1 | E2>(left, counted(right, cost, budget), budget).from(under)
}

/** Items directly below a path whose names lie in a range, and how many of them each side has. */
interface Span<E> {
  readonly path: string
  readonly range: NameRange
  readonly left: number
  readonly right: number
  /** The left side; perhaps its items of this span, held. */
  readonly near: MerkleSource<E>
}

class Walk<E> {
  constructor(
    private readonly left: MerkleSource<E>,
    private readonly right: MerkleSource<E>,
    private readonly budget: Budget | undefined
  ) {}

  from(path: string): Stream.Stream<Difference, E> {
    return this.unlessSpent(Stream.unwrap(this.below(path)))
  }

  private unlessSpent<A>(stream: Stream.Stream<A, E>): Stream.Stream<A, E> {
    return this.budget === undefined
      ? stream
      : Stream.unwrap(Effect.map(this.budget.nextPage(1), (page) => (page === 0 ? Stream.empty : stream)))
  }

  private readonly below = (path: string) =>
    Effect.gen(this, function* () {
      const mine = Option.getOrUndefined(yield* this.left.node(path))
      const theirs = Option.getOrUndefined(yield* this.right.node(path))
      if (mine?.digest === theirs?.digest) return Stream.empty
      let left = mine?.count ?? 0
      let right = theirs?.count ?? 0
      const unlike: Array<string> = []
      const branches = (source: MerkleSource<E>) =>
        pages(undefined, namesPerPage, (after) => source.branches(path, { after, limit: namesPerPage }))
      yield* Stream.runForEach(
        joinNames<Branch, E>(
          mine === undefined ? Stream.empty : branches(this.left),
          theirs === undefined ? Stream.empty : branches(this.right)
        ),
        (branch) =>
          Effect.sync(() => {
            left -= branch.left?.count ?? 0
            right -= branch.right?.count ?? 0
            if (branch.left?.digest !== branch.right?.digest) unlike.push(branch.name)
          })
      )
      return Stream.concat(
        left === 0 && right === 0
          ? Stream.empty
          : this.differing({ path, range: {}, left, right, near: this.left }),
        Stream.flatMap(Stream.fromIterable(unlike), (name) => this.from(joinPath(path, name)))
      )
    })

  /** Compares the items of a span; the counts say how to go about it. */
  private differing(span: Span<E>): Stream.Stream<Difference, E> {
    return Math.min(span.left, span.right) === 0 || Math.max(span.left, span.right) <= listedAtOnce
      ? this.oneByOne(span)
      : this.cut(span)
  }

  /**
   * Cuts a span into parts and goes on with those whose sums differ. While the ones are read, the sums of the others
   * are asked for.
   */
  private cut(span: Span<E>): Stream.Stream<Difference, E> {
    const { near, path, range } = span
    // A cut may have to read the items, so the near side cuts; not where it has so few that the far side's parts
    // would stay wide, nor where the far side cuts by itself and one question takes the place of many.
    const cutLeft =
      this.right.cutsItself === true ? span.right * tooFew < span.left : span.left * tooFew >= span.right
    const size = partOf(cutLeft ? span.left : span.right)
    const sumOf = (part: NameRange): Effect.Effect<Total, E> =>
      (cutLeft ? this.right : near).leafSum(path, part)
    const parts = partsOf(cutLeft ? near : this.right, path, range, size)
    const compared = (from: string | undefined, part: LeafPart, isLast: boolean) =>
      Effect.gen(this, function* () {
        // Behind the last item of one side the other may still have some.
        const within = { after: from, upTo: isLast ? range.upTo : part.upTo }
        const { count, sum } = yield* sumOf(within)
        if (part.count === count && (part.sum - sum) % modulus === 0n) return undefined
        const [left, right] = cutLeft ? [part.count, count] : [count, part.count]
        const open = { path, range: within, left, right, near }
        return left === 0 || left > heldAtOnce ? open : { ...open, near: yield* held(near, path, within) }
      })
    const open = parts.pipe(
      Stream.zipWithPreviousAndNext,
      Stream.mapEffect(
        ([before, part, next]) =>
          compared(
            Option.match(before, { onNone: () => range.after, onSome: ({ upTo }) => upTo }),
            part,
            Option.isNone(next)
          ),
        { concurrency }
      ),
      // The counts were not true: the tree is damaged, or has changed meanwhile.
      Stream.orElseIfEmpty(() => "no parts" as const)
    )
    return Stream.flatMap(open, (part) => {
      if (part === undefined) return Stream.empty
      return part === "no parts" ? this.oneByOne(span) : this.unlessSpent(this.differing(part))
    })
  }

  /** All items of a span of both sides, page by page. */
  private oneByOne({ near, path, range }: Span<E>): Stream.Stream<Difference, E> {
    const all = (side: MerkleSource<E>) =>
      pages(range.after, namesPerPage, (after) =>
        side.leaves(path, { after, upTo: range.upTo, limit: namesPerPage })
      )
    return joinNames<LeafHead, E>(all(near), all(this.right)).pipe(
      Stream.filter(({ left, right }) => left?.digest !== right?.digest),
      Stream.map(({ name, left, right }) => ({ id: joinPath(path, name), kind: kindOf(left, right) }))
    )
  }
}

/** What it is that only one side has, or both have unlike. */
export const kindOf = (left: unknown, right: unknown): Difference["kind"] =>
  right === undefined ? "missing" : left === undefined ? "extra" : "changed"

interface Named {
  readonly name: string
}

/** All pages of a list; a page that is not full is the last. */
export const pages = <A extends Named, E>(
  after: string | undefined,
  limit: number,
  page: (after: string | undefined) => Effect.Effect<ReadonlyArray<A>, E>
): Stream.Stream<A, E> =>
  Stream.paginateChunkEffect(after, (from) =>
    Effect.map(page(from), (found) => {
      const next = found.length < limit ? Option.none() : Option.some(found[found.length - 1]!.name)
      return [Chunk.fromIterable(found), next] as const
    })
  )

/** What two lists hold under one name. */
interface Joined<A> extends Named {
  readonly left: A | undefined
  readonly right: A | undefined
}

const byBytes = Order.make<string>((a, b) => Math.sign(compareBytes(a, b)) as -1 | 0 | 1)

const keyed = <A extends Named, E>(list: Stream.Stream<A, E>) =>
  Stream.map(list, (one) => [one.name, one] as const)

/** Two lists in the order of names as one, by name: never more than a page of each in hand. */
export const joinNames = <A extends Named, E>(
  left: Stream.Stream<A, E>,
  right: Stream.Stream<A, E>
): Stream.Stream<Joined<A>, E> =>
  keyed(left).pipe(
    Stream.zipAllSortedByKeyWith({
      other: keyed(right),
      order: byBytes,
      onSelf: (one: A): Omit<Joined<A>, "name"> => ({ left: one, right: undefined }),
      onOther: (one: A) => ({ left: undefined, right: one }),
      onBoth: (one, other) => ({ left: one, right: other })
    }),
    Stream.map(([name, sides]) => ({ name, ...sides }))
  )
