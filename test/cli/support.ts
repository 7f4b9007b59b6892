import * as NodeContext from "@effect/platform-node/NodeContext"
import { type Context, Effect, Fiber, Layer, Queue, Stream } from "effect"
import * as MemoryArchive from "../../src/archive/memory/MemoryArchive.js"
import { Cache } from "../../src/cache/Cache.js"
import * as Cli from "../../src/cli/app/Cli.js"
import { OutputClosed } from "../../src/cli/app/CliError.js"
import type { Signal } from "../../src/cli/app/EarlySignals.js"
import { EngineFactory } from "../../src/cli/backend/EngineFactory.js"
import { Stdio } from "../../src/cli/io/Stdio.js"
import { LiveConfig } from "../../src/EngineConfig.js"
import * as Engine from "../../src/engine/Engine.js"
import { ExistenceFilter } from "../../src/filter/ExistenceFilter.js"
import { Lifecycle, layer as lifecycleLayer } from "../../src/Lifecycle.js"
import * as MemoryLog from "../../src/wal/MemoryLog.js"

/** What outlives the engines of one test: the log's disk and the archive. */
export interface World {
  readonly disk: MemoryLog.MemoryLogDisk
  readonly state: MemoryArchive.MemoryArchiveState
  readonly hooks: {
    -readonly [K in keyof MemoryArchive.MemoryArchiveHooks]: MemoryArchive.MemoryArchiveHooks[K]
  }
}

export const makeWorld = (): World => ({
  disk: MemoryLog.makeDisk(),
  state: new MemoryArchive.MemoryArchiveState(),
  hooks: {}
})

const enginesOf = (world: World): Layer.Layer<EngineFactory> => {
  // Looked up at each call, so that a test can change them while an engine runs.
  const hooks: MemoryArchive.MemoryArchiveHooks = {
    before: (call) => world.hooks.before?.(call) ?? Effect.void,
    after: (call) => world.hooks.after?.(call) ?? Effect.void
  }
  return Layer.succeed(EngineFactory, {
    make: (config) =>
      Effect.gen(function* () {
        const context = yield* Layer.buildWithScope(
          Layer.mergeAll(
            lifecycleLayer,
            LiveConfig.layer(config),
            MemoryLog.layerMemory({
              disk: world.disk,
              maxItems: config.walMaxItems,
              maxBytes: config.walMaxBytes
            }),
            MemoryArchive.layerMemory({ state: world.state, hooks }),
            Cache.layerNone,
            ExistenceFilter.layer
          ),
          yield* Effect.scope
        )
        return yield* Effect.gen(function* () {
          const { service, shutdown, start } = yield* Engine.make
          const [lifecycle, liveConfig] = yield* Effect.all([Lifecycle, LiveConfig])
          return { engine: service, lifecycle, liveConfig, start, shutdown }
        }).pipe(Effect.provide(context))
      })
  })
}

export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string | Uint8Array
  readonly stdinIsTerminal?: boolean
  /** Writes to standard output that succeed before its reader goes away. */
  readonly writesBeforeClose?: number
}

export interface Running {
  readonly fiber: Fiber.Fiber<number>
  readonly signal: (name: Signal) => void
  readonly out: () => string
  readonly bytes: () => Buffer
  readonly err: () => string
}

export interface Result {
  readonly code: number
  readonly out: string
  readonly bytes: Buffer
  readonly err: string
}

const bufferOf = (data: string | Uint8Array) =>
  typeof data === "string" ? Buffer.from(data) : Buffer.from(data)

/** Starts a command line in this process. */
export const start = (
  world: World,
  args: ReadonlyArray<string>,
  surroundings: Surroundings = {}
): Effect.Effect<Running> =>
  Effect.gen(function* () {
    const signals = yield* Queue.unbounded<Signal>()
    const out: Array<Buffer> = []
    let err = ""
    let writes = 0
    const stdio: Context.Tag.Service<Stdio> = {
      env: surroundings.env ?? {},
      stdinIsTerminal: surroundings.stdinIsTerminal ?? false,
      stdoutIsTerminal: false,
      stderrIsTerminal: false,
      stdin:
        surroundings.stdin === undefined
          ? Stream.empty
          : Stream.make(new Uint8Array(bufferOf(surroundings.stdin))),
      write: (data) =>
        Effect.suspend(() => {
          writes += 1
          if (writes > (surroundings.writesBeforeClose ?? Number.POSITIVE_INFINITY)) {
            return Effect.fail(new OutputClosed())
          }
          out.push(bufferOf(data))
          return Effect.void
        }),
      unsafeError: (text) => {
        err += text
      },
      takeSignal: Queue.take(signals),
      progressBar: () => ({ update: () => {}, stop: () => {} })
    }
    const layers = Layer.mergeAll(NodeContext.layer, Layer.succeed(Stdio, stdio), enginesOf(world))
    const fiber = yield* Effect.forkDaemon(Effect.provide(Cli.run(args), layers))
    return {
      fiber,
      signal: (name) => Queue.unsafeOffer(signals, name),
      out: () => Buffer.concat(out).toString("utf8"),
      bytes: () => Buffer.concat(out),
      err: () => err
    }
  })

export const finish = (running: Running): Effect.Effect<Result> =>
  Effect.map(Fiber.join(running.fiber), (code) => ({
    code,
    out: running.out(),
    bytes: running.bytes(),
    err: running.err()
  }))

/** Runs a command line to its end. */
export const cli = (
  world: World,
  args: ReadonlyArray<string>,
  surroundings?: Surroundings
): Effect.Effect<Result> => Effect.flatMap(start(world, args, surroundings), finish)

/** Waits in real time until `holds`. */
export const until = (holds: () => boolean): Effect.Effect<void> =>
  Effect.repeat(Effect.zipRight(Effect.sleep(5), Effect.sync(holds)), { until: (done) => done }).pipe(
    Effect.timeoutFail({ duration: 10_000, onTimeout: () => new Error("it did not happen within 10 s") }),
    Effect.orDie,
    Effect.asVoid
  )

/** A daemon on a free port; it is shut down afterwards if nobody did. */
export const withDaemon = <A>(
  world: World,
  use: (daemon: Running & { readonly env: Readonly<Record<string, string>> }) => Effect.Effect<A>,
  args: ReadonlyArray<string> = []
): Effect.Effect<A> =>
  Effect.acquireUseRelease(
    start(world, ["run", "--http-port", "0", ...args]),
    (running) =>
      Effect.gen(function* () {
        yield* until(() => running.err().includes('"message":"ready"'))
        const url = /listening on (http:\S+?)"/.exec(running.err())?.[1] ?? ""
        return yield* use({ ...running, env: { SYNC_ENGINE_URL: url } })
      }),
    (running) => {
      running.signal("SIGTERM")
      return Fiber.join(running.fiber)
    }
  )
