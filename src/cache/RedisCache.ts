/**
 * The cache over Redis 7 or newer, or Valkey 8 or newer (one server or a cluster), through ioredis.
 *
 * Every write is one script call a chunk: version guard, item and tree change together or not at all. In a cluster
 * all keys carry one hash tag made from the prefix, so they share one slot and live on one shard; the cluster gives
 * failover then, not more memory. Several engines with different prefixes spread over the shards.
 *
 * @since 0.1.0
 */
import {
  Duration,
  Effect,
  Layer,
  Option,
  PubSub,
  Random,
  Redacted,
  Schedule,
  type Scope,
  Stream
} from "effect"
import { keyPrefixIn, keyPrefixProblem, parseRedisUrl } from "../config/RedisUrl.js"
import { InvalidConfig } from "../EngineError.js"
import { emptyRoot } from "../merkle/Digest.js"
import { Cache, CacheError, type CacheService, type CacheStatus } from "./Cache.js"
import { GetCoalescer } from "./GetCoalescer.js"
import { appendChanges, readChanges } from "./RedisChanges.js"
import { RedisConnection } from "./RedisConnection.js"
import { RedisItems, readBatch } from "./RedisItems.js"
import { script } from "./RedisScript.js"
import { RedisTree } from "./RedisTree.js"
import { claimScript } from "./scripts.js"

const claimLua = script(claimScript)

/**
 * @since 0.1.0
 * @category options
 */
export interface RedisCacheOptions {
  /** `redis://`, `rediss://`, `redis-cluster://host:port,host:port` or `rediss-cluster://`. Secret. */
  readonly url: Redacted.Redacted
  /** What all keys begin with, 1 to 200 bytes. Default `sync-engine:`. */
  readonly prefix?: string | undefined
  /** Bound on one attempt to connect, and on `connect`. Default 5 s. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Bound on one command. Default 2 s. */
  readonly commandTimeout?: Duration.DurationInput | undefined
  /** Longest pause between two attempts to reconnect. Default 2 s. */
  readonly maxReconnectDelay?: Duration.DurationInput | undefined
  /** Failures in a row that open the circuit. Default 5. */
  readonly failureThreshold?: number | undefined
  /** How long an open circuit turns calls away before a probe. Default 1 s. */
  readonly coolDown?: Duration.DurationInput | undefined
  /** How long the marker of a deleted item guards against older puts. Default 1 day, at least 1 ms. */
  readonly tombstoneTtl?: Duration.DurationInput | undefined
  /** Records in one write command, 1 to 1,000. Default 200. */
  readonly chunkItems?: number | undefined
  /** Bytes in one write command; a larger record travels alone. Default 512 KiB. */
  readonly chunkBytes?: number | undefined
}

const milliseconds = (duration: Duration.DurationInput | undefined, otherwise: number): number =>
  duration === undefined ? otherwise : Math.max(1, Math.ceil(Duration.toMillis(duration)))

/** Eight characters, each time others, so that a tree that was lost and begun again is seen to be another one. */
const makeEpochs = Effect.map(Random.nextIntBetween(0, 2 ** 32), (first) => {
  let next = first
  return () => {
    next = (next + 1) % 2 ** 32
    return next.toString(16).padStart(8, "0")
  }
})

const attempt = <A>(
  operation: string,
  run: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, CacheError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      cause instanceof CacheError
        ? cause
        : new CacheError({
            operation,
            kind: "malformed",
            problem: cause instanceof Error ? cause.message : String(cause),
            retryAfterMs: 1_000
          })
  })

/**
 * Makes a cache that connects in the background: it succeeds at once, whether Redis is there or not. Fails only on
 * an invalid URL or prefix.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: RedisCacheOptions
): Effect.fn.Return<CacheService, InvalidConfig, Scope.Scope> {
  const target = yield* parseRedisUrl(Redacted.value(options.url))
  const prefix = options.prefix ?? "sync-engine:"
  const problem = keyPrefixProblem(prefix)
  if (problem !== undefined) {
    return yield* new InvalidConfig({
      name: "REDIS_PREFIX",
      problem,
      allowed: "1 to 200 bytes without control characters"
    })
  }
  const connectTimeoutMs = milliseconds(options.connectTimeout, 5_000)
  const coolDownMs = milliseconds(options.coolDown, 1_000)
  const clock = yield* Effect.clock
  const nextEpoch = yield* makeEpochs
  const published = yield* Effect.acquireRelease(PubSub.sliding<CacheStatus>(16), PubSub.shutdown)
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const made = new RedisConnection(
        {
          target,
          keyPrefix: keyPrefixIn(target.cluster, prefix),
          connectTimeoutMs,
          commandTimeoutMs: milliseconds(options.commandTimeout, 2_000),
          maxReconnectDelayMs: milliseconds(options.maxReconnectDelay, 2_000),
          failureThreshold: Math.max(1, options.failureThreshold ?? 5),
          coolDownMs,
          nextEpoch
        },
        clock,
        published
      )
      made.start()
      return made
    }),
    (made) => Effect.promise(() => made.close())
  )
  // Registered after the connection, so the looks at it stop before it closes.
  yield* Effect.promise(() => connection.probe()).pipe(
    Effect.repeat(Schedule.spaced(coolDownMs)),
    Effect.interruptible,
    Effect.forkScoped
  )

  const items = new RedisItems(
    connection,
    {
      maxItems: Math.min(1_000, Math.max(1, options.chunkItems ?? 200)),
      maxBytes: Math.max(1, options.chunkBytes ?? 512 * 1024)
    },
    milliseconds(options.tombstoneTtl, 24 * 60 * 60 * 1_000),
    nextEpoch
  )
  const tree = new RedisTree(connection)
  const gets = new GetCoalescer((ids) => items.getBatch(ids), readBatch)
  const root = Effect.map(
    attempt("root", () => tree.node("")),
    (node) => node?.digest ?? emptyRoot
  )

  return {
    target: target.display,
    status: () => connection.status(),
    changes: Stream.unwrapScoped(
      Effect.map(PubSub.subscribe(published), (queue) =>
        Stream.concat(
          Stream.sync(() => connection.status()),
          Stream.fromQueue(queue)
        )
      )
    ),
    connect: Effect.async<void, CacheError>((resume) => {
      const cancel = connection.whenConnected((error) =>
        resume(error === undefined ? Effect.void : Effect.fail(error))
      )
      return Effect.sync(cancel)
    }).pipe(
      Effect.timeoutFail({
        duration: connectTimeoutMs,
        onTimeout: () =>
          new CacheError({
            operation: "connect",
            kind: "timeout",
            problem: connection.status().lastError ?? `no connection within ${connectTimeoutMs} ms`,
            retryAfterMs: coolDownMs
          })
      })
    ),
    ping: Effect.asVoid(attempt("ping", () => connection.command("ping", "PING", []))),
    put: (records, putOptions) =>
      attempt("put", (signal) => {
        const ttlMs = putOptions?.ttlMs
        return items.put("put", records, ttlMs === undefined ? 0 : Math.max(1, Math.ceil(ttlMs)), signal)
      }),
    fill: (records) => attempt("fill", (signal) => items.put("fill", records, 0, signal)),
    repair: (records) => attempt("repair", (signal) => items.put("repair", records, 0, signal)),
    get: gets.get,
    getMany: (ids) => attempt("getMany", (signal) => items.getMany(ids, signal)),
    heads: (ids) => attempt("heads", (signal) => items.heads(ids, signal)),
    deleteMany: (targets) => attempt("delete", (signal) => items.remove(targets, signal)),
    root,
    node: (path) =>
      Effect.map(
        attempt("node", () => tree.node(path)),
        (node) => Option.fromNullable(node)
      ),
    children: (path, page) => attempt("children", () => tree.children(path, page)),
    branches: (path, page) => attempt("branches", () => tree.branches(path, page)),
    leavesOf: (path, page) => attempt("leavesOf", () => tree.leavesOf(path, page)),
    leafRange: (path, range) => attempt("leafRange", () => tree.leafRange(path, range)),
    rebuildTree: Effect.zipRight(
      attempt("rebuildTree", () => tree.rebuild(nextEpoch())),
      root
    ),
    tidy: attempt("tidy", () => tree.tidy()),
    claim: (lineage, durationMs) =>
      Effect.map(
        attempt("claim", () => connection.run("claim", claimLua, [lineage, Math.ceil(durationMs)])),
        String
      ),
    reset: attempt("reset", () => tree.reset(nextEpoch())),
    appendChanges: (entries, maxLength) =>
      attempt("appendChanges", () => appendChanges(connection, entries, maxLength)),
    readChanges: (after, count) => attempt("readChanges", () => readChanges(connection, after, count)),
    takeCorrupted: () => items.takeCorrupted(),
    stats: () => ({
      hits: items.hits,
      misses: items.misses,
      commands: connection.commands,
      failures: connection.failures,
      shed: connection.shed,
      corrupted: items.corrupted,
      foreign: items.foreign
    })
  }
})

/**
 * The cache over Redis. The layer builds even when Redis is down; see `Cache.connect`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: RedisCacheOptions): Layer.Layer<Cache> =>
  Layer.sync(Cache, () => ({ open: make(options) }))
