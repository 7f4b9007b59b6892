/**
 * The one table of options: from it come the defaults, the reading of flags, variables and files, the checks of
 * what library users pass, the command's flags and docs/configuration.md.
 */
import { Either } from "effect"
import type { EngineConfig, ServerConfig } from "./Model.js"
import {
  boolean,
  bytes,
  choice,
  duration,
  integer,
  type OptionDefinition,
  secret,
  type TextRule,
  text
} from "./OptionKinds.js"
import { keyPrefixProblem, parseRedisUrl } from "./RedisUrl.js"
import { allowedSqlUrls, parseSqlUrl } from "./SqlUrl.js"

type Table<Config> = { readonly [Key in keyof Config]-?: OptionDefinition<Config[Key]> }

const ms = 1
const second = 1000 * ms
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

const path: TextRule = {
  allowed: "a path without control characters",
  problem: (text) =>
    text === "" ? "is empty" : /[\u0000-\u001f\u007f]/.test(text) ? "holds a control character" : undefined
}

const sqlUrl: TextRule = {
  allowed: allowedSqlUrls,
  problem: (text) => Either.getOrUndefined(Either.flip(parseSqlUrl(text)))?.problem
}

const redisUrl: TextRule = {
  allowed:
    "redis://[user:password@]host[:port][/database], rediss://… (TLS), redis-cluster://host:port,host:port, rediss-cluster://… or none",
  problem: (text) => Either.getOrUndefined(Either.flip(parseRedisUrl(text)))?.problem
}

const redisPrefix: TextRule = {
  allowed: "1 to 200 bytes of UTF-8 without control characters and without the engine's own key words",
  problem: keyPrefixProblem
}

const host: TextRule = {
  allowed: "a host name or an IP address",
  problem: (text) => (/^[a-z0-9._:[\]%-]{1,255}$/i.test(text) ? undefined : "is not a host")
}

const token: TextRule = {
  allowed: "1 to 4,096 visible ASCII characters",
  problem: (text) =>
    /^[\u0021-\u007e]{1,4096}$/.test(text)
      ? undefined
      : "is too long, or holds white space, controls or characters outside ASCII"
}

const engineTable: Table<EngineConfig> = {
  dataDir: text("DATA_DIR", path, ".sync-engine").atStart(
    "Folder for the log and the embedded archive. Made at start when missing."
  ),
  sqlUrl: secret("SQL_URL", sqlUrl, "sqlite:").atStart(
    "The archive. `sqlite:` is `archive.db` in the data directory; `none` runs without ground truth, which is degraded."
  ),
  sqlPoolSize: integer("SQL_POOL_SIZE", [1, 1000], 10).atStart("Connections to a SQL server."),
  sqlWriteConcurrency: integer("SQL_WRITE_CONCURRENCY", [1, 64], 1).atStart(
    "Batches written to a SQL server at once. At most `SQL_POOL_SIZE`."
  ),
  sqlConnectTimeout: duration("SQL_CONNECT_TIMEOUT", [100 * ms, 10 * minute], 5 * second).atStart(
    "Bound on one attempt to connect to a SQL server and to set its session."
  ),
  sqlQueryTimeout: duration("SQL_QUERY_TIMEOUT", [100 * ms, hour], 30 * second).atStart(
    "Bound on one statement at a SQL server; a call may take twice that. A batch that takes longer is halved."
  ),
  sqlStartTimeout: duration("SQL_START_TIMEOUT", [0, hour], 30 * second).atStart(
    "How long a start goes on trying to reach SQL before it fails; 0 for one attempt."
  ),
  sqlAcceptOther: boolean("SQL_ACCEPT_OTHER", false).atStart(
    "Go on with an archive other than the one the log has been written to, with one that has become empty, or with one whose log is missing. For one start."
  ),
  startWithoutSql: boolean("START_WITHOUT_SQL", false).atStart(
    "Start although SQL is unreachable after `SQL_START_TIMEOUT`, if the log is bound to an archive already: ready for writes, not for reads, until SQL is there. A SQL server that refuses still ends the start."
  ),
  redisUrl: secret("REDIS_URL", redisUrl, undefined, true).atStart(
    "The cache. Without one the engine serves from memory, log and archive."
  ),
  redisPrefix: text("REDIS_PREFIX", redisPrefix, "sync-engine:").atStart(
    "Begins every key in Redis. Engines that share a Redis but not an archive need different ones."
  ),
  walPath: text("WAL_PATH", path, undefined, "`wal.db` in `DATA_DIR`").atStart(
    "The write-ahead log, a SQLite file. Put it on a local disk."
  ),
  walMaxItems: integer("WAL_MAX_ITEMS", [1, 1_000_000_000], 1_000_000).atStart(
    "Acknowledged writes the log holds at most; above it writes are refused."
  ),
  walMaxBytes: bytes("WAL_MAX_BYTES", [KiB, 1024 * GiB], GiB).atStart(
    "Bytes the log's entries take at most. At least `MAX_PAYLOAD_BYTES`."
  ),
  walDrainInterval: duration("WAL_DRAIN_INTERVAL", [ms, hour], 5 * second).live(
    "Time between flushes of what the log still holds while anything is pending."
  ),
  flushTimeout: duration("FLUSH_TIMEOUT", [ms, hour], 15 * second).live(
    "How long counts, the tree, verification and an explicit flush wait until what was acknowledged before them is archived; then they fail with a retry hint."
  ),
  pendingMaxBytes: bytes("PENDING_MAX_BYTES", [MiB, 1024 * GiB], 256 * MiB).live(
    "Memory for writes that are not archived yet, beside the log's own bounds: about 450 bytes each, and the contents on their way. Near it writers meet backpressure."
  ),
  l1MaxBytes: bytes("L1_MAX_BYTES", [0, 1024 * GiB], 256 * MiB).live("Memory for items; 0 keeps none."),
  maxPayloadBytes: bytes("MAX_PAYLOAD_BYTES", [1, 512 * MiB], 16 * MiB).live("Content of one item at most."),
  maxBatchItems: integer("MAX_BATCH_ITEMS", [1, 100_000], 10_000).live(
    "Items in one batch of writes or reads at most."
  ),
  batchFlushInterval: duration("BATCH_FLUSH_INTERVAL", [ms, hour], 100 * ms).live(
    "Age at which a batch is flushed to the archive."
  ),
  batchFlushCount: integer("BATCH_FLUSH_COUNT", [1, 100_000], 1000).live(
    "Items at which a batch is flushed to the archive."
  ),
  batchFlushBytes: bytes("BATCH_FLUSH_BYTES", [KiB, GiB], MiB).live(
    "Bytes at which a batch is flushed to the archive."
  ),
  filterWarmupBatch: integer("FILTER_WARMUP_BATCH", [1, 1_000_000], 10_000).live(
    "Ids per page while the existence filter is rebuilt."
  ),
  filterSnapshotInterval: duration("FILTER_SNAPSHOT_INTERVAL", [0, day], 30 * second).live(
    "Time between snapshots of the existence filter; 0 takes none by time."
  ),
  filterSnapshotInserts: integer("FILTER_SNAPSHOT_INSERTS", [0, 1_000_000_000], 10_000).live(
    "New ids between snapshots of the existence filter; 0 takes none by count."
  ),
  healthInterval: duration("HEALTH_INTERVAL", [ms, hour], 30 * second).live(
    "Time between health checks of the archive."
  ),
  watchdogInterval: duration("WATCHDOG_INTERVAL", [ms, day], 60 * second).live(
    "Pending writes that do not move for this long raise an alert."
  ),
  tombstoneRetention: duration("TOMBSTONE_RETENTION", [0, 3650 * day], 7 * day).live(
    "How long deletes are remembered; 0 for ever. An older write that arrives later than this can bring the item back."
  ),
  cdc: boolean("CDC", false).atStart(
    "Change stream to Redis, after the archive's commit. Needs `REDIS_URL`."
  ),
  cdcMaxLen: integer("CDC_MAXLEN", [1, 1_000_000_000], 100_000).atStart(
    "Entries the change stream keeps, approximately."
  ),
  readOnly: boolean("READ_ONLY", false).live("Refuse all writes."),
  shutdownDelay: duration("SHUTDOWN_DELAY", [0, hour], 0).atStart(
    "Time in which an engine that was asked to stop is not ready and still serves, for load balancers to notice."
  ),
  shutdownTimeout: duration("SHUTDOWN_TIMEOUT", [100 * ms, hour], 25 * second).atStart(
    "Bound on the shutdown after the delay; what is not archived by then stays in the log."
  )
}

const logLevels = ["trace", "debug", "info", "warning", "error"] as const
const logFormats = ["auto", "pretty", "json"] as const

export const serverTable: Table<ServerConfig> = {
  httpHost: text("HTTP_HOST", host, "127.0.0.1").atStart(
    "Address the HTTP server listens on. Anything but loopback needs `ADMIN_TOKEN`."
  ),
  httpPort: integer("HTTP_PORT", [0, 65_535], 7420).atStart(
    "Port the HTTP server listens on; 0 for any free one."
  ),
  adminToken: secret("ADMIN_TOKEN", token, undefined).atStart("Bearer token for everything but health."),
  logLevel: choice("LOG_LEVEL", logLevels, "info").atStart("Least level of log lines that are written."),
  logFormat: choice("LOG_FORMAT", logFormats, "auto").atStart(
    "Log lines for people, or JSON lines; `auto` is `pretty` on a terminal and `json` elsewhere."
  )
}

/** An option with where it belongs. */
export type ConfigOption = {
  readonly name: string
  /** Without the dashes in front: `wal-max-items`. */
  readonly flag: string
  readonly definition: OptionDefinition
} & (
  | { readonly scope: "engine"; readonly key: keyof EngineConfig }
  | { readonly scope: "server"; readonly key: keyof ServerConfig }
)

/** `WAL_MAX_ITEMS` → `wal-max-items`. */
export const flagOf = (name: string): string => name.toLowerCase().replaceAll("_", "-")

const rowsOf = <Scope extends string, Config>(scope: Scope, table: Table<Config>) =>
  Object.entries<OptionDefinition>(table).map(([key, definition]) => {
    const { name } = definition
    return { scope, key: key as keyof Config, name, flag: flagOf(name), definition }
  })

/** The engine's options, in the order of the documentation. */
export const engineOptions = rowsOf("engine", engineTable)

/** The process's options. */
export const serverOptions = rowsOf("server", serverTable)

export const options: ReadonlyArray<ConfigOption> = [...engineOptions, ...serverOptions]
