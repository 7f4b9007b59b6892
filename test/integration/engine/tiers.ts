/** Real servers of one's own, raw clients, and ways to get between the engine and its tiers. */

import * as Reactivity from "@effect/experimental/Reactivity"
import { MysqlClient } from "@effect/sql-mysql2"
import { Context, Effect, Layer, Redacted } from "effect"
import { Redis } from "ioredis"
import { expect } from "vitest"
import { Archive, type OpenArchive } from "../../../src/archive/Archive.js"
import { Cache, type CacheService } from "../../../src/cache/Cache.js"
import * as RedisCache from "../../../src/cache/RedisCache.js"
import { type RedisServer, startRedis } from "../../support/redis.js"
import type { Change, RealEngine } from "./support.js"

/** A Redis of one's own, stopped with the scope. */
export const privateRedis = (options: Parameters<typeof startRedis>[0] = {}) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(options)),
    (server: RedisServer) => Effect.promise(() => server.stop())
  )

/** Begins again on the port, and by default with the files, of a server that was killed. */
export const again = (server: RedisServer, dir: string | undefined = server.dir) =>
  privateRedis({ port: server.port, ...(dir === undefined ? {} : { dir }) })

/** A plain client, for damage. */
export const rawRedis = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new Redis(url)),
    (client) => Effect.sync(() => client.disconnect())
  )

/** A plain client of a database. */
export const rawSql = (url: string) =>
  Effect.provide(MysqlClient.make({ url: Redacted.make(url), maxConnections: 1 }), Reactivity.layer)

/** The cache as another node sees it. */
export const cacheOf = (url: string) =>
  RedisCache.make({ url: Redacted.make(url) }).pipe(Effect.tap((cache) => cache.connect))

/** Gets between the engine and its archive. */
export const wrapArchive =
  (change: (archive: OpenArchive) => Partial<OpenArchive>): Change =>
  (parts) =>
    Layer.map(parts, (context) => {
      const { open } = Context.get(context, Archive)
      const changed = open && Effect.map(open, (archive) => ({ ...archive, ...change(archive) }))
      return Context.add(context, Archive, { open: changed })
    })

/** The cache of another layer. */
export const withCache =
  (cache: Layer.Layer<Cache>): Change =>
  (parts) =>
    Layer.merge(parts, cache)

/** Gets between the engine and its cache. */
export const wrapCache =
  (change: (cache: CacheService) => Partial<CacheService>): Change =>
  (parts) =>
    Layer.map(parts, (context) => {
      const { open } = Context.get(context, Cache)
      const changed = open && Effect.map(open, (cache) => ({ ...cache, ...change(cache) }))
      return Context.add(context, Cache, { open: changed })
    })

/** What the engine wrote to its cache and took out of it. */
export const countingCache = () => {
  const counts = { put: 0, removed: 0 }
  const wrap = wrapCache((cache) => ({
    put: (records, options) => {
      counts.put += records.length
      return cache.put(records, options)
    },
    repair: (records) => {
      counts.put += records.length
      return cache.repair(records)
    },
    deleteMany: (targets) => {
      counts.removed += targets.length
      return cache.deleteMany(targets)
    }
  }))
  return { counts, wrap }
}

/** What is degraded. */
export const degraded = (engine: RealEngine) =>
  Effect.map(engine.service.health, (health) => health.degraded.map(({ component }) => component).sort())

/** Nothing degraded, nothing pending, the cache trusted. */
export const isWell = (engine: RealEngine) =>
  Effect.map(
    Effect.all([engine.service.health, engine.service.stats]),
    ([{ cache, degraded }, { pending }]) =>
      degraded.length === 0 && pending === 0 && (!cache.configured || cache.trusted)
  )

/** Items `from` to `to`, spread over some branches. */
export const items = (count: number, text = "v", from = 0) =>
  Array.from({ length: count }, (_, index) => ({
    id: `geo.${(from + index) % 5}.${from + index}`,
    content: `${text}${from + index}`
  }))

/** Proves that archive and cache agree, that the stored root describes the rows, and that all values are the rows. */
export const proven = (engine: RealEngine, redisUrl: string) =>
  Effect.gen(function* () {
    const verified = yield* engine.service.verify({ roots: true, rows: true, values: "full" })
    const cache = yield* cacheOf(redisUrl)
    const root = yield* cache.root
    expect({ differences: verified.differences, unchecked: verified.unchecked }).toEqual({
      differences: [],
      unchecked: []
    })
    return { inSync: verified.inSync && verified.complete, archive: verified.archiveRoot, cache: root }
  }).pipe(Effect.scoped)
