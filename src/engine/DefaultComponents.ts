/** The parts that a configuration names: the SQLite log, the archive of `SQL_URL`, the cache of `REDIS_URL`. */
import * as path from "node:path"
import { Context, Duration, Effect, Layer } from "effect"
import { Archive } from "../archive/Archive.js"
import { sqliteAdvice } from "../archive/ArchiveErrors.js"
import * as MemoryArchive from "../archive/memory/MemoryArchive.js"
import * as MysqlArchive from "../archive/mysql/MysqlArchive.js"
import * as SqliteArchive from "../archive/sqlite/SqliteArchive.js"
import { Cache } from "../cache/Cache.js"
import * as RedisCache from "../cache/RedisCache.js"
import type { EngineConfig } from "../config/Model.js"
import { sqlTarget, walFile } from "../config/Validation.js"
import { LiveConfig } from "../EngineConfig.js"
import { ArchiveStartError, type InvalidConfig } from "../EngineError.js"
import { ExistenceFilter, make as makeFilter } from "../filter/ExistenceFilter.js"
import * as Lifecycle from "../Lifecycle.js"
import { makeDirectory } from "../shared/files/Directory.js"
import { keepPrivate } from "../shared/files/PrivateFiles.js"
import type { FilterSnapshots } from "../wal/FilterSnapshots.js"
import * as MemoryLog from "../wal/MemoryLog.js"
import * as SqliteLog from "../wal/SqliteLog.js"
import { WriteAheadLog } from "../wal/WriteAheadLog.js"
import { defaultLimits, EngineLimits } from "./state/EngineLimits.js"

/** In a folder that is made when there is none. */
const sqliteArchive = (file: string): Archive["Type"] => {
  const madeDirectory = Effect.try({
    try: () => makeDirectory(path.dirname(path.resolve(file))),
    catch: (cause) =>
      new ArchiveStartError({
        target: `sqlite:${file}`,
        kind: "refused",
        problem: `its directory cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`,
        advice: sqliteAdvice(cause)
      })
  })
  return { open: Effect.zipRight(madeDirectory, SqliteArchive.make({ path: file })) }
}

const archiveOf = (config: EngineConfig): Layer.Layer<Archive, InvalidConfig> =>
  Layer.unwrapEffect(
    Effect.map(sqlTarget(config), (target) => {
      switch (target._tag) {
        case "None":
          return Archive.layerNone
        case "Sqlite":
          return Layer.sync(Archive, () => sqliteArchive(target.path))
        case "MySql":
          return MysqlArchive.layer({
            url: target.url,
            maxConnections: config.sqlPoolSize,
            connectTimeout: Duration.millis(config.sqlConnectTimeout),
            queryTimeout: Duration.millis(config.sqlQueryTimeout)
          })
      }
    })
  )

const logOf = (config: EngineConfig) =>
  Layer.map(
    SqliteLog.layer({ path: walFile(config), maxItems: config.walMaxItems, maxBytes: config.walMaxBytes }),
    (context) => {
      const { open } = Context.get(context, WriteAheadLog)
      // What an earlier start, or somebody else, has made with more rights.
      const kept = Effect.sync(() => keepPrivate(config.dataDir))
      return Context.add(context, WriteAheadLog, { open: Effect.zipRight(kept, open) })
    }
  )

/** Fails where the configuration names something that there cannot be. */
export const layer = (config: EngineConfig): Layer.Layer<EngineComponents, InvalidConfig> =>
  Layer.mergeAll(
    logOf(config),
    archiveOf(config),
    config.redisUrl === undefined
      ? Cache.layerNone
      : RedisCache.layer({ url: config.redisUrl, prefix: config.redisPrefix }),
    ExistenceFilter.layer
  )

/** Everything in process: no files, no servers, nothing that takes real time. */
export const memory = (config: EngineConfig): Layer.Layer<EngineComponents> =>
  Layer.mergeAll(
    MemoryLog.layerMemory({ maxItems: config.walMaxItems, maxBytes: config.walMaxBytes }),
    MemoryArchive.layerMemory(),
    Cache.layerNone,
    Layer.succeed(ExistenceFilter, { open: ({ node }) => makeFilter({ node, lease: "1 hour" }) })
  )

const minute = 60_000

/**
 * Options of an engine in memory. Under a `TestClock` every moment at which anything wakes up takes real milliseconds: it
 * looks around once a minute, so that an application's tests may pass hours.
 */
export const memoryDefaults = {
  batchFlushInterval: minute,
  walDrainInterval: minute,
  healthInterval: minute,
  watchdogInterval: 60 * minute,
  filterSnapshotInterval: 0
}

export const memoryLimits = Layer.succeed(EngineLimits, { ...defaultLimits, lookEveryMs: minute })

/** All that an engine is made of: these parts, its configuration, a lifecycle. The one wiring of library and command. */
export const wired = <E, R>(config: EngineConfig, parts: Layer.Layer<EngineComponents, E, R>) =>
  Layer.mergeAll(parts, Lifecycle.layer, LiveConfig.layer(config))

/**
 * The parts of an engine that an application may replace.
 *
 * @since 0.1.0
 * @category models
 */
export type EngineComponents = WriteAheadLog | FilterSnapshots | Archive | Cache | ExistenceFilter
