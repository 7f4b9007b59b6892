/** Proves that stored bytes are what their hashes say, and that the cache's values are the archive's rows. */

import { Effect, Random } from "effect"
import type { ArchiveError } from "../archive/ArchiveError.js"
import type { CacheError, CacheService } from "../cache/Cache.js"
import { type ItemHead, type ItemRecord, type SyncItem, sameHead } from "../SyncItem.js"
import { hashOf, pieceBytes } from "../shared/Pieces.js"
import { yieldToEventLoop } from "../shared/YieldToEventLoop.js"
import type { Budget } from "./Budget.js"
import type { Difference } from "./Divergence.js"
import { type ArchiveService, bytesAtOnce, groupsByBytes } from "./Groups.js"
import { lasting } from "./Roots.js"

export interface ValueTiers {
  readonly archive: ArchiveService
  readonly cache: CacheService
}

const rowsPerPage = 250
const idsPerPage = 5000
/** Contents of both tiers that are held at once to be compared. */
const valuesAtOnce = 50
/** Items of a page whose bytes are not what their hash says. */
const damagedOf = (items: ReadonlyArray<SyncItem>): Effect.Effect<ReadonlyArray<SyncItem>> =>
  Effect.gen(function* () {
    const damaged: Array<SyncItem> = []
    let bytes = 0
    for (const item of items) {
      if (bytes > pieceBytes) {
        yield* yieldToEventLoop
        bytes = 0
      }
      bytes += item.content.length
      if ((yield* hashOf(item.content)) !== item.contentHash) damaged.push(item)
    }
    return damaged
  })

const same = (row: SyncItem, held: ItemRecord): boolean =>
  !held.deleted &&
  row.version === held.version &&
  row.contentHash === held.contentHash &&
  row.updatedAt === held.updatedAt &&
  row.contentType === held.contentType &&
  row.state === held.state &&
  row.traceparent === held.traceparent

/** The cache checks bytes against their hash when it reads them, so heads say whether values are the same. */
const judge = (
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

export interface Comparison {
  /** Compares the cache's values with these rows; returns what differs for sure, which may have been seen earlier. */
  readonly compare: (
    items: ReadonlyArray<SyncItem>
  ) => Effect.Effect<ReadonlyArray<Difference>, ArchiveError | CacheError>
  /** What is left to be looked at again. To be called at the end. */
  readonly rest: Effect.Effect<ReadonlyArray<Difference>, ArchiveError | CacheError>
  /** Items that differed when the budget ended, and may have been on their way. Synchronous. */
  readonly undecided: () => number
}

/**
 * Compares both tiers' values of some items. What is on its way from the archive to the cache is no difference: it
 * has to last, and to be there when both are read once more.
 */
export const makeComparison = ({ archive, cache }: ValueTiers, budget: Budget): Comparison => {
  let suspects: Array<string> = []
  let undecided = 0

  const rest: Comparison["rest"] = Effect.suspend(() => {
    const ids = suspects
    suspects = []
    return ids.length === 0 ? Effect.succeed([]) : lookAgain(ids)
  })

  const lookAgain = (ids: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const last = yield* lasting(archive, cache, ids, budget)
      if (last === undefined) {
        undecided += ids.length
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
          (row) => !row.deleted && sameVersion(row, heads.get(row.id)) && sameVersion(row, after.get(row.id))
        )
        for (const one of judge(some, byId(stable), held)) found.set(one.id, one)
      }
      return ids.flatMap((id) => found.get(id) ?? [])
    })

  return {
    rest,
    undecided: () => undecided,
    compare: (items) =>
      Effect.gen(function* () {
        for (let at = 0; at < items.length; at += valuesAtOnce) {
          const some = items.slice(at, at + valuesAtOnce)
          const ids = some.map(({ id }) => id)
          for (const { id } of judge(ids, byId(some), yield* cache.getMany(ids))) suspects.push(id)
        }
        return suspects.length >= suspectsAtOnce ? yield* rest : []
      })
  }
}

const byId = <A extends { readonly id: string }>(some: ReadonlyArray<A>): ReadonlyMap<string, A> =>
  new Map(some.map((one) => [one.id, one]))

const sameVersion = (row: ItemRecord, head: ItemHead | undefined): boolean =>
  head !== undefined && sameHead(row, head)

/** What is done with the pages of a check. */
export interface PageChecks<E> {
  /** Rows whose bytes do not hash to their content hash; none to leave contents unhashed. */
  readonly damaged: ((items: ReadonlyArray<SyncItem>) => Effect.Effect<void, E>) | undefined
  /** All rows of a page; none to leave values uncompared. */
  readonly items: ((items: ReadonlyArray<SyncItem>) => Effect.Effect<void, E>) | undefined
}

/** Reads every live row with its content, in pages of at most 250 rows and 4 MiB. Returns how many were read. */
export const eachRow = <E>(
  archive: ArchiveService,
  budget: Budget,
  checks: PageChecks<E>
): Effect.Effect<number, ArchiveError | E> =>
  Effect.gen(function* () {
    let after: string | undefined
    let rows = 0
    for (;;) {
      const limit = yield* budget.nextPage(rowsPerPage)
      if (limit === 0) return rows
      const page = yield* archive.scan({ prefix: "", after }, { limit, maxBytes: bytesAtOnce })
      if (page.length === 0) return rows
      if (checks.damaged !== undefined) {
        const damaged = yield* damagedOf(page)
        if (damaged.length > 0) yield* checks.damaged(damaged)
      }
      if (checks.items !== undefined) yield* checks.items(page)
      rows += page.length
      budget.spend(page.length)
      after = page[page.length - 1]!.id
    }
  })

/** The multiplier and increment of PCG's underlying generator (O'Neill 2014), of which the upper half is used. */
const multiplier = 6364136223846793005n
const increment = 1442695040888963407n

/**
 * Ids of at most `size` live items, each with the same chance, in one pass over the ids (Vitter, "Random Sampling with
 * a Reservoir", 1985, algorithm R). A budget that ends it leaves the sample of what was read.
 */
export const sampleIds = (
  archive: ArchiveService,
  budget: Budget,
  size: number
): Effect.Effect<ReadonlyArray<string>, ArchiveError> =>
  Effect.gen(function* () {
    let state = BigInt(yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER))
    const below = (bound: number): number => {
      state = BigInt.asUintN(64, state * multiplier + increment)
      return Math.floor((Number(state >> 32n) / 2 ** 32) * bound)
    }
    const sample: Array<string> = []
    let seen = 0
    let after: string | undefined
    for (;;) {
      const limit = yield* budget.nextPage(idsPerPage)
      if (limit === 0) return sample
      const ids = yield* archive.scanIds({ prefix: "", after }, limit)
      for (const id of ids) {
        seen++
        if (sample.length < size) sample.push(id)
        else {
          const place = below(seen)
          if (place < size) sample[place] = id
        }
      }
      budget.spend(ids.length)
      if (ids.length < limit) return sample
      after = ids[ids.length - 1]!
    }
  })

/**
 * Hands sampled items to `items`, a few at a time; those that are gone since are left out. Returns how many there were.
 */
export const eachSampled = <E>(
  archive: ArchiveService,
  budget: Budget,
  size: number,
  items: (items: ReadonlyArray<SyncItem>) => Effect.Effect<void, E>
): Effect.Effect<number, ArchiveError | E> =>
  Effect.gen(function* () {
    const ids = yield* sampleIds(archive, budget, size)
    let checked = 0
    for (let at = 0; at < ids.length; at += idsPerPage) {
      for (const some of yield* groupsByBytes(archive, ids.slice(at, at + idsPerPage))) {
        yield* yieldToEventLoop
        if (yield* budget.isOver) return checked
        const rows = yield* archive.getMany(some)
        const live = rows.filter((row) => !row.deleted)
        yield* items(live)
        checked += live.length
      }
    }
    return checked
  })
