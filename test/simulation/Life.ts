/** One life of the engine's process: from its start to its crash or its end. */
import { Effect, type Exit, type Fiber, FiberRef, HashSet, Layer, LogLevel, Random, Scope } from "effect"
import { Archive } from "../../src/archive/Archive.js"
import { Cache } from "../../src/cache/Cache.js"
import type { EngineConfig } from "../../src/config/Model.js"
import { LiveConfig } from "../../src/EngineConfig.js"
import { ArchiveStartError } from "../../src/EngineError.js"
import * as Engine from "../../src/engine/Engine.js"
import { EngineLimits } from "../../src/engine/state/EngineLimits.js"
import { ExistenceFilter } from "../../src/filter/ExistenceFilter.js"
import * as Lifecycle from "../../src/Lifecycle.js"
import type { SyncEngineApi } from "../../src/SyncEngineApi.js"
import { YieldToEventLoop } from "../../src/shared/YieldToEventLoop.js"
import { playedConfig } from "../support/PlayedConfig.js"
import { Duties, listening } from "./Duties.js"
import { observedLog } from "./ObservedLog.js"
import type { Process } from "./Turns.js"
import type { World } from "./World.js"

export interface Life {
  readonly process: Process
  readonly duties: Duties
  readonly engine: Engine.Engine
  readonly service: SyncEngineApi
  readonly lifecycle: Lifecycle.LifecycleService
  /** Runs something in the process; `onExit` is never told when the process dies first. */
  readonly run: <A, E>(
    effect: Effect.Effect<A, E>,
    onExit: (exit: Exit.Exit<A, E>) => void
  ) => Fiber.RuntimeFiber<A, E>
  readonly config: () => EngineConfig
  readonly changeConfig: (change: Partial<EngineConfig>) => void
}

/** A process with an engine that has not been started. */
export const begin = (world: World, log = observedLog(world)): Life => {
  const { settings, turns } = world
  const process: Process = { alive: true }
  world.hand("start")
  const scheduler = turns.schedulerOf(process)
  const clock = turns.clockOf(process)
  const duties = new Duties(world, process)
  const logger = listening(world)
  const random = Random.make(world.chance.bits())
  const inProcess = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    effect.pipe(
      Effect.provideService(EngineLimits, settings.limits),
      Effect.provideService(YieldToEventLoop, Effect.yieldNow()),
      Effect.withRandom(random),
      Effect.withClock(clock),
      Effect.supervised(duties),
      Effect.locally(FiberRef.currentMinimumLogLevel, LogLevel.All),
      Effect.locally(FiberRef.currentLoggers, HashSet.make(logger))
    )

  const archive = Layer.succeed(Archive, {
    open: Effect.suspend(() =>
      world.archiveDown
        ? Effect.suspend(() => {
            world.hand("archive")
            return Effect.fail(
              new ArchiveStartError({ target: "memory", kind: "unreachable", problem: "the archive is down" })
            )
          })
        : Effect.succeed(world.wayToArchive.reachedBy(process))
    )
  })
  const cache = Layer.sync(Cache, () => ({ open: Effect.succeed(world.cache.openedBy(process)) }))
  const scope = Effect.runSync(Scope.make())
  // Making an engine starts nothing: it needs no turns.
  const made = Effect.runSync(
    inProcess(
      Effect.gen(function* () {
        const lifecycle = yield* Lifecycle.make
        const live = yield* playedConfig({
          ...settings.config,
          cdc: settings.cdc && settings.hasArchive && settings.hasCache
        })
        const engine = yield* Engine.make.pipe(
          Effect.provide(
            Layer.mergeAll(
              log,
              settings.hasArchive ? archive : Archive.layerNone,
              settings.hasCache ? cache : Cache.layerNone,
              ExistenceFilter.layer
            )
          ),
          Effect.provideService(LiveConfig, live),
          Effect.provideService(Lifecycle.Lifecycle, lifecycle),
          Effect.provideService(Scope.Scope, scope)
        )
        return { engine, lifecycle, live }
      })
    )
  )

  const run: Life["run"] = (effect, onExit) => {
    const fiber = Effect.runFork(inProcess(effect), { scheduler, immediate: false })
    fiber.addObserver((exit) => {
      if (process.alive) onExit(exit)
    })
    return fiber
  }

  return {
    process,
    duties,
    engine: made.engine,
    service: made.engine.service,
    lifecycle: made.lifecycle,
    run,
    config: made.live.unsafeGet,
    changeConfig: (change) => {
      if (change.readOnly !== undefined) world.hand("read-only")
      run(made.live.set(change), () => {
        if (change.readOnly !== undefined) world.hand("read-only")
      })
    }
  }
}
