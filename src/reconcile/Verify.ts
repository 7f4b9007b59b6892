/**
 * Verification: what the tiers hold is proven, on request and within a budget. Changes nothing.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Archive, ArchiveError, RecomputedRoot } from "../archive/Archive.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import type { Digest } from "../merkle/Tree.js"
import { Budget, type BudgetOptions } from "./Budget.js"
import { Findings, type VerifyDifference } from "./Findings.js"
import { checkRows, type RowCheck } from "./RowCheck.js"
import { ofArchive, ofCache } from "./Sources.js"
import { treeDifferences } from "./TreeCheck.js"
import { eachRow, eachSampled, makeComparison } from "./ValueCheck.js"

/**
 * What to prove. Without any of `roots`, `rows`, `contents` and `values`: roots and rows.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifyOptions {
  /** The archive's root is the cache's. */
  readonly roots?: boolean | undefined
  /** The archive's rows hash to its root and to every node of its tree, and its tree has no other nodes. */
  readonly rows?: boolean | undefined
  /** The bytes of the archive's rows hash to their content hashes. Reads all contents. */
  readonly contents?: boolean | undefined
  /**
   * The cache's values are the archive's rows. `sample`: of some items, each with the same chance. `full`: of all, and
   * the cache's tree is the archive's, node by node.
   */
  readonly values?: "sample" | "full" | false | undefined
  /** Items in a sample, 1 to 100,000, default 1,000. */
  readonly sample?: number | undefined
  /** Differences that are listed, 0 to 10,000, default 100; all are counted. */
  readonly differences?: number | undefined
  readonly budget?: BudgetOptions | undefined
}

/** Something that was asked for and could not be looked at. @since 0.1.0 @category models */
export interface Unchecked {
  readonly what: "roots" | "rows" | "values"
  readonly problem: string
}

/** @since 0.1.0 @category models */
export interface VerifyResult {
  /** Nothing that was looked at differs, and nothing that was asked for could not be looked at. */
  readonly inSync: boolean
  /** Everything that was asked for has been looked at: neither the budget nor a tier ended it. */
  readonly complete: boolean
  readonly archiveRoot: Digest
  /** None without a cache, when it is away, or when roots were not asked for. */
  readonly cacheRoot: Digest | undefined
  /** What the rows hash to; none when rows were not asked for, or the budget ended it. */
  readonly recomputed: RecomputedRoot | undefined
  readonly checked: {
    /** Rows hashed. */
    readonly rows: number
    /** Contents hashed. */
    readonly contents: number
    /** Values compared. */
    readonly values: number
  }
  /** The first of them. */
  readonly differences: ReadonlyArray<VerifyDifference>
  /** How many there are. An item that differs in several ways counts once for each. */
  readonly differencesTotal: number
  readonly unchecked: ReadonlyArray<Unchecked>
  /** Acknowledged writes that were still in the log; 0 unless the archive was unavailable for them. */
  readonly pending: number
}

/** What a verification works on. @since 0.1.0 @category models */
export interface VerifyTiers {
  readonly archive: Context.Tag.Service<Archive>
  /** None without a cache. */
  readonly cache: CacheService | undefined
  /** Runs an effect while this engine archives nothing. */
  readonly exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** @since 0.1.0 @category constants */
export const defaultSample = 1000

/** @since 0.1.0 @category constants */
export const defaultDifferences = 100

/** Other nodes may be between their two writes: only a difference that stays counts. */
const settleTime = "500 millis"

/**
 * Both roots at one moment, a second time if they differ; none for a cache that is not there.
 *
 * @since 0.1.0
 * @category functions
 */
export const rootsOf = ({
  archive,
  cache,
  exclusively
}: VerifyTiers): Effect.Effect<
  { readonly archiveRoot: Digest; readonly cacheRoot: Digest | undefined },
  ArchiveError | CacheError
> => {
  if (cache === undefined) {
    return Effect.map(archive.root, (archiveRoot) => ({ archiveRoot, cacheRoot: undefined }))
  }
  const both = exclusively(
    Effect.zipWith(archive.root, cache.root, (archiveRoot, cacheRoot) => ({ archiveRoot, cacheRoot }))
  )
  return Effect.flatMap(both, (first) =>
    first.archiveRoot === first.cacheRoot ? Effect.succeed(first) : Effect.delay(both, settleTime)
  )
}

const mostAttempts = 3

/**
 * Checks rows against the tree until no write comes between, the last time while this engine writes nothing.
 *
 * @since 0.1.0
 * @category functions
 */
export const settledRows = (
  { archive, exclusively }: VerifyTiers,
  budget: Budget,
  findings: Findings
): Effect.Effect<RowCheck, ArchiveError> =>
  Effect.gen(function* () {
    for (let attempt = 1; ; attempt++) {
      const found = findings.fresh()
      const pass = archive.reading((reader) => checkRows(reader, budget, found))
      const check = yield* attempt < mostAttempts ? pass : exclusively(pass)
      if (check.settled) findings.addAll(found)
      if (check.settled || attempt === mostAttempts || budget.exhausted) return check
    }
  })

/** Compares the trees node by node until no write comes between. False when one always did. */
const settledTrees = (
  tiers: VerifyTiers,
  cache: CacheService,
  budget: Budget,
  findings: Findings
): Effect.Effect<boolean, ArchiveError | CacheError> =>
  Effect.gen(function* () {
    const { archive, exclusively } = tiers
    for (let attempt = 1; ; attempt++) {
      const found = findings.fresh()
      const pass = Effect.gen(function* () {
        const before = yield* Effect.zip(archive.root, cache.root)
        yield* Stream.runForEach(treeDifferences(ofArchive(archive), ofCache(cache), budget), (difference) =>
          Effect.sync(() => found.add({ tier: "cache", ...difference }))
        )
        const after = yield* Effect.zip(archive.root, cache.root)
        return found.total === 0 || (before[0] === after[0] && before[1] === after[1])
      })
      const settled = yield* attempt < mostAttempts ? pass : exclusively(pass)
      if (settled) findings.addAll(found)
      if (settled || attempt === mostAttempts || budget.exhausted) return settled
    }
  })

/**
 * @param pending acknowledged writes that are not archived
 * @since 0.1.0
 * @category functions
 */
export const verify = (
  tiers: VerifyTiers,
  options: VerifyOptions,
  pending: () => number
): Effect.Effect<VerifyResult, ArchiveError> =>
  Effect.gen(function* () {
    const { archive, cache } = tiers
    const unset = [options.roots, options.rows, options.contents, options.values].every(
      (asked) => asked === undefined
    )
    const { contents = false, values = false } = options
    const roots = options.roots ?? unset
    const rows = options.rows ?? unset
    const budget = yield* Budget.begin(options.budget)
    const findings = new Findings(options.differences ?? defaultDifferences)
    const unchecked: Array<Unchecked> = []
    const checked = { rows: 0, contents: 0, values: 0 }
    let archiveRoot: Digest | undefined
    let cacheRoot: Digest | undefined
    let recomputed: RecomputedRoot | undefined

    const unlessAway = <A>(what: Unchecked["what"], effect: Effect.Effect<A, ArchiveError | CacheError>) =>
      Effect.catchTag(effect, "CacheError", (error) =>
        Effect.sync(() => {
          unchecked.push({ what, problem: error.message })
        })
      )

    if (roots) {
      yield* unlessAway(
        "roots",
        Effect.map(rootsOf(tiers), (found) => {
          archiveRoot = found.archiveRoot
          cacheRoot = found.cacheRoot
          if (cacheRoot !== undefined && cacheRoot !== archiveRoot) {
            findings.add({ tier: "cache", what: "root", id: "", problem: "changed" })
          }
        })
      )
    }
    if (rows) {
      const check = yield* settledRows(tiers, budget, findings)
      archiveRoot = check.root
      checked.rows = check.rows
      if (check.settled) recomputed = check.recomputed
      else if (!budget.exhausted) unchecked.push({ what: "rows", problem: "others kept writing meanwhile" })
    }

    const addContents = (items: ReadonlyArray<{ readonly id: string }>) =>
      Effect.sync(() => {
        for (const { id } of items) findings.add({ tier: "archive", what: "content", id, problem: "changed" })
      })
    const withoutValues = Effect.suspend(() =>
      Effect.map(eachRow(archive, budget, { damaged: addContents, items: undefined }), (read) => {
        checked.contents = read
      })
    )
    if (values === false || cache === undefined) {
      if (contents) yield* withoutValues
    } else {
      const compare = makeComparison({ ...tiers, cache })
      const compared = (items: Parameters<typeof compare>[0]) =>
        Effect.map(compare(items), (found) => {
          checked.values += items.length
          for (const { id, kind } of found) findings.add({ tier: "cache", what: "value", id, problem: kind })
        })
      if (values === "sample") {
        if (contents) yield* withoutValues
        yield* unlessAway("values", eachSampled(archive, budget, options.sample ?? defaultSample, compared))
      } else {
        let away = false
        const read = yield* eachRow(archive, budget, {
          damaged: contents ? addContents : undefined,
          items: (items) =>
            away
              ? Effect.void
              : Effect.catchTag(compared(items), "CacheError", (error) =>
                  Effect.sync(() => {
                    away = true
                    unchecked.push({ what: "values", problem: error.message })
                  })
                )
        })
        if (contents) checked.contents = read
        if (!away) {
          yield* unlessAway(
            "values",
            Effect.map(settledTrees(tiers, cache, budget, findings), (settled) => {
              if (!settled && !budget.exhausted)
                unchecked.push({ what: "values", problem: "others kept writing meanwhile" })
            })
          )
        }
      }
    }
    return {
      inSync: findings.total === 0 && unchecked.length === 0,
      complete: !budget.exhausted && unchecked.length === 0,
      archiveRoot: archiveRoot ?? (yield* archive.root),
      cacheRoot,
      recomputed,
      checked,
      differences: findings.listed,
      differencesTotal: findings.total,
      unchecked,
      pending: pending()
    }
  })
