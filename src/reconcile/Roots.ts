/**
 * Whether the cache is what the archive is, also while other nodes write.
 *
 * A node writes to the archive first and to the cache right after, so between the two the roots differ, and with
 * several nodes at work they may never be equal at the moment one looks. Then only what *lasts* is a difference: an
 * item that the cache still does not hold as the archive had it a while ago. Whatever differs for good is found by a
 * walk of both trees, because two sums that differ by it are not made equal by the writes under way.
 */
import { Chunk, Effect, Stream } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import type { Digest } from "../merkle/Tree.js"
import { type ItemHead, isAtLeast } from "../SyncItem.js"
import type { Budget } from "./Budget.js"
import { type Difference, divergence } from "./Divergence.js"
import { ofArchive, ofCache } from "./Sources.js"

export interface Tiers {
  readonly archive: OpenArchive
  /** None without a cache. */
  readonly cache: CacheService | undefined
  /** Runs an effect while this engine archives nothing. */
  readonly exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export interface BothTiers extends Tiers {
  readonly cache: CacheService
}

/** Both digests, and whether the cache agrees with the archive. One that is not there does. */
export interface Roots {
  readonly archiveRoot: Digest
  readonly cacheRoot: Digest | undefined
  readonly equal: boolean
}

/** How long a write of another node may be on its way from the archive to the cache; looked at so many times. */
const settleMs = 500
const looks = 4
/** More than this is no work under way. */
const mostUnderWay = 20_000
const idsPerLook = 2000

/** Both roots at one moment. */
export const bothRoots = ({
  archive,
  cache,
  exclusively
}: BothTiers): Effect.Effect<Roots, ArchiveError | CacheError> =>
  exclusively(
    Effect.zipWith(archive.root, cache.root, (archiveRoot, cacheRoot) => ({
      archiveRoot,
      cacheRoot,
      equal: archiveRoot === cacheRoot
    }))
  )

/**
 * As `bothRoots`; where they differ they are looked at again, and while others write they are equal when nothing
 * differs for longer than a write takes.
 */
export const settledRoots = Effect.fnUntraced(function* (
  { archive, cache, exclusively }: Tiers,
  budget?: Budget
): Effect.fn.Return<Roots, ArchiveError | CacheError> {
  if (cache === undefined) return { archiveRoot: yield* archive.root, cacheRoot: undefined, equal: true }
  const tiers = { archive, cache, exclusively }
  const first = yield* bothRoots(tiers)
  if (first.equal || !(yield* settle(budget))) return first
  const second = yield* bothRoots(tiers)
  if (second.equal || second.archiveRoot === first.archiveRoot) return second
  return { ...second, equal: yield* nothingLasts(tiers, budget) }
})

/** Whether all that differs now is on its way. */
export const nothingLasts = Effect.fnUntraced(function* ({ archive, cache }: BothTiers, budget?: Budget) {
  const found = yield* divergence(ofArchive(archive), ofCache(cache), { budget }).pipe(
    Stream.take(mostUnderWay + 1),
    Stream.map(({ id }) => id),
    Stream.runCollect
  )
  if (found.length > mostUnderWay || budget?.exhausted === true) return false
  for (const some of Chunk.chunksOf(found, idsPerLook)) {
    const last = yield* lasting(archive, cache, Chunk.toReadonlyArray(some), budget)
    if (last === undefined || last.length > 0) return false
  }
  return true
})

/**
 * Which of these items the cache does not come to hold as the archive has them now; `undefined` when the budget ended
 * before that was known.
 */
export const lasting = Effect.fnUntraced(function* (
  archive: OpenArchive,
  cache: CacheService,
  ids: ReadonlyArray<string>,
  budget?: Budget
) {
  const before = byId(yield* archive.heads(ids))
  let open: ReadonlyArray<Difference> = ids.map((id) => ({ id, kind: "changed" }))
  for (let look = 0; look < looks && open.length > 0; look++) {
    if (!(yield* settle(budget))) return undefined
    const some = open.map(({ id }) => id)
    // In this order: what the cache holds was in the archive before.
    const held = byId(yield* cache.heads(some))
    const after = byId(yield* archive.heads(some))
    open = some.flatMap((id) => {
      const kind = stillDiffers(before.get(id), held.get(id), after.get(id))
      return kind === undefined ? [] : [{ id, kind }]
    })
  }
  return open
})

/**
 * What is wrong with what the cache holds of an item, if it must be at least what the archive had a while ago, and at
 * most what the archive has now.
 */
export const stillDiffers = (
  before: ItemHead | undefined,
  held: ItemHead | undefined,
  after: ItemHead | undefined
): Difference["kind"] | undefined => {
  if (after === undefined || after.deleted) {
    // Gone, at the latest now. Whether it may still be there depends on when it went.
    if (held === undefined || held.deleted) return undefined
    return before === undefined || before.deleted || after === undefined || !isAtLeast(held, before)
      ? "extra"
      : undefined
  }
  if (held !== undefined && !isAtLeast(after, held)) return "changed"
  if (before === undefined || before.deleted) {
    return before !== undefined && held !== undefined && !held.deleted && !isAtLeast(held, before)
      ? "extra"
      : undefined
  }
  if (held === undefined) return "missing"
  return !isAtLeast(held, before) ? (held.deleted ? "missing" : "changed") : undefined
}

export const byId = <A extends { readonly id: string }>(some: ReadonlyArray<A>): ReadonlyMap<string, A> =>
  new Map(some.map((one) => [one.id, one]))

/** Gives what is on its way the time to arrive; false when the budget has none left. */
export const settle = (budget: Budget | undefined): Effect.Effect<boolean> =>
  budget === undefined ? Effect.as(Effect.sleep(settleMs), true) : budget.pause(settleMs)

/** Contents of one tier that are held at once. */
export const bytesAtOnce = 4 * 1024 * 1024
const idsAtOnce = 500

/**
 * The ids in groups whose rows have at most 4 MiB of contents together; a larger row is alone. A row that grows before
 * it is read grows its group.
 */
export const groupsByBytes = (
  archive: OpenArchive,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>, ArchiveError> =>
  Effect.map(archive.sizes(ids), (sizes) => {
    const groups: Array<Array<string>> = []
    let bytes = 0
    for (const id of ids) {
      const size = sizes.get(id) ?? 0
      const group = groups.at(-1)
      if (group === undefined || bytes + size > bytesAtOnce || group.length === idsAtOnce) {
        groups.push([id])
        bytes = 0
      } else group.push(id)
      bytes += size
    }
    return groups
  })
