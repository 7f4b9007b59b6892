/**
 * Verification: what the tiers hold is proven, on request and within a budget. Changes nothing.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { OpenArchive, RecomputedRoot } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError } from "../cache/Cache.js"
import type { Digest } from "../merkle/Tree.js"
import type { SyncItem } from "../SyncItem.js"
import { Budget, type BudgetOptions } from "./Budget.js"
import type { Difference } from "./Divergence.js"
import { type BothTiers, lasting, settle, settledRoots, type Tiers } from "./Roots.js"
import { checkRows, Findings, treeDifferences, type VerifyDifference } from "./TreeCheck.js"
import { Comparison, eachRow, eachSampled } from "./ValueCheck.js"

/**
 * What to prove. Without any of `roots`, `rows`, `contents` and `values`: roots and rows.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifyOptions {
  /** The archive's root is the cache's. */
  readonly roots?: boolean | undefined
  /**
   * The archive's rows hash to its root and to every node of its tree, and its tree has no other nodes. Without a
   * budget an embedded archive's file is looked at as a whole too: its pages, and that its indexes are what its rows say.
   */
  readonly rows?: boolean | undefined
  /** The bytes of the archive's rows hash to their content hashes, and their other fields make sense. Reads all contents. */
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

/**
 * Something that was asked for and could not be looked at.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unchecked {
  readonly what: "roots" | "rows" | "values"
  readonly problem: string
}

/**
 * What a verification has looked at, and what it has found.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifyResult {
  /** Nothing that was looked at differs, and nothing that was asked for could not be looked at. */
  readonly inSync: boolean
  /** Everything that was asked for has been looked at: neither the budget nor a tier ended it. */
  readonly complete: boolean
  readonly archiveRoot: Digest
  /** None without a cache, when it is unavailable, or when roots were not asked for. While others write, of another moment. */
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

export const defaultSample = 1000
export const defaultDifferences = 100

const mostAttempts = 3
/** Items that are looked at once more when others never stopped writing. */
const leavesLookedAt = 2000

/** Checks rows against the tree until no write comes between, the last time while this engine writes nothing. */
export const settledRows = Effect.fnUntraced(function* (
  { archive, exclusively }: Tiers,
  budget: Budget,
  findings: Findings
) {
  for (let attempt = 1; ; attempt++) {
    const found = findings.fresh()
    const pass = archive.reading((reader) => checkRows(reader, budget, found))
    const check = yield* attempt < mostAttempts ? pass : exclusively(pass)
    if (check.settled) findings.addAll(found)
    if (check.settled || attempt === mostAttempts || budget.exhausted) return check
  }
})

/**
 * Compares the trees node by node. What differs counts when the archive has had the same root for long enough that
 * nothing is on its way; items also when they last. Returns why it is not known, if it is not.
 */
const settledTrees = Effect.fnUntraced(function* (tiers: BothTiers, budget: Budget, findings: Findings) {
  const { archive, cache, exclusively } = tiers
  let found = findings.fresh()
  let leaves: Array<string> = []
  const pass = Effect.suspend(() => {
    found = findings.fresh()
    leaves = []
    return treeDifferences(archive, cache, budget, (differences) =>
      Effect.sync(() => {
        for (const difference of differences) {
          found.add({ tier: "cache", ...difference })
          if (difference.what === "leaf" && leaves.length < leavesLookedAt) leaves.push(difference.id)
        }
      })
    )
  })
  const quietPass = Effect.gen(function* () {
    const archived = yield* archive.root
    if (!(yield* settle(budget))) return false
    const cached = yield* cache.root
    yield* pass
    return archived === (yield* archive.root) && cached === (yield* cache.root)
  })
  yield* pass
  for (let attempt = 1; attempt < mostAttempts && found.total > 0; attempt++) {
    if (yield* attempt < mostAttempts - 1 ? quietPass : exclusively(quietPass)) {
      findings.addAll(found)
      return undefined
    }
    if (budget.exhausted) return tooShort
  }
  if (found.total === 0) return undefined
  for (const { id, kind } of (yield* lasting(archive, cache, leaves, budget)) ?? []) {
    findings.add({ tier: "cache", what: "leaf", id, problem: kind })
  }
  return "others kept writing meanwhile"
})

const tooShort = "something differs, and the budget ended before it was known for how long"

/** What one verification has found so far. */
interface Run {
  readonly budget: Budget
  readonly findings: Findings
  readonly unchecked: Array<Unchecked>
  readonly checked: { rows: number; contents: number; values: number }
}

/** Goes on where the cache is unavailable, after noting why. */
export const unlessUnavailable = <A>(
  effect: Effect.Effect<A, ArchiveError | CacheError>,
  note: (problem: string) => void
): Effect.Effect<A | undefined, ArchiveError> =>
  Effect.catchTag(effect, "CacheError", ({ message }) =>
    Effect.sync(() => {
      note(message)
      return undefined
    })
  )

/** Contents of the archive's rows alone. */
const checkContents = (archive: OpenArchive, { budget, checked, findings }: Run) =>
  Effect.map(eachRow(archive, budget, { damaged: noteDamaged(findings) }), (read) => {
    checked.contents = read
  })

const noteDamaged = (findings: Findings) => (items: ReadonlyArray<{ readonly id: string }>) =>
  Effect.sync(() => {
    for (const { id } of items) findings.add({ tier: "archive", what: "content", id, problem: "changed" })
  })

/** The cache's values, and with `full` its tree; in the same pass the contents of the rows, when asked for. */
const checkValues = Effect.fnUntraced(function* (
  tiers: BothTiers,
  run: Run,
  options: { readonly contents: boolean; readonly values: "sample" | "full"; readonly sample: number }
) {
  const { archive, cache } = tiers
  const { budget, checked, findings, unchecked } = run
  const comparison = new Comparison(archive, cache, budget)
  const cannot = (problem: string) => unchecked.push({ what: "values", problem })
  const note = (found: ReadonlyArray<Difference>) => {
    for (const { id, kind } of found) findings.add({ tier: "cache", what: "value", id, problem: kind })
  }
  const compared = (items: ReadonlyArray<SyncItem>) =>
    Effect.map(comparison.compare(items), (found) => {
      checked.values += items.length
      note(found)
    })
  const rest = Effect.map(comparison.rest, (found) => {
    note(found)
    if (comparison.undecided > 0) cannot(tooShort)
  })
  if (options.values === "sample") {
    if (options.contents) yield* checkContents(archive, run)
    const sampled = Effect.zipRight(eachSampled(archive, budget, options.sample, compared), rest)
    yield* unlessUnavailable(sampled, cannot)
    return
  }
  let unavailable = false
  const read = yield* eachRow(archive, budget, {
    damaged: options.contents ? noteDamaged(findings) : undefined,
    items: (items) =>
      unavailable
        ? Effect.void
        : unlessUnavailable(compared(items), (problem) => {
            unavailable = true
            cannot(problem)
          })
  })
  if (options.contents) checked.contents = read
  if (unavailable) return
  const trees = Effect.map(settledTrees(tiers, budget, findings), (problem) => {
    if (problem !== undefined) cannot(problem)
  })
  yield* unlessUnavailable(Effect.zipRight(rest, trees), cannot)
})

/** @param pending acknowledged writes that are not archived */
export const verify = Effect.fnUntraced(function* (
  tiers: Tiers,
  options: VerifyOptions,
  pending: () => number
): Effect.fn.Return<VerifyResult, ArchiveError> {
  const { archive, cache } = tiers
  const unset = [options.roots, options.rows, options.contents, options.values].every(
    (asked) => asked === undefined
  )
  const { contents = false, sample = defaultSample, values = false } = options
  const run: Run = {
    budget: yield* Budget.begin(options.budget),
    findings: new Findings(options.differences ?? defaultDifferences),
    unchecked: [],
    checked: { rows: 0, contents: 0, values: 0 }
  }
  const { budget, checked, findings, unchecked } = run
  let archiveRoot: Digest | undefined
  let cacheRoot: Digest | undefined
  let recomputed: RecomputedRoot | undefined

  if (options.roots ?? unset) {
    const cannot = (problem: string) => unchecked.push({ what: "roots", problem })
    const found = yield* unlessUnavailable(settledRoots(tiers, budget), cannot)
    archiveRoot = found?.archiveRoot
    cacheRoot = found?.cacheRoot
    if (found?.equal === false) {
      if (budget.exhausted) cannot(tooShort)
      else findings.add({ tier: "cache", what: "root", id: "", problem: "changed" })
    }
  }
  if (options.rows ?? unset) {
    const check = yield* settledRows(tiers, budget, findings)
    archiveRoot = check.root
    checked.rows = check.rows
    if (check.settled) recomputed = check.recomputed
    else if (!budget.exhausted) unchecked.push({ what: "rows", problem: "others kept writing meanwhile" })
    const damage = options.budget === undefined ? yield* archive.damage : undefined
    if (damage !== undefined)
      unchecked.push({ what: "rows", problem: `${archive.target} is damaged: ${damage}` })
  }
  if (values !== false && cache !== undefined) {
    yield* checkValues({ ...tiers, cache }, run, { contents, values, sample })
  } else if (contents) yield* checkContents(archive, run)
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
