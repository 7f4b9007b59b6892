/** A cuckoo filter together with the rules of its trust: synchronous and without I/O. */
import type { Effect } from "effect"
import { trustedShare } from "../archive/WriterLease.js"
import type { Digest } from "../merkle/Tree.js"
import { CuckooFilter } from "./CuckooFilter.js"
import { maxLayerCapacity } from "./FilterLayer.js"
import { decodeFilterSnapshot, encodeFilterSnapshot } from "./FilterSnapshot.js"
import { FilterTrust, type HeartbeatTicket, reasons } from "./FilterTrust.js"

/** What the filter needs to know of a write. */
export interface TrackedWrite {
  readonly id: string
  readonly deleted: boolean
}

/** The two clocks that a lease is measured with; either may end it. */
export interface LeaseClock {
  /** Monotonic, in nanoseconds. Stands still while the machine is suspended. */
  readonly nanos: () => bigint
  /** Wall clock, in milliseconds. Goes on while the machine is suspended, but may be set. */
  readonly millis: () => number
}

export interface FilterStatus {
  readonly trusted: boolean
  /** Why not, while it is not trusted. */
  readonly reason: string | undefined
  /** Fingerprints held; 0 while there is no filter. */
  readonly entries: number
  /** Bits of its tables per entry; 0 while there are none. */
  readonly bitsPerKey: number
  readonly bytes: number
  /** Entries added since the last snapshot was saved or loaded. */
  readonly insertsSinceSnapshot: number
  /** Whether a snapshot could be saved that differs in its root from the one saved or loaded last. */
  readonly snapshotDue: boolean
  readonly rebuilding: boolean
}

export interface TakenSnapshot {
  /** The bytes to save: of the filter as it was when the snapshot was taken. */
  readonly encode: Effect.Effect<Uint8Array>
  readonly root: Digest
  /** To be called once it is durable. */
  readonly saved: () => void
}

/** Denied ids that are remembered until they are archived: the newest, as many again at the most, for some never are. */
const mostDenied = 50_000

/** A share of stale keys above which a rebuild pays, and how many there have to be at least. */
const staleShare = 0.25
const staleMin = 10_000

export class TrackedFilter {
  readonly trust = new FilterTrust()
  /** Only while it covers some root of the archive. */
  private serving: CuckooFilter | undefined
  private building: CuckooFilter | undefined
  private readonly flying = new Set<ReadonlyArray<TrackedWrite>>()
  private denied = new Set<string>()
  private deniedBefore = new Set<string>()
  private inserts = 0
  private hasWritten = false
  private archived: number | undefined
  private savedRoot: Digest | undefined
  // The lease's end on both clocks; 0 when there is none.
  private untilNanos = 0n
  private untilMillis = 0
  private held = false

  constructor(private readonly clock: LeaseClock) {}

  /** Milliseconds of the monotonic clock. */
  now(): number {
    return Number(this.clock.nanos()) / 1e6
  }

  trusted(): boolean {
    return this.held && this.inTime()
  }

  lease(): string | undefined {
    return this.inTime() ? this.trust.token : undefined
  }

  mightExist(id: string): boolean {
    const { serving } = this
    if (serving === undefined || !this.held || serving.has(id)) return true
    // Last: the answer is true of the moment at which the trust was still in time.
    return !this.inTime()
  }

  /** Adds what is about to be written. Deletions add nothing: they make no live item. */
  beforeWrite(writes: ReadonlyArray<TrackedWrite>): void {
    this.hasWritten = true
    const { building, serving } = this
    if (serving === undefined && building === undefined) return
    const trusted = this.trusted()
    for (const { deleted, id } of writes) {
      if (deleted) continue
      if (serving?.add(id) === true) {
        this.inserts++
        if (trusted) this.deny(id)
      }
      building?.add(id)
    }
  }

  /** Of these writes the ids that were denied before they were added. They are forgotten. */
  takeDenied(writes: ReadonlyArray<TrackedWrite>): ReadonlySet<string> | undefined {
    const { denied, deniedBefore } = this
    if (denied.size + deniedBefore.size === 0) return undefined
    const taken = new Set<string>()
    for (const { id } of writes) if (denied.delete(id) || deniedBefore.delete(id)) taken.add(id)
    return taken
  }

  private deny(id: string): void {
    if (this.denied.size >= mostDenied) {
      this.deniedBefore = this.denied
      this.denied = new Set()
    }
    this.denied.add(id)
  }

  commitStarted(writes: ReadonlyArray<TrackedWrite>) {
    this.beforeWrite(writes)
    this.flying.add(writes)
    const ticket = this.trust.commitStarted()
    let ended = false
    const end = (settle: () => void) => {
      if (ended) return
      ended = true
      this.flying.delete(writes)
      settle()
      this.settle()
    }
    return {
      succeeded: (before: Digest, after: Digest) =>
        end(() => this.trust.commitSucceeded(ticket, before, after, this.now())),
      /** Failed or interrupted: it may have been made all the same. */
      failed: () => end(() => this.trust.commitFailed())
    }
  }

  treeRebuilt(root: Digest): void {
    this.trust.treeRebuilt(root)
    this.settle()
  }

  heartbeatSent() {
    const millis = this.clock.millis()
    return { ticket: this.trust.heartbeatSent(this.now()), millis }
  }

  heartbeatReturned(
    sent: { readonly ticket: HeartbeatTicket; readonly millis: number },
    answer: { readonly token: string | undefined; readonly root: Digest; readonly entries: number },
    leaseMs: number
  ): void {
    this.archived = answer.entries
    if (!this.trust.heartbeatReturned(sent.ticket, answer, leaseMs)) return
    this.untilMillis = sent.millis + leaseMs * trustedShare
    this.settle()
  }

  close(): void {
    this.trust.close()
    this.building = undefined
    this.settle()
  }

  load(bytes: Uint8Array): string | undefined {
    if (this.hasWritten) return "a snapshot has to be loaded before the first write"
    const snapshot = decodeFilterSnapshot(bytes)
    if (typeof snapshot === "string") return snapshot
    this.serving = snapshot.filter
    this.savedRoot = snapshot.root
    this.inserts = 0
    this.trust.claim(snapshot.root)
    this.settle()
    return undefined
  }

  snapshot(): TakenSnapshot | string {
    const root = this.trust.coveredRoot
    if (this.serving === undefined || root === undefined) {
      return this.trust.reason(this.now()) ?? reasons.unknown
    }
    const entryCount = this.archived ?? this.serving.count
    const { inserts } = this
    return {
      encode: encodeFilterSnapshot({ filter: this.serving, root, entryCount }),
      root,
      saved: () => {
        this.inserts = Math.max(0, this.inserts - inserts)
        this.savedRoot = root
      }
    }
  }

  /** Starts a new filter beside the old one; returns why that cannot be done now, if so. */
  beginRebuild(expectedCount: number): string | undefined {
    const refused =
      this.building === undefined ? this.trust.beginRebuild(this.now()) : "a rebuild is under way"
    if (refused !== undefined) return refused
    const capacity = Math.min(Math.max(1, Math.ceil(expectedCount)), maxLayerCapacity)
    this.building = new CuckooFilter({ capacity })
    // They may reach the archive behind the page that would have shown them.
    for (const writes of this.flying)
      for (const { deleted, id } of writes) if (!deleted) this.building.add(id)
    return undefined
  }

  /** Adds ids to the new filter; whether going on makes sense. */
  addPage(ids: Iterable<string>): boolean {
    const { building } = this
    if (building === undefined || !this.trust.rebuildStands) return false
    for (const id of ids) building.add(id)
    return true
  }

  /** Puts the new filter in the old one's place; returns why not, if so. `late`: try again after a heartbeat. */
  finishRebuild(): string | undefined {
    const { building } = this
    if (building === undefined) return "no rebuild is under way"
    const refused = this.trust.finishRebuild(this.now())
    if (refused === reasons.late) return refused
    this.building = undefined
    if (refused === undefined) {
      this.serving = building
      this.inserts = building.count
    }
    this.settle()
    return refused
  }

  abandonRebuild(): void {
    this.building = undefined
    this.trust.abandonRebuild()
  }

  rebuildReason(pending: number): string | undefined {
    const { archived, serving } = this
    if (serving === undefined) return this.trust.reason(this.now())
    if (serving.shouldRebuild) return "it has outgrown its false-positive rate"
    const stale = archived === undefined ? 0 : Math.max(0, serving.count - archived - pending)
    return archived !== undefined && stale > Math.max(staleMin, archived * staleShare)
      ? `about ${stale} of its keys are no longer stored`
      : undefined
  }

  status(): FilterStatus {
    const trusted = this.trusted()
    const entries = this.serving?.count ?? 0
    return {
      trusted,
      reason: trusted ? undefined : (this.trust.reason(this.now()) ?? reasons.late),
      entries,
      bitsPerKey: entries === 0 ? 0 : this.serving!.bitsPerKey,
      bytes: (this.serving?.bytes ?? 0) + (this.building?.bytes ?? 0),
      insertsSinceSnapshot: this.inserts,
      snapshotDue: this.trust.coveredRoot !== undefined && this.trust.coveredRoot !== this.savedRoot,
      rebuilding: this.building !== undefined
    }
  }

  private inTime(): boolean {
    const { untilNanos } = this
    return untilNanos !== 0n && this.clock.nanos() < untilNanos && this.clock.millis() < this.untilMillis
  }

  /** After every event: what reads look at follows the rules. */
  private settle(): void {
    if (!this.trust.covered) this.serving = undefined
    const { soleUntil, trustedUntil } = this.trust
    this.untilNanos = soleUntil === Number.NEGATIVE_INFINITY ? 0n : BigInt(Math.floor(soleUntil * 1e6))
    this.held = trustedUntil !== Number.NEGATIVE_INFINITY && this.serving !== undefined
  }
}
