/** The connection to Redis: made in the background, kept for ever, bounded in time, behind a circuit breaker. */
import { type Clock, Deferred, Effect, Either, Exit, FiberId, identity, Schedule, type Scope } from "effect"
import { escapePattern } from "../config/RedisUrl.js"
import { backoff } from "../shared/Backoff.js"
import { CacheError, type CacheStatus } from "./Cache.js"
import { CircuitBreaker } from "./CircuitBreaker.js"
import type { LuaScript } from "./LuaScript.js"
import { isElsewhere, kindOf, problemIn } from "./RedisFailure.js"
import { type Argument, evaluate, greet, type Seen, type Send } from "./RedisServer.js"
import type { RedisSession, RedisSource } from "./RedisSource.js"
import type { StatusFeed } from "./StatusFeed.js"

export interface RedisConnectionOptions {
  /** Milliseconds for one command. */
  readonly commandTimeoutMs: number
  /** Longest pause between two attempts, in milliseconds. */
  readonly maxReconnectDelayMs: number
  /** Failures in a row that open the circuit. */
  readonly failureThreshold: number
  /** How long the circuit stays open before a probe, and how often the server is looked at, in milliseconds. */
  readonly coolDownMs: number
  /** A new name for a tree; see `LuaScript.ts`. */
  readonly nextEpoch: () => string
}

/** A connection that stands. */
interface Session extends RedisSession {
  readonly ended: Deferred.Deferred<void>
}

const mostFailedProbes = 3

/** Of one step of a `SCAN`, and of a server's database. */
const keysPerStep = 500
const mostKeys = 2 ** 32

/** Stands for a server that is no longer there. */
const noServer: Send = () => Promise.reject(new Error("Connection is closed."))

/** One connection at a time, its state and its breaker. */
export class RedisConnection {
  private readonly breaker: CircuitBreaker
  private session: Session | undefined
  private state: "connecting" | "connected" | "reconnecting" | "closed" = "connecting"
  private seen: Seen = { epoch: "", server: "" }
  private failedProbes = 0
  /** Where the keys are has been said: the next attempt needs no pause. */
  private tryAtOnce = false
  /** Done with the connection, or with the failure at the last of the places where it could be made. */
  private outcome = Deferred.unsafeMake<void, CacheError>(FiberId.none)

  private constructor(
    private readonly source: RedisSource,
    private readonly options: RedisConnectionOptions,
    private readonly feed: StatusFeed,
    private readonly clock: Clock.Clock
  ) {
    this.breaker = new CircuitBreaker(options.failureThreshold, options.coolDownMs)
  }

  /** Begins to connect; attempts go on until the scope closes, which waits until the socket is gone. */
  static readonly make = (
    source: RedisSource,
    options: RedisConnectionOptions,
    feed: StatusFeed
  ): Effect.Effect<RedisConnection, never, Scope.Scope> =>
    Effect.gen(function* () {
      const connection = new RedisConnection(source, options, feed, yield* Effect.clock)
      yield* Effect.forkScoped(Effect.interruptible(connection.keep()))
      yield* Effect.addFinalizer(() => Effect.sync(() => connection.close()))
      return connection
    })

  /** Waits for the connection; fails with the first attempt that fails from now on. */
  readonly connect: Effect.Effect<void, CacheError> = Effect.suspend(() => {
    if (this.session !== undefined) return Effect.void
    return this.state === "closed" ? Effect.fail(this.unavailable("connect")) : Deferred.await(this.outcome)
  })

  /** Runs a script. What the encoding or decoding throws is a malformed reply to the caller. */
  run<Reply, A>(
    operation: string,
    script: LuaScript,
    encode: () => ReadonlyArray<Argument>,
    decode: (reply: Reply) => A = (reply) => reply as never
  ): Effect.Effect<A, CacheError> {
    const { keyPrefix } = this.source
    return this.sane(operation, encode).pipe(
      Effect.flatMap((args) => this.call(operation, ({ send }) => evaluate(send, script, keyPrefix, args))),
      Effect.flatMap((reply) => this.sane(operation, () => decode(reply as Reply)))
    )
  }

  private sane<A>(operation: string, body: () => A): Effect.Effect<A, CacheError> {
    return Effect.try({
      try: body,
      catch: (cause) => this.errorOf(operation, "malformed", this.problemIn(cause))
    })
  }

  /**
   * All own keys of one kind, without the prefix, in batches of a few hundred, as `SCAN` finds them: possibly more than
   * once. Ends early when `each` says that it is enough; fails when the server goes round in circles, or on for longer
   * than the keys of any server last.
   */
  scan(
    operation: string,
    kind: string,
    each: (keys: ReadonlyArray<string>) => Effect.Effect<"more" | "enough", CacheError>,
    mostSteps = mostKeys / keysPerStep
  ): Effect.Effect<void, CacheError> {
    return Effect.gen(this, function* () {
      const { session } = this
      const prefix = session?.greeting.prefix ?? ""
      const pattern = `${escapePattern(prefix)}${kind}*`
      for (const primary of session?.primaries() ?? [noServer]) {
        let cursor = "0"
        let earlier = ""
        for (let step = 1; ; step++) {
          const args = [cursor, "MATCH", pattern, "COUNT", keysPerStep]
          const reply = yield* this.call(operation, (now) =>
            // A cursor means nothing to another server.
            (now === session ? primary : noServer)("SCAN", args)
          )
          const names = yield* this.sane(operation, () => {
            const [next, keys] = reply as [Buffer, ReadonlyArray<Buffer>]
            cursor = next.toString("latin1")
            if (cursor === earlier || step >= mostSteps) throw new Error("the server's SCAN does not end")
            // A cursor that comes again does so within a circle, whose length some power of two exceeds (Brent, 1980).
            if ((step & (step - 1)) === 0) earlier = cursor
            return keys.map((key) => key.toString("utf8").slice(prefix.length))
          })
          if (names.length > 0 && (yield* each(names)) === "enough") return
          if (cursor === "0") break
        }
      }
    })
  }

  /** A tree that was begun through this connection is no reason to doubt. */
  expectEpoch(epoch: string): void {
    this.seen = { ...this.seen, epoch }
  }

  /** Makes one connection after the other, for ever. */
  private keep(): Effect.Effect<never> {
    return Effect.gen(this, function* () {
      const { maxReconnectDelayMs } = this.options
      const pauses = yield* Schedule.driver(backoff("50 millis", maxReconnectDelayMs))
      /** Attempts in a row without a connection that lasted: one that broke off at once is no better than none. */
      let attempts = 0
      for (;;) {
        const lastedMs = yield* Effect.scoped(this.attempt())
        attempts = lastedMs >= maxReconnectDelayMs ? 0 : attempts + 1
        if (attempts === 0) yield* pauses.reset
        if (this.tryAtOnce) continue
        if (attempts % this.source.places() === 0) this.settle(Exit.fail(this.unavailable("connect")))
        yield* Effect.raceFirst(Effect.ignore(pauses.next(undefined)), this.source.comesBack)
      }
    })
  }

  /** One connection, from the attempt to make it until it is lost. Returns how long it has stood. */
  private attempt(): Effect.Effect<number, never, Scope.Scope> {
    return Effect.gen(this, function* () {
      const ended = yield* Deferred.make<void>()
      let session: Session | undefined
      let over: { readonly cause: unknown } | undefined
      // A server that goes away in order gives no cause.
      const lost = (cause: unknown = "the connection was lost") => {
        over = { cause }
        if (session !== undefined) this.lose(session, cause)
      }
      const opened = yield* Effect.either(this.source.open(lost, this.options.nextEpoch()))
      if (over !== undefined || Either.isLeft(opened)) {
        this.leave(Either.isLeft(opened) ? opened.left : over!.cause)
        return 0
      }
      session = { ...opened.right, ended }
      const since = this.elapsed()
      this.up(session)
      const looks = Effect.schedule(this.look(session), Schedule.spaced(this.options.coolDownMs))
      yield* Effect.raceFirst(Deferred.await(ended), looks)
      return this.elapsed() - since
    })
  }

  /**
   * Looks whether the server and its data are still those that were seen. With an open circuit that is the probe when it
   * is cool, and a connection that stays silent is given up.
   */
  private look(session: Session): Effect.Effect<void> {
    return Effect.suspend(() => {
      const expected = this.seen
      const isProbe = this.breaker.isOpen
      if (isProbe && this.breaker.retryAfter(this.elapsed()) > 0) return Effect.void
      const ask = () => greet(session.send, this.source.keyPrefix, this.options.nextEpoch())
      return Effect.match(
        isProbe ? this.call("probe", ask) : Effect.tryPromise({ try: ask, catch: identity }),
        {
          onSuccess: ({ seen, warnings }) => {
            this.failedProbes = 0
            if (this.session !== session || this.seen !== expected) return
            this.seen = seen
            const isOther = seen.epoch !== expected.epoch || seen.server !== expected.server
            this.show({ warnings, generation: this.feed.current.generation + (isOther ? 1 : 0) })
          },
          onFailure: (cause) => {
            // With a closed circuit it is for the calls to notice that the server is slow or breaks off.
            if (isProbe) {
              this.failedProbes += 1
              if (this.failedProbes >= mostFailedProbes) this.lose(session, this.feed.current.lastError)
            } else if (isElsewhere(this.problemIn(cause))) this.lose(session, cause)
          }
        }
      )
    })
  }

  private up(session: Session): void {
    this.session = session
    this.seen = session.greeting.seen
    this.failedProbes = 0
    this.breaker.succeeded()
    this.state = "connected"
    const { warnings } = session.greeting
    this.show({ generation: this.feed.current.generation + 1, lastError: undefined, warnings })
    this.settle(Exit.void)
  }

  /** Gives a connection up, however it ended. */
  private lose(session: Session, cause: unknown): void {
    if (this.session !== session) return
    this.leave(cause)
    Deferred.unsafeDone(session.ended, Exit.void)
  }

  private leave(cause: unknown): void {
    this.session = undefined
    this.tryAtOnce = false
    if (this.state === "closed") return
    this.state = "reconnecting"
    this.breaker.succeeded()
    const { problem, tryAtOnce } = this.source.afterFailure(this.problemIn(cause))
    this.tryAtOnce = tryAtOnce
    this.show({ lastError: problem })
  }

  private close(): void {
    this.state = "closed"
    this.session = undefined
    this.show({})
    this.settle(Exit.fail(this.unavailable("connect")))
  }

  /** Makes a call under the breaker, which learns how it ended even when nobody waits for it any more. */
  private call<A>(operation: string, ask: (session: Session) => Promise<A>): Effect.Effect<A, CacheError> {
    return Effect.suspend(() => {
      const { session } = this
      if (session === undefined) return Effect.fail(this.unavailable(operation))
      if (!this.breaker.admits(this.elapsed())) {
        const retryAfterMs = Math.max(1, this.breaker.retryAfter(this.elapsed()))
        const last = this.feed.current.lastError ?? "unknown"
        const problem = `the last ${this.options.failureThreshold} calls failed: ${last}`
        return Effect.fail(this.errorOf(operation, "circuit-open", problem, retryAfterMs))
      }
      const ended = ask(session).then(
        (reply) => {
          this.replied(session)
          return reply
        },
        (cause: unknown) => {
          throw this.failed(session, operation, this.problemIn(cause))
        }
      )
      // Interrupted just now, nobody would hear of its rejection.
      ended.catch(() => {})
      return Effect.tryPromise({ try: () => ended, catch: (error) => error as CacheError })
    })
  }

  /** The server has replied: what was failing is over, and may have been missed. */
  private replied(session: Session): void {
    if (this.session !== session || !this.breaker.succeeded()) return
    this.show({ generation: this.feed.current.generation + 1 })
  }

  private failed(session: Session, operation: string, problem: string): CacheError {
    const kind = kindOf(problem)
    if (kind === "refused") this.replied(session)
    else if (isElsewhere(problem)) this.lose(session, new Error(problem))
    else if (this.session === session) {
      const opened = this.breaker.failed(this.elapsed())
      this.show({ lastError: problem }, opened)
    }
    const { commandTimeoutMs, coolDownMs, maxReconnectDelayMs } = this.options
    const said = kind === "timeout" ? `no answer within ${commandTimeoutMs} ms` : problem
    return this.errorOf(operation, kind, said, kind === "unavailable" ? maxReconnectDelayMs : coolDownMs)
  }

  private unavailable(operation: string): CacheError {
    const problem =
      this.state === "closed" ? "the cache is closed" : (this.feed.current.lastError ?? "not connected yet")
    return this.errorOf(operation, "unavailable", problem, this.options.maxReconnectDelayMs)
  }

  private errorOf(
    operation: string,
    kind: CacheError["kind"],
    problem: string,
    retryAfterMs = this.options.coolDownMs
  ): CacheError {
    return new CacheError({ operation, kind, problem, retryAfterMs })
  }

  private problemIn(cause: unknown): string {
    return problemIn(cause, this.source.secrets)
  }

  private settle(exit: Exit.Exit<void, CacheError>): void {
    const { outcome } = this
    this.outcome = Deferred.unsafeMake(FiberId.none)
    Deferred.unsafeDone(outcome, exit)
  }

  /** For waiting: milliseconds that no change of the wall clock moves. */
  private elapsed(): number {
    return Number(this.clock.unsafeCurrentTimeNanos() / 1_000_000n)
  }

  private show(change: Partial<CacheStatus>, force = false): void {
    const isOpen = this.state === "connected" && this.breaker.isOpen
    this.feed.set({ ...change, connection: isOpen ? "circuit-open" : this.state }, force)
  }
}
