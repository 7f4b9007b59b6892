/** What the values of several options make together, and whether they fit each other. */
import { resolve } from "node:path"
import { Either, Redacted } from "effect"
import type { InvalidConfig } from "../EngineError.js"
import type { EngineConfig } from "./Model.js"
import { formatBytes } from "./Quantity.js"
import { parseSqlUrl, refuse } from "./SqlUrl.js"

/** The log's file. */
export const walFile = (config: Pick<EngineConfig, "dataDir" | "walPath">): string =>
  config.walPath ?? resolve(config.dataDir, "wal.db")

/** The archive; an SQLite one always with its path. */
export const sqlTarget = ({ dataDir, sqlUrl }: Pick<EngineConfig, "dataDir" | "sqlUrl">) =>
  Either.map(parseSqlUrl(Redacted.value(sqlUrl)), (target) => {
    if (target._tag !== "Sqlite") return target
    const path = target.path ?? resolve(dataDir, "archive.db")
    return { ...target, path, display: `sqlite:${path}` }
  })

/** Values that are well each alone but do not fit together. */
export const checkTogether = (config: EngineConfig): Either.Either<EngineConfig, InvalidConfig> => {
  if (config.maxPayloadBytes > config.walMaxBytes) {
    return refuse(
      "MAX_PAYLOAD_BYTES",
      `${formatBytes(config.maxPayloadBytes)} would never fit the log, which holds ${formatBytes(config.walMaxBytes)}`,
      "at most WAL_MAX_BYTES"
    )
  }
  if (config.sqlWriteConcurrency > config.sqlPoolSize) {
    return refuse(
      "SQL_WRITE_CONCURRENCY",
      `${config.sqlWriteConcurrency} writers do not fit ${config.sqlPoolSize} connections`,
      "at most SQL_POOL_SIZE"
    )
  }
  if (config.cdc && config.redisUrl === undefined) {
    return refuse("CDC", "is on, but no REDIS_URL is set", "true only with REDIS_URL")
  }
  return Either.flatMap(sqlTarget(config), (target) =>
    target._tag === "Sqlite" && resolve(target.path) === resolve(walFile(config))
      ? refuse("WAL_PATH", "names the file of the archive", "a file of its own")
      : Either.right(config)
  )
}
