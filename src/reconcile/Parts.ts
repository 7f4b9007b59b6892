/** How a range of very many items is cut while two trees are compared. */
import { Chunk, Effect, Option, Stream } from "effect"
import { compareBytes } from "../merkle/ByteOrder.js"
import type { LeafHead, LeafPart, MerkleSource, NameRange } from "../merkle/Source.js"
import { boundedParts, boundedSum } from "./Sources.js"

/** Parts a range is cut into at each level. */
const partsPerLevel = 8
/** Items of a part of a wide range: so many are held while they are compared. */
export const heldAtOnce = 1000
/** Parts that a wide range is cut into at once. */
const mostParts = 1000
/** Items read before the sums of their parts are asked for. */
const readAtOnce = 4000

/** How many items a part of so many has: of very many few enough to be held, of others an eighth. */
export const partOf = (items: number): number =>
  items > heldAtOnce * partsPerLevel
    ? Math.max(heldAtOnce, Math.ceil(items / mostParts))
    : Math.max(1, Math.ceil(items / partsPerLevel))

/** Parts of a range, as its items are read; all at once from a source that cuts by itself. */
export const partsOf = <E>(
  source: MerkleSource<E>,
  path: string,
  { after, upTo }: NameRange,
  size: number
): Stream.Stream<LeafPart, E> =>
  source.cutsItself === true
    ? Stream.fromIterableEffect(source.leafParts(path, { after, upTo }, size))
    : Stream.paginateChunkEffect(after, (from) =>
        Effect.map(
          boundedParts(source.leaves, path, { after: from, upTo }, size, {
            items: size * Math.max(1, Math.floor(readAtOnce / size)),
            parts: Number.POSITIVE_INFINITY
          }),
          ({ nextAfter, parts }) => [Chunk.unsafeFromArray(parts), Option.fromNullable(nextAfter)] as const
        )
      )

/** The source with the items of a range, which are read once, whatever is asked of them from now on. */
export const held = <E>(
  source: MerkleSource<E>,
  path: string,
  range: NameRange
): Effect.Effect<MerkleSource<E>, E> =>
  Effect.map(source.leaves(path, { ...range, limit: heldAtOnce + 1 }), (all) => {
    // More than before: it is written to.
    if (all.length > heldAtOnce) return source
    const leaves: MerkleSource<E>["leaves"] = (_, { after, limit, upTo }) =>
      Effect.sync(() => {
        const from = after === undefined ? 0 : namesUpTo(all, after)
        const to = upTo === undefined ? all.length : namesUpTo(all, upTo)
        return all.slice(from, Math.min(to, from + limit))
      })
    return { ...source, cutsItself: false, leaves, leafSum: (_, part) => boundedSum(leaves, path, part) }
  })

/** How many of the names come before, or are, this one. */
const namesUpTo = (names: ReadonlyArray<LeafHead>, name: string): number => {
  let from = 0
  let to = names.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if (compareBytes(names[middle]!.name, name) <= 0) from = middle + 1
    else to = middle
  }
  return from
}
