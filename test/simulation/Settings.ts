/**
 * What kind of world a seed gets. Each trouble is left out of many seeds, so that the others are seen without it.
 */
import type { EngineConfig } from "../../src/config/Model.js"
import { defaultLimits, type Limits } from "../../src/engine/state/EngineLimits.js"
import { testConfig } from "../support/engine.js"
import type { Chance } from "./Chance.js"

export interface Settings {
  readonly fifo: boolean
  readonly yieldChance: number
  readonly lives: number
  readonly clients: number
  readonly operationsPerLife: number
  /** Longest pause of a client between two operations, in milliseconds. */
  readonly pauseMs: number
  readonly ids: ReadonlyArray<string>
  readonly hasArchive: boolean
  readonly config: EngineConfig
  readonly limits: Limits
  readonly smallLog: boolean
  /** Longest delay of a group commit or another change of the log, in milliseconds. */
  readonly commitDelayMs: number
  readonly archiveDelayMs: number
  /** How often a call of the archive takes seconds. */
  readonly archiveStall: number
  /** How often a call of the archive fails before it takes effect. */
  readonly archiveFailure: number
  /** How often its answer is lost after it took effect. */
  readonly lostAnswer: number
  readonly outages: boolean
  /** Whether there is a cache. */
  readonly hasCache: boolean
  /** Longest delay of a call of the cache, and of its answer, in milliseconds. */
  readonly cacheDelayMs: number
  /** How often a call of the cache fails before it takes effect, and how often its answer is lost. */
  readonly cacheFailure: number
  /** The cache is unavailable for some time, loses everything, or holds damaged values. */
  readonly cacheTroubles: boolean
  /** What the archive has taken is published as a change stream in the cache. */
  readonly cdc: boolean
  readonly poison: boolean
  readonly logFaults: boolean
  readonly ownVersions: boolean
  readonly memoryDurability: boolean
  readonly interruptions: boolean
  readonly configChanges: boolean
  readonly clockSteps: boolean
  readonly crashes: number
}

// Chosen for byte order (`-` and `!` come before `.`), for case, for prefixes of one another and for UTF-8.
export const idPool: ReadonlyArray<string> = [
  "a",
  "a.b",
  "a.b.c",
  "a.b.d",
  "a-b",
  "a!",
  "a.B",
  "ab",
  "b",
  "b.\u{1f600}",
  "b.\uffee",
  "b.c.d.e",
  "é.x",
  "z z"
]

const often = (chance: Chance, share: number, values: ReadonlyArray<number>): number =>
  chance.bool(share) ? chance.pick(values) : 0

export const settingsOf = (chance: Chance): Settings => {
  const smallLog = chance.bool(0.25)
  const ids = idPool.slice(0, chance.between(2, idPool.length))
  const hasArchive = !chance.bool(0.04)
  const hasCache = chance.bool(0.5)
  const cdc = hasArchive && hasCache && chance.bool(0.6)
  return {
    fifo: chance.bool(0.3),
    yieldChance: often(chance, 0.6, [0.003, 0.02]),
    lives: chance.between(1, 4),
    clients: chance.between(1, 6),
    operationsPerLife: chance.between(8, 45),
    pauseMs: chance.pick([0, 3, 20, 150]),
    ids,
    hasArchive,
    config: {
      ...testConfig,
      batchFlushInterval: chance.pick([20, 100, 100, 700]),
      batchFlushCount: chance.pick([1, 2, 3, 8, 1000]),
      batchFlushBytes: chance.pick([1, 300, 2000, 1024 * 1024]),
      l1MaxBytes: chance.pick([0, 900, 2000, 5000, 64 * 1024 * 1024]),
      walDrainInterval: chance.pick([300, 2000]),
      healthInterval: chance.pick([500, 3000]),
      watchdogInterval: 4000,
      walMaxItems: smallLog ? chance.between(6, 30) : 1_000_000,
      walMaxBytes: smallLog && chance.bool(0.5) ? chance.between(2000, 8000) : 1024 ** 3,
      sqlStartTimeout: chance.pick([0, 1500]),
      shutdownDelay: chance.pick([0, 0, 50]),
      shutdownTimeout: chance.pick([1000, 5000, 25_000])
    },
    limits: chance.bool(0.3)
      ? defaultLimits
      : {
          freshQueueBytes: chance.pick([0, 600, 16 * 1024 * 1024]),
          itemsPerTurn: chance.pick([1, 2, 1000]),
          bytesPerTurn: chance.pick([1, 1024 * 1024]),
          replayItems: chance.pick([1, 2, 2000]),
          replayBytes: chance.pick([1, 4 * 1024 * 1024]),
          idsPerQuery: chance.pick([1, 3, 500]),
          idsPerDelete: chance.pick([1, 2, 1000]),
          streamPageItems: chance.pick([1, 2, 500]),
          pageBytes: chance.pick([1, 400, 8 * 1024 * 1024]),
          lettersPerPage: chance.pick([1, 2, 500]),
          lookEveryMs: 1000
        },
    smallLog,
    commitDelayMs: often(chance, 0.6, [1, 10, 60]),
    archiveDelayMs: often(chance, 0.7, [1, 8, 80]),
    archiveStall: often(chance, 0.2, [0.02, 0.1]),
    archiveFailure: often(chance, 0.4, [0.02, 0.1, 0.4]),
    lostAnswer: often(chance, 0.4, [0.05, 0.3]),
    outages: chance.bool(0.5),
    hasCache,
    cdc,
    cacheDelayMs: often(chance, 0.6, [1, 5, 60]),
    cacheFailure: often(chance, 0.4, [0.01, 0.05, 0.3]),
    cacheTroubles: chance.bool(0.5),
    poison: chance.bool(0.35),
    logFaults: chance.bool(0.4),
    ownVersions: chance.bool(0.6),
    memoryDurability: chance.bool(0.6),
    interruptions: chance.bool(0.3),
    configChanges: chance.bool(0.3),
    clockSteps: chance.bool(0.5),
    crashes: chance.pick([0, 0.5, 0.8])
  }
}
