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
import { type ResyncOptions, type ResyncResult, repairItems } from "./Resync.js"
import { settledRoots, type Tiers } from "./Roots.js"
import { Findings, treeDifferences } from "./TreeCheck.js"
import { Comparison, eachRow, eachSampled } from "./ValueCheck.js"
import { defaultDifferences, defaultSample, settledRows, unlessUnavailable } from "./Verify.js"

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
 * What a repair has put right, and what it could not.
 *
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

/** What a repair needs of its engine. */
export interface RepairTools<E> extends Tiers {
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

/** A repair under way, and what it has done so far. */
class Run<E> {
  readonly problems = new Set<string>()
  readonly lost: Array<string> = []
  readonly checked = { rows: 0, contents: 0, values: 0 }
  readonly done = {
    treeRebuilt: false,
    contentsRestored: 0,
    contentsLost: 0,
    cacheWritten: 0,
    cacheRemoved: 0,
    cacheRebuilt: false,
    valuesRewritten: 0,
    memoryDropped: 0
  }

  constructor(
    readonly tools: RepairTools<E>,
    readonly options: RepairOptions,
    readonly budget: Budget
  ) {}

  unlessUnavailable<A>(effect: Effect.Effect<A, ArchiveError | CacheError>) {
    return unlessUnavailable(effect, (problem) => this.problems.add(problem))
  }

  /** Damaged bytes of rows. */
  readonly contents = Effect.suspend(() => {
    const { archive, carry, restore } = this.tools
    const most = this.options.differences ?? defaultDifferences
    const damaged = (items: ReadonlyArray<SyncItem>) =>
      Effect.map(restore(items), (left) => {
        this.done.contentsRestored += items.length - left.length
        this.done.contentsLost += left.length
        this.lost.push(...left.slice(0, most - this.lost.length))
      })
    return Effect.flatMap(eachRow(archive, this.budget, { damaged }), (read) => {
      this.checked.contents = read
      return this.done.contentsRestored > 0 ? carry : Effect.void
    })
  })

  /** The archive's tree. */
  readonly rows = Effect.gen(this, function* () {
    const { budget, checked, done, problems, tools } = this
    const findings = new Findings(0)
    const check = yield* settledRows(tools, budget, findings)
    checked.rows = check.rows
    // Rebuilding a tree cannot be cut short; it is not begun when the time is up.
    if (findings.total > 0 && !budget.exhausted) {
      yield* tools.archive.rebuildTree
      done.treeRebuilt = true
    } else if (!check.settled && !budget.exhausted) {
      problems.add("others kept writing, so the rows could not be compared with the tree")
    }
  })

  forget(ids: ReadonlyArray<string>): void {
    this.done.memoryDropped += this.tools.forget(ids)
  }

  /** The cache by both trees. */
  readonly resync = Effect.suspend(() =>
    Effect.map(this.tools.resync({ budget: this.budget, repaired: (ids) => this.forget(ids) }), (result) => {
      this.done.cacheWritten += result?.written ?? 0
      this.done.cacheRemoved += result?.removed ?? 0
      if (result?.rebuilt === true) this.done.cacheRebuilt = true
    })
  )

  /** The cache's values and, with `full`, its tree. Returns whether that tree was repaired. */
  values(cache: CacheService, values: "sample" | "full") {
    return Effect.gen(this, function* () {
      const { budget, checked, done } = this
      const { archive } = this.tools
      const comparison = new Comparison(archive, cache, budget)
      const rewrite = (found: ReadonlyArray<Difference>) =>
        found.length === 0
          ? Effect.void
          : Effect.map(repairItems(archive, cache, found, budget), ({ removed, written }) => {
              done.valuesRewritten += written
              done.cacheRemoved += removed
              this.forget(found.map(({ id }) => id))
            })
      const items = (page: ReadonlyArray<SyncItem>) =>
        Effect.flatMap(comparison.compare(page), (found) => {
          checked.values += page.length
          return rewrite(found)
        })
      yield* values === "sample"
        ? eachSampled(archive, budget, this.options.sample ?? defaultSample, items)
        : eachRow(archive, budget, { items })
      yield* rewrite(yield* comparison.rest)
      return values === "full" && (yield* this.cacheTree(cache))
    })
  }

  /**
   * The items that the cache's tree lists wrongly, and that tree when its nodes are not the archive's. What others
   * write meanwhile shows as a difference too; repairing it does no harm. Returns whether something was repaired.
   */
  private readonly cacheTree = (cache: CacheService) =>
    Effect.gen(this, function* () {
      const { budget, done } = this
      const { archive, exclusively } = this.tools
      let nodes = 0
      let items = 0
      const look = (repairing: boolean) =>
        treeDifferences(archive, cache, budget, (differences) => {
          const listed = differences.flatMap(
            ({ id, problem, what }): ReadonlyArray<Difference> =>
              what === "leaf" ? [{ id, kind: problem }] : []
          )
          nodes += differences.length - listed.length
          if (!repairing || listed.length === 0) return Effect.void
          return Effect.map(repairItems(archive, cache, listed, budget), ({ removed, written }) => {
            done.cacheWritten += written
            done.cacheRemoved += removed
            items += listed.length
            this.forget(listed.map(({ id }) => id))
          })
        })
      yield* look(true)
      if (nodes === 0 && items === 0) return false
      // Repairing items changes nodes too, for better or, where a wrong digest was counted out, for worse.
      nodes = 0
      yield* exclusively(look(false))
      if (nodes === 0 || budget.exhausted) return items > 0
      yield* cache.rebuildTree
      done.cacheRebuilt = true
      return true
    })
}

export const repair = Effect.fnUntraced(function* <E>(
  tools: RepairTools<E>,
  options: RepairOptions
): Effect.fn.Return<RepairResult, ArchiveError | E> {
  const { archive, cache } = tools
  const { contents = true, roots = true, rows = true, values = "full" } = options
  const run = new Run(tools, options, yield* Budget.begin(options.budget))
  const { budget, checked, done, lost, problems } = run

  // First the bytes: the cache may have them still, and what follows would overwrite them there.
  if (contents) yield* run.contents
  if (rows) yield* run.rows
  if (cache !== undefined && roots) yield* run.unlessUnavailable(run.resync)
  if (cache !== undefined && values !== false) {
    const treeRepaired = yield* run.unlessUnavailable(run.values(cache, values))
    if (treeRepaired === true || done.valuesRewritten > 0) yield* run.unlessUnavailable(run.resync)
  }
  const after = yield* run.unlessUnavailable(settledRoots(tools, budget))
  const archiveRoot = after?.archiveRoot ?? (yield* archive.root)
  const equal = after?.equal ?? true
  if (roots && !equal && !budget.exhausted) problems.add("the cache's root still differs from the archive's")
  return {
    inSync: equal && done.contentsLost === 0 && problems.size === 0,
    complete: !budget.exhausted && problems.size === 0,
    archiveRoot,
    cacheRoot: after?.cacheRoot,
    ...done,
    lost,
    checked,
    problems: [...problems]
  }
})
