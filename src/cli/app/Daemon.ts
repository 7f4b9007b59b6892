/** The daemon: HTTP first, then the engine, until a signal or a request ends both with one report. */
import { type Context, Effect, Either, Fiber, type Scope } from "effect"
import { LiveConfig } from "../../EngineConfig.js"
import type { InvalidConfig } from "../../EngineError.js"
import * as HttpServer from "../../http/HttpServer.js"
import { Lifecycle } from "../../Lifecycle.js"
import { SyncEngine } from "../../SyncEngine.js"
import { EngineFactory, type EngineHandle } from "../backend/EngineFactory.js"
import type { Stdio } from "../io/Stdio.js"
import type { Settings } from "../parser/ConfigFlags.js"
import { type CliError, toCliError } from "./CliError.js"
import { checkReport, logReport } from "./ShutdownReport.js"

/** Every signal but SIGHUP asks for the one shutdown; a second one changes nothing. */
const obeySignals = (
  stdio: Context.Tag.Service<Stdio>,
  shutdown: Effect.Effect<unknown>
): Effect.Effect<never> => {
  let asked = false
  return stdio.takeSignal.pipe(
    Effect.flatMap((signal) => {
      // Sent when a terminal closes, and by habit to reload: neither must end a daemon.
      if (signal === "SIGHUP") return Effect.logWarning("SIGHUP is ignored: there is nothing to reload")
      if (asked) return Effect.logWarning(`${signal}: the shutdown is under way and is not cut short`)
      asked = true
      // In a fiber of its own: the next signal has to be answered while the shutdown runs.
      return Effect.zipRight(Effect.logInfo(`${signal}: shutting down`), Effect.forkDaemon(shutdown))
    }),
    Effect.forever
  )
}

/** An engine that has not been started, and the server before it. */
export interface Launched {
  readonly handle: EngineHandle
  /** Where the server listens. */
  readonly url: string
  /** Waits until everybody who asked for the shutdown over HTTP has been told the report. */
  readonly awaitAnswered: Effect.Effect<void>
}

/**
 * Makes the engine and serves it: health is answered while the engine starts. When the scope closes the server
 * goes first.
 */
export const launch = (
  settings: Settings
): Effect.Effect<Launched, InvalidConfig, EngineFactory | Scope.Scope> =>
  Effect.gen(function* () {
    const engines = yield* EngineFactory
    const handle = yield* engines.make(settings.engine)
    const { adminToken, httpHost, httpPort } = settings.server
    const face = yield* HttpServer.make({ host: httpHost, port: httpPort, token: adminToken }).pipe(
      Effect.provideService(SyncEngine, handle.engine),
      Effect.provideService(Lifecycle, handle.lifecycle),
      Effect.provideService(LiveConfig, handle.liveConfig)
    )
    yield* Effect.logInfo(`listening on ${face.url}`)
    return { handle, url: face.url, awaitAnswered: face.awaitShutdownAnswered }
  })

/**
 * Starts the engine and stays until its shutdown report is there, whoever asked for it. Succeeds when the
 * report is clean. A signal during the start ends with a report as well.
 */
export const supervise = (
  stdio: Context.Tag.Service<Stdio>,
  { awaitAnswered, handle }: Launched
): Effect.Effect<void, CliError> =>
  Effect.gen(function* () {
    const started = yield* Effect.either(handle.start)
    if (Either.isLeft(started) && started.left._tag !== "GateClosed") {
      // Whoever asks for a shutdown now gets the report of the failed start.
      yield* Effect.flatMap(handle.shutdown, logReport)
      return yield* toCliError(started.left)
    }
    const report = yield* handle.lifecycle.awaitReport
    const checked = yield* Effect.either(checkReport(report))
    yield* awaitAnswered
    yield* checked
  }).pipe((body) =>
    Effect.acquireUseRelease(
      // Interruptible again: what acquires a resource is not.
      Effect.fork(Effect.interruptible(obeySignals(stdio, handle.engine.shutdown))),
      () => body,
      Fiber.interrupt
    )
  )
