/**
 * Repair: what verification finds is repaired, from the rows of the archive and, where their bytes are damaged, from
 * whoever still has them.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import type { Digest } from "../merkle/Tree.js"
import type { SyncItem } from "../SyncItem.js"
import { Budget, type BudgetOptions } from "./Budget.js"
import type { Difference } from "./Divergence.js"
import { Findings } from "./Findings.js"
import { type ResyncOptions, type ResyncResult, repairItems } from "./Resync.js"
import { treeDifferences } from "./TreeCheck.js"
import { eachRow, eachSampled, makeComparison } from "./ValueCheck.js"
import { defaultSample, rootsOf, settledRows, type VerifyTiers } from "./Verify.js"

/**
 * What to look for and repair; everything unless said otherwise.
 *
 * @since 0.1.0
 * @category models
 */
export interface RepairOptions {
  /** The archive's tree is rebuilt when it is not what the rows say. Default true. */
  readonly rows?: boolean | undefined
  /** Damaged bytes of rows are written again, as a new version, where memory or the cache still has them. Default true. */
  readonly contents?: boolean | undefined
  /** The cache is made equal to the archive, by both trees. Default true. */
  readonly roots?: boolean | undefined
  /** Values of the cache that are not the archive's are written again; `full` also repairs its tree. Default `full`. */
  readonly values?: "sample" | "full" | false | undefined
  /** Items in a sample, 1 to 100,000, default 1,000. */
  readonly sample?: number | undefined
  /** Ids that are listed as lost, 0 to 10,000, default 100; all are counted. */
  readonly differences?: number | undefined
  readonly budget?: BudgetOptions | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface RepairResult {
  /** At the end the roots are equal, and nothing that was found is left as it was. */
  readonly inSync: boolean
  /** Everything that was asked for has been looked at. */
  readonly complete: boolean
  readonly archiveRoot: Digest
  /** None without a cache, or when it is unavailable. */
  readonly cacheRoot: Digest | undefined
  /** The archive's tree was rebuilt. */
  readonly treeRebuilt: boolean
  /** Items whose damaged bytes were written again as a new version. */
  readonly contentsRestored: number
  /** Items whose damaged bytes nobody has; their rows stay as they are. */
  readonly contentsLost: number
  /** The first of them. */
  readonly lost: ReadonlyArray<string>
  /** Items put into the cache because it had none or another version, and taken out of it. */
  readonly cacheWritten: number
  readonly cacheRemoved: number
  /** The cache's tree was rebuilt. */
  readonly cacheRebuilt: boolean
  /** Values of the cache that were written again although the trees were equal. */
  readonly valuesRewritten: number
  /** Memory entries of repaired items that were dropped. */
  readonly memoryDropped: number
  readonly checked: { readonly rows: number; readonly contents: number; readonly values: number }
  /** What could not be done. */
  readonly problems: ReadonlyArray<string>
}

/**
 * What a repair needs of its engine.
 *
 * @since 0.1.0
 * @category models
 */
export interface RepairTools<E> extends VerifyTiers {
  /** Writes the right bytes of damaged rows again, where somebody has them; returns the ids of the others. */
  readonly restore: (items: ReadonlyArray<SyncItem>) => Effect.Effect<ReadonlyArray<string>, E>
  /** Carries what was restored to the archive. */
  readonly carry: Effect.Effect<unknown, E>
  /** Makes the cache equal to the archive; nothing without one. */
  readonly resync: (
    options: ResyncOptions
  ) => Effect.Effect<ResyncResult | undefined, ArchiveError | CacheError>
  /** Drops the memory entries of these ids unless they hold what is not archived; returns how many. */
  readonly forget: (ids: ReadonlyArray<string>) => number
}

/**
 * @since 0.1.0
 * @category functions
 */
export const repair = <E>(
  tools: RepairTools<E>,
  options: RepairOptions
): Effect.Effect<RepairResult, ArchiveError | E> =>
  Effect.gen(function* () {
    const { archive, cache } = tools
    const { contents = true, roots = true, rows = true, values = "full" } = options
    const budget = yield* Budget.begin(options.budget)
    const problems: Array<string> = []
    const checked = { rows: 0, contents: 0, values: 0 }
    const lost: Array<string> = []
    let contentsLost = 0
    let contentsRestored = 0
    let treeRebuilt = false
    let cacheWritten = 0
    let cacheRemoved = 0
    let cacheRebuilt = false
    let valuesRewritten = 0
    let treeRepaired = false
    let memoryDropped = 0

    const unlessAway = (effect: Effect.Effect<unknown, ArchiveError | CacheError>) =>
      Effect.catchTag(Effect.asVoid(effect), "CacheError", (error) =>
        Effect.sync(() => {
          problems.push(error.message)
        })
      )

    // First the bytes: the cache may have them still, and what follows would overwrite them there.
    if (contents) {
      checked.contents = yield* eachRow(archive, budget, {
        items: undefined,
        damaged: (items) =>
          Effect.map(tools.restore(items), (left) => {
            contentsRestored += items.length - left.length
            contentsLost += left.length
            for (const id of left) if (lost.length < (options.differences ?? 100)) lost.push(id)
          })
      })
      if (contentsRestored > 0) yield* tools.carry
    }

    if (rows) {
      const findings = new Findings(0)
      const check = yield* settledRows(tools, budget, findings)
      checked.rows = check.rows
      // Rebuilding a tree cannot be cut short; it is not begun when the time is up.
      if (findings.total > 0 && !budget.exhausted) {
        yield* archive.rebuildTree
        treeRebuilt = true
      } else if (!check.settled && !budget.exhausted) {
        problems.push("others kept writing, so the rows could not be compared with the tree")
      }
    }

    const resync = Effect.map(
      tools.resync({
        budget,
        repaired: (ids) => {
          memoryDropped += tools.forget(ids)
        }
      }),
      (result) => {
        cacheWritten += result?.written ?? 0
        cacheRemoved += result?.removed ?? 0
        if (result?.rebuilt === true) cacheRebuilt = true
      }
    )
    if (cache !== undefined && roots) yield* unlessAway(resync)
    if (cache !== undefined && values !== false) {
      const comparison = makeComparison({ archive, cache }, budget)
      const rewrite = (found: ReadonlyArray<Difference>) =>
        Effect.gen(function* () {
          if (found.length === 0) return
          const repaired = yield* repairItems(archive, cache, found, budget)
          valuesRewritten += repaired.written
          cacheRemoved += repaired.removed
          memoryDropped += tools.forget(found.map(({ id }) => id))
        })
      const compared = (items: ReadonlyArray<SyncItem>) =>
        Effect.flatMap(comparison.compare(items), (found) => {
          checked.values += items.length
          return rewrite(found)
        })
      const rest = Effect.flatMap(comparison.rest, rewrite)
      yield* unlessAway(
        values === "sample"
          ? Effect.zipRight(eachSampled(archive, budget, options.sample ?? defaultSample, compared), rest)
          : Effect.map(
              eachRow(archive, budget, { damaged: undefined, items: compared }).pipe(
                Effect.zipRight(rest),
                Effect.zipRight(repairTree(tools, cache, budget))
              ),
              (repaired) => {
                cacheWritten += repaired.written
                cacheRemoved += repaired.removed
                if (repaired.rebuilt) cacheRebuilt = true
                treeRepaired = repaired.rebuilt || repaired.ids.length > 0
                memoryDropped += tools.forget(repaired.ids)
              }
            )
      )
      if (valuesRewritten > 0 || treeRepaired) yield* unlessAway(resync)
    }

    const after = yield* Effect.catchTag(rootsOf(tools, budget), "CacheError", (error) =>
      Effect.map(archive.root, (archiveRoot) => {
        problems.push(error.message)
        return { archiveRoot, cacheRoot: undefined, equal: true }
      })
    )
    if (roots && !after.equal && !budget.exhausted)
      problems.push("the cache's root still differs from the archive's")
    return {
      inSync: after.equal && contentsLost === 0 && problems.length === 0,
      complete: !budget.exhausted && problems.length === 0,
      archiveRoot: after.archiveRoot,
      cacheRoot: after.cacheRoot,
      treeRebuilt,
      contentsRestored,
      contentsLost,
      lost,
      cacheWritten,
      cacheRemoved,
      cacheRebuilt,
      valuesRewritten,
      memoryDropped,
      checked,
      problems: [...new Set(problems)]
    }
  })

/**
 * Repairs the items that the cache's tree lists wrongly, and rebuilds that tree when its nodes are not the archive's.
 * What others write meanwhile shows as a difference too; repairing it does no harm.
 */
const repairTree = ({ archive, exclusively }: VerifyTiers, cache: CacheService, budget: Budget) =>
  Effect.gen(function* () {
    let written = 0
    let removed = 0
    let nodes = 0
    const ids: Array<string> = []
    const look = (repairing: boolean) =>
      treeDifferences(archive, cache, budget, (differences) => {
        const listed = differences.flatMap(
          ({ id, problem, what }): ReadonlyArray<Difference> =>
            what === "leaf" ? [{ id, kind: problem }] : []
        )
        nodes += differences.length - listed.length
        if (!repairing || listed.length === 0) return Effect.void
        return Effect.map(repairItems(archive, cache, listed, budget), (repaired) => {
          written += repaired.written
          removed += repaired.removed
          for (const { id } of listed) ids.push(id)
        })
      })
    yield* look(true)
    let rebuilt = false
    if (nodes > 0 || ids.length > 0) {
      // Repairing items changes nodes too, for better or, where a wrong digest was counted out, for worse.
      nodes = 0
      yield* exclusively(look(false))
      if (nodes > 0 && !budget.exhausted) {
        yield* cache.rebuildTree
        rebuilt = true
      }
    }
    return { written, removed, rebuilt, ids }
  })
