/**
 * The options as the program sees them. Times are in milliseconds, sizes in bytes.
 *
 * @since 0.1.0
 */
import type { Redacted } from "effect"

/**
 * Every option of the engine. Those marked *live* take effect when changed through `LiveConfig`;
 * the others are read once, at start.
 *
 * @example
 * ```ts
 * import { type EngineConfig, defaults } from "effect-sync-engine"
 *
 * const config: EngineConfig = { ...defaults, dataDir: "data", walMaxItems: 100_000 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface EngineConfig {
  /** Folder for the log and the embedded archive. `DATA_DIR`, default `.sync-engine`. */
  readonly dataDir: string
  /** `sqlite:` (file in the data directory), `sqlite:/path`, `mysql://…`, `mariadb://…` or `none`. `SQL_URL`. Secret. */
  readonly sqlUrl: Redacted.Redacted
  /** Connections to a SQL server. `SQL_POOL_SIZE`, 1 to 1,000, default 10. */
  readonly sqlPoolSize: number
  /** Batches written at once. `SQL_WRITE_CONCURRENCY`, 1 to 64, default 1. */
  readonly sqlWriteConcurrency: number
  /** `SQL_CONNECT_TIMEOUT`, default 5 s. */
  readonly sqlConnectTimeout: number
  /** `SQL_QUERY_TIMEOUT`, default 30 s. */
  readonly sqlQueryTimeout: number
  /** How long a start goes on trying to reach SQL. `SQL_START_TIMEOUT`, default 30 s. */
  readonly sqlStartTimeout: number
  /** Take an archive that the log does not belong to. `SQL_ACCEPT_OTHER`, default false. */
  readonly sqlAcceptOther: boolean
  /** `START_WITHOUT_SQL`: start although SQL is unreachable, ready for writes only; default false. */
  readonly startWithoutSql: boolean
  /** `redis://…`, `rediss://…`, `redis-cluster://host:port,…` or none. `REDIS_URL`. Secret. */
  readonly redisUrl: Redacted.Redacted | undefined
  /** `REDIS_PREFIX`, default `sync-engine:`. */
  readonly redisPrefix: string
  /** `WAL_PATH`, default `wal.db` in the data directory. */
  readonly walPath: string | undefined
  /** `WAL_MAX_ITEMS`, default 1,000,000. */
  readonly walMaxItems: number
  /** `WAL_MAX_BYTES`, default 1 GiB. */
  readonly walMaxBytes: number
  /** Live. `WAL_DRAIN_INTERVAL`, default 5 s. */
  readonly walDrainInterval: number
  /** Live. `FLUSH_TIMEOUT`: how long a question waits for what was acknowledged before it, default 15 s. */
  readonly flushTimeout: number
  /** Live. `PENDING_MAX_BYTES`: memory for what is not archived yet, default 256 MiB. */
  readonly pendingMaxBytes: number
  /** Live. `L1_MAX_BYTES`, default 256 MiB. */
  readonly l1MaxBytes: number
  /** Live. `MAX_PAYLOAD_BYTES`, default 16 MiB. */
  readonly maxPayloadBytes: number
  /** Live. `MAX_BATCH_ITEMS`: items in one submitMany or getMany, default 10,000. */
  readonly maxBatchItems: number
  /** Live. `BATCH_FLUSH_INTERVAL`, default 100 ms. */
  readonly batchFlushInterval: number
  /** Live. `BATCH_FLUSH_COUNT`, default 1,000. */
  readonly batchFlushCount: number
  /** Live. `BATCH_FLUSH_BYTES`, default 1 MiB. */
  readonly batchFlushBytes: number
  /** Live. `FILTER_WARMUP_BATCH`, default 10,000. */
  readonly filterWarmupBatch: number
  /** Live. `FILTER_SNAPSHOT_INTERVAL`, default 30 s; 0 disables. */
  readonly filterSnapshotInterval: number
  /** Live. `FILTER_SNAPSHOT_INSERTS`, default 10,000; 0 disables. */
  readonly filterSnapshotInserts: number
  /** Live. `HEALTH_INTERVAL`, default 30 s. */
  readonly healthInterval: number
  /** Live. Pending writes that do not move for this long are an alert. `WATCHDOG_INTERVAL`, default 60 s. */
  readonly watchdogInterval: number
  /** Live. `TOMBSTONE_RETENTION`, default 7 days; 0 keeps tombstones for ever. */
  readonly tombstoneRetention: number
  /** Change stream on or off. `CDC`, default off. */
  readonly cdc: boolean
  /** `CDC_MAXLEN`, default 100,000. */
  readonly cdcMaxLen: number
  /** Live. Refuses all writes. `READ_ONLY`, default false. */
  readonly readOnly: boolean
  /** `SHUTDOWN_DELAY`: time in which an engine that was asked to stop is not ready and still serves, default 0. */
  readonly shutdownDelay: number
  /** `SHUTDOWN_TIMEOUT`: bound on the whole shutdown after the delay, default 25 s. */
  readonly shutdownTimeout: number
}

/**
 * From the most to the least talkative.
 *
 * @since 0.1.0
 * @category models
 */
export type LogLevelName = "trace" | "debug" | "info" | "warning" | "error"

/**
 * `auto` is `pretty` on a terminal and `json` elsewhere.
 *
 * @since 0.1.0
 * @category models
 */
export type LogFormatName = "auto" | "pretty" | "json"

/**
 * Options of the process around the engine: the HTTP server and the log lines of the `sync-engine` command.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerConfig {
  /** `HTTP_HOST`, default 127.0.0.1. Anything but loopback needs `adminToken`. */
  readonly httpHost: string
  /** `HTTP_PORT`, default 7420; 0 for any free port. */
  readonly httpPort: number
  /** Bearer token for everything but health. `ADMIN_TOKEN`, default none. Secret. */
  readonly adminToken: Redacted.Redacted | undefined
  /** `LOG_LEVEL`, default `info`. */
  readonly logLevel: LogLevelName
  /** `LOG_FORMAT`, default `auto`. */
  readonly logFormat: LogFormatName
}
