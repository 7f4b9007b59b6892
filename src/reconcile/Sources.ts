/** The archive's and the cache's trees as sources of a comparison. */

import { Effect } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import { compareBytes } from "../merkle/ByteOrder.js"
import type { LeafHead, LeafPart, MerkleSource, NameRange } from "../merkle/Source.js"

const leavesPerPage = 2000

type Leaves<E> = MerkleSource<E>["leaves"]

const sumOf = (digest: string): bigint => BigInt(`0x${digest}`)

/** Reads leaves of a range, page by page, at most so many, and until `visit` says how many of a page it took. Returns after which name to go on. */
const eachPage = <E>(
  leaves: Leaves<E>,
  path: string,
  range: NameRange,
  most: number,
  visit: (page: ReadonlyArray<LeafHead>) => number | undefined
): Effect.Effect<string | undefined, E> =>
  Effect.gen(function* () {
    let { after } = range
    let left = most
    for (;;) {
      const limit = Math.min(leavesPerPage, left)
      const page = yield* leaves(path, { after, upTo: range.upTo, limit })
      const taken = visit(page)
      if (taken !== undefined) return taken === 0 ? after : page[taken - 1]!.name
      if (page.length < limit) return undefined
      after = page[page.length - 1]!.name
      left -= page.length
      if (left === 0) return after
    }
  })

/**
 * Parts of a range by reading at most `items` leaves once; the last part may be cut short by that. `nextAfter`: where
 * to go on.
 */
export const boundedParts = <E>(
  leaves: Leaves<E>,
  path: string,
  range: NameRange,
  size: number,
  bounds: { readonly items: number; readonly parts: number }
): Effect.Effect<{ readonly parts: ReadonlyArray<LeafPart>; readonly nextAfter: string | undefined }, E> =>
  Effect.suspend(() => {
    const parts: Array<LeafPart> = []
    let count = 0
    let sum = 0n
    let upTo = ""
    const close = () => {
      if (count > 0) parts.push({ upTo, count, sum: BigInt.asUintN(256, sum) })
      count = 0
      sum = 0n
    }
    return Effect.map(
      eachPage(leaves, path, range, bounds.items, (page) => {
        let taken = 0
        for (const leaf of page) {
          if (parts.length === bounds.parts) return taken
          taken++
          count++
          sum += sumOf(leaf.digest)
          upTo = leaf.name
          if (count >= size) close()
        }
        return undefined
      }),
      (nextAfter) => {
        close()
        return { parts, nextAfter }
      }
    )
  })

/** Count and sum of a range by reading at most `items` leaves. `nextAfter`: where to go on. */
export const boundedSum = <E>(
  leaves: Leaves<E>,
  path: string,
  range: NameRange,
  items: number
): Effect.Effect<
  { readonly count: number; readonly sum: bigint; readonly nextAfter: string | undefined },
  E
> =>
  Effect.suspend(() => {
    let count = 0
    let sum = 0n
    return Effect.map(
      eachPage(leaves, path, range, items, (page) => {
        count += page.length
        for (const leaf of page) sum += sumOf(leaf.digest)
        return undefined
      }),
      (nextAfter) => ({ count, sum: BigInt.asUintN(256, sum), nextAfter })
    )
  })

const unbounded = { items: Number.POSITIVE_INFINITY, parts: Number.POSITIVE_INFINITY }

/** Parts of a range by reading its leaves once. */
const partsByReading =
  <E>(leaves: Leaves<E>): MerkleSource<E>["leafParts"] =>
  (path, range, size) =>
    Effect.map(boundedParts(leaves, path, range, size, unbounded), ({ parts }) => parts)

const sumByReading =
  <E>(leaves: Leaves<E>): MerkleSource<E>["leafSum"] =>
  (path, range) =>
    boundedSum(leaves, path, range, unbounded.items)

const within = (name: string, upTo: string | undefined): boolean =>
  upTo === undefined || compareBytes(name, upTo) <= 0

export const ofArchive = (archive: OpenArchive): MerkleSource<ArchiveError> => {
  const leaves: Leaves<ArchiveError> = (path, page) =>
    Effect.gen(function* () {
      const found: Array<LeafHead> = []
      let after: { readonly name: string; readonly kind: "branch" | "leaf" } | undefined =
        page.after === undefined ? undefined : { name: page.after, kind: "leaf" }
      while (found.length < page.limit) {
        const limit = page.limit - found.length
        const children = yield* archive.children(path, { after, limit })
        for (const child of children) {
          if (!within(child.name, page.upTo)) return found
          if (child.kind === "leaf") found.push({ name: child.name, digest: child.digest })
        }
        if (children.length < limit) return found
        after = children[children.length - 1]!
      }
      return found
    })
  return {
    root: archive.root,
    node: archive.node,
    branches: archive.branches,
    leaves,
    leafSum: sumByReading(leaves),
    leafParts: partsByReading(leaves)
  }
}

export const ofCache = (cache: CacheService): MerkleSource<CacheError> => ({
  root: cache.root,
  node: cache.node,
  branches: cache.branches,
  leaves: cache.leaves,
  leafSum: cache.leafSum,
  leafParts: partsByReading(cache.leaves)
})
