/**
 * When a filter may be trusted: the rules alone, without the filter, without I/O, without a clock.
 *
 * Three facts, kept apart:
 *
 * - *covered root*: every live item of the archive at this root is in the filter. A root stands for its contents
 *   and ids are only ever added, so this stays true for ever. Own commits carry it on: their ids are in the filter
 *   before they start, so a commit from the covered root to another one makes that the covered root.
 * - *grant*: the archive has said that this node is its sole writer, with a token and until when that is certain
 *   (see `WriterLease`).
 * - *proven*: under the present token, the archive was once seen at the covered root. From then on everything that
 *   enters the archive comes from this node, so everything in it is in the filter.
 *
 * Trusted is: a grant, proven, and not past its time. Without a grant the covered root is only kept up, so that
 * trust is back at once when the node is alone again and nobody has written meanwhile.
 *
 * A snapshot carries the covered root over to the next start, and neither grant nor proof. It may be taken while writes
 * go on and hold ids that its root does not have: more ids do no harm. It is loaded before the first write, so that
 * what the log still holds is added to it.
 *
 * Rejected: trust by counts (different sets have the same), trust for a time after roots were compared (another node
 * may write right after), and roots compared at every commit instead of a lease (a foreign item would be denied until
 * the next one).
 */
import { trustedShare } from "../archive/WriterLease.js"
import type { Digest } from "../merkle/Tree.js"

/** Why a filter is not trusted. */
export const reasons = {
  empty: "the filter has not been built yet",
  foreign: "another node has written the archive",
  snapshot: "the snapshot's root is not the archive's",
  unknown: "the outcome of a commit is not known",
  outside: "the archive has changed although this node is its only writer",
  tree: "the archive's tree has been rebuilt",
  notSole: "this node is not known to be the archive's only writer",
  unproven: "the archive's root has not been compared yet",
  late: "the archive has not confirmed lately that this node is its only writer",
  closed: "the filter is closed"
} as const

type CommitTicket = ReturnType<FilterTrust["commitStarted"]>
export type HeartbeatTicket = ReturnType<FilterTrust["heartbeatSent"]>

/** All times are milliseconds of one monotonic clock of this process. */
export class FilterTrust {
  private grant: { readonly token: string; readonly until: number } | undefined
  private proven = false
  private covers: Digest | undefined
  private fromSnapshot = false
  private lostBecause: string = reasons.empty
  /** The archive's root as far as it is certain; only meaningful under a grant. */
  private seen: Digest | undefined
  /** Counts starts and ends of commits. */
  private serial = 0
  private inFlight = 0
  /** A commit of ours failed, and it may have been made all the same. */
  private uncertain = false
  /** Own commits whose `before` is not the covered root yet: outcomes may come out of order. */
  private readonly segments = new Map<Digest, { after: Digest; under: string | undefined }>()
  private rebuildUnder: string | undefined
  private closed = false

  get token(): string | undefined {
    return this.grant?.token
  }

  /** Until when this node is certainly the archive's only writer; `-Infinity` when it is not. */
  get soleUntil(): number {
    return this.grant?.until ?? Number.NEGATIVE_INFINITY
  }

  get trustedUntil(): number {
    return this.proven ? this.soleUntil : Number.NEGATIVE_INFINITY
  }

  /** A root whose items are all in the filter, if one is known. */
  get coveredRoot(): Digest | undefined {
    return this.covers
  }

  /** Whether the filter's contents are of any use; if not, it has to be rebuilt. */
  get covered(): boolean {
    return this.proven || this.covers !== undefined
  }

  reason(now: number): string | undefined {
    if (this.closed) return reasons.closed
    if (!this.covered) return this.lostBecause
    if (this.grant === undefined) return reasons.notSole
    if (!this.proven) return reasons.unproven
    return now < this.grant.until ? undefined : reasons.late
  }

  /** A filter has been loaded that holds every live item of this root. */
  claim(root: Digest): void {
    this.covers = root
    this.fromSnapshot = true
    this.proven = false
    this.segments.clear()
  }

  commitStarted() {
    this.inFlight++
    this.serial++
    return { serial: this.serial, alone: this.inFlight === 1, under: this.token }
  }

  commitSucceeded(ticket: CommitTicket, before: Digest, after: Digest, now: number): void {
    const alone = ticket.alone && ticket.serial === this.serial
    this.commitEnded()
    const { grant } = this
    const stood = grant !== undefined && ticket.under === grant.token && now < grant.until
    const under = stood ? ticket.under : undefined
    this.seen = alone ? after : undefined
    if (this.covers === undefined) {
      // Proven, but own commits of unknown order or outcome made the root uncertain.
      if (this.proven && alone && stood) this.covers = after
    } else if (before !== after || alone) this.segments.set(before, { after, under })
    else if (before === this.covers && stood) this.proven = true
    for (;;) {
      const next = this.covers === undefined ? undefined : this.segments.get(this.covers)
      if (next === undefined) break
      this.segments.delete(this.covers!)
      if (next.under !== undefined && next.under === grant?.token) this.proven = true
      this.fromSnapshot = false
      this.covers = next.after
    }
    if (this.inFlight === 0) this.settleSegments(alone ? after : undefined)
    if (alone) this.uncertain = false
  }

  /** A commit failed; whether it was made is not known. */
  commitFailed(): void {
    this.commitEnded()
    this.uncertain = true
    this.seen = undefined
    if (this.inFlight === 0) this.settleSegments(undefined)
  }

  /** The own node has rebuilt the archive's tree: no items were added, but the root may be another one. */
  treeRebuilt(root: Digest): void {
    this.serial++
    this.seen = undefined
    if (this.covers !== root) this.lose(reasons.tree)
  }

  /** A heartbeat is about to be sent. One at a time. */
  heartbeatSent(now: number) {
    return { serial: this.serial, quiet: this.inFlight === 0, sentAt: now }
  }

  /** Returns whether it was of any use: once closed it is not. */
  heartbeatReturned(
    ticket: HeartbeatTicket,
    answer: { readonly token: string | undefined; readonly root: Digest },
    leaseMs: number
  ): boolean {
    if (this.closed) return false
    if (answer.token === undefined) this.dropGrant()
    else {
      if (this.grant?.token !== answer.token) this.dropGrant()
      this.grant = { token: answer.token, until: ticket.sentAt + leaseMs * trustedShare }
    }
    // With an own commit under way meanwhile, this root may be from before or after it.
    if (ticket.quiet && ticket.serial === this.serial) this.observe(answer.root)
    return true
  }

  /** Never trusted again. */
  close(): void {
    this.dropGrant()
    this.closed = true
    this.covers = undefined
  }

  /** Returns why a new filter cannot be built now, if so. */
  beginRebuild(now: number): string | undefined {
    if (this.closed) return reasons.closed
    if (this.grant === undefined) return reasons.notSole
    if (now >= this.grant.until) return reasons.late
    this.rebuildUnder = this.grant.token
    return undefined
  }

  /** Whether a rebuild is under way and nobody else can have written since it began. */
  get rebuildStands(): boolean {
    return this.rebuildUnder !== undefined && this.rebuildUnder === this.token
  }

  abandonRebuild(): void {
    this.rebuildUnder = undefined
  }

  /**
   * The new filter holds every live item that was read since {@link beginRebuild}, and every own write since then,
   * those under way at its start included. Returns why it may not replace the old one, if so.
   */
  finishRebuild(now: number): string | undefined {
    if (!this.rebuildStands) return this.closed ? reasons.closed : reasons.notSole
    // Past the lease others may have written while the pages were read; only a heartbeat can tell.
    if (now >= this.grant!.until) return reasons.late
    this.rebuildUnder = undefined
    // A page may have been read after a commit under way, so its root before that commit is not covered.
    this.covers = this.inFlight === 0 ? this.seen : undefined
    this.fromSnapshot = false
    this.proven = true
    this.segments.clear()
    return undefined
  }

  private commitEnded(): void {
    this.inFlight--
    this.serial++
  }

  /** No commit is under way: what is left over cannot be explained by outcomes that are still to come. */
  private settleSegments(last: Digest | undefined): void {
    if (this.segments.size === 0) return
    const { token } = this
    const own = this.proven && [...this.segments.values()].every(({ under }) => under === token)
    this.segments.clear()
    if (!own) this.lose(this.fromSnapshot ? reasons.snapshot : reasons.foreign)
    else if (this.uncertain) this.covers = last
    else this.lose(reasons.outside)
  }

  /** The archive's root at an instant since the last event. */
  private observe(root: Digest): void {
    this.seen = root
    if (this.grant !== undefined && this.proven) {
      if (this.covers === undefined || this.uncertain) this.covers = root
      else if (this.covers !== root) this.lose(reasons.outside)
    } else if (this.covers === root) {
      this.fromSnapshot = false
      if (this.grant !== undefined) this.proven = true
    } else if (this.covers !== undefined) this.lose(this.fromSnapshot ? reasons.snapshot : reasons.foreign)
    this.uncertain = false
  }

  private dropGrant(): void {
    const { proven } = this
    this.grant = undefined
    this.proven = false
    this.seen = undefined
    this.rebuildUnder = undefined
    if (proven && this.covers === undefined) this.lose(reasons.unknown)
  }

  private lose(reason: string): void {
    this.covers = undefined
    this.proven = false
    this.fromSnapshot = false
    this.lostBecause = reason
    this.segments.clear()
  }
}
