/**
 * The parts that a configuration names: the SQLite log, and the archive of `SQL_URL`.
 *
 * @since 0.1.0
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Archive } from "../archive/Archive.js"
import * as SqliteArchive from "../archive/SqliteArchive.js"
import type { EngineConfig } from "../EngineConfig.js"
import { ArchiveStartError, InvalidConfig } from "../EngineError.js"
import * as SqliteLog from "../wal/SqliteLog.js"
import type { EngineParts } from "./EngineParts.js"

/** Where the log of this configuration lives. @since 0.1.0 @category functions */
export const walPathOf = (config: EngineConfig): string =>
  config.walPath ?? path.join(config.dataDir, "wal.db")

const sqliteScheme = "sqlite:"

/** Where the embedded archive of this configuration lives; `undefined` when it is not SQLite. @since 0.1.0 @category functions */
export const sqlitePathOf = (config: EngineConfig): string | undefined => {
  const url = Redacted.value(config.sqlUrl)
  if (!url.startsWith(sqliteScheme)) return undefined
  const file = url.slice(sqliteScheme.length)
  return file === "" ? path.join(config.dataDir, "archive.db") : file
}

const withDirectory = (file: string, layer: Layer.Layer<Archive, ArchiveStartError>) =>
  Layer.unwrapEffect(
    Effect.try({
      try: () => {
        fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true })
        return layer
      },
      catch: (cause) =>
        new ArchiveStartError({
          target: `${sqliteScheme}${file}`,
          problem: `its directory cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`
        })
    })
  )

const archiveOf = (config: EngineConfig): Effect.Effect<EngineParts["archive"], InvalidConfig> => {
  const url = Redacted.value(config.sqlUrl)
  if (url === "none") return Effect.succeed(undefined)
  const file = sqlitePathOf(config)
  if (file !== undefined) return Effect.succeed(withDirectory(file, SqliteArchive.layer({ path: file })))
  return Effect.fail(
    new InvalidConfig({
      name: "SQL_URL",
      problem: "this scheme is not supported",
      allowed: "sqlite:, sqlite:/path/to/file, none"
    })
  )
}

/** @since 0.1.0 @category constructors */
export const fromConfig = (config: EngineConfig): Effect.Effect<EngineParts, InvalidConfig> =>
  Effect.map(archiveOf(config), (archive) => ({
    log: SqliteLog.layer({
      path: walPathOf(config),
      maxItems: config.walMaxItems,
      maxBytes: config.walMaxBytes
    }),
    archive
  }))
