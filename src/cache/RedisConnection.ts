/**
 * The connection to Redis: made in the background, kept for ever, bounded in time, behind a circuit breaker.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import type * as Clock from "effect/Clock"
import type * as PubSub from "effect/PubSub"
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis"
import { type CacheConnection, CacheError, type CacheStatus } from "./Cache.js"
import { CircuitBreaker } from "./CircuitBreaker.js"
import type { RedisTarget } from "./RedisUrl.js"

/** @since 0.1.0 @category models */
export interface RedisConnectionOptions {
  readonly target: RedisTarget
  readonly keyPrefix: string
  /** Milliseconds for one attempt to connect. */
  readonly connectTimeoutMs: number
  /** Milliseconds for one command. */
  readonly commandTimeoutMs: number
  /** Longest pause between two attempts, in milliseconds. */
  readonly maxReconnectDelayMs: number
  /** Failures in a row that open the circuit. */
  readonly failureThreshold: number
  /** How long the circuit stays open before a probe, in milliseconds. */
  readonly coolDownMs: number
}

/** A Lua script and the name the server knows it by. @since 0.1.0 @category models */
export interface Script {
  readonly source: string
  readonly sha: string
}

/** @since 0.1.0 @category constructors */
export const script = (source: string): Script => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})

type Argument = string | number | Buffer

const unreachable =
  /ECONN|EPIPE|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|Connection is closed|Stream isn't writeable|connection close|Socket closed|max retries per request|Failed to refresh slots|None of startup nodes|Cluster isn't ready|CLUSTERDOWN/i

/**
 * One connection (or one cluster client), its state and its breaker. The methods return promises that reject with
 * a `CacheError` and nothing else.
 *
 * @since 0.1.0
 * @category models
 */
export class RedisConnection {
  readonly breaker: CircuitBreaker
  commands = 0
  failures = 0
  shed = 0

  private readonly client: Redis | Cluster
  private readonly secrets: ReadonlyArray<string>
  private state: "connecting" | "connected" | "reconnecting" | "closed" = "connecting"
  private shown: CacheStatus
  private attempt = 0
  private failedProbes = 0
  private waiters: Array<(error: CacheError | undefined) => void> = []

  constructor(
    readonly options: RedisConnectionOptions,
    private readonly clock: Clock.Clock,
    private readonly published: PubSub.PubSub<CacheStatus>
  ) {
    const { target } = options
    this.breaker = new CircuitBreaker(options.failureThreshold, options.coolDownMs)
    this.secrets = [target.password, target.username].filter(
      (secret): secret is string => secret !== undefined
    )
    this.shown = {
      connection: "connecting",
      since: this.now(),
      generation: 0,
      lastError: undefined,
      warnings: []
    }
    this.client = this.makeClient()
    this.client.on("error", (error: unknown) => this.note(error))
    this.client.on("node error", (error: unknown) => this.note(error))
    this.client.on("ready", () => void this.verify())
    this.client.on("close", () => this.lost())
    this.client.on("end", () => this.lost())
  }

  /** Begins to connect; attempts go on until `close`. */
  start(): void {
    // What went wrong arrives as an "error" event.
    this.client.connect().catch(() => {})
  }

  /** Ends the connection; resolves when the socket is gone. */
  close(): Promise<void> {
    const wasIdle = this.state === "closed" || /^(wait|end|close|reconnecting)$/.test(this.client.status)
    this.state = "closed"
    this.show({})
    this.answerWaiters(this.unavailable("connect", "the cache is closed"))
    return new Promise((resolve) => {
      if (wasIdle) resolve()
      else this.client.once("end", () => resolve())
      this.client.disconnect()
    })
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
  run(operation: string, { source, sha }: Script, args: ReadonlyArray<Argument>): Promise<unknown> {
    return this.guarded(operation, async () => {
      const rest: Array<Argument> = [1, this.options.keyPrefix, ...args]
      try {
        return await this.client.callBuffer("EVALSHA", [sha, ...rest])
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error
        return await this.client.callBuffer("EVAL", [source, ...rest])
      }
    })
  }

  /** Runs one command whose first key, if it has any, begins with the prefix. */
  command(operation: string, name: string, args: ReadonlyArray<Argument>): Promise<unknown> {
    return this.guarded(operation, () => this.client.callBuffer(name, [...args]))
  }

  /** All own keys of one kind, in batches of a few hundred, as `SCAN` finds them: possibly more than once. */
  async scan(
    operation: string,
    pattern: string,
    each: (keys: ReadonlyArray<string>) => Promise<void>,
    stopped: () => boolean
  ): Promise<void> {
    const nodes = this.client instanceof Cluster ? this.client.nodes("master") : [this.client]
    for (const node of nodes) {
      let cursor = "0"
      do {
        const reply = await this.guarded(operation, () =>
          node.callBuffer("SCAN", [cursor, "MATCH", pattern, "COUNT", 500])
        )
        const [next, keys] = reply as [Buffer, ReadonlyArray<Buffer>]
        cursor = next.toString("latin1")
        if (keys.length > 0) await each(keys.map((key) => key.toString("utf8")))
      } while (cursor !== "0" && !stopped())
    }
  }

  /** One probe if the circuit is open and cool; a connection that stays silent is given up and made anew. */
  async probe(): Promise<void> {
    if (!this.breaker.isOpen || this.state !== "connected" || this.breaker.retryAfter(this.now()) > 0) return
    try {
      await this.command("ping", "PING", [])
      this.failedProbes = 0
    } catch {
      this.failedProbes += 1
      if (this.failedProbes >= 3 && this.state === "connected") {
        this.failedProbes = 0
        this.reconnect()
      }
    }
  }

  private now(): number {
    return this.clock.unsafeCurrentTimeMillis()
  }

  private makeClient(): Redis | Cluster {
    const { commandTimeoutMs, connectTimeoutMs, maxReconnectDelayMs, target } = this.options
    const retry = (times: number) => Math.min(50 * 2 ** Math.min(times - 1, 10), maxReconnectDelayMs)
    const common: RedisOptions = {
      ...(target.username === undefined ? {} : { username: target.username }),
      ...(target.password === undefined ? {} : { password: target.password }),
      ...(target.tls ? { tls: {} } : {}),
      connectTimeout: connectTimeoutMs,
      commandTimeout: commandTimeoutMs,
      disconnectTimeout: 500,
      keepAlive: 10_000,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
      lazyConnect: true,
      // After a failover the old primary answers READONLY: connect again, to find the new one.
      reconnectOnError: (error) => error.message.startsWith("READONLY")
    }
    if (target.cluster) {
      const options: ClusterOptions = {
        lazyConnect: true,
        enableOfflineQueue: false,
        slotsRefreshTimeout: connectTimeoutMs,
        clusterRetryStrategy: retry,
        redisOptions: common
      }
      return new Cluster([...target.nodes], options)
    }
    const { host, port } = target.nodes[0]!
    return new Redis({ ...common, host, port, db: target.database, retryStrategy: retry })
  }

  /** Runs a call under the breaker and turns whatever it throws into a `CacheError`. */
  private async guarded<A>(operation: string, call: () => Promise<A>): Promise<A> {
    if (this.state !== "connected") {
      throw this.unavailable(
        operation,
        this.shown.lastError ?? (this.state === "closed" ? "the cache is closed" : "not connected yet")
      )
    }
    if (this.breaker.admit(this.now()) === "shed") {
      this.shed += 1
      throw new CacheError({
        operation,
        kind: "circuit-open",
        problem: `the last ${this.options.failureThreshold} calls failed: ${this.shown.lastError ?? "unknown"}`,
        retryAfterMs: Math.max(1, this.breaker.retryAfter(this.now()))
      })
    }
    const attempt = this.attempt
    try {
      this.commands += 1
      const result = await call()
      if (this.breaker.succeeded()) this.show({ generation: this.shown.generation + 1 })
      return result
    } catch (cause) {
      const error = this.errorOf(operation, cause)
      this.failures += 1
      if (error.kind === "refused") {
        if (this.breaker.succeeded()) this.show({ generation: this.shown.generation + 1 })
      } else if (attempt === this.attempt && this.state === "connected") {
        const opened = this.breaker.failed(this.now())
        this.show({ lastError: error.problem }, opened)
      }
      throw error
    }
  }

  private errorOf(operation: string, cause: unknown): CacheError {
    if (cause instanceof CacheError) return cause
    const problem = this.clean(cause)
    if (/Command timed out|Blocking command timed out/.test(problem)) {
      return new CacheError({
        operation,
        kind: "timeout",
        problem: `no answer within ${this.options.commandTimeoutMs} ms`,
        retryAfterMs: this.options.coolDownMs
      })
    }
    if (unreachable.test(problem)) return this.unavailable(operation, problem)
    return new CacheError({ operation, kind: "refused", problem, retryAfterMs: this.options.coolDownMs })
  }

  private unavailable(operation: string, problem: string): CacheError {
    return new CacheError({
      operation,
      kind: "unavailable",
      problem,
      retryAfterMs: this.options.maxReconnectDelayMs
    })
  }

  // The driver attaches the whole command, password or content included, to its errors: only the text is kept.
  private clean(cause: unknown): string {
    const error = cause as {
      message?: unknown
      code?: unknown
      errors?: ReadonlyArray<{ message?: string }>
      lastNodeError?: { message?: string } | null
    }
    let text = typeof error?.message === "string" ? error.message : String(cause)
    if (text === "") text = error?.errors?.[0]?.message ?? String(error?.code ?? "unknown error")
    if (error?.lastNodeError?.message) text = `${text} (${error.lastNodeError.message})`
    for (const secret of this.secrets) text = text.split(secret).join("***")
    return text.length > 300 ? `${text.slice(0, 300)}…` : text
  }

  private note(error: unknown): void {
    if (this.state !== "closed") this.show({ lastError: this.clean(error) })
  }

  private async verify(): Promise<void> {
    this.attempt += 1
    const attempt = this.attempt
    try {
      const reply = await this.client.callBuffer("INFO", ["memory"])
      if (attempt !== this.attempt || this.state === "closed") return
      this.breaker.succeeded()
      this.failedProbes = 0
      this.state = "connected"
      this.show({
        generation: this.shown.generation + 1,
        lastError: undefined,
        warnings: evictionWarnings(String(reply))
      })
      this.answerWaiters(undefined)
    } catch (error) {
      if (attempt !== this.attempt || this.state === "closed") return
      this.note(error)
      this.reconnect()
    }
  }

  private reconnect(): void {
    this.client.disconnect(true)
    this.lost()
  }

  private lost(): void {
    this.attempt += 1
    if (this.state === "closed") return
    this.state = "reconnecting"
    this.breaker.succeeded()
    this.show({})
    this.answerWaiters(this.unavailable("connect", this.shown.lastError ?? "the connection was closed"))
  }

  private answerWaiters(error: CacheError | undefined): void {
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

/**
 * What an operator should know about the server's eviction policy. The tree's keys never expire: only `allkeys-*`
 * policies may drop them.
 *
 * @since 0.1.0
 * @category functions
 */
export const evictionWarnings = (info: string): ReadonlyArray<string> => {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? ""
  if (!policy.startsWith("allkeys-")) return []
  const limit = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0)
  const when = limit === 0 ? "once maxmemory is set" : `at ${limit} bytes`
  return [
    `Redis runs with maxmemory-policy ${policy}: it may drop items and parts of the cache's tree ${when}, which forces resyncs. Use noeviction or a volatile-* policy.`
  ]
}
