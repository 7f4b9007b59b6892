/**
 * The existence filter: says "certainly absent" without I/O, and only while that is proven.
 *
 * It speaks for the archive and for this node's own writes. The promise, while `trusted`: `mightExist(id)` is
 * `true` for every live item in the archive, whoever wrote it, and for every put that was handed to
 * `beforeWrite`. It does not know of items that were never meant for the archive. What makes it hold across nodes
 * is told in `WriterLease`, what makes it hold within one in `FilterTrust`.
 *
 * @since 0.1.0
 */
import { Context, type Duration, Effect, Iterable, Layer, Schedule } from "effect"
import type { OpenArchive } from "../archive/Archive.js"
import type { ArchiveError } from "../archive/ArchiveError.js"
import {
  defaultLeaseMs,
  heartbeatShare,
  longestLeaseMs,
  type WriterRegister
} from "../archive/WriterLease.js"
import { wholeMs } from "../shared/WholeMs.js"
import { yieldToEventLoop } from "../shared/YieldToEventLoop.js"
import { reasons } from "./FilterTrust.js"
import { LeaseClient, type LeaseStatus } from "./LeaseClient.js"
import { type FilterStatus, type TakenSnapshot, TrackedFilter, type TrackedWrite } from "./TrackedFilter.js"

/**
 * How a rebuild ended.
 *
 * @since 0.1.0
 * @category models
 */
export type WarmUp =
  | { readonly _tag: "Rebuilt"; readonly entries: number; readonly pages: number }
  /** Nothing was changed; an old filter goes on as it was. Try again later. */
  | { readonly _tag: "NotNow"; readonly reason: string }

/**
 * What a rebuild reads.
 *
 * @since 0.1.0
 * @category models
 */
export interface WarmUpOptions {
  /** Ids read in one page, at least 1. */
  readonly batch: number
  /**
   * Ids of the puts that are acknowledged, or on their way into the log, and not archived yet. Read piece by
   * piece while writes go on: what is added meanwhile need not show, what is archived meanwhile may be gone.
   */
  readonly pending: Iterable<string>
}

/**
 * The existence filter of one node.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenFilter {
  /** `true` unless the filter is trusted and does not hold the id. Synchronous, no I/O. */
  readonly mightExist: (id: string) => boolean
  /** The opposite: `true` only when no live item of the archive and no put of this node has the id. */
  readonly definitelyMissing: (id: string) => boolean
  /** Adds the ids of puts; to be called before the log gets them, and for what the log holds at start. Synchronous. */
  readonly beforeWrite: (writes: ReadonlyArray<TrackedWrite>) => void
  /** Synchronous, no I/O. */
  readonly status: () => FilterStatus
  /**
   * The token of this node's writer lease, while it is certain that nobody else writes the archive. Another
   * token than before: others may have written in between. Synchronous, no I/O.
   */
  readonly lease: () => string | undefined
  /** Why a rebuild is due, if so. `pending`: how many acknowledged writes are not archived yet. Synchronous. */
  readonly needsRebuild: (pending: number) => string | undefined
  /**
   * The archive as this node has to use it: every commit is followed, whoever makes it, and its ids are in the
   * filter before it starts.
   */
  readonly guard: <A extends OpenArchive>(archive: A) => A
  /** How often to send a heartbeat, in milliseconds. */
  readonly heartbeatIntervalMs: number
  /**
   * One heartbeat at the archive's register: asks to be the sole writer, or lets go of it as soon as somebody
   * else is there. Calls take turns. After a failure trust goes on to the end of its time, and no longer.
   */
  readonly heartbeat: (register: WriterRegister) => Effect.Effect<LeaseStatus, ArchiveError>
  /**
   * Sends heartbeats until no other node holds the archive for itself, at most for `maxWait`. A node that runs gives
   * way at its next heartbeat; one that has died is waited out for its lease.
   */
  readonly join: (
    register: WriterRegister,
    options?: { readonly maxWait?: Duration.DurationInput | undefined }
  ) => Effect.Effect<LeaseStatus, ArchiveError>
  /** Ends the trust for good, at once, and leaves the register. */
  readonly leave: (register: WriterRegister) => Effect.Effect<void, ArchiveError>
  /** Ends the trust for good, at once. */
  readonly close: () => void
  /**
   * Takes the filter of a snapshot. It is trusted once the archive has been seen at the snapshot's root with
   * this node as its sole writer. Has to come before the first write and before the log is drained, so that
   * whatever the log holds is added to it. Returns what is wrong with the bytes, if anything. Synchronous.
   */
  readonly load: (bytes: Uint8Array) => string | undefined
  /** What to save, or why there is nothing to save. Synchronous: copies the filter, about 0.5 ms a megabyte. */
  readonly snapshot: () => TakenSnapshot | string
  /**
   * Builds a new filter by key pages while the old one serves and writes go on, and puts it in the old one's
   * place. Only the sole writer can. A second call waits for the first and then builds again.
   */
  readonly warmUp: (
    archive: Pick<OpenArchive, "count" | "scanIds">,
    options: WarmUpOptions
  ) => Effect.Effect<WarmUp, ArchiveError>
}

/**
 * Whose filter it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExistenceFilterOptions {
  /** This node's name in the register, 1 to 64 bytes: belongs to the log and is kept with it, see `WriterRow`. */
  readonly node: string
  /** How long others wait for this node after its last sign of life: 1 s to 1 h, 15 s unless given. */
  readonly lease?: Duration.DurationInput | undefined
}

/**
 * Makes the filter of a node, once its log says which node it is.
 *
 * @since 0.1.0
 * @category services
 */
export class ExistenceFilter extends Context.Tag("effect-sync-engine/ExistenceFilter")<
  ExistenceFilter,
  { readonly open: (options: ExistenceFilterOptions) => Effect.Effect<OpenFilter> }
>() {
  /**
   * The cuckoo filter.
   *
   * @since 0.1.0
   */
  static readonly layer: Layer.Layer<ExistenceFilter> = Layer.sync(this, () => ({ open: make }))
}

const minLeaseMs = 1_000
/** Ids added before other work gets its turn: well below a millisecond. */
const idsPerTurn = 2_000

/**
 * Throws a `RangeError` when the lease or the node's name is out of bounds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: ExistenceFilterOptions): Effect.Effect<OpenFilter> =>
  Effect.gen(function* () {
    const { lease: given = defaultLeaseMs, node } = options
    const leaseMs = wholeMs(given)
    if (leaseMs < minLeaseMs || leaseMs > longestLeaseMs)
      throw new RangeError(`lease must be from ${minLeaseMs} to ${longestLeaseMs} ms; got ${leaseMs}`)
    if (node === "" || Buffer.byteLength(node) > 64) throw new RangeError("node must have 1 to 64 bytes")
    const clock = yield* Effect.clock
    const tracked = new TrackedFilter({
      nanos: () => clock.unsafeCurrentTimeNanos(),
      millis: () => clock.unsafeCurrentTimeMillis()
    })
    const lease = new LeaseClient(tracked, node, leaseMs)
    const building = Effect.unsafeMakeSemaphore(1).withPermits(1)
    return {
      mightExist: (id) => tracked.mightExist(id),
      definitelyMissing: (id) => !tracked.mightExist(id),
      beforeWrite: (writes) => tracked.beforeWrite(writes),
      status: () => tracked.status(),
      lease: () => tracked.lease(),
      needsRebuild: (pending) => tracked.rebuildReason(pending),
      guard: (archive) => guarded(tracked, archive),
      heartbeatIntervalMs: leaseMs * heartbeatShare,
      heartbeat: (register) => lease.heartbeat(register),
      join: (register, join) => lease.join(register, join?.maxWait),
      leave: (register) => lease.leave(register),
      close: () => lease.close(),
      load: (bytes) => tracked.load(bytes),
      snapshot: () => tracked.snapshot(),
      warmUp: (archive, options) => building(rebuild(tracked, leaseMs, archive, options))
    }
  })

/** See `OpenFilter.guard`. */
const guarded = <A extends OpenArchive>(tracked: TrackedFilter, archive: A): A => ({
  ...archive,
  commit: (records, absent) =>
    // Uninterruptible around it: a commit that was counted as started must be counted as ended.
    Effect.uninterruptibleMask((restore) => {
      if (records.length === 0) return restore(archive.commit(records))
      const denied = absent ?? tracked.takeDenied(records)
      const commit = tracked.commitStarted(records)
      return Effect.onExit(restore(archive.commit(records, denied)), (exit) =>
        Effect.sync(() => {
          if (exit._tag === "Success") commit.succeeded(exit.value.rootBefore, exit.value.rootAfter)
          else commit.failed()
        })
      )
    }),
  rebuildTree: Effect.tap(archive.rebuildTree, ({ root }) => Effect.sync(() => tracked.treeRebuilt(root)))
})

/** Adds ids piece by piece; whether going on makes sense. */
const addAll = Effect.fnUntraced(function* (tracked: TrackedFilter, ids: Iterable<string>) {
  for (const piece of Iterable.chunksOf(ids, idsPerTurn)) {
    if (!tracked.addPage(piece)) return false
    yield* yieldToEventLoop
  }
  return tracked.addPage([])
})

/** The pages are read. A lease that is just being renewed is waited for. */
const finish = (tracked: TrackedFilter, leaseMs: number) =>
  Effect.suspend(() => {
    const deadline = tracked.now() + leaseMs
    const late = (refused: string | undefined) => refused === reasons.late && tracked.now() < deadline
    return Effect.repeat(
      Effect.sync(() => tracked.finishRebuild()),
      Schedule.addDelay(Schedule.recurWhile(late), () => "50 millis")
    )
  })

const notNow = (reason: string = reasons.notSole): WarmUp => ({ _tag: "NotNow", reason })

/** See `OpenFilter.warmUp`. */
const rebuild = (
  tracked: TrackedFilter,
  leaseMs: number,
  archive: Pick<OpenArchive, "count" | "scanIds">,
  { batch, pending }: WarmUpOptions
): Effect.Effect<WarmUp, ArchiveError> =>
  Effect.gen(function* () {
    const refused = tracked.beginRebuild(yield* archive.count({ prefix: "" }))
    if (refused !== undefined) return notNow(refused)
    if (!(yield* addAll(tracked, pending))) return notNow()
    let after: string | undefined
    let pages = 0
    for (;;) {
      const page = yield* archive.scanIds({ prefix: "", after }, Math.max(1, batch))
      if (page.length === 0) break
      if (!(yield* addAll(tracked, page))) return notNow()
      after = page[page.length - 1]!
      pages++
    }
    const problem = yield* finish(tracked, leaseMs)
    if (problem !== undefined) return notNow(problem)
    return { _tag: "Rebuilt", entries: tracked.status().entries, pages } satisfies WarmUp
  }).pipe(Effect.ensuring(Effect.sync(() => tracked.abandonRebuild())))
