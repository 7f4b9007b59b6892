/** Lists of names that are read page by page, and two of them side by side: never more than a page of each in hand. */
import { Chunk, Effect, Option, Order, Stream } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"

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
export interface Joined<A> {
  readonly name: string
  readonly left: A | undefined
  readonly right: A | undefined
}

const byBytes = Order.make<string>((a, b) => Math.sign(compareBytes(a, b)) as -1 | 0 | 1)

const keyed = <A extends Named, E>(list: Stream.Stream<A, E>) =>
  Stream.map(list, (one) => [one.name, one] as const)

/** Two lists in the order of names as one, by name. */
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
