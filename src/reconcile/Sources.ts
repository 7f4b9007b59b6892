/** The archive's and the cache's trees as sources of a comparison. */
import { Effect } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import type { LeafPart, MerkleSource, NameRange } from "../merkle/Source.js"

const leavesPerPage = 2000

type Leaves<E> = MerkleSource<E>["leaves"]

/**
 * Parts of a range by reading at most `items` leaves once; the last part may be cut short by that. `nextAfter`: where
 * to go on.
 */
export const boundedParts = Effect.fnUntraced(function* <E>(
  leaves: Leaves<E>,
  path: string,
  range: NameRange,
  size: number,
  bounds: { readonly items: number; readonly parts: number }
): Effect.fn.Return<{ readonly parts: ReadonlyArray<LeafPart>; readonly nextAfter: string | undefined }, E> {
  const parts: Array<LeafPart> = []
  let count = 0
  let sum = 0n
  let { after } = range
  let left = bounds.items
  const close = () => {
    if (count > 0) parts.push({ upTo: after!, count, sum: BigInt.asUintN(256, sum) })
    count = 0
    sum = 0n
  }
  for (;;) {
    const limit = Math.min(leavesPerPage, left)
    const page = yield* leaves(path, { after, upTo: range.upTo, limit })
    for (const { digest, name } of page) {
      if (parts.length === bounds.parts) return { parts, nextAfter: after }
      count++
      sum += BigInt(`0x${digest}`)
      after = name
      if (count >= size) close()
    }
    left -= page.length
    if (page.length < limit || left === 0) {
      close()
      return { parts, nextAfter: page.length < limit ? undefined : after }
    }
  }
})

const unbounded = Number.POSITIVE_INFINITY

/** Count and sum of a range by reading at most `items` leaves. `nextAfter`: where to go on. */
export const boundedSum = <E>(leaves: Leaves<E>, path: string, range: NameRange, items = unbounded) =>
  Effect.map(
    boundedParts(leaves, path, range, unbounded, { items, parts: unbounded }),
    ({ nextAfter, parts: [all] }) => ({ count: all?.count ?? 0, sum: all?.sum ?? 0n, nextAfter })
  )

/** Parts of a range by reading its leaves once. */
const partsByReading =
  <E>(leaves: Leaves<E>): MerkleSource<E>["leafParts"] =>
  (path, range, size) =>
    Effect.map(
      boundedParts(leaves, path, range, size, { items: unbounded, parts: unbounded }),
      ({ parts }) => parts
    )

export const ofArchive = (archive: OpenArchive): MerkleSource<ArchiveError> => ({
  root: archive.root,
  node: archive.node,
  branches: archive.branches,
  leaves: archive.leaves,
  leafSum: (path, range) => boundedSum(archive.leaves, path, range),
  leafParts: partsByReading(archive.leaves)
})

export const ofCache = (cache: CacheService): MerkleSource<CacheError> => ({
  root: cache.root,
  node: cache.node,
  branches: cache.branches,
  leaves: cache.leaves,
  leafSum: cache.leafSum,
  leafParts: partsByReading(cache.leaves)
})
