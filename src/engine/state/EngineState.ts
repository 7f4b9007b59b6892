/**
 * The engine's mutable heart: what writes, flush and reads share, touched in synchronous code only. It is put together
 * of small parts, each of which keeps one thing; the rooms around it add the Effects.
 */
import { type Clock, type Context, Effect, Scope } from "effect"
import type { OpenArchive } from "../../archive/Archive.js"
import type { EngineConfig } from "../../config/Model.js"
import { GateClosed } from "../../EngineError.js"
import type { OpenFilter } from "../../filter/ExistenceFilter.js"
import type { Lifecycle } from "../../Lifecycle.js"
import { MemoryCache } from "../../memory/MemoryCache.js"
import type { FlushReason } from "../../SyncEngineModels.js"
import type { BackpressureLevel } from "../../shared/Backpressure.js"
import { levelOf } from "../../shared/Backpressure.js"
import type { OpenLog } from "../../wal/WriteAheadLog.js"
import { CacheMisses } from "./CacheMisses.js"
import type { CacheTrust } from "./CacheTrust.js"
import { Degradations } from "./Conditions.js"
import type { Limits } from "./EngineLimits.js"
import { defaultLimits } from "./EngineLimits.js"
import { HybridLogicalClock } from "./HybridLogicalClock.js"
import { InFlightWrites } from "./InFlightWrites.js"
import { KnownVersions, RetriedLetters } from "./KnownVersions.js"
import { LogTail } from "./LogTail.js"
import { EarlyAcknowledgements, PendingAppends, recordMemory } from "./PendingAppends.js"
import { PendingIndex } from "./PendingIndex.js"
import { Watches } from "./Watching.js"

/** The tiers that start-up has opened. */
export interface Tiers {
  readonly log: OpenLog
  /** None when the engine runs without ground truth, or before SQL is connected. */
  readonly archive: OpenArchive | undefined
}

export class EngineState {
  readonly memory: MemoryCache
  readonly clock: HybridLogicalClock
  readonly gate: Gate
  readonly degradations = new Degradations(() => this.nowMs())
  readonly pending = new PendingIndex()
  readonly inFlight = new InFlightWrites()
  readonly appends = new PendingAppends(this)
  readonly early = new EarlyAcknowledgements()
  readonly letters = new RetriedLetters()
  readonly watches = new Watches()
  readonly versions: KnownVersions
  readonly writer: SoleWriter
  readonly pressure: WritePressure
  /** The last acknowledged version of an id that the archive did not take; of the last ids of which that is so. */
  readonly lostVersions = new Map<string, number>()
  /** Since the start. */
  readonly counters = {
    acknowledged: 0,
    archived: 0,
    deadLettered: 0,
    superseded: 0,
    flushFailures: 0,
    flushes: { count: 0, bytes: 0, age: 0, forced: 0, recovery: 0, shutdown: 0 } as Record<
      FlushReason,
      number
    >
  }
  tail = new LogTail(0, 0, 0)
  /** What was carried to the archive before this start, although the log still holds it: the change stream is behind. */
  carriedBefore = 0
  /** None before the log is open. */
  filter: OpenFilter | undefined
  /** None when no cache is configured. */
  cache: CacheTrust | undefined
  readonly cacheMisses = new CacheMisses()
  tiers: Tiers | undefined
  /** What the log takes at most. */
  logMaxBytes = Number.MAX_SAFE_INTEGER
  /** Items of a batch that go to the log at once: never more than it takes. */
  turnItems = 0
  /** The lineage of the connected archive; see `ArchiveBinding`. */
  lineage: string | undefined
  /** Whether an archive is configured; others may reach it, also while it is not connected. */
  expectsArchive = false
  /** Holds what nobody waits for: nothing of it is left when the engine has stopped. */
  readonly detached = Effect.runSync(Scope.make())

  constructor(
    readonly config: () => EngineConfig,
    readonly lifecycle: Context.Tag.Service<Lifecycle>,
    private readonly time: Clock.Clock,
    readonly limits: Limits = defaultLimits
  ) {
    this.memory = new MemoryCache({ maxBytes: config().l1MaxBytes })
    this.clock = new HybridLogicalClock(() => this.nowMs())
    this.gate = new Gate(lifecycle)
    this.versions = new KnownVersions(this)
    this.writer = new SoleWriter(this)
    this.pressure = new WritePressure(this)
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
    this.carryAgainAfter(Math.max(usage.released, log.binding()?.carriedTo ?? 0))
  }

  connectArchive(archive: OpenArchive): void {
    this.tiers = { log: this.log, archive }
  }

  /** Another archive than before takes the log: what it still holds is carried once more. */
  carryAgain(): void {
    this.carryAgainAfter(this.log.usage().released)
  }

  private carryAgainAfter(consumed: number): void {
    // Eight full batches, so that a burst is flushed without reading the log again.
    const maxBytes = Math.max(this.limits.freshQueueBytes, 8 * this.config().batchFlushBytes)
    this.carriedBefore = consumed
    this.tail = new LogTail(maxBytes, consumed, this.log.usage().committed)
  }

  /** Committed entries that the log still holds. */
  committedEntries(): number {
    return this.tiers === undefined ? 0 : Math.max(0, this.tiers.log.usage().items - this.appends.records)
  }

  /** Acknowledged entries that are not archived yet: what the log holds, less what has yet to be published or released. */
  pendingEntries(): number {
    if (this.tiers === undefined || this.tail.isEmpty) return 0
    const { items, released } = this.tiers.log.usage()
    return Math.max(1, items - (this.tail.consumed - released))
  }

  /** A trusted filter knows of every put, also of those on their way; it does not know what lives in the cache alone. */
  provenAbsent(id: string): boolean {
    const { cache, filter } = this
    if (filter?.definitelyMissing(id) !== true) return false
    return cache === undefined || cache.holdsNoVolatile(filter.lease())
  }
}

/** One time as the archive's only writer. */
interface Lease {
  readonly token: string
  /** The last append before it. */
  readonly lastAppend: number
  /** Known once those have ended: everything up to this sequence number must be archived first. */
  settledAt: number | undefined
}

/**
 * Whether what this node knows decides. It does while it is certain that nobody else writes the archive, and everything
 * in memory and log is from that time; otherwise another node may hold something newer, and the archive is asked.
 * Without an archive there is nobody else.
 *
 * Being the sole writer begins with a lease. What memory had read before may be old: it is emptied, and reads under way
 * look again. What was written before may have lost against another node's newer version, which only its commit finds
 * out; so memory decides once everything is archived that was in the log, or on its way there, when the lease was first
 * seen. Rejected: asking the archive for every write of the log at that moment, which costs as much as archiving it.
 */
class SoleWriter {
  private lease: Lease | undefined

  constructor(private readonly here: EngineState) {}

  /** Asks nobody, but the first call of a lease empties memory. */
  isCertain(): boolean {
    const { appends, expectsArchive, filter, tail } = this.here
    if (!expectsArchive) return true
    const token = filter?.lease()
    if (token === undefined) return false
    const lease = this.lease?.token === token ? this.lease : this.begin(token)
    if (lease.settledAt === undefined) {
      if (appends.oldest !== undefined && appends.oldest <= lease.lastAppend) return false
      lease.settledAt = this.here.log.usage().committed
    }
    return tail.consumed >= lease.settledAt || tail.isEmpty
  }

  private begin(token: string): Lease {
    this.here.memory.clear()
    this.here.watches.touchAll()
    this.lease = { token, lastAppend: this.here.appends.last, settledAt: undefined }
    return this.lease
  }
}

/** How near the log, or the memory for what is pending, is to its bounds. */
class WritePressure {
  private last: BackpressureLevel = "Normal"

  constructor(private readonly here: EngineState) {}

  /** 0 to 1. */
  get share(): number {
    const { appends, config, pending, tail, tiers } = this.here
    if (tiers === undefined) return 0
    const { bytes, items, letterBytes, letters, maxBytes, maxItems } = tiers.log.usage()
    // What pending writes take of the process's memory, about: the index, the records on their way, appends under way.
    const memory = pending.memory + tail.bytes + tail.size * recordMemory + appends.memory
    return Math.max(
      (items + letters) / maxItems,
      (bytes + letterBytes) / maxBytes,
      memory / config().pendingMaxBytes
    )
  }

  level(): BackpressureLevel {
    this.last = levelOf(this.share, this.last)
    return this.last
  }
}

/** Whether calls are let in: the lifecycle's phase, and whether the archive is there and this log's. */
class Gate {
  /** Started without the archive, which has not been connected yet: writes go into the log, nothing can be read. */
  awaitsArchive = false
  /** What was connected is not this log's archive: nothing more is taken in until it is. */
  wrongArchive: string | undefined

  constructor(private readonly lifecycle: Context.Tag.Service<Lifecycle>) {}

  get acceptsWrites(): boolean {
    return this.lifecycle.acceptsWrites() && this.wrongArchive === undefined
  }

  /** Why a query is refused, if it is. */
  query(): GateClosed | undefined {
    return this.lifecycle.acceptsQueries() ? undefined : this.closed("query")
  }

  closed(operation: "write" | "query"): GateClosed {
    const { phase, reason: said } = this.lifecycle.unsafeSnapshot()
    const reason = said ?? this.wrongArchive ?? (this.awaitsArchive ? "SQL is not connected yet" : undefined)
    return new GateClosed({
      operation,
      phase,
      ...(reason === undefined ? {} : { reason }),
      retryAfterMs: 1000
    })
  }
}
