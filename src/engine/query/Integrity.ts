/** Proving and repairing on request, and comparing with other nodes. */
import { Effect, Stream } from "effect"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import { InvalidRequest, type ReadError } from "../../EngineError.js"
import type { MerkleSource } from "../../merkle/Source.js"
import type { BudgetOptions } from "../../reconcile/Budget.js"
import { divergence } from "../../reconcile/Divergence.js"
import { repair } from "../../reconcile/Repair.js"
import { settledRoots, type Tiers } from "../../reconcile/Roots.js"
import { ofArchive } from "../../reconcile/Sources.js"
import { verify } from "../../reconcile/Verify.js"
import { contentHashOf, type ItemRecord, prefixProblem, type SyncItem } from "../../SyncItem.js"
import type { CacheResync } from "../background/CacheResync.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { Flusher } from "../flush/Flusher.js"
import { archiveUnavailable } from "../state/ArchiveUnavailable.js"
import type { EngineState } from "../state/EngineState.js"
import type { WriteOperations } from "../write/WriteOperations.js"
import type { TreeApi } from "./TreeApi.js"

export type Integrity = Pick<TreeApi, "verify" | "repair" | "isSynced" | "merkleSource" | "findDivergent">

/** The largest sample. */
export const maxSample = 100_000

/** The most differences that are listed. */
export const maxDifferences = 10_000

/** Damaged items for which others are asked at once. */
const restoredAtOnce = 50

export const make = (
  core: EngineState,
  flush: Flusher,
  carry: FlushBarrier,
  care: CacheResync,
  submit: WriteOperations["submit"]
): Integrity => {
  const guarded = <A, E>(problem: InvalidRequest | undefined, body: Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | ReadError> => {
      const gate = problem ?? core.queryGate()
      return gate === undefined ? body : Effect.fail(gate)
    })

  /** Runs against the archive and the cache after carrying to them what was acknowledged. */
  const withTiers = <A>(
    operation: string,
    problem: InvalidRequest | undefined,
    use: (tiers: Tiers) => Effect.Effect<A, ArchiveError | ReadError>
  ): Effect.Effect<A, ReadError> =>
    guarded(
      problem,
      carry.all(operation).pipe(
        Effect.zipRight(carry.ask(operation, Effect.succeed)),
        Effect.flatMap((archive) =>
          Effect.mapError(
            use({ archive, cache: core.cache?.service, exclusively: flush.exclusively }),
            (error) => (error._tag === "ArchiveError" ? archiveUnavailable(operation)(error) : error)
          )
        )
      )
    )

  const forget = (ids: ReadonlyArray<string>): number => {
    let dropped = 0
    for (const id of ids) {
      if (core.pending.get(id) !== undefined || core.memory.peek(id) === undefined) continue
      core.memory.remove(id)
      core.touch(id)
      dropped++
    }
    return dropped
  }

  /** Writes the right bytes of damaged rows again where memory or the cache has them; returns the other ids. */
  const restore = (items: ReadonlyArray<SyncItem>): Effect.Effect<ReadonlyArray<string>> =>
    Effect.gen(function* () {
      const lost: Array<string> = []
      for (let at = 0; at < items.length; at += restoredAtOnce) {
        const some = items.slice(at, at + restoredAtOnce)
        const cached = yield* Effect.orElseSucceed(
          core.cache?.service.getMany(some.map(({ id }) => id)) ?? Effect.succeed([]),
          (): ReadonlyArray<ItemRecord> => []
        )
        const held = new Map(cached.map((record) => [record.id, record]))
        for (const row of some) {
          const whole = [core.memory.peek(row.id), held.get(row.id)].find((copy) => isWhole(copy, row))
          if (whole === undefined) {
            lost.push(row.id)
            continue
          }
          const { contentType, id, state, traceparent } = row
          const written = yield* Effect.either(
            submit(
              { id, content: whole.content, contentType, state, traceparent },
              { expectedVersion: row.version }
            )
          )
          if (written._tag === "Left") {
            lost.push(id)
            yield* Effect.logWarning(`a damaged item could not be written again: ${written.left.message}`, {
              id
            })
          }
        }
      }
      return lost
    })

  const source = (operation: string) => {
    const ask = <A>(question: (source: MerkleSource<ArchiveError>) => Effect.Effect<A, ArchiveError>) =>
      guarded(
        undefined,
        carry.ask(operation, (archive) => question(ofArchive(archive)))
      )
    const page = <A>(
      { path, limit = 1 }: { readonly path: string; readonly limit?: number },
      question: (source: MerkleSource<ArchiveError>) => Effect.Effect<A, ArchiveError>
    ) =>
      Effect.suspend(() =>
        orFail(pathRequest(path) ?? wholeRequest("limit", limit, 1, 10_000), ask(question))
      )
    const merkle: MerkleSource<ReadError> = {
      root: carry.thenAsk(operation, (archive) => archive.root),
      node: (path) =>
        orFail(
          pathRequest(path),
          carry.thenAsk(operation, (archive) => archive.node(path))
        ),
      branches: (path, options) => page({ path, ...options }, (tree) => tree.branches(path, options)),
      leaves: (path, options) => page({ path, limit: options.limit }, (tree) => tree.leaves(path, options)),
      leafSum: (path, range) => page({ path }, (tree) => tree.leafSum(path, range)),
      leafParts: (path, range, size) =>
        orFail(
          wholeRequest("size", size, 1, Number.MAX_SAFE_INTEGER),
          page({ path }, (tree) => tree.leafParts(path, range, size))
        )
    }
    return merkle
  }

  return {
    verify: (options = {}) =>
      withTiers("verify", optionsProblem(options), (tiers) =>
        verify(tiers, options, () => core.pendingEntries())
      ),
    repair: (options = {}) =>
      withTiers("repair", optionsProblem(options), (tiers) =>
        repair<ReadError>(
          { ...tiers, restore, forget, carry: carry.all("repair"), resync: care.proveWithin },
          options
        )
      ).pipe(
        Effect.tap((result) =>
          Effect.logInfo("repaired", {
            treeRebuilt: result.treeRebuilt,
            contentsRestored: result.contentsRestored,
            contentsLost: result.contentsLost,
            cacheWritten: result.cacheWritten,
            cacheRemoved: result.cacheRemoved,
            cacheRebuilt: result.cacheRebuilt,
            valuesRewritten: result.valuesRewritten
          })
        )
      ),
    isSynced: withTiers("isSynced", undefined, (tiers) =>
      settledRoots(tiers).pipe(
        Effect.map(({ equal }) => equal),
        Effect.catchTag("CacheError", () => Effect.succeed(false))
      )
    ),
    merkleSource: source("merkleSource"),
    findDivergent: (other, options) =>
      Stream.unwrap(
        Effect.as(
          guarded(pathRequest(options?.under ?? ""), carry.all("findDivergent")),
          divergence(source("findDivergent"), other, options)
        )
      )
  }
}

const orFail = <A>(problem: InvalidRequest | undefined, effect: Effect.Effect<A, ReadError>) =>
  problem === undefined ? effect : Effect.fail(problem)

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

const pathRequest = (path: string): InvalidRequest | undefined => {
  const problem = prefixProblem(path)
  return problem === undefined ? undefined : new InvalidRequest({ argument: "path", problem })
}

const wholeRequest = (
  argument: string,
  value: number | undefined,
  least: number,
  most: number
): InvalidRequest | undefined =>
  value === undefined || (Number.isSafeInteger(value) && value >= least && value <= most)
    ? undefined
    : new InvalidRequest({ argument, problem: `must be a whole number from ${least} to ${most}` })

const optionsProblem = (options: {
  readonly sample?: number | undefined
  readonly differences?: number | undefined
  readonly budget?: BudgetOptions | undefined
}): InvalidRequest | undefined =>
  wholeRequest("sample", options.sample, 1, maxSample) ??
  wholeRequest("differences", options.differences, 0, maxDifferences) ??
  wholeRequest("budget.rows", options.budget?.rows, 1, Number.MAX_SAFE_INTEGER) ??
  wholeRequest("budget.milliseconds", options.budget?.milliseconds, 1, Number.MAX_SAFE_INTEGER)
