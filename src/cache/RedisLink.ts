/**
 * One socket at a time, to the one server that holds the keys, made again for ever.
 *
 * In a cluster all keys of a prefix live in one slot, so a cluster is the same with one more question: which of its
 * nodes has that slot. A node that does not have it names the one that has, and the connection is made there. The
 * driver's own cluster client was given up for this: it follows a failover without a word, and what was proven of the
 * old primary would be believed of the new one.
 */
import type { Redis } from "ioredis"
import type { RedisAddress, RedisTarget } from "../config/RedisUrl.js"
import { isElsewhere, movedTo, problemIn } from "./RedisFailure.js"
import { clusterNodes, type Greeting, greet, introduce, openClient, type Seen } from "./RedisServer.js"

export interface RedisLinkOptions {
  readonly target: RedisTarget
  readonly keyPrefix: string
  /** Milliseconds for one attempt to connect. */
  readonly connectTimeoutMs: number
  /** Milliseconds for one command. */
  readonly commandTimeoutMs: number
  /** Longest pause between two attempts, in milliseconds. */
  readonly maxReconnectDelayMs: number
  /** A new name for a tree; see `scripts.ts`. */
  readonly nextEpoch: () => string
}

/** What a link tells of itself. */
export interface RedisLinkEvents {
  /** The connection stands and its server was looked at. */
  readonly up: (warnings: ReadonlyArray<string>) => void
  /** The connection stands, and the server or its data may be others. */
  readonly changed: (changed: boolean, warnings: ReadonlyArray<string>) => void
  /** The connection is gone. `nowhere`: every known address has been tried since the last time. */
  readonly down: (nowhere: boolean) => void
  /** Something went wrong; secrets removed. */
  readonly problem: (problem: string) => void
}

/** How often in a row another node's word for where the keys are is followed without a pause. */
const mostRedirections = 5

export class RedisLink {
  /** None between two attempts. */
  private client: Redis | undefined
  private isUp = false
  private upSince = 0
  private address: RedisAddress
  /** Where to look for the keys, in turn; a cluster's own list once it has been seen. */
  private addresses: ReadonlyArray<RedisAddress>
  private turn = 0
  private redirect: RedisAddress | undefined
  private redirections = 0
  /** Attempts in a row without a connection that lasted. */
  private attempts = 0
  private timer: NodeJS.Timeout | undefined
  private seen: Seen = { epoch: "", server: "" }

  constructor(
    private readonly options: RedisLinkOptions,
    private readonly now: () => number,
    private readonly tell: RedisLinkEvents
  ) {
    this.addresses = options.target.nodes
    this.address = options.target.nodes[0]!
  }

  /** The connection, when it stands. */
  get current(): Redis | undefined {
    return this.isUp ? this.client : undefined
  }

  /** Begins to connect; attempts go on until `close`. */
  readonly start = (): void => {
    this.address = this.redirect ?? this.addresses[this.turn++ % this.addresses.length]!
    this.redirect = undefined
    const client = openClient(this.options.target, this.address, this.options)
    this.client = client
    client.on("error", (error: unknown) => {
      if (this.client === client) this.tell.problem(this.problemIn(error))
    })
    client.once("ready", () => void this.meet(client))
    client.once("end", () => this.leave(client))
    // What went wrong arrives as an "error" event.
    client.connect().catch(() => {})
  }

  /** Ends it for good; resolves when the socket is gone. */
  close(): Promise<void> {
    const { client } = this
    this.client = undefined
    clearTimeout(this.timer)
    if (client === undefined || client.status === "end") return Promise.resolve()
    return new Promise((resolve) => {
      client.once("end", () => resolve())
      client.disconnect()
    })
  }

  /** A tree that was begun through this link is no reason to doubt. */
  expectEpoch(epoch: string): void {
    this.seen = { ...this.seen, epoch }
  }

  /** Looks whether the server and its data are still those that were seen. */
  async lookAgain(): Promise<void> {
    const client = this.current
    if (client === undefined) return
    const expected = this.seen
    try {
      const { seen, warnings } = await greet(client, this.options.keyPrefix, this.options.nextEpoch())
      if (this.client !== client || this.seen !== expected) return
      this.seen = seen
      this.tell.changed(seen.epoch !== expected.epoch || seen.server !== expected.server, warnings)
    } catch (error) {
      // That it is slow or breaks off is for the calls to notice.
      this.leaveIfElsewhere(client, this.problemIn(error))
    }
  }

  /** Gives a connection up whose server says that the keys are not there; says whether it did. */
  leaveIfElsewhere(client: Redis, problem: string): boolean {
    if (this.client !== client || !isElsewhere(problem)) return false
    const moved = movedTo(problem, this.address.host)
    const { cluster } = this.options.target
    if (moved !== undefined && cluster && this.redirections < mostRedirections) {
      this.redirections++
      this.redirect = moved
    }
    this.tell.problem(
      moved === undefined || cluster
        ? problem
        : `this is a node of a cluster, which needs redis-cluster:// (${problem})`
    )
    this.leave(client)
    return true
  }

  /** Gives a connection up, however it ended, and makes another after a pause. */
  leave(client: Redis): void {
    if (this.client !== client) return
    this.client = undefined
    client.disconnect()
    const { maxReconnectDelayMs } = this.options
    // One that was made and broke off at once is no better than none: the pauses grow.
    this.attempts = this.isUp && this.now() - this.upSince >= maxReconnectDelayMs ? 0 : this.attempts + 1
    this.isUp = false
    if (this.redirect !== undefined) {
      this.tell.down(false)
      this.start()
      return
    }
    this.redirections = 0
    this.tell.down(this.attempts % this.addresses.length === 0)
    const pause = 50 * 2 ** Math.min(Math.max(0, this.attempts - 1), 10)
    this.timer = setTimeout(this.start, Math.min(pause, maxReconnectDelayMs))
  }

  /** What went wrong, as one text without secrets. */
  problemIn(cause: unknown): string {
    const { password } = this.options.target
    return problemIn(cause, password === undefined ? [] : [password])
  }

  private async meet(client: Redis): Promise<void> {
    const { keyPrefix, nextEpoch, target } = this.options
    let greeting: Greeting
    try {
      await introduce(client, target)
      greeting = await greet(client, keyPrefix, nextEpoch())
      const nodes = target.cluster ? await clusterNodes(client, this.address.host) : []
      if (nodes.length > 0) this.addresses = nodes
    } catch (error) {
      if (this.client !== client) return
      const problem = this.problemIn(error)
      if (this.leaveIfElsewhere(client, problem)) return
      this.tell.problem(problem)
      this.leave(client)
      return
    }
    if (this.client !== client) return
    this.isUp = true
    this.upSince = this.now()
    this.redirections = 0
    this.seen = greeting.seen
    this.tell.up(greeting.warnings)
  }
}
