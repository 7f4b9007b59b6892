/**
 * The engine's mutable heart: plain data shared by intake, flush and reads, touched in synchronous code only.
 * The rooms around it add the Effects.
 */

import { type Clock, type Context, Effect } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import type { EngineConfig } from "../../EngineConfig.js"
import { GateClosed, LogUnavailable } from "../../EngineError.js"
import type { OpenFilter } from "../../filter/ExistenceFilter.js"
import type { Lifecycle } from "../../Lifecycle.js"
import * as Metrics from "../../Metrics.js"
import { MemoryCache } from "../../memory/MemoryCache.js"
import type { Degradation, FlushReason } from "../../SyncEngineModels.js"
import type { ItemHead, ItemRecord, ItemVersion } from "../../SyncItem.js"
import { compareVersions, sameVersion } from "../../SyncItem.js"
import type { BackpressureLevel } from "../../shared/Backpressure.js"
import { levelOf } from "../../shared/Backpressure.js"
import type { LogEntry, OpenLog } from "../../wal/WriteAheadLog.js"
import type { CacheTrust } from "./CacheTrust.js"
import type { Limits } from "./EngineLimits.js"
import { defaultLimits } from "./EngineLimits.js"
import { HybridLogicalClock } from "./HybridLogicalClock.js"
import { InFlightWrites } from "./InFlightWrites.js"
import { LogTail } from "./LogTail.js"
import { PendingIndex } from "./PendingIndex.js"
import { RetriedLetters } from "./RetriedLetters.js"

/** How long a caller should wait before it knocks at a closed gate again. */
export const gateRetryAfterMs = 1000

const mostLostVersions = 1000

/** The tiers that start-up has opened. */
export interface Tiers {
  readonly log: OpenLog
  /** None when the engine runs without ground truth, or before SQL is connected. */
  readonly archive: OpenArchive | undefined
}

/** A read-through under way: told when a write to its id became visible meanwhile. */
export interface Watch {
  dirty: boolean
  watchers: number
}

/** One time as the archive's only writer. */
interface Lease {
  readonly token: string
  /** The last append before it; what was written by then may have lost against another node's newer version. */
  readonly lastAppend: number
  /** Known once those have ended: everything up to this sequence number must be archived before memory decides. */
  settledAt: number | undefined
}

/** What a record takes beside its content. */
const recordMemory = 512

/** Writes that were handed to the log and have not been committed yet. */
interface Append {
  readonly records: number
  readonly memory: number
  readonly fail: (error: LogUnavailable) => void
}

/** Counters since the start. */
export interface Counters {
  acknowledged: number
  archived: number
  deadLettered: number
  superseded: number
  flushFailures: number
  lostUnsynced: number
  readonly flushes: Record<FlushReason, number>
}

export class EngineState {
  readonly memory: MemoryCache
  readonly pending = new PendingIndex()
  readonly clock: HybridLogicalClock
  /** Writes whose group commit is under way. */
  readonly inFlight = new InFlightWrites()
  /** The last acknowledged version of an id that the archive did not take; of the last ids of which that is so. */
  readonly lostVersions = new Map<string, number>()
  readonly letters = new RetriedLetters()
  readonly watches = new Map<string, Watch>()
  readonly degradations = new Map<Degradation["component"], Degradation>()
  readonly counters: Counters = {
    acknowledged: 0,
    archived: 0,
    deadLettered: 0,
    superseded: 0,
    flushFailures: 0,
    lostUnsynced: 0,
    flushes: { count: 0, bytes: 0, age: 0, forced: 0, recovery: 0, shutdown: 0 }
  }
  fresh = new LogTail(0, 0, 0)
  /** What was carried to the archive before this start, although the log still holds it: the change stream is behind. */
  carriedBefore = 0
  /** Open while there are losses of which nobody has been told. */
  readonly losses = Effect.unsafeMakeLatch(false)
  /** How many lost writes have been told. */
  lossesTold = 0
  /** None before the log is open. */
  filter: OpenFilter | undefined
  /** None when no cache is configured. */
  cache: CacheTrust | undefined
  tiers: Tiers | undefined
  /** What the log takes at most. */
  logMaxBytes = Number.MAX_SAFE_INTEGER
  /** Items of a batch that go to the log at once: never more than it takes. */
  turnItems = 0
  /** The lineage of the connected archive; see `Binding`. */
  lineage: string | undefined
  /** Whether an archive is configured; others may reach it, also while it is not connected. */
  expectsArchive = false
  /** Started without the archive, which has not been connected yet: writes go into the log, nothing can be read. */
  awaitsArchive = false
  /** What was connected is not this log's archive: nothing more is taken in until it is. */
  wrongArchive: string | undefined
  /** Appends that wait for their group commit, oldest first. */
  private readonly appends = new Map<number, Append>()
  /** Open while none is under way: no caller is left without an answer then. */
  readonly appendsSettled = Effect.unsafeMakeLatch(true)
  private lastAppend = 0
  private appendedMemory = 0
  private lease: Lease | undefined
  /** Why the log takes no writes, since one failed and until a probe succeeds. */
  logRefusal: LogUnavailable | undefined
  /** Calls acknowledged before their commit, and how many of those have been committed (or failed) since. */
  private earlyCalls = 0
  private earlySettled = 0
  private earlyWaiters: Array<{ readonly calls: number; readonly wake: () => void }> = []
  private backpressureLevel: BackpressureLevel = "Normal"

  constructor(
    readonly config: () => EngineConfig,
    readonly lifecycle: Context.Tag.Service<Lifecycle>,
    private readonly time: Clock.Clock,
    readonly limits: Limits = defaultLimits
  ) {
    this.memory = new MemoryCache({ maxBytes: config().l1MaxBytes })
    this.clock = new HybridLogicalClock(() => this.nowMs())
  }

  /** Milliseconds since the epoch: for what is shown and stored. The wall clock may step in both directions. */
  nowMs(): number {
    return this.time.unsafeCurrentTimeMillis()
  }

  /** Milliseconds that only go on: for waiting and measuring. */
  elapsedMs(): number {
    return Number(this.time.unsafeCurrentTimeNanos()) / 1e6
  }

  /** The log; a defect before start-up has opened it, which the gate prevents. */
  get log(): OpenLog {
    if (this.tiers === undefined) throw new Error("the log was used before start-up opened it")
    return this.tiers.log
  }

  /** Hands over the opened log: what it still holds is where the queue goes on. */
  openLog(log: OpenLog): void {
    const usage = log.usage()
    this.tiers = { log, archive: undefined }
    this.logMaxBytes = usage.maxBytes
    this.turnItems = Math.min(this.limits.itemsPerTurn, usage.maxItems)
    this.clock.observe(log.maxVersion)
    this.carriedBefore = Math.max(usage.released, log.binding()?.carriedTo ?? 0)
    this.fresh = this.queueFrom(this.carriedBefore)
  }

  /** Another archive than before takes the log: what it still holds is carried once more. */
  carryAgain(): void {
    this.carriedBefore = this.log.usage().released
    this.fresh = this.queueFrom(this.carriedBefore)
  }

  private queueFrom(consumed: number): LogTail {
    // Eight full batches, so that a burst is flushed without reading the log again.
    const maxBytes = Math.max(this.limits.freshQueueBytes, 8 * this.config().batchFlushBytes)
    return new LogTail(maxBytes, consumed, this.log.usage().committed)
  }

  connectArchive(archive: OpenArchive): void {
    this.tiers = { log: this.log, archive }
  }

  /** Committed entries that the log still holds. */
  committedEntries(): number {
    if (this.tiers === undefined) return 0
    let items = this.tiers.log.usage().items
    for (const { records } of this.appends.values()) items -= records
    return Math.max(0, items)
  }

  /** Acknowledged entries that are not archived yet: what the log holds, less what has yet to be published or released. */
  pendingEntries(): number {
    if (this.tiers === undefined || this.fresh.isEmpty) return 0
    const { items, released } = this.tiers.log.usage()
    return Math.max(1, items - (this.fresh.consumed - released))
  }

  /** The newest version of an id that memory, log or a commit under way know of, without I/O. */
  known(id: string): ItemVersion | undefined {
    return newestOf(this.pendingHead(id), this.memory.peek(id))
  }

  /** The newest version of an id that is not archived yet, its commit under way or done. */
  pendingHead(id: string): ItemVersion | undefined {
    return newestOf(this.inFlight.newest(id)?.record, this.pending.get(id))
  }

  /** Whether nobody has compared this {@link known} version with the archive's yet. */
  unchecked(known: ItemHead): boolean {
    if (this.letters.isInDoubt(known.id)) return true
    const flying = this.inFlight.newest(known.id)
    if (flying?.record === known) return flying.unchecked
    const pending = this.pending.get(known.id)
    return pending === known && pending.unchecked
  }

  /** An append is handed to the log; to be ended with its group commit. `fail` answers it when nobody waits for that any more. */
  beginAppend(records: number, bytes: number, fail: Append["fail"]): number {
    // The record itself, and its copy in the log's segment.
    const memory = 2 * bytes + records * recordMemory
    this.appendedMemory += memory
    this.appendsSettled.unsafeClose()
    this.appends.set(++this.lastAppend, { records, memory, fail })
    return this.lastAppend
  }

  /** Every append that the log has not answered gets an answer; what became of it is not known. */
  giveUpAppends(): void {
    for (const { fail } of [...this.appends.values()]) {
      fail(
        new LogUnavailable({
          path: this.log.path,
          operation: "append",
          problem: "the shutdown waits no longer; whether the log has the write is not known",
          retryAfterMs: gateRetryAfterMs
        })
      )
    }
  }

  get appendsInFlight(): number {
    return this.appends.size
  }

  /** How many have ended so far; for the watchdog. */
  get appendsEnded(): number {
    return this.lastAppend - this.appends.size
  }

  /** False when it has ended before. */
  endAppend(append: number): boolean {
    this.appendedMemory -= this.appends.get(append)?.memory ?? 0
    const isOpen = this.appends.delete(append)
    if (this.appends.size === 0) this.appendsSettled.unsafeOpen()
    return isOpen
  }

  /**
   * Whether what this node knows decides: it is certain that nobody else writes the archive, and that everything in
   * memory and log is from that time. Otherwise another node may hold something newer, and the archive is asked.
   * Without an archive there is nobody else. Asks nobody, but the first call of a lease empties memory: what was read
   * before may be old.
   */
  soleWriter(): boolean {
    if (!this.expectsArchive) return true
    const token = this.filter?.lease()
    if (token === undefined) return false
    const lease = this.lease?.token === token ? this.lease : this.beginLease(token)
    if (lease.settledAt === undefined) {
      const [oldest] = this.appends.keys()
      if (oldest !== undefined && oldest <= lease.lastAppend) return false
      lease.settledAt = this.log.usage().committed
    }
    return this.fresh.consumed >= lease.settledAt || this.fresh.isEmpty
  }

  private beginLease(token: string): Lease {
    this.memory.clear()
    for (const watch of this.watches.values()) watch.dirty = true
    this.watches.clear()
    this.lease = { token, lastAppend: this.lastAppend, settledAt: undefined }
    return this.lease
  }

  /** A trusted filter knows of every put, also of those on their way; it does not know what lives in the cache alone. */
  provenAbsent(id: string): boolean {
    const { cache, filter } = this
    if (filter?.definitelyMissing(id) !== true) return false
    return cache === undefined || cache.holdsNoVolatile(filter.lease())
  }

  /** This acknowledged version lost against another one: its id remembers it for a while. */
  lostTo({ id, version }: ItemHead): void {
    this.lostVersions.delete(id)
    this.lostVersions.set(id, version)
    if (this.lostVersions.size <= mostLostVersions) return
    const [oldest] = this.lostVersions.keys()
    this.lostVersions.delete(oldest!)
  }

  queryGate(): GateClosed | undefined {
    return this.lifecycle.acceptsQueries() ? undefined : this.closedGate("query")
  }

  acceptsWrites(): boolean {
    return this.lifecycle.acceptsWrites() && this.wrongArchive === undefined
  }

  closedGate(operation: "write" | "query"): GateClosed {
    const snapshot = this.lifecycle.unsafeSnapshot()
    const { phase } = snapshot
    const reason =
      snapshot.reason ?? this.wrongArchive ?? (this.awaitsArchive ? "SQL is not connected yet" : undefined)
    return new GateClosed({
      operation,
      phase,
      ...(reason === undefined ? {} : { reason }),
      retryAfterMs: gateRetryAfterMs
    })
  }

  /** 0 to 1: how near the log, or the memory for what is pending, is to its bounds. */
  pressure(): number {
    if (this.tiers === undefined) return 0
    const { bytes, items, letterBytes, letters, maxBytes, maxItems } = this.tiers.log.usage()
    return Math.max(
      (items + letters) / maxItems,
      (bytes + letterBytes) / maxBytes,
      this.pendingMemory() / this.config().pendingMaxBytes
    )
  }

  /** What pending writes take of the process's memory, about: the index, the records on their way, appends under way. */
  pendingMemory(): number {
    return this.pending.memory + this.fresh.bytes + this.fresh.size * recordMemory + this.appendedMemory
  }

  backpressure(): BackpressureLevel {
    this.backpressureLevel = levelOf(this.pressure(), this.backpressureLevel)
    return this.backpressureLevel
  }

  /** A call has been acknowledged before its commit. */
  acknowledgedEarly(): void {
    this.earlyCalls++
  }

  /** Writes acknowledged before their commit were not committed: the one loss that level allows. */
  lost(writes: number): void {
    this.counters.lostUnsynced += writes
    Metrics.lost(writes)
    this.losses.unsafeOpen()
  }

  /** The commit of the oldest such call has ended. */
  settleEarly(): void {
    this.earlySettled++
    while (this.earlyWaiters.length > 0 && this.earlyWaiters[0]!.calls <= this.earlySettled) {
      this.earlyWaiters.shift()!.wake()
    }
  }

  /** Whether an acknowledged write is still on its way to the log. */
  get hasEarly(): boolean {
    return this.earlySettled < this.earlyCalls
  }

  /** Calls `wake` when everything acknowledged so far is in the log (or has failed there). */
  whenEarlySettled(wake: () => void): void {
    if (this.hasEarly) this.earlyWaiters.push({ calls: this.earlyCalls, wake })
    else wake()
  }

  degrade(component: Degradation["component"], reason: string): boolean {
    const known = this.degradations.get(component)
    if (known?.reason === reason) return false
    this.degradations.set(component, { component, reason, since: known?.since ?? this.nowMs() })
    return known === undefined
  }

  /** The log takes no writes: the node says so, and refuses them at the gate, until {@link logTakesWrites}. */
  logRefuses(error: LogUnavailable): void {
    this.logRefusal = error
    this.degrade("log", error.message)
  }

  /** A probe has succeeded. */
  logTakesWrites(): void {
    if (this.logRefusal === undefined) return
    this.logRefusal = undefined
    this.recover("log")
  }

  recover(component: Degradation["component"]): boolean {
    // That it can be read again does not say that it takes writes.
    if (component === "log" && this.logRefusal !== undefined) return false
    return this.degradations.delete(component)
  }

  watch(id: string): Watch {
    const known = this.watches.get(id)
    if (known !== undefined) {
      known.watchers++
      return known
    }
    const watch: Watch = { dirty: false, watchers: 1 }
    this.watches.set(id, watch)
    return watch
  }

  unwatch(id: string, watch: Watch): void {
    watch.watchers--
    if (watch.watchers === 0 && this.watches.get(id) === watch) this.watches.delete(id)
  }

  /** A write to this id is about to be, or has become, visible: reads under way must not fill memory with older news. */
  touch(id: string): void {
    const watch = this.watches.get(id)
    if (watch !== undefined) {
      watch.dirty = true
      // Later readers start a watch of their own.
      this.watches.delete(id)
    }
  }

  /** The archive is asked to take these entries. */
  committing(entries: ReadonlyArray<LogEntry>): void {
    for (const id of this.letters.committing(entries)) {
      this.memory.remove(id)
      this.touch(id)
    }
  }

  /** Gives memory what is the newest of its id, unless nobody knows that. */
  keep(record: ItemRecord): void {
    if (!this.letters.isInDoubt(record.id)) this.memory.put(record)
  }

  /** The archive has taken this record, which readers were not shown before. */
  forgetOlder(record: ItemRecord): void {
    const held = this.memory.peek(record.id)
    if (held !== undefined && compareVersions(held, record) <= 0 && !sameVersion(held, record)) {
      this.memory.remove(record.id)
    }
    this.pending.doubt(record)
    this.touch(record.id)
  }

  /** Makes a durable (or, for durability `memory`, an accepted) write visible to readers. */
  show(record: ItemRecord, sequence: number, unchecked: boolean): void {
    this.pending.add(record, sequence, unchecked)
    this.touch(record.id)
    // A later write may be visible already, acknowledged before its commit, and memory may have evicted it.
    if (!sameVersion(this.pending.get(record.id) ?? record, record)) return
    // An unchecked version may be older than the archive's: reads compare first, so memory must not answer.
    if (unchecked || this.letters.isInDoubt(record.id)) this.memory.remove(record.id)
    else this.memory.put(record)
  }
}

/** The newer of two versions of an item; the first when they are of the same number. */
export const newestOf = <A extends ItemHead, B extends ItemHead>(
  a: A | undefined,
  b: B | undefined
): A | B | undefined => (a === undefined ? b : b === undefined ? a : compareVersions(a, b) >= 0 ? a : b)
