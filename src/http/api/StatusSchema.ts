/** What `GET /admin/status` returns. Holds no secret. */
import { Schema } from "effect"
import type { EngineHealth, EngineStats } from "../../SyncEngine.js"
import { LifecycleBody } from "./ApiSchemas.js"
import { lifecycleBody } from "./Encode.js"

const { Boolean, Number, String } = Schema

const Health = Schema.Struct({
  lifecycle: LifecycleBody,
  accepts_writes: Boolean,
  accepts_queries: Boolean,
  read_only: Boolean,
  degraded: Schema.Array(Schema.Struct({ component: String, reason: String, since: Number })),
  archive: Schema.Struct({ dialect: String, target: String, available: Boolean }),
  cache: Schema.Struct({ configured: Boolean, available: Boolean, trusted: Boolean }),
  filter: Schema.Struct({ trusted: Boolean, entries: Number, reason: Schema.optional(Schema.String) }),
  backpressure: Schema.Struct({ level: String, pressure: Number })
})

const Stats = Schema.Struct({
  started_at_ms: Number,
  uptime_ms: Number,
  log: Schema.Struct({
    items: Number,
    bytes: Number,
    max_items: Number,
    max_bytes: Number,
    committed: Number,
    released: Number
  }),
  memory: Schema.Struct({
    items: Number,
    bytes: Number,
    max_bytes: Number,
    hits: Number,
    misses: Number,
    evictions: Number
  }),
  pending: Number,
  acknowledged: Number,
  archived: Number,
  superseded: Number,
  dead_letters: Number,
  flushes: Schema.Record({ key: String, value: Number }),
  flush_failures: Number,
  startup_timings: Schema.Array(Schema.Struct({ phase: String, milliseconds: Number }))
})

export const StatusBody = Schema.Struct({ health: Health, stats: Stats }).annotations({
  identifier: "Status"
})

const healthBody = (health: EngineHealth): typeof Health.Type => ({
  lifecycle: lifecycleBody(health.lifecycle),
  accepts_writes: health.acceptsWrites,
  accepts_queries: health.acceptsQueries,
  read_only: health.readOnly,
  degraded: health.degraded.map(({ component, reason, since }) => ({ component, reason, since })),
  archive: {
    dialect: health.archive.dialect,
    target: health.archive.target,
    available: health.archive.available
  },
  cache: {
    configured: health.cache.configured,
    available: health.cache.available,
    trusted: health.cache.trusted
  },
  filter: {
    trusted: health.filter.trusted,
    entries: health.filter.entries,
    ...(health.filter.reason === undefined ? {} : { reason: health.filter.reason })
  },
  backpressure: { level: health.backpressure.level, pressure: health.backpressure.pressure }
})

const statsBody = (stats: EngineStats): typeof Stats.Type => ({
  started_at_ms: stats.startedAtMs,
  uptime_ms: stats.uptimeMs,
  log: {
    items: stats.log.items,
    bytes: stats.log.bytes,
    max_items: stats.log.maxItems,
    max_bytes: stats.log.maxBytes,
    committed: stats.log.committed,
    released: stats.log.released
  },
  memory: {
    items: stats.memory.items,
    bytes: stats.memory.bytes,
    max_bytes: stats.memory.maxBytes,
    hits: stats.memory.hits,
    misses: stats.memory.misses,
    evictions: stats.memory.evictions
  },
  pending: stats.pending,
  acknowledged: stats.acknowledged,
  archived: stats.archived,
  superseded: stats.superseded,
  dead_letters: stats.deadLetters,
  flushes: { ...stats.flushes },
  flush_failures: stats.flushFailures,
  startup_timings: stats.startupTimings.map(([phase, milliseconds]) => ({ phase, milliseconds }))
})

export const statusBody = (health: EngineHealth, stats: EngineStats): typeof StatusBody.Type => ({
  health: healthBody(health),
  stats: statsBody(stats)
})
