/**
 * Making the cache equal to the archive: walk both trees, mend what differs and nothing else, compare again.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Archive, ArchiveError } from "../archive/Archive.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import { compareVersions } from "../SyncItem.js"
import type { Difference, DivergenceCost } from "./Divergence.js"
import { divergence } from "./Divergence.js"
import { ofArchive, ofCache } from "./Sources.js"

/** @since 0.1.0 @category models */
export interface ResyncResult {
  /** The roots were equal at the end. */
  readonly equal: boolean
  /** Items put into the cache because it had none or another version. */
  readonly written: number
  /** Items taken out of the cache because the archive has none. */
  readonly removed: number
  /** Times both trees were walked; 0 when the roots were equal at once. */
  readonly rounds: number
  /** The cache's tree was built anew because it did not describe its items. */
  readonly rebuilt: boolean
  readonly cost: DivergenceCost
}

/** Differences mended at once. */
const itemsPerRepair = 500
/** Writes of others can make the roots differ while one walks; after so many rounds the next attempt has to try. */
const maxRounds = 5

/**
 * Mends a batch of differences from the archive's rows. Answers how many items were written and removed.
 *
 * @since 0.1.0
 * @category functions
 */
export const mend = (
  archive: Context.Tag.Service<Archive>,
  cache: CacheService,
  differences: ReadonlyArray<Difference>
): Effect.Effect<{ readonly written: number; readonly removed: number }, ArchiveError | CacheError> =>
  Effect.gen(function* () {
    const ids = differences.map(({ id }) => id)
    // In this order: whoever writes goes to the archive first, so what the cache had before the archive was asked is
    // not newer than the archive's answer, unless the archive never had it.
    const held = new Map((yield* cache.heads(ids)).map((head) => [head.id, head]))
    const rows = new Map((yield* archive.getMany(ids)).map((row) => [row.id, row]))
    const gone = ids.flatMap((id) => {
      const row = rows.get(id)
      const head = held.get(id)
      // What another node has put there since is newer than version 0, and stays.
      if (row === undefined || row.deleted) return [{ id, version: head?.version ?? 0 }]
      return head !== undefined && compareVersions(head, row) > 0 ? [{ id, version: head.version }] : []
    })
    // Tombstones too: they guard against fills with what a slow reader found before the deletion.
    const known = ids.flatMap((id) => rows.get(id) ?? [])
    const removed = gone.length === 0 ? 0 : yield* cache.deleteMany(gone)
    if (known.length > 0) yield* cache.repair(known)
    return { written: known.filter((row) => !row.deleted).length, removed }
  })

/**
 * @param quiet runs an effect while this engine archives nothing, so that two roots can be compared
 * @param mended told the ids of each batch of mended items. Synchronous
 * @since 0.1.0
 * @category functions
 */
export const resync = (
  archive: Context.Tag.Service<Archive>,
  cache: CacheService,
  quiet: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  mended?: (ids: ReadonlyArray<string>) => void
): Effect.Effect<ResyncResult, ArchiveError | CacheError> =>
  Effect.gen(function* () {
    const cost: DivergenceCost = { digests: 0, requests: 0 }
    const equal = quiet(Effect.zipWith(archive.root, cache.root, (mine, theirs) => mine === theirs))
    let written = 0
    let removed = 0
    let rebuilt = false
    for (let rounds = 0; ; rounds++) {
      if (yield* equal) return { equal: true, written, removed, rounds, rebuilt, cost }
      if (rounds === maxRounds) return { equal: false, written, removed, rounds, rebuilt, cost }
      let found = 0
      yield* divergence(ofArchive(archive), ofCache(cache), { cost }).pipe(
        Stream.rechunk(itemsPerRepair),
        Stream.chunks,
        Stream.runForEach((chunk) =>
          Effect.map(mend(archive, cache, Chunk.toReadonlyArray(chunk)), (result) => {
            found += chunk.length
            written += result.written
            removed += result.removed
            mended?.(Chunk.toReadonlyArray(Chunk.map(chunk, ({ id }) => id)))
          })
        )
      )
      // No item differs, or mending them changed nothing: the cache's own tree does not describe its items.
      if ((found === 0 || rounds === maxRounds - 2) && !(yield* equal) && !rebuilt) {
        rebuilt = true
        yield* cache.rebuildTree
      }
    }
  })
