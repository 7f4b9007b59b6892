/** Proves that stored bytes are what their hashes say, and that the cache's values are the archive's rows. */
import { Effect, Random } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import {
  type ItemHead,
  type ItemRecord,
  idProblem,
  type SyncItem,
  sameHead,
  sameVersion,
  stateProblem,
  traceparentProblem,
  versionProblem
} from "../SyncItem.js"
import { hashOf, pieceBytes } from "../shared/Pieces.js"
import { yieldToEventLoop } from "../shared/YieldToEventLoop.js"
import type { Budget } from "./Budget.js"
import type { Difference } from "./Divergence.js"
import { byId, bytesAtOnce, groupsByBytes, lasting } from "./Roots.js"

const rowsPerPage = 250
const idsPerPage = 5000
/** Contents of both tiers that are held at once to be compared. */
const valuesAtOnce = 50

/** Whether a row holds what no write can have brought: the hash is of its bytes alone. */
const isSenseless = ({ contentType, id, state, traceparent, updatedAt, version }: SyncItem): boolean =>
  idProblem(id) !== undefined ||
  versionProblem(version) !== undefined ||
  !(Number.isSafeInteger(updatedAt) && updatedAt >= 0) ||
  (contentType !== "json" && contentType !== "binary") ||
  (state !== undefined && stateProblem(state) !== undefined) ||
  (traceparent !== undefined && traceparentProblem(traceparent) !== undefined)

/** Items of a page whose bytes are not what their hash says, or whose other fields make no sense. */
const damagedOf = Effect.fnUntraced(function* (items: ReadonlyArray<SyncItem>) {
  const damaged: Array<SyncItem> = []
  let bytes = 0
  for (const item of items) {
    if (bytes > pieceBytes) {
      yield* yieldToEventLoop
      bytes = 0
    }
    bytes += item.content.length
    if (isSenseless(item) || (yield* hashOf(item.content)) !== item.contentHash) damaged.push(item)
  }
  return damaged
})

const same = (row: SyncItem, held: ItemRecord): boolean =>
  sameVersion({ ...row, deleted: false }, held) &&
  row.updatedAt === held.updatedAt &&
  row.traceparent === held.traceparent

/** The cache checks bytes against their hash when it reads them, so heads say whether values are the same. */
const unlike = (
  ids: ReadonlyArray<string>,
  rows: ReadonlyMap<string, SyncItem>,
  held: ReadonlyArray<ItemRecord>
): Array<Difference> => {
  const records = byId(held)
  return ids.flatMap((id): Array<Difference> => {
    const row = rows.get(id)
    if (row === undefined) return []
    const record = records.get(id)
    if (record === undefined) return [{ id, kind: "missing" }]
    return same(row, record) ? [] : [{ id, kind: "changed" }]
  })
}

/** Suspects that are looked at again together, so that there is one wait for many. */
const suspectsAtOnce = 2000

/**
 * Compares both tiers' values of some items. What is on its way from the archive to the cache is no difference: it
 * has to last, and to be there when both are read once more.
 */
export class Comparison {
  private suspects: Array<string> = []
  /** Items that differed when the budget ended, and may have been on their way. */
  undecided = 0

  constructor(
    private readonly archive: OpenArchive,
    private readonly cache: CacheService,
    private readonly budget: Budget
  ) {}

  /** Compares the cache's values with these rows; returns what differs for sure, which may have been seen earlier. */
  readonly compare = (items: ReadonlyArray<SyncItem>) =>
    Effect.gen(this, function* () {
      for (let at = 0; at < items.length; at += valuesAtOnce) {
        const rows = byId(items.slice(at, at + valuesAtOnce))
        const ids = [...rows.keys()]
        for (const { id } of unlike(ids, rows, yield* this.cache.getMany(ids))) this.suspects.push(id)
      }
      return this.suspects.length >= suspectsAtOnce ? yield* this.rest : []
    })

  /** What is left to be looked at again. To be run at the end. */
  readonly rest: Effect.Effect<ReadonlyArray<Difference>, ArchiveError | CacheError> = Effect.suspend(() => {
    const ids = this.suspects
    this.suspects = []
    return ids.length === 0 ? Effect.succeed([]) : this.lookAgain(ids)
  })

  private readonly lookAgain = (ids: ReadonlyArray<string>) =>
    Effect.gen(this, function* () {
      const { archive, cache } = this
      const last = yield* lasting(archive, cache, ids, this.budget)
      if (last === undefined) {
        this.undecided += ids.length
        return []
      }
      const found = new Map(byId(last))
      // Of the version that the archive has all the while, and yet not the same: for whole records to say.
      for (const some of yield* groupsByBytes(archive, ids)) {
        const rows = yield* archive.getMany(some)
        const heads = byId(yield* cache.heads(some))
        const held = yield* cache.getMany(some)
        const after = byId(yield* archive.heads(some))
        const stable = rows.filter(
          (row) => !row.deleted && isStill(row, heads.get(row.id)) && isStill(row, after.get(row.id))
        )
        for (const one of unlike(some, byId(stable), held)) found.set(one.id, one)
      }
      return ids.flatMap((id) => found.get(id) ?? [])
    })
}

const isStill = (row: ItemRecord, head: ItemHead | undefined): boolean =>
  head !== undefined && sameHead(row, head)

type Use<E> = (items: ReadonlyArray<SyncItem>) => Effect.Effect<void, E>

/**
 * Reads every live row with its content, in pages of at most 250 rows and 4 MiB. Returns how many were read.
 *
 * @param uses.damaged takes the rows whose bytes do not hash to their content hash; none to leave contents unhashed
 * @param uses.items takes all rows of a page
 */
export const eachRow = Effect.fnUntraced(function* <E>(
  archive: OpenArchive,
  budget: Budget,
  { damaged, items }: { readonly damaged?: Use<E> | undefined; readonly items?: Use<E> }
) {
  let rows = 0
  yield* budget.eachPage(
    rowsPerPage,
    (after, limit) => archive.scan({ prefix: "", after }, { limit, maxBytes: bytesAtOnce }),
    Effect.fnUntraced(function* (page) {
      const found = damaged === undefined ? [] : yield* damagedOf(page)
      if (found.length > 0) yield* damaged!(found)
      if (items !== undefined) yield* items(page)
      rows += page.length
    }),
    { cutByBytes: true }
  )
  return rows
})

/** The multiplier and increment of PCG's underlying generator (O'Neill 2014), of which the upper half is used. */
const multiplier = 6364136223846793005n
const increment = 1442695040888963407n

/**
 * Ids of at most `size` live items, each with the same chance, in one pass over the ids (Vitter, "Random Sampling with
 * a Reservoir", 1985, algorithm R). A budget that ends it leaves the sample of what was read.
 */
export const sampleIds = Effect.fnUntraced(function* (archive: OpenArchive, budget: Budget, size: number) {
  let state = BigInt(yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER))
  const below = (bound: number): number => {
    state = BigInt.asUintN(64, state * multiplier + increment)
    return Math.floor((Number(state >> 32n) / 2 ** 32) * bound)
  }
  const sample: Array<string> = []
  let seen = 0
  yield* budget.eachPage(
    idsPerPage,
    (after, limit) => archive.scanIds({ prefix: "", after }, limit),
    (ids) =>
      Effect.sync(() => {
        for (const id of ids) {
          const place = seen < size ? seen : below(seen + 1)
          if (place < size) sample[place] = id
          seen++
        }
      })
  )
  return sample
})

/** Hands sampled items to `items`, a few at a time; those that are gone since are left out. */
export const eachSampled = Effect.fnUntraced(function* <E>(
  archive: OpenArchive,
  budget: Budget,
  size: number,
  items: Use<E>
) {
  const ids = yield* sampleIds(archive, budget, size)
  for (let at = 0; at < ids.length; at += idsPerPage) {
    for (const some of yield* groupsByBytes(archive, ids.slice(at, at + idsPerPage))) {
      yield* yieldToEventLoop
      if (yield* budget.isOver) return
      yield* items((yield* archive.getMany(some)).filter((row) => !row.deleted))
    }
  }
})
