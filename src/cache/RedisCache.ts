/**
 * The cache over Redis 7 or newer, or Valkey 8 or newer (one server or a cluster), through ioredis.
 *
 * Every write is one script call a chunk: version guard, item and tree change together or not at all. In a cluster
 * all keys carry one hash tag made from the prefix, so they share one slot and live on one shard; the cluster gives
 * failover then, not more memory. Several engines with different prefixes spread over the shards.
 *
 * @since 0.1.0
 */
import { type Duration, Effect, Layer, Random, Redacted, type Scope } from "effect"
import { keyPrefixIn, keyPrefixProblem, parseRedisUrl } from "../config/RedisUrl.js"
import { InvalidConfig } from "../EngineError.js"
import { wholeMs } from "../shared/WholeMs.js"
import { Cache, CacheError, type CacheService } from "./Cache.js"
import { keyFormat } from "./LuaScript.js"
import { RedisConnection } from "./RedisConnection.js"
import { appendChanges, GetCoalescer, RedisItems, readBatch, readChanges } from "./RedisItems.js"
import {
  applicationClient,
  ownSockets,
  type RedisClient,
  type RedisSource,
  type RedisTimeouts
} from "./RedisSource.js"
import { RedisTree } from "./RedisTree.js"
import { RedisWrites } from "./RedisWrites.js"
import { StatusFeed } from "./StatusFeed.js"
import { claimScript } from "./WriteScripts.js"

/**
 * How the cache over Redis behaves, wherever its connection comes from; everything may be left out.
 *
 * @since 0.1.0
 * @category options
 */
export interface RedisCacheBehavior {
  /** What all keys begin with, 1 to 200 bytes. Default `sync-engine:`. */
  readonly prefix?: string | undefined
  /** Bound on one attempt to connect, and on `connect`. Default 5 s. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Bound on one command. Default 2 s. */
  readonly commandTimeout?: Duration.DurationInput | undefined
  /** About the longest pause between two attempts to reconnect. Default 2 s. */
  readonly maxReconnectDelay?: Duration.DurationInput | undefined
  /** Failures in a row that open the circuit. Default 5. */
  readonly failureThreshold?: number | undefined
  /** How long an open circuit turns calls away before a probe, and how often the server is looked at. Default 1 s. */
  readonly coolDown?: Duration.DurationInput | undefined
  /** How long the marker of a deleted item guards against older puts. Default 1 day, at least 1 ms. */
  readonly tombstoneTtl?: Duration.DurationInput | undefined
  /** Records in one write command, 1 to 1,000. Default 1,000. */
  readonly chunkItems?: number | undefined
  /** Bytes in one write command; a larger record travels alone. Default 512 KiB. */
  readonly chunkBytes?: number | undefined
}

/**
 * A cache with a connection of its own.
 *
 * @since 0.1.0
 * @category options
 */
export interface RedisCacheOptions extends RedisCacheBehavior {
  /** `redis://`, `rediss://`, `redis-cluster://host:port,host:port` or `rediss-cluster://`. Secret. */
  readonly url: Redacted.Redacted
}

/**
 * A cache over a client of the application's.
 *
 * @since 0.1.0
 * @category options
 */
export interface RedisClientOptions extends RedisCacheBehavior {
  /** An ioredis `Redis` or `Cluster`. Its `keyPrefix`, if it has one, stands before ours. */
  readonly client: RedisClient
}

/** Each time another one, so that a tree that was lost and begun again is seen to be another one; never 0. */
const makeEpochs = Effect.map(Random.nextIntBetween(1, 2 ** 32), (first) => {
  let next = first
  return () => {
    next = next === 2 ** 32 - 1 ? 1 : next + 1
    return keyFormat + next.toString(16).padStart(8, "0")
  }
})

/** Connects in the background, wherever to. */
const makeOver = (
  options: RedisCacheBehavior,
  isCluster: boolean,
  sourceOf: (keyPrefix: string, timeouts: RedisTimeouts) => RedisSource
): Effect.Effect<CacheService, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const prefix = options.prefix ?? "sync-engine:"
    const problem = keyPrefixProblem(prefix)
    if (problem !== undefined) {
      const allowed = "1 to 200 bytes without control characters"
      return yield* new InvalidConfig({ name: "REDIS_PREFIX", problem, allowed })
    }
    const connectTimeoutMs = wholeMs(options.connectTimeout ?? "5 seconds")
    const commandTimeoutMs = wholeMs(options.commandTimeout ?? "2 seconds")
    const coolDownMs = wholeMs(options.coolDown ?? "1 second")
    const nextEpoch = yield* makeEpochs
    const feed = yield* StatusFeed.make("connecting", 0)
    const connection = yield* RedisConnection.make(
      sourceOf(keyPrefixIn(isCluster, prefix), { connectTimeoutMs, commandTimeoutMs }),
      {
        commandTimeoutMs,
        maxReconnectDelayMs: wholeMs(options.maxReconnectDelay ?? "2 seconds"),
        failureThreshold: Math.max(1, options.failureThreshold ?? 5),
        coolDownMs,
        nextEpoch
      },
      feed
    )
    const limits = {
      maxItems: Math.min(1_000, Math.max(1, options.chunkItems ?? 1_000)),
      maxBytes: Math.max(1, options.chunkBytes ?? 512 * 1024)
    }
    const items = new RedisItems(connection)
    const writes = new RedisWrites(connection, limits, wholeMs(options.tombstoneTtl ?? "1 day"), nextEpoch)
    const connect = Effect.timeoutFail(connection.connect, {
      duration: connectTimeoutMs,
      onTimeout: () =>
        new CacheError({
          operation: "connect",
          kind: "timeout",
          problem: feed.current.lastError ?? `no connection within ${connectTimeoutMs} ms`,
          retryAfterMs: coolDownMs
        })
    })
    return serviceOf(connection, items, writes, feed, connect, nextEpoch)
  })

const serviceOf = (
  connection: RedisConnection,
  items: RedisItems,
  writes: RedisWrites,
  feed: StatusFeed,
  connect: CacheService["connect"],
  nextEpoch: () => string
): CacheService => {
  const tree = new RedisTree(connection, writes)
  const begin = (work: "rebuild" | "reset") => Effect.suspend(() => tree.begin(work, nextEpoch()))
  return {
    status: () => feed.current,
    changes: feed.changes,
    connect,
    put: (records, { change, ttl } = {}) =>
      writes.put("put", records, ttl === undefined ? 0 : wholeMs(ttl), change),
    fill: (records) => writes.put("fill", records, 0),
    repair: (records) => writes.put("repair", records, 0),
    get: new GetCoalescer(items.getBatch, readBatch).get,
    getMany: (ids) => items.getMany(ids),
    heads: (ids) => items.heads(ids),
    deleteMany: (targets) => writes.remove(targets),
    root: tree.root,
    node: tree.node,
    children: tree.children,
    branches: tree.branches,
    leaves: tree.leaves,
    leafSum: tree.leafSum,
    rebuildTree: Effect.zipRight(begin("rebuild"), tree.root),
    tidy: tree.tidy,
    claim: (lineage, milliseconds) =>
      connection.run("claim", claimScript, () => [lineage, Math.ceil(milliseconds)], String),
    reset: begin("reset"),
    appendChanges: appendChanges(connection),
    readChanges: readChanges(connection),
    takeCorrupted: () => items.takeCorrupted()
  }
}

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
  return yield* makeOver(options, target.cluster, (keyPrefix, timeouts) =>
    ownSockets(target, keyPrefix, timeouts)
  )
})

/**
 * The cache over Redis, with a connection of its own. The layer builds even when Redis is down; see
 * `CacheService.connect`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: RedisCacheOptions): Layer.Layer<Cache> =>
  Layer.sync(Cache, () => ({ open: make(options) }))

/**
 * The cache over an ioredis client of the application's, which is used for commands and never connected, configured or
 * closed: there is no further connection, and it goes on working after the engine has shut down.
 *
 * As with a connection of its own, the server is looked at before it is used and every `coolDown` after that, so a
 * replica, another server or other data are noticed; calls are bounded by `commandTimeout` and stand behind a circuit
 * breaker. Two things are the client's own business. It reconnects by its own `retryStrategy`: the cache waits for its
 * `ready`. And it decides which server it talks to: a demoted primary is left alone until the client has found the new
 * one, and a failover that a `Cluster` follows without a word is noticed at the next look, not before.
 *
 * No command blocks the connection, and none subscribes or begins a transaction. What the application does with it
 * delays the cache in turn: no blocking commands (`BLPOP`, `XREAD BLOCK`), no `subscribe`, and no
 * `multi({ pipeline: false })` on this client.
 *
 * @example
 * ```ts
 * import { SyncEngine } from "effect-sync-engine"
 * import * as RedisCache from "effect-sync-engine/RedisCache"
 * import { Redis } from "ioredis"
 *
 * const engine = SyncEngine.layer({}, RedisCache.layerClient({ client: new Redis() }))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: RedisClientOptions): Layer.Layer<Cache> =>
  Layer.sync(Cache, () => {
    const { client } = options
    return {
      open: makeOver(options, client.nodes !== undefined, (keyPrefix, timeouts) =>
        applicationClient(client, keyPrefix, timeouts)
      )
    }
  })

export type { RedisClient } from "./RedisSource.js"
