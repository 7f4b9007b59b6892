/**
 * The one table of options: from it come the defaults, the reading of flags, variables and files, the checks of
 * what library users pass, the command's flags and docs/configuration.md.
 */
import { Either, Redacted } from "effect"
import type { EngineConfig, LogFormatName, LogLevelName, ServerConfig } from "./Model.js"
import type { DefinitionFor, OptionDefinition } from "./OptionDefinition.js"
import { keyPrefixProblem, parseRedisUrl } from "./RedisUrl.js"
import { allowedSqlUrls, parseSqlUrl } from "./SqlUrl.js"

type Table<Config> = { readonly [Key in keyof Config]-?: DefinitionFor<Config[Key]> }

const ms = 1
const second = 1000 * ms
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

const path = {
  allowed: "a path without control characters",
  problem: (text: string) =>
    text === "" ? "is empty" : /[\u0000-\u001f\u007f]/.test(text) ? "holds a control character" : undefined
} as const

export const engineTable: Table<EngineConfig> = {
  dataDir: {
    name: "DATA_DIR",
    kind: "text",
    default: ".sync-engine",
    ...path,
    description: "Folder for the log and the embedded archive. Made at start when missing."
  },
  sqlUrl: {
    name: "SQL_URL",
    kind: "secret",
    default: "sqlite:",
    noneIsAbsent: false,
    allowed: allowedSqlUrls,
    problem: (text) => Either.getOrUndefined(Either.flip(parseSqlUrl(text)))?.problem,
    description:
      "The archive. `sqlite:` is `archive.db` in the data directory; `none` runs without ground truth, which is degraded."
  },
  sqlPoolSize: {
    name: "SQL_POOL_SIZE",
    kind: "integer",
    min: 1,
    max: 1000,
    default: 10,
    description: "Connections to a SQL server."
  },
  sqlWriteConcurrency: {
    name: "SQL_WRITE_CONCURRENCY",
    kind: "integer",
    min: 1,
    max: 64,
    default: 1,
    description: "Batches written to a SQL server at once. At most `SQL_POOL_SIZE`."
  },
  sqlConnectTimeout: {
    name: "SQL_CONNECT_TIMEOUT",
    kind: "duration",
    min: 100 * ms,
    max: 10 * minute,
    default: 5 * second,
    description: "Bound on one attempt to connect to a SQL server and to set its session."
  },
  sqlQueryTimeout: {
    name: "SQL_QUERY_TIMEOUT",
    kind: "duration",
    min: 100 * ms,
    max: hour,
    default: 30 * second,
    description:
      "Bound on one statement at a SQL server; a call may take twice that. A batch that takes longer is halved."
  },
  sqlStartTimeout: {
    name: "SQL_START_TIMEOUT",
    kind: "duration",
    min: 0,
    max: hour,
    default: 30 * second,
    description: "How long a start goes on trying to reach SQL before it fails; 0 for one attempt."
  },
  sqlAcceptOther: {
    name: "SQL_ACCEPT_OTHER",
    kind: "boolean",
    default: false,
    description:
      "Goes on with an archive other than the one the log has been written to, with one that has become empty, or with one whose log is missing. For one start."
  },
  startWithoutSql: {
    name: "START_WITHOUT_SQL",
    kind: "boolean",
    default: false,
    description:
      "Start although SQL is unreachable after `SQL_START_TIMEOUT`, if the log is bound to an archive already: ready for writes, not for reads, until SQL is there. A SQL server that refuses still ends the start."
  },
  redisUrl: {
    name: "REDIS_URL",
    kind: "secret",
    default: undefined,
    noneIsAbsent: true,
    allowed:
      "redis://[user:password@]host[:port][/database], rediss://… (TLS), redis-cluster://host:port,host:port, rediss-cluster://… or none",
    problem: (text) => Either.getOrUndefined(Either.flip(parseRedisUrl(text)))?.problem,
    description: "The cache. Without one the engine serves from memory, log and archive."
  },
  redisPrefix: {
    name: "REDIS_PREFIX",
    kind: "text",
    default: "sync-engine:",
    allowed: "1 to 200 bytes of UTF-8 without control characters and without the engine's own key words",
    problem: keyPrefixProblem,
    description:
      "Begins every key in Redis. Engines that share a Redis but not an archive need different ones."
  },
  walPath: {
    name: "WAL_PATH",
    kind: "text",
    default: undefined,
    defaultText: "`wal.db` in `DATA_DIR`",
    ...path,
    description: "The write-ahead log, a SQLite file. Put it on a local disk."
  },
  walMaxItems: {
    name: "WAL_MAX_ITEMS",
    kind: "integer",
    min: 1,
    max: 1_000_000_000,
    default: 1_000_000,
    description: "Acknowledged writes the log holds at most; above it writes are refused."
  },
  walMaxBytes: {
    name: "WAL_MAX_BYTES",
    kind: "bytes",
    min: KiB,
    max: 1024 * GiB,
    default: GiB,
    description: "Bytes the log's entries take at most. At least `MAX_PAYLOAD_BYTES`."
  },
  walDrainInterval: {
    name: "WAL_DRAIN_INTERVAL",
    kind: "duration",
    min: ms,
    max: hour,
    default: 5 * second,
    live: true,
    description: "How often the log is carried to the archive again while anything is pending."
  },
  flushTimeout: {
    name: "FLUSH_TIMEOUT",
    kind: "duration",
    min: ms,
    max: hour,
    default: 15 * second,
    live: true,
    description:
      "How long counts, the tree, verification and an explicit flush wait until what was acknowledged before them is archived; then they fail with a retry hint."
  },
  pendingMaxBytes: {
    name: "PENDING_MAX_BYTES",
    kind: "bytes",
    min: MiB,
    max: 1024 * GiB,
    default: 256 * MiB,
    live: true,
    description:
      "Memory for writes that are not archived yet, beside the log's own bounds: about 450 bytes each, and the contents on their way. Near it writers meet backpressure."
  },
  l1MaxBytes: {
    name: "L1_MAX_BYTES",
    kind: "bytes",
    min: 0,
    max: 1024 * GiB,
    default: 256 * MiB,
    live: true,
    description: "Memory for items; 0 keeps none."
  },
  maxPayloadBytes: {
    name: "MAX_PAYLOAD_BYTES",
    kind: "bytes",
    min: 1,
    max: 512 * MiB,
    default: 16 * MiB,
    live: true,
    description: "Content of one item at most."
  },
  maxBatchItems: {
    name: "MAX_BATCH_ITEMS",
    kind: "integer",
    min: 1,
    max: 100_000,
    default: 10_000,
    live: true,
    description: "Items in one batch of writes or reads at most."
  },
  batchFlushInterval: {
    name: "BATCH_FLUSH_INTERVAL",
    kind: "duration",
    min: ms,
    max: hour,
    default: 100 * ms,
    live: true,
    description: "Age at which a batch goes to the archive."
  },
  batchFlushCount: {
    name: "BATCH_FLUSH_COUNT",
    kind: "integer",
    min: 1,
    max: 100_000,
    default: 1000,
    live: true,
    description: "Items at which a batch goes to the archive."
  },
  batchFlushBytes: {
    name: "BATCH_FLUSH_BYTES",
    kind: "bytes",
    min: KiB,
    max: GiB,
    default: MiB,
    live: true,
    description: "Bytes at which a batch goes to the archive."
  },
  filterWarmupBatch: {
    name: "FILTER_WARMUP_BATCH",
    kind: "integer",
    min: 1,
    max: 1_000_000,
    default: 10_000,
    live: true,
    description: "Ids a page while the existence filter is rebuilt."
  },
  filterSnapshotInterval: {
    name: "FILTER_SNAPSHOT_INTERVAL",
    kind: "duration",
    min: 0,
    max: day,
    default: 30 * second,
    live: true,
    description: "Time between snapshots of the existence filter; 0 takes none by time."
  },
  filterSnapshotInserts: {
    name: "FILTER_SNAPSHOT_INSERTS",
    kind: "integer",
    min: 0,
    max: 1_000_000_000,
    default: 10_000,
    live: true,
    description: "New ids between snapshots of the existence filter; 0 takes none by count."
  },
  healthInterval: {
    name: "HEALTH_INTERVAL",
    kind: "duration",
    min: ms,
    max: hour,
    default: 30 * second,
    live: true,
    description: "How often the archive is asked whether it is well."
  },
  watchdogInterval: {
    name: "WATCHDOG_INTERVAL",
    kind: "duration",
    min: ms,
    max: day,
    default: 60 * second,
    live: true,
    description: "Pending writes that do not move for this long are an alert."
  },
  tombstoneRetention: {
    name: "TOMBSTONE_RETENTION",
    kind: "duration",
    min: 0,
    max: 3650 * day,
    default: 7 * day,
    live: true,
    description:
      "How long deletes are remembered; 0 for ever. An older write that arrives later than this can bring the item back."
  },
  cdc: {
    name: "CDC",
    kind: "boolean",
    default: false,
    description: "Change stream to Redis, after the archive's commit. Needs `REDIS_URL`."
  },
  cdcMaxLen: {
    name: "CDC_MAXLEN",
    kind: "integer",
    min: 1,
    max: 1_000_000_000,
    default: 100_000,
    description: "Entries the change stream keeps, approximately."
  },
  readOnly: {
    name: "READ_ONLY",
    kind: "boolean",
    default: false,
    live: true,
    description: "Refuses all writes."
  },
  shutdownDelay: {
    name: "SHUTDOWN_DELAY",
    kind: "duration",
    min: 0,
    max: hour,
    default: 0,
    description:
      "Time in which an engine that was asked to stop is not ready and still serves, for load balancers to notice."
  },
  shutdownTimeout: {
    name: "SHUTDOWN_TIMEOUT",
    kind: "duration",
    min: 100 * ms,
    max: hour,
    default: 25 * second,
    description: "Bound on the shutdown after the delay; what is not archived by then stays in the log."
  }
}

const logLevels: ReadonlyArray<LogLevelName> = ["trace", "debug", "info", "warning", "error"]
const logFormats: ReadonlyArray<LogFormatName> = ["auto", "pretty", "json"]

export const serverTable: Table<ServerConfig> = {
  httpHost: {
    name: "HTTP_HOST",
    kind: "text",
    default: "127.0.0.1",
    allowed: "a host name or an IP address",
    problem: (text) => (/^[a-z0-9._:[\]%-]{1,255}$/i.test(text) ? undefined : "is not a host"),
    description: "Address the HTTP server listens on. Anything but loopback needs `ADMIN_TOKEN`."
  },
  httpPort: {
    name: "HTTP_PORT",
    kind: "integer",
    min: 0,
    max: 65_535,
    default: 7420,
    description: "Port the HTTP server listens on; 0 for any free one."
  },
  adminToken: {
    name: "ADMIN_TOKEN",
    kind: "secret",
    default: undefined,
    noneIsAbsent: false,
    allowed: "1 to 4,096 visible ASCII characters",
    problem: (text) =>
      /^[\u0021-\u007e]{1,4096}$/.test(text)
        ? undefined
        : "is too long, or holds white space, controls or characters outside ASCII",
    description: "Bearer token for everything but health."
  },
  logLevel: {
    name: "LOG_LEVEL",
    kind: "choice",
    values: logLevels,
    default: "info",
    description: "Least level of log lines that are written."
  },
  logFormat: {
    name: "LOG_FORMAT",
    kind: "choice",
    values: logFormats,
    default: "auto",
    description: "Log lines for people, or JSON lines; `auto` is `pretty` on a terminal and `json` elsewhere."
  }
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

const keysOf = <A extends object>(table: A): ReadonlyArray<keyof A> =>
  Object.keys(table) as Array<keyof A & string>

/** The engine's options, in the order of the documentation. */
export const engineOptions: ReadonlyArray<ConfigOption & { readonly scope: "engine" }> = keysOf(
  engineTable
).map((key) => {
  const definition = engineTable[key]
  return { scope: "engine", key, name: definition.name, flag: flagOf(definition.name), definition }
})

/** The process's options. */
export const serverOptions: ReadonlyArray<ConfigOption & { readonly scope: "server" }> = keysOf(
  serverTable
).map((key) => {
  const definition = serverTable[key]
  return { scope: "server", key, name: definition.name, flag: flagOf(definition.name), definition }
})

/** All options. */
export const options: ReadonlyArray<ConfigOption> = [...engineOptions, ...serverOptions]

/** The default as it stands in the configuration. */
export const defaultOf = (definition: OptionDefinition): unknown =>
  definition.kind === "secret" && definition.default !== undefined
    ? Redacted.make(definition.default)
    : definition.default
