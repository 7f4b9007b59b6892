/**
 * The writers' register of an archive: who writes it, and who may rely on being its only writer.
 *
 * A node whose filter is trusted answers "absent" without asking anybody, so no other node may put anything into
 * the archive meanwhile. The archive itself sees to that. Its register has one row for each node that is there;
 * a row may bear a *token*, and only one row at a time does: that node is the *sole* writer. A commit of any
 * other node is refused inside its transaction as long as the token stands (see {@link admits}). A newcomer enters
 * its row, the sole writer finds it at its next heartbeat, first stops trusting its filter and then gives the
 * token up; from there on both may commit, and nobody's filter is trusted until one of them is alone again.
 *
 * A sole writer that has died cannot give up. Others take its token away after its row has not changed for the
 * whole lease, measured on their own monotonic clock from when they first saw it so; the holder stops relying on
 * the token after {@link trustedShare} of the lease, measured on its own monotonic clock from before it asked. No
 * clock is compared with another one, only rates: the promise holds while no clock runs a third faster than
 * another. (Leases: C. G. Gray, D. R. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed
 * file cache consistency", SOSP 1989.) Where a monotonic clock stands still while the machine sleeps, the holder's
 * wall clock ends its trust as well. A copy of a log that runs beside the original is the same node twice: that,
 * and whoever changes the archive's rows past its commits, is outside the promise.
 *
 * The own row is written, and its token decided by {@link tokenFor}, in one transaction that first locks the tree's
 * top row; every commit that changes something holds that lock when it looks for another node's token. Rows named as
 * lapsed are deleted there too, each by node *and* heartbeat. `sql/SqlWriters` is the register in SQL.
 *
 * Requests may be lost, repeated or arrive late and in any order: a token is only ever removed by name, and one
 * that its holder does not know any more is replaced and never just cleared.
 */
import type { Effect } from "effect"
import type { Digest } from "../merkle/Tree.js"
import { ArchiveError } from "./ArchiveError.js"

/** How long a sole writer's token outlives its last heartbeat, unless it is set otherwise: 15 s. */
export const defaultLeaseMs = 15_000

/** A row that names a longer lease is none of the engine's: nobody waits longer for it. */
export const longestLeaseMs = 3_600_000

/** The share of the lease for which the holder itself relies on it. */
export const trustedShare = 0.75

/** How often a node should send a heartbeat, as a share of the lease: 3 s of 15 s. */
export const heartbeatShare = 0.2

/** A row of the register. */
export interface WriterRow {
  /** Stable for a log: whoever opens the log next is the same node, because the log admits one process. 1 to 64 bytes. */
  readonly node: string
  /** Set: this node is the sole writer. 1 to 64 bytes. */
  readonly token: string | undefined
  /** Changes with every heartbeat and never comes back. 1 to 64 bytes. */
  readonly heartbeat: string
  readonly leaseMs: number
}

export interface HeartbeatRequest {
  readonly node: string
  /** The token this process relies on; a different one in the row is replaced. */
  readonly known: string | undefined
  /** Never used before: the row's new heartbeat, and its token if a new one is due. */
  readonly fresh: string
  /** Whether to become the sole writer if nobody else is there. */
  readonly exclusive: boolean
  readonly leaseMs: number
  /** Rows of others whose lease is over; each is removed if its heartbeat is still this one. */
  readonly lapsed: ReadonlyArray<Pick<WriterRow, "node" | "heartbeat">>
}

/** The register and the archive as they were at one instant, under the lock. */
export interface HeartbeatReply {
  /** The own row's token. */
  readonly token: string | undefined
  /** The rows of the other nodes. */
  readonly others: ReadonlyArray<WriterRow>
  readonly root: Digest
  /** Live items. */
  readonly entries: number
  /** Highest version that was ever stored. */
  readonly topVersion: number
}

/** What an archive offers. */
export interface WriterRegister {
  /** Enters or refreshes the own row; waits for the commits under way. */
  readonly heartbeat: (request: HeartbeatRequest) => Effect.Effect<HeartbeatReply, ArchiveError>
  /** Removes this token from the node's row; nothing happens when it is another one. */
  readonly release: (own: {
    readonly node: string
    readonly token: string
  }) => Effect.Effect<void, ArchiveError>
  /** Removes the node's row, unless it bears another token. */
  readonly leave: (own: Pick<WriterRow, "node" | "token">) => Effect.Effect<void, ArchiveError>
}

/**
 * The token that the own row bears after a heartbeat. `others`: how many other rows there are once the lapsed
 * ones are gone. An existing token is never cleared here: a late request must not undo what a later one was told.
 */
export const tokenFor = (
  own: Pick<WriterRow, "token"> | undefined,
  others: number,
  request: Pick<HeartbeatRequest, "known" | "fresh" | "exclusive">
): string | undefined => {
  if (own?.token !== undefined) return own.token === request.known ? own.token : request.fresh
  return request.exclusive && others === 0 ? request.fresh : undefined
}

/** The register in memory: the model of the one in SQL, and that of the in-memory archive. */
export class MemoryWriters {
  readonly rows = new Map<string, WriterRow>()

  heartbeat(request: HeartbeatRequest): Pick<HeartbeatReply, "token" | "others"> {
    for (const { heartbeat, node } of request.lapsed) {
      if (node !== request.node && this.rows.get(node)?.heartbeat === heartbeat) this.rows.delete(node)
    }
    const { fresh, leaseMs, node } = request
    const others = [...this.rows.values()].filter((row) => row.node !== node)
    const token = tokenFor(this.rows.get(node), others.length, request)
    this.rows.set(node, { node, token, heartbeat: fresh, leaseMs })
    return { token, others }
  }

  release(own: { readonly node: string; readonly token: string }): void {
    const row = this.rows.get(own.node)
    if (row?.token === own.token) this.rows.set(own.node, { ...row, token: undefined })
  }

  leave(own: Pick<WriterRow, "node" | "token">): void {
    const row = this.rows.get(own.node)
    if (row !== undefined && (row.token === undefined || row.token === own.token)) this.rows.delete(own.node)
  }

  /** Whether a commit of this node may pass: nobody else is the sole writer. */
  admits(node: string): boolean {
    return [...this.rows.values()].every((row) => row.token === undefined || row.node === node)
  }
}

/**
 * What one node has seen of the others, to tell whose lease is over. Times are milliseconds of a monotonic clock.
 */
export class WriterWatch {
  private readonly seen = new Map<string, { readonly row: WriterRow; readonly since: number }>()

  /** Takes the other rows of a heartbeat that returned at `now`. */
  observe(others: ReadonlyArray<WriterRow>, now: number): void {
    const gone = new Set(this.seen.keys())
    for (const row of others) {
      gone.delete(row.node)
      if (this.seen.get(row.node)?.row.heartbeat !== row.heartbeat)
        this.seen.set(row.node, { row, since: now })
    }
    for (const node of gone) this.seen.delete(node)
  }

  /** The rows that have not changed for their whole lease. */
  lapsed(now: number): HeartbeatRequest["lapsed"] {
    return Array.from(this.seen.values())
      .filter(({ row, since }) => now - since >= Math.min(row.leaseMs, longestLeaseMs))
      .map(({ row: { heartbeat, node } }) => ({ node, heartbeat }))
  }
}

/** The most bytes that a node's name, a token or a heartbeat may have. */
const maxNameBytes = 64

const refuse = (problem: string) => new ArchiveError({ operation: "heartbeat", kind: "permanent", problem })

/**
 * Whose commits an archive makes: those of the node whose heartbeats come through it, from the first until it
 * leaves. Before and after that they are nobody's, and nobody's commit is refused while any token stands. An
 * archive serves one node at a time: were it taken for two, the commits of one would pass for the other's.
 */
export class Committer {
  /** The node, if there is one. To be read when a commit is asked for. */
  node: string | undefined

  /** A node sends a heartbeat. Returns why it is refused. */
  enter(node: string): ArchiveError | undefined {
    if (this.node !== undefined && this.node !== node)
      return refuse("this archive already serves another node, which has not left; open one for each node")
    this.node = node
    return undefined
  }

  /** The node has left. */
  left(node: string): void {
    if (this.node === node) this.node = undefined
  }
}

const fits = (name: string): boolean => name !== "" && Buffer.byteLength(name) <= maxNameBytes

/** Why a register cannot take these names and this lease, if so. */
export const refusedRequest = ({ fresh, leaseMs, node }: HeartbeatRequest): ArchiveError | undefined => {
  if (!fits(node)) return refuse(`the node's name must have 1 to ${maxNameBytes} bytes`)
  if (!fits(fresh)) return refuse(`the heartbeat must have 1 to ${maxNameBytes} bytes`)
  if (!Number.isSafeInteger(leaseMs) || leaseMs <= 0 || leaseMs > longestLeaseMs)
    return refuse(
      `the lease must be a whole number of milliseconds from 1 to ${longestLeaseMs}; got ${leaseMs}`
    )
  return undefined
}

/** A commit that came while another node is the sole writer. */
export const heldByAnother = (): ArchiveError =>
  new ArchiveError({
    operation: "commit",
    kind: "transient",
    problem: "another node is the sole writer just now; it gives way within seconds"
  })
