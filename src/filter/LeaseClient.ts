/** One node's part in the writers' register: what to ask, what to do with the reply. */
import { Clock, Duration, Effect, Random, Schedule } from "effect"
import type { ArchiveError } from "../archive/ArchiveError.js"
import {
  type HeartbeatReply,
  type HeartbeatRequest,
  type WriterRegister,
  WriterWatch
} from "../archive/WriterLease.js"
import type { TrackedFilter } from "./TrackedFilter.js"

/** How this node stands among the archive's writers. */
export interface LeaseStatus {
  /** This node is the sole writer. */
  readonly sole: boolean
  /** Other nodes that are there. */
  readonly others: number
  /** Another node is the sole writer and has not given way yet: commits are refused until it has. */
  readonly held: boolean
  /** Highest version that the archive has ever stored, from whatever clock. */
  readonly topVersion: number
}

export type SentHeartbeat = ReturnType<LeaseClient["send"]>

// Time and chance: neither two starts nor two calls get the same.
const fresh = Effect.zipWith(
  Clock.currentTimeNanos,
  Random.nextIntBetween(0, 2 ** 32),
  (time, random) => `${time.toString(36)}-${random.toString(36)}`
)

export class LeaseClient {
  private readonly watch = new WriterWatch()
  /** The token that the own row bears, as far as replies have told. */
  rowToken: string | undefined
  private closed = false
  private readonly oneAtATime = Effect.unsafeMakeSemaphore(1).withPermits(1)

  constructor(
    private readonly filter: TrackedFilter,
    readonly node: string,
    readonly leaseMs: number
  ) {}

  /** The next heartbeat. One at a time; whatever was sent before counts as lost from here on. */
  send(fresh: string) {
    const { leaseMs, node } = this
    // First the clocks: the lease counts from before it leaves.
    const { millis, ticket } = this.filter.heartbeatSent()
    const request: HeartbeatRequest = {
      node,
      known: this.filter.trust.token,
      fresh,
      exclusive: !this.closed,
      leaseMs,
      lapsed: this.watch.lapsed(this.filter.now())
    }
    return { request, ticket, millis }
  }

  /**
   * Takes the reply. With a `release` token, the filter has stopped trusting it, and it is to be given up in the
   * register now: somebody else is there.
   */
  returned(
    sent: SentHeartbeat,
    reply: HeartbeatReply
  ): { readonly status: LeaseStatus; readonly release?: string } {
    const { entries, others, root, token, topVersion } = reply
    this.rowToken = token
    this.watch.observe(others, this.filter.now())
    const alone = others.length === 0 && !this.closed
    this.filter.heartbeatReturned(sent, { token: alone ? token : undefined, root, entries }, this.leaseMs)
    const status: LeaseStatus = {
      sole: alone && token !== undefined,
      others: others.length,
      held: others.some((row) => row.token !== undefined),
      topVersion
    }
    return token === undefined || alone ? { status } : { status, release: token }
  }

  heartbeat(register: WriterRegister): Effect.Effect<LeaseStatus, ArchiveError> {
    return this.oneAtATime(
      Effect.gen(this, function* () {
        const sent = this.send(yield* fresh)
        const { release, status } = this.returned(sent, yield* register.heartbeat(sent.request))
        if (release !== undefined) yield* register.release({ node: this.node, token: release })
        return status
      })
    )
  }

  join(
    register: WriterRegister,
    maxWait: Duration.DurationInput = 2 * this.leaseMs
  ): Effect.Effect<LeaseStatus, ArchiveError> {
    return Effect.suspend(() => {
      const deadline = this.filter.now() + Duration.toMillis(maxWait)
      const waiting = ({ held }: LeaseStatus) => held && this.filter.now() < deadline
      return Effect.repeat(
        this.heartbeat(register),
        Schedule.addDelay(Schedule.recurWhile(waiting), () => "100 millis")
      )
    })
  }

  leave(register: WriterRegister): Effect.Effect<void, ArchiveError> {
    return Effect.suspend(() => {
      this.close()
      const left = Effect.suspend(() => register.leave({ node: this.node, token: this.rowToken }))
      return this.oneAtATime(left)
    })
  }

  /** From now on this node never asks to be the sole writer. */
  close(): void {
    this.closed = true
    this.filter.close()
  }
}
