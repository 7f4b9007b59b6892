/**
 * The HTTP face of an engine: a scoped server that owns its socket, as `sync-engine run` has it. Without a token it
 * binds loopback alone; bodies, connections and times are bounded. `docs/http-api.md` describes the routes.
 *
 * @example
 * ```ts
 * import { Config, Effect, Layer } from "effect"
 * import { SyncEngine } from "effect-sync-engine"
 * import * as HttpServer from "effect-sync-engine/HttpServer"
 *
 * const program = Effect.gen(function* () {
 *   const { awaitShutdownAnswered, url } = yield* HttpServer.HttpFace
 *   yield* Effect.log(`listening at ${url}`)
 *   yield* awaitShutdownAnswered
 * })
 *
 * const face = Layer.unwrapEffect(
 *   Effect.map(Config.redacted("ADMIN_TOKEN"), (token) => HttpServer.layer({ host: "0.0.0.0", port: 7420, token }))
 * )
 *
 * // The server is built after the engine, so it is gone before the engine shuts down.
 * Effect.runPromise(
 *   Effect.provide(program, Layer.provide(face, SyncEngine.layer({ dataDir: "./data" })))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Context, Duration, Effect, Layer, type Redacted, type Scope } from "effect"
import type { LiveConfig } from "../EngineConfig.js"
import type { InvalidConfig } from "../EngineError.js"
import { Lifecycle } from "../Lifecycle.js"
import type { SyncEngine } from "../SyncEngine.js"
import { Api } from "./api/Api.js"
import { AdminHandlers } from "./handlers/AdminHandlers.js"
import { DocumentHandlers } from "./handlers/DocumentHandlers.js"
import { HealthHandlers } from "./handlers/HealthHandlers.js"
import { ItemHandlers } from "./handlers/ItemHandlers.js"
import { MerkleHandlers } from "./handlers/MerkleHandlers.js"
import { MetricsHandlers } from "./handlers/MetricsHandlers.js"
import { gatekeeper } from "./middleware/Authorization.js"
import { HttpContext } from "./middleware/HttpContext.js"
import { bearerLayer, type MiddlewareOptions, requestMiddleware } from "./middleware/RequestMiddleware.js"
import { bind, closeServer, makeServer, urlOf } from "./node/NodeServer.js"

/**
 * Where to listen, who may come in, and the bounds.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpOptions {
  /** `HTTP_HOST`. Without a token only loopback is accepted. */
  readonly host: string
  /** `HTTP_PORT`; 0 for any free one. */
  readonly port: number
  /** `ADMIN_TOKEN`: visible ASCII. Needed for everything but health once it is set. */
  readonly token?: Redacted.Redacted | undefined
  /** How long open requests may go on once the server is being closed; default 5 s. */
  readonly closeTimeout?: Duration.DurationInput | undefined
  /** Time to receive the headers of a request; default 30 s. */
  readonly headersTimeout?: Duration.DurationInput | undefined
  /** Time to receive a whole request, its body included; default 5 min. */
  readonly requestTimeout?: Duration.DurationInput | undefined
  /** How long an idle connection is kept; default 65 s, above the 60 s of common load balancers. */
  readonly keepAliveTimeout?: Duration.DurationInput | undefined
  /** A streaming connection on which no byte moves for this long is closed; default 2 min. */
  readonly streamIdleTimeout?: Duration.DurationInput | undefined
  /** Connections above this number are closed at once; default 10,000. */
  readonly maxConnections?: number | undefined
  /** Bytes of request bodies held at once, over all requests; default 256 MiB. Above it: 503. */
  readonly maxBodyBytes?: number | undefined
}

/**
 * The running server.
 *
 * @since 0.1.0
 * @category services
 */
export class HttpFace extends Context.Tag("effect-sync-engine/http/HttpFace")<
  HttpFace,
  {
    /** The address that was bound. */
    readonly host: string
    readonly port: number
    /** `http://host:port`, to show and to connect to. */
    readonly url: string
    /**
     * Waits for the shutdown report and until every client who asked for the shutdown over HTTP has been sent it
     * (or has gone). After that the server can be closed.
     */
    readonly awaitShutdownAnswered: Effect.Effect<void>
  }
>() {}

/** A count that can be waited on until it is zero again. */
const makeCount = () => {
  let count = 0
  const zero = Effect.unsafeMakeLatch(true)
  return {
    add: () => {
      count += 1
      zero.unsafeClose()
    },
    remove: () => {
      count -= 1
      if (count === 0) zero.unsafeOpen()
    },
    awaitZero: zero.await
  }
}

/** Paths are compared exactly, and every slash counts; whether an id is too long is not for the router to say. */
const routerConfig = {
  caseSensitive: true,
  ignoreTrailingSlash: false,
  ignoreDuplicateSlashes: false,
  maxParamLength: Number.MAX_SAFE_INTEGER
}

/** The API as a handler of node's requests. */
const makeHandler = Effect.fnUntraced(function* (
  context: Context.Tag.Service<HttpContext>,
  middleware: MiddlewareOptions
) {
  const api = HttpApiBuilder.api(Api).pipe(
    Layer.provide([
      HealthHandlers,
      AdminHandlers,
      ItemHandlers,
      MerkleHandlers,
      MetricsHandlers,
      DocumentHandlers
    ]),
    Layer.provide(bearerLayer(middleware.gatekeeper)),
    Layer.merge(HttpApiBuilder.middleware(requestMiddleware(middleware))),
    Layer.provide(Layer.succeed(HttpContext, context)),
    Layer.provideMerge(HttpApiBuilder.Router.Live),
    Layer.provideMerge(HttpApiBuilder.Middleware.layer),
    Layer.provideMerge(NodeHttpServer.layerContext)
  )
  // A memo map of its own: two servers in one process must not share one router.
  const services = yield* Layer.buildWithMemoMap(api, yield* Layer.makeMemoMap, yield* Effect.scope)
  const app = yield* HttpApiBuilder.httpApp.pipe(
    Effect.provide(services),
    Effect.locally(HttpRouter.currentRouterConfig, routerConfig)
  )
  return yield* Effect.provide(NodeHttpServer.makeHandler(app), services)
})

/** How long handlers that cannot be interrupted are waited for after the last connection is gone. */
const lastRequests = Duration.seconds(1)

/**
 * Starts the server. When the scope closes it takes no more connections, lets open requests end within
 * `closeTimeout`, and is gone before what it was built on.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: HttpOptions
): Effect.Effect<
  Context.Tag.Service<HttpFace>,
  InvalidConfig,
  SyncEngine | Lifecycle | LiveConfig | Scope.Scope
> =>
  Effect.gen(function* () {
    const { host, port, token } = options
    const lifecycle = yield* Lifecycle
    const open = makeCount()
    const owed = makeCount()
    const { maxBodyBytes = 256 * 1024 * 1024, streamIdleTimeout = "2 minutes" } = options
    const {
      headersTimeout = "30 seconds",
      requestTimeout = "5 minutes",
      keepAliveTimeout = "65 seconds"
    } = options
    const budget = { used: 0, max: maxBodyBytes }
    let closing = false
    const handler = yield* makeHandler(
      {
        budget,
        streamIdleTimeout: Duration.toMillis(streamIdleTimeout),
        oweShutdownAnswer: (response) => {
          if (response.destroyed) return
          owed.add()
          response.once("close", owed.remove)
        }
      },
      {
        gatekeeper: gatekeeper(token),
        budget,
        leaving: () => {
          const { phase, shutdownRequested } = lifecycle.unsafeSnapshot()
          return closing || shutdownRequested === true || !(phase === "starting" || phase === "ready")
        },
        requestStarted: open.add,
        requestEnded: open.remove
      }
    )
    const server = makeServer(
      {
        headersTimeout: Duration.toMillis(headersTimeout),
        requestTimeout: Duration.toMillis(requestTimeout),
        keepAliveTimeout: Duration.toMillis(keepAliveTimeout),
        maxConnections: options.maxConnections ?? 10_000
      },
      handler
    )
    const address = yield* bind(server, { host, port, token })
    // Registered last, so it runs first: while connections end, requests are still served.
    yield* Effect.addFinalizer(() => {
      closing = true
      return Effect.zipRight(
        closeServer(server, Duration.decode(options.closeTimeout ?? "5 seconds")),
        open.awaitZero.pipe(Effect.interruptible, Effect.timeout(lastRequests), Effect.ignore)
      )
    })

    return {
      host: address.address,
      port: address.port,
      url: urlOf(address.address, address.port),
      awaitShutdownAnswered: Effect.zipRight(lifecycle.awaitReport, owed.awaitZero)
    }
  })

/**
 * The server as a layer. Fails with `InvalidConfig` naming `HTTP_HOST`, `HTTP_PORT` or `ADMIN_TOKEN`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: HttpOptions
): Layer.Layer<HttpFace, InvalidConfig, SyncEngine | Lifecycle | LiveConfig> =>
  Layer.scoped(HttpFace, make(options))
