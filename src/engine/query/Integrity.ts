/** Proving and repairing on request, and comparing with other nodes. */
import { Effect, Stream, Struct } from "effect"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import type { InvalidRequest, ReadError } from "../../EngineError.js"
import type { MerkleSource } from "../../merkle/Source.js"
import { divergence } from "../../reconcile/Divergence.js"
import { repair } from "../../reconcile/Repair.js"
import { byId, settledRoots, type Tiers } from "../../reconcile/Roots.js"
import { ofArchive } from "../../reconcile/Sources.js"
import { type VerifyOptions, verify } from "../../reconcile/Verify.js"
import { contentHashOf, type ItemRecord, type SyncItem } from "../../SyncItem.js"
import type { CacheResync } from "../background/CacheResync.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { Flusher } from "../flush/Flusher.js"
import { archiveUnavailable } from "../state/Conditions.js"
import type { EngineState } from "../state/EngineState.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import { defaultPageItems, guarded, invalidPage, invalidPrefix, notWhole, orFail } from "./Requests.js"
import type { TreeApi } from "./TreeApi.js"

/** The largest sample. */
const maxSample = 100_000
/** The most differences that are listed. */
const maxDifferences = 10_000
/** Damaged items for which others are asked at once. */
const restoredAtOnce = 50

/** What the log says of a repair. */
const logged = [
  "treeRebuilt",
  "contentsRestored",
  "contentsLost",
  "cacheWritten",
  "cacheRemoved",
  "cacheRebuilt",
  "valuesRewritten"
] as const

/** Runs against the archive and the cache after carrying to them what was acknowledged. */
const withTiers =
  (core: EngineState, flush: Flusher, barrier: FlushBarrier) =>
  <A>(
    operation: string,
    problem: InvalidRequest | undefined,
    use: (tiers: Tiers) => Effect.Effect<A, ArchiveError | ReadError>
  ): Effect.Effect<A, ReadError> =>
    barrier.all(operation).pipe(
      Effect.zipRight(barrier.ask(operation, Effect.succeed)),
      Effect.flatMap((archive) =>
        use({ archive, cache: core.cache?.service, exclusively: flush.exclusively })
      ),
      Effect.mapError((error) =>
        error._tag === "ArchiveError" ? archiveUnavailable(operation)(error) : error
      ),
      (body) => orFail(problem, guarded(core, body)),
      Effect.withSpan(`SyncEngine.${operation}`)
    )

export const make = (
  core: EngineState,
  flush: Flusher,
  barrier: FlushBarrier,
  resync: CacheResync,
  submit: WriteOperations["submit"]
): TreeApi => {
  const proving = withTiers(core, flush, barrier)
  return {
    merkleRoot: Effect.withSpan(
      barrier.thenAsk("merkleRoot", (archive) => archive.root),
      "SyncEngine.merkleRoot"
    ),
    merkleNode: (path) => Effect.withSpan(nodeOf(barrier, "merkleNode", path), "SyncEngine.merkleNode"),
    merkleChildren: (path, { after, limit = defaultPageItems } = {}) =>
      orFail(
        invalidPrefix(path, "path") ?? invalidPage({ limit }),
        barrier.thenAsk("merkleChildren", (archive) => archive.children(path, { after, limit }))
      ).pipe(Effect.withSpan("SyncEngine.merkleChildren")),
    verify: (options = {}) =>
      proving("verify", invalidOptions(options), (tiers) =>
        verify(tiers, options, () => core.pendingEntries())
      ),
    repair: (options = {}) =>
      proving("repair", invalidOptions(options), (tiers) =>
        repair<ReadError>(
          {
            ...tiers,
            restore: (items) => restore(core, submit, items),
            forget: (ids) => forget(core, ids),
            carry: barrier.all("repair"),
            resync: resync.proveWithin
          },
          options
        )
      ).pipe(Effect.tap((result) => Effect.logInfo("repaired", Struct.pick(result, ...logged)))),
    isSynced: proving("isSynced", undefined, (tiers) =>
      settledRoots(tiers).pipe(
        Effect.map(({ equal }) => equal),
        Effect.catchTag("CacheError", () => Effect.succeed(false))
      )
    ),
    merkleSource: sourceOf(core, barrier, "merkleSource"),
    findDivergent: (other, options) =>
      Stream.unwrap(
        Effect.as(
          orFail(invalidPrefix(options?.under ?? "", "path"), guarded(core, barrier.all("findDivergent"))),
          divergence(sourceOf(core, barrier, "findDivergent"), other, options)
        )
      )
  }
}

const nodeOf = (barrier: FlushBarrier, operation: string, path: string) =>
  orFail(
    invalidPrefix(path, "path"),
    barrier.thenAsk(operation, (archive) => archive.node(path))
  )

/** The archived tree as a source of comparisons. */
const sourceOf = (core: EngineState, barrier: FlushBarrier, operation: string): MerkleSource<ReadError> => {
  const page = <A>(
    { limit, path }: { readonly path: string; readonly limit?: number },
    question: (source: MerkleSource<ArchiveError>) => Effect.Effect<A, ArchiveError>
  ) =>
    Effect.suspend(() =>
      orFail(
        invalidPrefix(path, "path") ?? invalidPage({ limit }),
        guarded(
          core,
          barrier.ask(operation, (archive) => question(ofArchive(archive)))
        )
      )
    )
  return {
    root: barrier.thenAsk(operation, (archive) => archive.root),
    node: (path) => nodeOf(barrier, operation, path),
    branches: (path, options) => page({ path, limit: options.limit }, (tree) => tree.branches(path, options)),
    leaves: (path, options) => page({ path, limit: options.limit }, (tree) => tree.leaves(path, options)),
    leafSum: (path, range) => page({ path }, (tree) => tree.leafSum(path, range)),
    leafParts: (path, range, size) =>
      orFail(
        notWhole("size", size, 1),
        page({ path }, (tree) => tree.leafParts(path, range, size))
      )
  }
}

/** Drops what memory holds of these ids and is archived; returns how many. */
const forget = (core: EngineState, ids: ReadonlyArray<string>): number => {
  let dropped = 0
  for (const id of ids) {
    if (core.pending.get(id) !== undefined || core.memory.peek(id) === undefined) continue
    core.memory.remove(id)
    core.watches.touch(id)
    dropped++
  }
  return dropped
}

/** Writes the right bytes of damaged rows again where memory or the cache has them; returns the other ids. */
const restore = Effect.fnUntraced(function* (
  core: EngineState,
  submit: WriteOperations["submit"],
  items: ReadonlyArray<SyncItem>
) {
  const lost: Array<string> = []
  for (let at = 0; at < items.length; at += restoredAtOnce) {
    const some = items.slice(at, at + restoredAtOnce)
    const cached = yield* Effect.orElseSucceed(
      core.cache?.service.getMany(some.map(({ id }) => id)) ?? Effect.succeed([]),
      (): ReadonlyArray<ItemRecord> => []
    )
    const held = byId(cached)
    for (const row of some) {
      const { contentType, id, state, traceparent, version } = row
      const whole = [core.memory.peek(id), held.get(id)].find((copy) => isWhole(copy, row))
      if (whole === undefined) {
        lost.push(id)
        continue
      }
      const item = { id, content: whole.content, contentType, state, traceparent }
      yield* Effect.catchAll(submit(item, { expectedVersion: version }), ({ message }) => {
        lost.push(id)
        return Effect.logWarning(`a damaged item could not be written again: ${message}`, { id })
      })
    }
  }
  return lost
})

/**
 * Whether a copy holds the bytes that belong to a damaged row: those that the row's hash names, or, of the same
 * version, those that the row has under a wrong hash.
 */
const isWhole = (copy: ItemRecord | undefined, row: SyncItem): copy is ItemRecord =>
  copy !== undefined &&
  !copy.deleted &&
  contentHashOf(copy.content) === copy.contentHash &&
  (copy.contentHash === row.contentHash ||
    (copy.version === row.version && copy.contentHash === contentHashOf(row.content)))

const invalidOptions = ({ budget, differences, sample }: VerifyOptions) =>
  notWhole("sample", sample, 1, maxSample) ??
  notWhole("differences", differences, 0, maxDifferences) ??
  notWhole("budget.rows", budget?.rows, 1) ??
  notWhole("budget.milliseconds", budget?.milliseconds, 1)
