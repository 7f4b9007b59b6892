/**
 * Lists that are read page by page in the order of names, and two of them side by side. Never holds more than a page
 * of each.
 */
import { Chunk, Effect, Option, Stream } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"

/** All pages of a list; a page that is not full is the last. */
export const pages = <A extends { readonly name: string }, E>(
  after: string | undefined,
  limit: number,
  page: (after: string | undefined) => Effect.Effect<ReadonlyArray<A>, E>
): Stream.Stream<A, E> =>
  Stream.paginateChunkEffect(after, (from) =>
    Effect.map(
      page(from),
      (found) =>
        [
          Chunk.unsafeFromArray([...found]),
          found.length < limit
            ? Option.none<string | undefined>()
            : Option.some<string | undefined>(found[found.length - 1]!.name)
        ] as const
    )
  )

/** What two lists hold under one name. */
export interface Joined<A> {
  readonly name: string
  readonly left: A | undefined
  readonly right: A | undefined
}

/** Two lists in the order of names as one, by name. */
export const joinNames = <A extends { readonly name: string }, E>(
  left: Stream.Stream<A, E>,
  right: Stream.Stream<A, E>
): Stream.Stream<Joined<A>, E> => {
  type Rest = readonly [ReadonlyArray<A>, boolean]
  const fill = (rest: Rest, pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E>>): Effect.Effect<Rest, E> =>
    rest[0].length > 0 || rest[1]
      ? Effect.succeed(rest)
      : Effect.matchEffect(pull, {
          onFailure: (end): Effect.Effect<Rest, E> =>
            Option.isSome(end) ? Effect.fail(end.value) : Effect.succeed([[], true]),
          onSuccess: (chunk): Effect.Effect<Rest, E> =>
            Effect.suspend(() => fill([Chunk.toReadonlyArray(chunk), false], pull))
        })
  const fresh: Rest = [[], false]
  return Stream.unwrapScoped(
    Effect.map(Effect.all([Stream.toPull(left), Stream.toPull(right)]), ([pullLeft, pullRight]) =>
      Stream.unfoldChunkEffect([fresh, fresh] as const, (rests) =>
        Effect.map(
          Effect.all([fill(rests[0], pullLeft), fill(rests[1], pullRight)]),
          ([[a, aEnded], [b, bEnded]]) => {
            if (a.length === 0 && b.length === 0) return Option.none()
            const joined: Array<Joined<A>> = []
            let i = 0
            let j = 0
            // Where a list goes on behind its page, the other waits for it.
            while ((i < a.length || aEnded) && (j < b.length || bEnded) && (i < a.length || j < b.length)) {
              const x = a[i]
              const y = b[j]
              const order = x === undefined ? 1 : y === undefined ? -1 : compareBytes(x.name, y.name)
              joined.push({
                name: order <= 0 ? x!.name : y!.name,
                left: order <= 0 ? x : undefined,
                right: order >= 0 ? y : undefined
              })
              if (order <= 0) i++
              if (order >= 0) j++
            }
            return Option.some([
              Chunk.unsafeFromArray(joined),
              [
                [a.slice(i), aEnded],
                [b.slice(j), bEnded]
              ] as const
            ] as const)
          }
        )
      )
    )
  )
}
