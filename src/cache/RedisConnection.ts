/** The connection to Redis: made in the background, kept for ever, bounded in time, behind a circuit breaker. */
import type { Clock, PubSub } from "effect"
import type { Redis } from "ioredis"
import { type CacheConnection, CacheError, type CacheStatus } from "./Cache.js"
import { CircuitBreaker } from "./CircuitBreaker.js"
import { kindOf } from "./RedisFailure.js"
import { RedisLink, type RedisLinkOptions } from "./RedisLink.js"
import type { Script } from "./RedisScript.js"
import { type Argument, evaluate } from "./RedisServer.js"

export interface RedisConnectionOptions extends RedisLinkOptions {
  /** Failures in a row that open the circuit. */
  readonly failureThreshold: number
  /** How long the circuit stays open before a probe, in milliseconds. */
  readonly coolDownMs: number
}

/**
 * One connection, its state and its breaker. The methods return promises that reject with a `CacheError` and nothing
 * else.
 */
export class RedisConnection {
  readonly breaker: CircuitBreaker
  commands = 0
  failures = 0
  shed = 0

  private readonly link: RedisLink
  private state: "connecting" | "connected" | "reconnecting" | "closed" = "connecting"
  private shown: CacheStatus
  private failedProbes = 0
  private waiters: Array<(error: CacheError | undefined) => void> = []

  constructor(
    readonly options: RedisConnectionOptions,
    private readonly clock: Clock.Clock,
    private readonly published: PubSub.PubSub<CacheStatus>
  ) {
    this.breaker = new CircuitBreaker(options.failureThreshold, options.coolDownMs)
    this.shown = {
      connection: "connecting",
      since: this.now(),
      generation: 0,
      lastError: undefined,
      warnings: []
    }
    this.link = new RedisLink(options, () => this.elapsed(), {
      up: (warnings) => this.up(warnings),
      changed: (changed, warnings) =>
        this.show(changed ? { warnings, generation: this.shown.generation + 1 } : { warnings }),
      down: (nowhere) => this.down(nowhere),
      problem: (lastError) => this.show({ lastError })
    })
  }

  /** Begins to connect; attempts go on until `close`. */
  start(): void {
    this.link.start()
  }

  /** Ends the connection; resolves when the socket is gone. */
  close(): Promise<void> {
    this.state = "closed"
    this.show({})
    this.tellWaiters(this.unavailable("connect", "the cache is closed"))
    return this.link.close()
  }

  status(): CacheStatus {
    return this.shown
  }

  /** Calls back when the connection stands, or with the error of the first attempt that fails from now on. */
  whenConnected(done: (error: CacheError | undefined) => void): () => void {
    if (this.state === "connected") {
      done(undefined)
      return () => {}
    }
    if (this.state === "closed") {
      done(this.unavailable("connect", "the cache is closed"))
      return () => {}
    }
    this.waiters.push(done)
    return () => {
      this.waiters = this.waiters.filter((waiter) => waiter !== done)
    }
  }

  /** Runs a script; its first key is the prefix, which also routes it in a cluster. */
  run(operation: string, script: Script, args: ReadonlyArray<Argument>): Promise<unknown> {
    return this.guarded(operation, (client) => evaluate(client, script, [this.options.keyPrefix, ...args]))
  }

  /** Runs one command whose first key, if it has any, begins with the prefix. */
  command(operation: string, name: string, args: ReadonlyArray<Argument>): Promise<unknown> {
    return this.guarded(operation, (client) => client.callBuffer(name, [...args]))
  }

  /** All own keys of one kind, in batches of a few hundred, as `SCAN` finds them: possibly more than once. */
  async scan(
    operation: string,
    pattern: string,
    each: (keys: ReadonlyArray<string>) => Promise<void>,
    stopped: () => boolean
  ): Promise<void> {
    let cursor = "0"
    do {
      const reply = await this.command(operation, "SCAN", [cursor, "MATCH", pattern, "COUNT", 500])
      const [next, keys] = reply as [Buffer, ReadonlyArray<Buffer>]
      cursor = next.toString("latin1")
      if (keys.length > 0) await each(keys.map((key) => key.toString("utf8")))
    } while (cursor !== "0" && !stopped())
  }

  /** A tree that was begun through this connection is no reason to doubt. */
  expectEpoch(epoch: string): void {
    this.link.expectEpoch(epoch)
  }

  /**
   * To be called now and then. Looks whether the server and its data are still those that were seen; with an open
   * circuit one probe when it is cool, and a connection that stays silent is given up and made again.
   */
  async probe(): Promise<void> {
    const client = this.link.current
    if (client === undefined || this.state === "closed") return
    if (!this.breaker.isOpen) {
      await this.link.lookAgain()
      return
    }
    if (this.breaker.retryAfter(this.elapsed()) > 0) return
    try {
      await this.command("ping", "PING", [])
      this.failedProbes = 0
    } catch {
      this.failedProbes += 1
      if (this.failedProbes >= 3) this.link.leave(client)
    }
  }

  /** For the eyes of people. */
  private now(): number {
    return this.clock.unsafeCurrentTimeMillis()
  }

  /** For waiting: milliseconds that no change of the wall clock moves. */
  private elapsed(): number {
    return Number(this.clock.unsafeCurrentTimeNanos() / 1_000_000n)
  }

  private up(warnings: ReadonlyArray<string>): void {
    this.breaker.succeeded()
    this.failedProbes = 0
    this.state = "connected"
    this.show({ generation: this.shown.generation + 1, lastError: undefined, warnings })
    this.tellWaiters(undefined)
  }

  private down(nowhere: boolean): void {
    this.state = "reconnecting"
    this.breaker.succeeded()
    this.show({})
    if (nowhere) {
      this.tellWaiters(this.unavailable("connect", this.shown.lastError ?? "the connection was closed"))
    }
  }

  /** Runs a call under the breaker and turns whatever it throws into a `CacheError`. */
  private async guarded<A>(operation: string, call: (client: Redis) => Promise<A>): Promise<A> {
    const client = this.link.current
    if (client === undefined || this.state !== "connected") {
      throw this.unavailable(
        operation,
        this.state === "closed" ? "the cache is closed" : (this.shown.lastError ?? "not connected yet")
      )
    }
    if (this.breaker.admit(this.elapsed()) === "shed") {
      this.shed += 1
      throw new CacheError({
        operation,
        kind: "circuit-open",
        problem: `the last ${this.options.failureThreshold} calls failed: ${this.shown.lastError ?? "unknown"}`,
        retryAfterMs: Math.max(1, this.breaker.retryAfter(this.elapsed()))
      })
    }
    try {
      this.commands += 1
      const result = await call(client)
      this.replied(client)
      return result
    } catch (cause) {
      const error = this.errorOf(operation, cause)
      this.failures += 1
      if (error.kind === "refused") this.replied(client)
      else if (this.link.current === client && !this.link.leaveIfElsewhere(client, error.problem)) {
        const opened = this.breaker.failed(this.elapsed())
        this.show({ lastError: error.problem }, opened)
      }
      throw error
    }
  }

  /** The server has replied: what was failing is over, and may have been missed. */
  private replied(client: Redis): void {
    if (this.link.current === client && this.breaker.succeeded()) {
      this.show({ generation: this.shown.generation + 1 })
    }
  }

  private errorOf(operation: string, cause: unknown): CacheError {
    if (cause instanceof CacheError) return cause
    const problem = this.link.problemIn(cause)
    const kind = kindOf(problem)
    if (kind === "unavailable") return this.unavailable(operation, problem)
    return new CacheError({
      operation,
      kind,
      problem: kind === "timeout" ? `no answer within ${this.options.commandTimeoutMs} ms` : problem,
      retryAfterMs: this.options.coolDownMs
    })
  }

  private unavailable(operation: string, problem: string): CacheError {
    return new CacheError({
      operation,
      kind: "unavailable",
      problem,
      retryAfterMs: this.options.maxReconnectDelayMs
    })
  }

  private tellWaiters(error: CacheError | undefined): void {
    const waiters = this.waiters
    this.waiters = []
    for (const done of waiters) done(error)
  }

  private show(change: Partial<CacheStatus>, force = false): void {
    const connection: CacheConnection =
      this.state === "connected" && this.breaker.isOpen ? "circuit-open" : this.state
    const before = this.shown
    const since = connection === before.connection ? before.since : this.now()
    this.shown = { ...before, ...change, connection, since }
    if (force || connection !== before.connection || this.shown.generation !== before.generation) {
      this.published.unsafeOffer(this.shown)
    }
  }
}
