/** The parts that a configuration names: the SQLite log, the archive of `SQL_URL`, the cache of `REDIS_URL`. */
import * as path from "node:path"
import { Duration, Effect, Layer } from "effect"
import type { Archive } from "../archive/Archive.js"
import { sqliteAdvice } from "../archive/ArchiveErrors.js"
import * as MysqlArchive from "../archive/mysql/MysqlArchive.js"
import * as SqliteArchive from "../archive/sqlite/SqliteArchive.js"
import * as RedisCache from "../cache/RedisCache.js"
import { sqlTarget, walFile } from "../config/Validation.js"
import type { EngineConfig } from "../EngineConfig.js"
import { ArchiveStartError, type InvalidConfig } from "../EngineError.js"
import { makeDirectory } from "../shared/files/Directory.js"
import { keepPrivate } from "../shared/files/PrivateFiles.js"
import * as SqliteLog from "../wal/SqliteLog.js"
import type { EngineComponents } from "./EngineComponents.js"

const withDirectory = (file: string, layer: Layer.Layer<Archive, ArchiveStartError>) =>
  Layer.unwrapEffect(
    Effect.try({
      try: () => {
        makeDirectory(path.dirname(path.resolve(file)))
        return layer
      },
      catch: (cause) =>
        new ArchiveStartError({
          target: `sqlite:${file}`,
          kind: "refused",
          problem: `its directory cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`,
          advice: sqliteAdvice(cause)
        })
    })
  )

const archiveOf = (config: EngineConfig): Effect.Effect<EngineComponents["archive"], InvalidConfig> =>
  Effect.map(sqlTarget(config), (target) => {
    switch (target._tag) {
      case "None":
        return undefined
      case "Sqlite":
        return withDirectory(target.path, SqliteArchive.layer({ path: target.path }))
      case "MySql":
        return MysqlArchive.layer({
          url: target.url,
          maxConnections: config.sqlPoolSize,
          connectTimeout: Duration.millis(config.sqlConnectTimeout),
          queryTimeout: Duration.millis(config.sqlQueryTimeout)
        })
    }
  })

export const fromConfig = (config: EngineConfig): Effect.Effect<EngineComponents, InvalidConfig> =>
  Effect.map(archiveOf(config), (archive) => ({
    log: Layer.suspend(() => {
      // What an earlier start, or somebody else, has made with more rights.
      keepPrivate(config.dataDir)
      return SqliteLog.layer({
        path: walFile(config),
        maxItems: config.walMaxItems,
        maxBytes: config.walMaxBytes
      })
    }),
    archive,
    cache:
      config.redisUrl === undefined
        ? undefined
        : RedisCache.layer({ url: config.redisUrl, prefix: config.redisPrefix })
  }))
