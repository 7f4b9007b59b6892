/**
 * Start-up, from top to bottom: every phase is a layer over what the ones before it provide, and has an error of its own.
 * Beside each stands what that means: the end of the start, or a start that goes on without.
 */
import { Effect, Layer, Option } from "effect"
import { LogOpenError } from "../../EngineError.js"
import { Lifecycle } from "../../Lifecycle.js"
import { EngineRuntime } from "../background/EngineRuntime.js"
import * as Conditions from "../state/Conditions.js"
import { connectArchive, orTakeWritesOnly } from "./ConnectArchive.js"
import * as Phases from "./Phases.js"

const next =
  <Out, E, In>(phase: Layer.Layer<Out, E, In>) =>
  <Out0, E0, In0>(earlier: Layer.Layer<Out0, E0, In0>) =>
    Layer.provideMerge(phase, earlier)

/** The cache is not used, or not believed, until the run loop has proven it. */
const withoutCache = (said: string, problem: string) =>
  Effect.flatMap(EngineRuntime, ({ core }) =>
    Conditions.begins(core, "cache", problem, `${said}: ${problem}`)
  )

const ready = Effect.gen(function* () {
  const lifecycle = yield* Lifecycle
  yield* lifecycle.setBootStage("WarmingUp")
  yield* lifecycle.setBootStage("Ready")
  yield* lifecycle.markReady
  yield* lifecycle.setBootStage("Running")
})

// 1 · Fatal: without the log durability cannot be guaranteed.
export const startup = Layer.effect(Phases.LogOpened, Phases.openLog).pipe(
  // 2 · Fatal after the start-up retries, unless START_WITHOUT_SQL. None configured: a warning.
  next(Layer.effect(Phases.ArchiveConnected, Effect.catchAll(connectArchive, orTakeWritesOnly))),
  // 3 · What the archive does not take stays in the log. Fatal when it cannot be read: it would be denied to its readers.
  next(
    Layer.effectDiscard(
      Effect.mapError(Phases.drainLog, (error) => new LogOpenError({ ...error, kind: "damaged" }))
    )
  ),
  // 4 · Nothing can be trusted yet.
  next(
    Layer.effect(
      Phases.TrustedRoot,
      Effect.catchTag(Phases.readRoot, "RootUnreadable", ({ problem }) =>
        Effect.as(Effect.logWarning(`the archive's root cannot be read: ${problem}`), Option.none())
      )
    )
  ),
  // 5 · Every absent id is looked up, and the filter is rebuilt while the engine serves.
  next(
    Layer.effectDiscard(
      Effect.catchTag(Phases.restoreFilter, "FilterNotProven", ({ reason }) =>
        Effect.logInfo(`the filter is not trusted yet: ${reason}`)
      )
    )
  ),
  // 6 · No cache until it has connected itself.
  next(
    Layer.effect(
      Phases.CacheConnected,
      Effect.catchTag(Phases.connectCache, "CacheNotConnected", ({ problem }) =>
        Effect.as(withoutCache("the cache is unavailable, going on without it", problem), Option.none())
      )
    )
  ),
  // 7 · The cache is not believed until it has been compared and repaired.
  next(
    Layer.effectDiscard(
      Effect.catchTag(Phases.syncCache, "CacheNotCompared", ({ problem }) =>
        withoutCache("the cache could not be compared with the archive", problem)
      )
    )
  ),
  next(Layer.effectDiscard(ready)) // 8
)
