/**
 * Pages of ranges: the archive's rows, merged with what is pending and not archived yet. Nothing is flushed, so a page
 * costs the same however much is pending.
 *
 * The order of the questions makes a page right. What is pending is put in order first; then the archive is asked,
 * while what leaves the pending writes is collected; then both are merged. A write that was acknowledged before the
 * call is among the pending ones until the archive has it, so it is seen in one place or the other, and what was
 * pending at any time since then is read again from memory, log and archive, and the newest counts.
 */
import { Effect } from "effect"
import type { OpenArchive, ScanRange } from "../../archive/Archive.js"
import type { ArchiveError } from "../../archive/ArchiveError.js"
import { scanPlan } from "../../archive/sql/Ranges.js"
import type { ReadError } from "../../EngineError.js"
import { compareBytes } from "../../merkle/ByteOrder.js"
import type { ItemRecord, SyncItem } from "../../SyncItem.js"
import { compareVersions } from "../../SyncItem.js"
import { yieldToEventLoop } from "../../shared/YieldToEventLoop.js"
import type { FlushBarrier } from "../flush/FlushBarrier.js"
import type { PointReads } from "../read/PointReads.js"
import type { EngineState } from "../state/EngineState.js"
import type { PendingEntry } from "../state/PendingIndex.js"
import type { Sorted } from "../state/PendingOrder.js"
import { settledMeanwhile } from "../state/Watching.js"

/** Pending writes passed over in one go before other work gets its turn. */
const passedPerTurn = 8192

/** A part of a range, and where the next part begins; no cursor at the end. */
interface Part<Row> {
  readonly rows: ReadonlyArray<Row>
  readonly next: string | undefined
}

export type PageRead<Row> = (
  range: ScanRange,
  limit: number,
  operation: string
) => Effect.Effect<Part<Row>, ReadError>

/** A row of the archive; without content where only ids are asked for. */
interface Row {
  readonly id: string
  readonly item: SyncItem | undefined
}

type Ask = (
  archive: OpenArchive,
  range: ScanRange,
  page: { readonly limit: number; readonly maxBytes: number }
) => Effect.Effect<ReadonlyArray<Row>, ArchiveError>

const askItems: Ask = (archive, range, page) =>
  Effect.map(archive.scan(range, page), (items) => items.map((item) => ({ id: item.id, item })))

const askIds: Ask = (archive, range, { limit }) =>
  Effect.map(archive.scanIds(range, limit), (ids) => ids.map((id) => ({ id, item: undefined })))

export const inState = (range: ScanRange, state: string | undefined): boolean =>
  range.state === undefined || range.state === state

/** The newest pending write of an id, also when it has been archived since the page began. */
type EntryOf = (id: string) => PendingEntry | undefined

export class Pages {
  constructor(
    private readonly core: EngineState,
    private readonly barrier: FlushBarrier,
    private readonly reads: PointReads
  ) {}

  /** Items of a range; fewer than the limit at the end of the range, or when their contents fill a page. */
  readonly items: PageRead<SyncItem> = (range, limit, operation) =>
    Effect.map(this.collect(askItems, range, limit, operation), ({ next, rows }) => ({
      next,
      rows: rows.map(({ item }) => item!)
    }))

  /** Ids of a range. */
  readonly ids: PageRead<string> = (range, limit, operation) =>
    Effect.map(this.collect(askIds, range, limit, operation), ({ next, rows }) => ({
      next,
      rows: rows.map(({ id }) => id)
    }))

  private collect(ask: Ask, range: ScanRange, limit: number, operation: string) {
    return Effect.gen(this, function* (): Effect.fn.Return<Part<Row>, ReadError> {
      const { pageBytes } = this.core.limits
      const rows: Array<Row> = []
      let bytes = 0
      let after = range.after
      for (;;) {
        const page = { limit: limit - rows.length, maxBytes: pageBytes - bytes }
        const found = yield* this.part(ask, { ...range, after }, page, operation)
        rows.push(...found.rows)
        if (ask === askItems) for (const { item } of found.rows) bytes += item!.content.byteLength
        after = found.next
        if (after === undefined || rows.length >= limit || bytes >= pageBytes / 2)
          return { rows, next: after }
      }
    })
  }

  /** The next part of a range, from one question to the archive. */
  private part(
    ask: Ask,
    range: ScanRange,
    page: { readonly limit: number; readonly maxBytes: number },
    operation: string
  ) {
    const { barrier, core } = this
    const { limit, maxBytes } = page
    const merge = (sorted: Sorted, settled: ReadonlyMap<string, PendingEntry>) =>
      Effect.gen(this, function* () {
        const entryOf: EntryOf = (id) => core.pending.get(id) ?? settled.get(id)
        const answer = yield* barrier.ask(operation, (archive) => ask(archive, range, page))
        const bound = answer[answer.length - 1]?.id
        const pending = yield* pendingIds(range, sorted, bound, limit, entryOf)
        // Beyond the last of a full list of pending ids, others may stand between the rows.
        const upTo = pending.length === limit ? pending[limit - 1] : bound
        const rows = new Map(answer.map((row) => [row.id, row]))
        const certain =
          ask === askIds ? new Set(pending.filter((id) => isCertain(core.pending.get(id), range))) : noIds
        for (const id of certain) rows.set(id, { id, item: undefined })
        const all = inOrder(
          answer.flatMap(({ id }) => (upTo === undefined || compareBytes(id, upTo) <= 0 ? [id] : [])),
          pending
        )
        const ids = fitting(
          all,
          limit,
          maxBytes,
          (id) => rows.get(id)?.item?.content.byteLength ?? entryOf(id)?.bytes ?? 0
        )
        const changed = ids.filter((id) => !certain.has(id) && entryOf(id) !== undefined)
        const next = ids.length < all.length ? ids[ids.length - 1] : upTo
        return { rows: yield* this.shown(ids, rows, range, changed), next }
      })
    return Effect.flatMap(core.pending.order.sorted, (sorted) =>
      settledMeanwhile(core, (settled) => merge(sorted, settled))
    )
  }

  /** What to show for these ids, of which the archive's rows may be older than what is pending. */
  private shown(
    ids: ReadonlyArray<string>,
    rows: ReadonlyMap<string, Row>,
    range: ScanRange,
    changed: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<Row>, ReadError> {
    const merged = (records: ReadonlyMap<string, ItemRecord>): ReadonlyArray<Row> => {
      const again = new Set(changed)
      return ids.flatMap((id): ReadonlyArray<Row> => {
        const row = rows.get(id)
        const record = records.get(id)
        if (!again.has(id) || isNewer(row?.item, record)) return row === undefined ? [] : [row]
        return record !== undefined && !record.deleted && inState(range, record.state)
          ? [{ id, item: record }]
          : []
      })
    }
    return changed.length === 0
      ? Effect.succeed(merged(new Map()))
      : Effect.map(this.reads.fetchCompared(changed), merged)
  }
}

/** The first `limit` pending ids of a range that may belong to it, up to `bound` where there is one. */
const pendingIds = Effect.fnUntraced(function* (
  range: ScanRange,
  sorted: Sorted,
  bound: string | undefined,
  limit: number,
  entryOf: EntryOf
) {
  const found: Array<string> = []
  let passed = 0
  for (const id of idsOf(sorted, range, bound)) {
    if (found.length === limit) break
    if (++passed % passedPerTurn === 0) yield* yieldToEventLoop
    const entry = entryOf(id)
    // A deletion, or another state, hides the archive's row if there is one; by itself it is nothing.
    if (entry !== undefined && !entry.deleted && inState(range, entry.state)) found.push(id)
  }
  return found
})

const isNewer = (item: SyncItem | undefined, record: ItemRecord | undefined): boolean =>
  item !== undefined && record !== undefined && compareVersions(item, record) >= 0

const noIds: ReadonlySet<string> = new Set()

/** Whether the pending write alone says that the id belongs to the range. */
const isCertain = (entry: PendingEntry | undefined, range: ScanRange): boolean =>
  entry !== undefined && !entry.unchecked && !entry.deleted && inState(range, entry.state)

/** The ids of a range, from all that are sorted. */
function* idsOf(sorted: Sorted, range: ScanRange, bound: string | undefined): Generator<string> {
  const { point, span } = scanPlan(range)
  const within = (id: string) => bound === undefined || compareBytes(id, bound) <= 0
  if (point !== undefined && within(point)) yield point
  if (span === undefined) return
  for (const id of sorted(span.from)) {
    if (!within(id) || (span.to !== undefined && compareBytes(id, span.to) >= 0)) return
    if (id !== span.from || span.inclusive) yield id
  }
}

/** Two sorted lists as one, what stands in both once. */
const inOrder = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): ReadonlyArray<string> => {
  const both: Array<string> = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const order = i === a.length ? 1 : j === b.length ? -1 : compareBytes(a[i]!, b[j]!)
    both.push(order <= 0 ? a[i++]! : b[j++]!)
    if (order === 0) j++
  }
  return both
}

/** As many of the first ids as fit, at least one. */
const fitting = (
  ids: ReadonlyArray<string>,
  limit: number,
  maxBytes: number,
  bytesOf: (id: string) => number
): ReadonlyArray<string> => {
  let bytes = 0
  let count = 0
  for (; count < ids.length && count < limit; count++) {
    bytes += bytesOf(ids[count]!)
    if (bytes > maxBytes && count > 0) break
  }
  return ids.slice(0, count)
}
