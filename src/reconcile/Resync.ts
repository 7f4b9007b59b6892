/** Making the cache equal to the archive: walk both trees, repair what differs and nothing else, compare again. */
import { Chunk, Effect, Stream } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import { compareVersions } from "../SyncItem.js"
import type { Budget } from "./Budget.js"
import { type Difference, type DivergenceCost, divergence } from "./Divergence.js"
import { type BothTiers, bothRoots, byId, groupsByBytes, nothingLasts } from "./Roots.js"
import { ofArchive, ofCache } from "./Sources.js"

export interface ResyncResult {
  /** The roots were equal at the end; while others write, nothing differed for longer than a write takes. */
  readonly equal: boolean
  /** Items put into the cache because it had none or another version. */
  readonly written: number
  /** Items taken out of the cache because the archive has none. */
  readonly removed: number
  /** Times both trees were walked; 0 when the roots were equal at once, or when what was missed was repaired. */
  readonly rounds: number
  /** The cache's tree was rebuilt because it did not describe its items. */
  readonly rebuilt: boolean
  readonly cost: DivergenceCost
}

/** Differences repaired at once. */
const itemsPerRepair = 500
/** Writes of others can make the roots differ while one walks; after so many rounds the next attempt has to try. */
const maxRounds = 5

/**
 * Repairs a batch of differences from the archive's rows, a few megabytes at a time. Returns how many items were written
 * and removed.
 */
export const repairItems = Effect.fnUntraced(function* (
  archive: OpenArchive,
  cache: CacheService,
  differences: ReadonlyArray<Difference>,
  budget?: Budget
) {
  const done = { written: 0, removed: 0 }
  const groups = yield* groupsByBytes(
    archive,
    differences.map(({ id }) => id)
  )
  for (const ids of groups) {
    if (budget !== undefined && (yield* budget.nextPage(1)) === 0) break
    // In this order: whoever writes goes to the archive first, so what the cache had before the archive was asked is
    // not newer than the archive's answer, unless the archive never had it.
    const held = byId(yield* cache.heads(ids))
    const rows = byId(yield* archive.getMany(ids))
    const gone = ids.flatMap((id) => {
      const row = rows.get(id)
      const head = held.get(id)
      // What another node has put there since is newer than version 0, and stays.
      if (row === undefined || row.deleted) return [{ id, version: head?.version ?? 0 }]
      return head !== undefined && compareVersions(head, row) > 0 ? [{ id, version: head.version }] : []
    })
    // Tombstones too: they guard against fills with what a slow reader found before the deletion.
    const known = ids.flatMap((id) => rows.get(id) ?? [])
    if (gone.length > 0) done.removed += yield* cache.deleteMany(gone)
    if (known.length > 0) yield* cache.repair(known)
    done.written += known.filter((row) => !row.deleted).length
  }
  return done
})

export interface ResyncOptions {
  /** Called with the ids of each batch of repaired items. Synchronous. */
  readonly repaired?: ((ids: ReadonlyArray<string>) => void) | undefined
  readonly budget?: Budget | undefined
  /** Where the cache may differ: repaired first, and then the trees are only walked if that was not all. */
  readonly missed?: ReadonlyArray<string> | undefined
}

export const resync = Effect.fnUntraced(function* (
  tiers: BothTiers,
  { budget, missed = [], repaired }: ResyncOptions = {}
): Effect.fn.Return<ResyncResult, ArchiveError | CacheError> {
  const { archive, cache } = tiers
  const cost: DivergenceCost = { digests: 0, requests: 0 }
  let written = 0
  let removed = 0
  let rebuilt = false
  const repair = (some: ReadonlyArray<Difference>) =>
    Effect.map(repairItems(archive, cache, some, budget), (done) => {
      written += done.written
      removed += done.removed
      repaired?.(some.map(({ id }) => id))
    })
  // What is in no tree would be missed by the comparison of the trees.
  yield* cache.tidy
  const spent = () => budget?.exhausted === true
  const result = (equal: boolean, rounds: number) => ({ equal, written, removed, rounds, rebuilt, cost })
  if (missed.length > 0 && !(yield* bothRoots(tiers)).equal) {
    const some = missed.map((id): Difference => ({ id, kind: "changed" }))
    for (let at = 0; at < some.length && !spent(); at += itemsPerRepair) {
      yield* repair(some.slice(at, at + itemsPerRepair))
    }
  }
  for (let rounds = 0; ; rounds++) {
    const before = yield* bothRoots(tiers)
    if (before.equal) return result(true, rounds)
    if (rounds === maxRounds || spent()) return result(false, rounds)
    let found = 0
    yield* divergence(ofArchive(archive), ofCache(cache), { cost, budget }).pipe(
      Stream.rechunk(itemsPerRepair),
      Stream.chunks,
      Stream.runForEach((chunk) =>
        Effect.suspend(() => {
          found += chunk.length
          return repair(Chunk.toReadonlyArray(chunk))
        })
      )
    )
    if (spent()) continue
    const after = yield* bothRoots(tiers)
    if (after.equal) return result(true, rounds + 1)
    if (after.archiveRoot !== before.archiveRoot) {
      // Others write, and the roots may never be equal at the moment one looks. All that differed has been repaired.
      if (yield* nothingLasts(tiers, budget)) return result(true, rounds + 1)
    } else if ((found === 0 || rounds === maxRounds - 2) && !rebuilt) {
      // No item differs, or repairing them changed nothing: the cache's own tree does not describe its items.
      rebuilt = true
      yield* cache.rebuildTree
    }
  }
})
