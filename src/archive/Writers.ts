/**
 * What every archive does for its writers' register besides storing it: whose commits it makes, and which names
 * it takes. The protocol is told in `filter/WriterLease`.
 */

import { ArchiveError } from "./ArchiveError.js"
import type { HeartbeatRequest } from "./WriterLease.js"

/** The most bytes that a node's name, a token or a heartbeat may have. */
export const maxNameBytes = 64

/**
 * Whose commits an archive makes: those of the node whose heartbeats come through it, from the first until it
 * leaves. Before and after that they are nobody's, and nobody's commit is refused while any token stands. An
 * archive serves one node at a time: were it taken for two, the commits of one would pass for the other's.
 */
export class Committer {
  private current: string | undefined

  /** The node, if there is one. To be read when a commit is asked for. */
  get node(): string | undefined {
    return this.current
  }

  /** A node sends a heartbeat. Returns why it is refused. */
  enter(node: string): ArchiveError | undefined {
    if (this.current !== undefined && this.current !== node) {
      const problem = "this archive already serves another node, which has not left; open one for each node"
      return new ArchiveError({ operation: "heartbeat", kind: "permanent", problem })
    }
    this.current = node
    return undefined
  }

  /** The node has left. */
  left(node: string): void {
    if (this.current === node) this.current = undefined
  }
}

const fits = (name: string): boolean => name !== "" && Buffer.byteLength(name) <= maxNameBytes

/** Why a register cannot take these names and this lease, if so. */
export const refusedRequest = ({ fresh, leaseMs, node }: HeartbeatRequest): ArchiveError | undefined => {
  const refuse = (problem: string) => new ArchiveError({ operation: "heartbeat", kind: "permanent", problem })
  if (!fits(node)) return refuse(`the node's name must have 1 to ${maxNameBytes} bytes`)
  if (!fits(fresh)) return refuse(`the heartbeat must have 1 to ${maxNameBytes} bytes`)
  if (!Number.isSafeInteger(leaseMs) || leaseMs <= 0)
    return refuse(`the lease must be a whole number of milliseconds above 0; got ${leaseMs}`)
  return undefined
}

/** A commit that came while another node is the sole writer. */
export const heldByAnother = (): ArchiveError =>
  new ArchiveError({
    operation: "commit",
    kind: "transient",
    problem: "another node is the sole writer just now; it gives way within seconds"
  })
