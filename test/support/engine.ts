import { type Context, Effect, Layer, Redacted, type Scope } from "effect"
import { Archive } from "../../src/archive/Archive.js"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import { Cache } from "../../src/cache/Cache.js"
import type { EngineConfig } from "../../src/config/Model.js"
import { LiveConfig } from "../../src/EngineConfig.js"
import type { Engine } from "../../src/engine/Engine.js"
import * as EngineModule from "../../src/engine/Engine.js"
import type { Limits } from "../../src/engine/state/EngineLimits.js"
import { defaultLimits, EngineLimits } from "../../src/engine/state/EngineLimits.js"
import { ExistenceFilter } from "../../src/filter/ExistenceFilter.js"
import * as Lifecycle from "../../src/Lifecycle.js"
import type { FilterSnapshots } from "../../src/wal/FilterSnapshots.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"
import type { WriteAheadLog } from "../../src/wal/WriteAheadLog.js"

export const testConfig: EngineConfig = {
  dataDir: ".unused",
  sqlUrl: Redacted.make("none"),
  sqlPoolSize: 10,
  sqlWriteConcurrency: 1,
  sqlConnectTimeout: 5000,
  sqlQueryTimeout: 30_000,
  sqlStartTimeout: 30_000,
  sqlAcceptOther: false,
  startWithoutSql: false,
  redisUrl: undefined,
  redisPrefix: "sync-engine:",
  walPath: undefined,
  walMaxItems: 1_000_000,
  walMaxBytes: 1024 ** 3,
  walDrainInterval: 5000,
  flushTimeout: 15_000,
  pendingMaxBytes: 256 * 1024 * 1024,
  l1MaxBytes: 256 * 1024 * 1024,
  maxPayloadBytes: 16 * 1024 * 1024,
  maxBatchItems: 10_000,
  // Each round costs a step of the test's clock: seldom, where nothing waits for it.
  batchFlushInterval: 1000,
  batchFlushCount: 1000,
  batchFlushBytes: 1024 * 1024,
  filterWarmupBatch: 10_000,
  filterSnapshotInterval: 30_000,
  filterSnapshotInserts: 10_000,
  healthInterval: 30_000,
  watchdogInterval: 60_000,
  tombstoneRetention: 7 * 24 * 3_600_000,
  cdc: false,
  cdcMaxLen: 100_000,
  readOnly: false,
  shutdownDelay: 0,
  shutdownTimeout: 25_000
}

export interface TestEngine extends Engine {
  readonly live: Context.Tag.Service<LiveConfig>
  readonly lifecycle: Context.Tag.Service<Lifecycle.Lifecycle>
}

export interface TestEngineOptions {
  readonly disk?: MemoryLog.MemoryLogDisk
  readonly commitDelay?: Effect.Effect<void>
  /** A log of the test's own, in place of the memory log over `disk`. */
  readonly log?: Layer.Layer<WriteAheadLog | FilterSnapshots>
  readonly archive?: MemoryArchive.MemoryArchiveOptions | Layer.Layer<Archive> | "none" | undefined
  readonly cache?: Layer.Layer<Cache> | undefined
  readonly filter?: Layer.Layer<ExistenceFilter>
  readonly config?: Partial<EngineConfig>
  readonly limits?: Partial<Limits>
}

/** An engine over in-process tiers, not started. */
export const makeEngine = (options: TestEngineOptions = {}): Effect.Effect<TestEngine, never, Scope.Scope> =>
  Effect.gen(function* () {
    const config = { ...testConfig, ...options.config }
    const lifecycle = yield* Lifecycle.make
    const live = yield* Effect.provide(LiveConfig, LiveConfig.layer(config))
    const { archive } = options
    const log =
      options.log ??
      MemoryLog.layerMemory({
        maxItems: config.walMaxItems,
        maxBytes: config.walMaxBytes,
        ...(options.disk === undefined ? {} : { disk: options.disk }),
        ...(options.commitDelay === undefined ? {} : { commitDelay: options.commitDelay })
      })
    const archiveLayer =
      archive === "none"
        ? Archive.layerNone
        : Layer.isLayer(archive)
          ? (archive as Layer.Layer<Archive>)
          : MemoryArchive.layerMemory(archive as MemoryArchive.MemoryArchiveOptions | undefined)
    const engine = yield* EngineModule.make.pipe(
      Effect.provide(
        Layer.mergeAll(
          log,
          archiveLayer,
          options.cache ?? Cache.layerNone,
          options.filter ?? ExistenceFilter.layer
        )
      ),
      Effect.provideService(LiveConfig, live),
      Effect.provideService(Lifecycle.Lifecycle, lifecycle),
      Effect.provideService(EngineLimits, { ...defaultLimits, ...options.limits })
    )
    return { ...engine, live, lifecycle }
  })

/** As {@link makeEngine}, started. */
export const startEngine = (options: TestEngineOptions = {}) =>
  Effect.tap(makeEngine(options), (engine) => engine.start)
